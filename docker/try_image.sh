#!/usr/bin/env bash
# Builds Dockerfile.cpu on this machine and tries the result, without a container engine:
#   docker/try_image.sh [--keep]
# As root. --keep leaves the image and the work folder; TRY_IMAGE_WORK names a folder to work in (try-image in it is
# the scripts' own; default: a new one in /tmp).
set -euo pipefail
. "$(dirname "$0")/try_common.sh"

keep=
[ "${1:-}" != --keep ] || keep=yes
need buildah debootstrap unshare nsenter setpriv ip
work=$(work_folder)
mkdir -p "$work"
own_storage "$work/storage"
server=
clean_up() {
  [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true # its namespace's first process: all others end with it
  [ -n "$keep" ] && { echo "kept: $work (CONTAINERS_STORAGE_CONF=$CONTAINERS_STORAGE_CONF)"; return; }
  buildah rm --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean_up EXIT

step "models and a recording, fetched as for a checkout"
models=$repository/models
MODELS_DIR=$models "$python" "$repository/start.py" models download whisper-base fsmn-vad speakers
mkdir -p "$work/try"
MODELS_DIR=$models "$python" "$repository/start.py" sample --dir "$work/try" | head -1
cp "$here/try_client.py" "$work/try/"

step "a base image: Debian and its Python, from this machine's mirror"
if buildah inspect --type image "$base_image" >/dev/null 2>&1; then echo "there already"; else make_base "$work/base"; fi

step "docker build -f Dockerfile.cpu, by buildah"
build_cpu "$work"
buildah inspect --type image --format '{{.FromImageID}}' "$cpu_image"

step "size, uncompressed, base image and all, without models"
container=$(buildah from --pull-never "$cpu_image")
root=$(buildah mount "$container")
bytes=$(du -s --block-size=1 "$root" | cut -f1)
du -sh --apparent-size "$root/opt/venv" "$root/app" "$root/usr" "$root/var" | sed "s|$root||"
echo "in all: $bytes bytes"
[ "$bytes" -le 1200000000 ] || die "that is more than 1.2 GB"
[ ! -s "$root/etc/pip.conf" ] || die "pip's configuration stayed in the image"

step "its user, its rights"
mapfile -t variables < <(image_words "$cpu_image" Env)
mapfile -t entrypoint < <(image_words "$cpu_image" Entrypoint)
user=$(buildah inspect --type image --format '{{.Docker.Config.User}}' "$cpu_image")
uid=${user%%:*}
echo "user: $user"
[ "$uid" != 0 ] && [ "$uid" != root ] || die "it runs as root"
as_user() { chroot "$root" setpriv --reuid="$uid" --regid=0 --clear-groups --no-new-privs -- env -i "${variables[@]}" "$@"; }
writable=$(as_user find /app /opt /usr /etc -writable ! -type l 2>/dev/null || true) # what it may not enter, it may not write
[ "$(echo "$writable" | sort | tr '\n' ' ')" = "/app/data /app/logs /app/models /app/temp " ] ||
  die "its user may write: $writable"
echo "it may write, of /app, /opt, /usr and /etc: $(echo "$writable" | tr '\n' ' ')"
if as_user python -c 'import torch' 2>/dev/null; then die "torch is in it"; fi
echo "import torch: fails, as it should"
as_user python /app/start.py --version

step "run: no network, root file system read-only, no privileges, models mounted read-only"
start_container "$root" "$uid" ro "$models" "$work/try" "${variables[@]}" HF_HUB_OFFLINE=true -- "${entrypoint[@]}"
wait_ready "$cpu_image" "$uid"
inside "$uid" sh -c 'echo "the server'"'"'s process: $(grep -E "^(Uid|CapEff|NoNewPrivs)" /proc/1/status | tr "\t\n" "  ")"'
inside "$uid" sh -c '[ "$(stat -c %u /proc/1)" != 0 ] && ! touch /app/x 2>/dev/null && ! touch /app/models/x 2>/dev/null' ||
  die "root, or something is writable that should not be"
inside "$uid" sh -c 'echo "network: $(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d "\n")"'
inside "$uid" python /srv/try_client.py /srv/phone_call.wav
end_container

step "run: another uid (12345) that nobody knows, folders of the image"
start_container "$root" 12345 rw "$models" "$work/try" "${variables[@]}" HF_HUB_OFFLINE=true PORT=9000 -- "${entrypoint[@]}"
variables+=(PORT=9000)
wait_ready "$cpu_image" 12345
inside 12345 python /srv/try_client.py /srv/phone_call.wav
end_container
find "$root/app/temp" "$root/app/data" -type f | sed "s|$root|left: |"

step "it works"
