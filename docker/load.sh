#!/bin/sh
# Loads this bundle on a machine without network: ./load.sh [FOLDER FOR MODELS]
# Nothing is loaded unless every file is what MANIFEST.json says. ENGINE says what handles images: docker, podman or
# buildah; without it, the first of them that is here.
set -eu
case ${1:-} in
  "") models=models/server ;;
  /*) models=$1 ;;
  *) models=$PWD/$1 ;;
esac
cd "$(dirname "$0")"
fail() { echo "error: $*" >&2; exit 1; }

echo "verifying ..."
[ -f SHA256SUMS ] && [ -f MANIFEST.json ] || fail "SHA256SUMS or MANIFEST.json is missing: this is no whole bundle"
sha256sum --check --strict --quiet SHA256SUMS || fail "the bundle is not what it was when it was made: nothing was loaded"
listed=$(mktemp)
present=$(mktemp)
trap 'rm -f "$listed" "$present"' EXIT
cut -c67- SHA256SUMS | LC_ALL=C sort >"$listed"
# What this script and compose make beside the bundle's own files is no part of it.
find . \( -path ./models -o -path ./data -o -path ./logs -o -path ./temp -o -path ./.env -o -path ./nginx/tls \) -prune -o ! -type d -print |
  sed 's|^\./||' | grep -vx SHA256SUMS | LC_ALL=C sort >"$present"
cmp -s "$listed" "$present" || { diff "$listed" "$present" >&2 || true; fail "files are there that the bundle did not have"; }
echo "all $(wc -l <"$listed") files as stated"

. ./engine.sh
image=$(sed -n 's/^  *"name": "\(.*\)",$/\1/p' MANIFEST.json | head -1)
[ -e images/speech-server.tar ] || fail "images/speech-server.tar is missing: this is no whole bundle"
for archive in images/*.tar; do
  echo "loading $archive ..."
  case $engine in
    docker)
      loaded=$(docker load -i "$archive")
      echo "$loaded"
      # podman calls images that it built localhost/..., which means nothing to docker.
      for name in $(echo "$loaded" | sed -n 's|^Loaded image: localhost/||p'); do
        docker tag "localhost/$name" "$name"
      done
      ;;
    podman) podman load -i "$archive" ;;
    buildah)
      id=$(buildah pull --quiet "docker-archive:$PWD/$archive")
      [ "$archive" != images/speech-server.tar ] || buildah tag "$id" "localhost/$image"
      ;;
  esac
done

echo "unpacking models into $models ..."
mkdir -p "$models"
models=$(cd "$models" && pwd)
unpack="models unpack /srv/models.tar"
# As whoever runs this, so that the files are theirs; without network, as everything here.
# shellcheck disable=SC2086  # words
case $engine in
  docker) docker run --rm --network none --user "$(id -u):0" -v "$PWD/models.tar:/srv/models.tar:ro" \
    -v "$models:/app/models" "$image" $unpack ;;
  podman) podman run --rm --network none --user 0:0 -v "$PWD/models.tar:/srv/models.tar:ro" \
    -v "$models:/app/models" "$image" $unpack ;;
  buildah)
    container=$(buildah from --pull-never "localhost/$image")
    buildah run --user 0:0 -v "$PWD/models.tar:/srv/models.tar:ro" -v "$models:/app/models" "$container" -- \
      /app/docker/entrypoint.sh $unpack
    buildah rm "$container" >/dev/null
    ;;
esac
[ "$(id -u)" != 0 ] || chown -R 10001:0 "$models"
chmod -R go+rX "$models" # whoever serves them, whatever the umask was

[ "$engine" != buildah ] || engine=docker # buildah runs nothing for long
cat <<END

loaded: $image
next, for example:
  $engine run -d --name speech -p 8000:8000 --read-only --tmpfs /app/temp --tmpfs /app/logs \\
    -v $models:/app/models:ro -v speech-data:/app/data -e HF_HUB_OFFLINE=true $image
or with compose, behind nginx (whose image has to be here, too):
  echo HF_HUB_OFFLINE=true >> .env && echo ASR_IMAGE=$image >> .env
  docker compose -f docker-compose.yml -f docker-compose.cpu.yml up -d --no-build --pull never
docs/deployment.md says more.
END
