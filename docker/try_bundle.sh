#!/usr/bin/env bash
# Makes a bundle on this machine, then loads and runs it as on a machine without network: docker/try_bundle.sh [--keep]
# As root. TRY_IMAGE_WORK names a folder to work in (try-image in it is the scripts' own); an image that try_image.sh
# --keep left there is used.
set -euo pipefail
. "$(dirname "$0")/try_common.sh"

keep=
[ "${1:-}" != --keep ] || keep=yes
need buildah debootstrap unshare nsenter setpriv ip
work=$(work_folder)
mkdir -p "$work/try"
server=
clean_up() {
  [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true # its namespace's first process: all others end with it
  [ -z "$keep" ] || { echo "kept: $work"; return; }
  for storage in "$work/storage" "$work/elsewhere/storage"; do
    [ ! -d "$storage" ] || CONTAINERS_STORAGE_CONF=$storage/storage.conf buildah rm --all >/dev/null 2>&1 || true
  done
  rm -rf "$work"
}
trap clean_up EXIT
rm -rf "$work/bundle" "$work/elsewhere"

step "models and a recording, fetched as for a checkout"
export MODELS_DIR=$repository/models
"$python" "$repository/start.py" models download whisper-base fsmn-vad speakers
"$python" "$repository/start.py" sample --dir "$work/try" | head -1
cp "$here/try_client.py" "$work/try/"

step "the image"
own_storage "$work/storage"
if buildah inspect --type image "$cpu_image" >/dev/null 2>&1; then
  echo "there already"
else
  make_base "$work/base"
  build_cpu "$work"
fi

step "make bundle"
ENGINE=buildah "$here/bundle.sh" --image "$cpu_image" --out "$work/bundle" --models "whisper-base fsmn-vad speakers"
"$python" "$here/bundle_manifest.py" verify "$work/bundle"
head -c 1200 "$work/bundle/MANIFEST.json"

step "a bundle that differs is refused, and nothing of it is loaded"
unset MODELS_DIR
own_storage "$work/elsewhere/storage"
export ENGINE=buildah
refused() { # what is wrong
  if "$work/bundle/load.sh" "$work/elsewhere/models" >"$work/load.log" 2>&1; then die "accepted: $1"; fi
  [ -z "$(buildah images --quiet)" ] && [ ! -e "$work/elsewhere/models" ] || die "refused, but something was loaded: $1"
  echo "$1: $(tail -1 "$work/load.log")"
}
flip() { # file, offset: one byte is another
  "$python" -c 'import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2])); byte = file.read(1); file.seek(int(sys.argv[2])); file.write(bytes([byte[0] ^ 1]))' "$@"
}
for file in images/speech-server.tar models.tar docs/deployment.md load.sh; do
  [ -e "$work/bundle/$file" ] || continue
  size=$(stat -c %s "$work/bundle/$file")
  [ "$file" != load.sh ] || size=60 # in its comment: it has to run
  flip "$work/bundle/$file" $((size / 2))
  refused "a flipped bit in $file"
  flip "$work/bundle/$file" $((size / 2))
done
echo more >"$work/bundle/docs/more.md"
refused "one file more"
rm "$work/bundle/docs/more.md"
mv "$work/bundle/LICENSE" "$work/LICENSE"
refused "one file fewer"
mv "$work/LICENSE" "$work/bundle/LICENSE"

step "load.sh on a machine without network"
unshare --net "$work/bundle/load.sh" "$work/elsewhere/models"

step "run: no network, root file system read-only, no privileges, models mounted read-only"
container=$(buildah from --pull-never "$cpu_image")
root=$(buildah mount "$container")
mapfile -t variables < <(image_words "$cpu_image" Env)
mapfile -t entrypoint < <(image_words "$cpu_image" Entrypoint)
start_container "$root" 10001 ro "$work/elsewhere/models" "$work/try" "${variables[@]}" HF_HUB_OFFLINE=true -- "${entrypoint[@]}"
wait_ready "$cpu_image" 10001
inside 10001 python /srv/try_client.py /srv/phone_call.wav
end_container

step "it works"
