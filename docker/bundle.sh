#!/usr/bin/env bash
# One folder with everything that a machine without network needs:
#   docker/bundle.sh [--out FOLDER] [--image NAME] [--gpu] [--with NAME]... [--models "ID ..."]
# --image   an image that is here already; without it, Dockerfile.cpu (with --gpu: Dockerfile.gpu) is built
# --with    another image to carry along, such as compose's nginx; may be repeated
# --models  which models; without it, all that this machine has in MODELS_DIR or a cache
# ENGINE says what handles images: docker, podman or buildah; without it, the first of them that is here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(dirname "$here")
python=$repository/.venv/bin/python
out=$repository/bundle image="" models="" flavour=cpu
others=()
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$2; shift 2 ;;
    --image) image=$2; shift 2 ;;
    --models) models=$2; shift 2 ;;
    --with) others+=("$2"); shift 2 ;;
    --gpu) flavour=gpu; shift ;;
    *) sed -n '2,7s/^# //p' "$0" >&2; exit 2 ;;
  esac
done
. "$here/engine.sh"
[ -x "$python" ] || { echo "error: no environment yet: make .venv/.run" >&2; exit 2; }
if [ -d "$out" ] && [ -n "$(ls -A "$out")" ]; then
  echo "error: $out is there already and not empty: remove it, or name another (--out)" >&2
  exit 2
fi
began="" whole=""
[ -d "$out" ] || began=yes
mkdir -p "$out/images"
out=$(cd "$out" && pwd)
clean_up() { # half a bundle is none, and would be in the way of the next
  [ -z "$whole" ] || return
  find "$out" -mindepth 1 -delete
  [ -z "$began" ] || rmdir "$out"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$repository"
version=$("$python" -c 'from app import __version__; print(__version__)')

if [ -z "$image" ]; then
  image=speech-server:$flavour
  echo "building $image ..."
  "$engine" build -f "Dockerfile.$flavour" --build-arg "VERSION=$version" -t "$image" .
fi

save() { # image, file: an archive that every engine reads
  echo "saving $1 ..."
  case $engine in
    docker) docker save -o "$2" "$1" ;;
    podman) podman save --quiet --format docker-archive -o "$2" "$1" ;;
    buildah) buildah push --quiet "$1" "docker-archive:$2:${1#localhost/}" ;;
  esac
  [ -s "$2" ] || { echo "error: $engine said nothing and saved nothing of $1" >&2; exit 1; }
}
here_already() { # image
  case $engine in
    buildah) buildah inspect --type image "$1" ;;
    *) "$engine" image inspect "$1" ;;
  esac >/dev/null 2>&1
}
save "$image" "$out/images/speech-server.tar"
for other in "${others[@]}"; do
  here_already "$other" || "$engine" pull "$other"
  save "$other" "$out/images/$(echo "$other" | tr '/:' '__').tar"
done
case $engine in
  buildah) id=sha256:$(buildah inspect --type image --format '{{.FromImageID}}' "$image") ;;
  *) id=$("$engine" image inspect --format '{{.Id}}' "$image") ;;
esac

# shellcheck disable=SC2086  # ids are words
"$python" start.py models pack "$out/models.tar" $models

# Named one by one: an operator's own files (docker-compose.override.yml, keys) lie beside them.
paths=(docker-compose.yml docker-compose.{cpu,gpus,ports,monitoring}.yml nginx/nginx.conf nginx/docker-entrypoint.d
  nginx/templates docker/prometheus/{alerts,prometheus}.yml docker/grafana docker/rolling_update.sh docs .env.example
  README.md README_zh.md LICENSE SECURITY.md CHANGELOG.md)
mapfile -d '' files < <(git ls-files -z -- "${paths[@]}" 2>/dev/null)
[ ${#files[@]} -gt 0 ] || mapfile -d '' files < <(find "${paths[@]}" -type f -print0)
for path in "${files[@]}"; do
  [ ! -e "$path" ] || { mkdir -p "$out/$(dirname "$path")" && cp -p "$path" "$out/$path"; }
done
cp "$here/load.sh" "$here/engine.sh" "$out/"
chmod -R go+rX "$out" # whatever this machine's umask is
chmod 755 "$out/load.sh"
"$python" "$here/bundle_manifest.py" write "$out" --version "$version" --image "${image#localhost/}" \
  --image-id "$id" --models "$out/models.tar"
whole=yes
du -sh "$out" | cut -f1 | sed 's/^/in all: /'
echo "$out"
echo "sha256 of its SHA256SUMS, to compare over there: $(sha256sum "$out/SHA256SUMS" | cut -d' ' -f1)"
