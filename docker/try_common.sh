# What try_image.sh and try_bundle.sh share; for bash, to be sourced. Nothing here needs a container engine's daemon: images
# are built by buildah in a chroot, and run in namespaces of their own by unshare.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$here")
python=$repository/.venv/bin/python
cpu_image=localhost/speech-server:cpu
base_image=localhost/python-base:try

step() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need() { # programs: all there, and we are root
  [ "$(id -u)" = 0 ] || die "this wants root: it mounts, and makes namespaces (sudo -E make ...)"
  for program in "$@"; do
    command -v "$program" >/dev/null || die "$program is not here (Debian: apt-get install buildah debootstrap iproute2 util-linux)"
  done
  [ -x "$python" ] || die "no environment yet: make .venv/.run"
}

work_folder() { # prints a folder of these scripts' own, which they may remove: in TRY_IMAGE_WORK, or a new one in /tmp
  [ -n "${TRY_IMAGE_WORK:-}" ] || { mktemp -d /tmp/try-image-XXXXXX; return; }
  mkdir -p "$TRY_IMAGE_WORK/try-image" && cd "$TRY_IMAGE_WORK/try-image" && pwd
}

own_storage() { # folder: buildah keeps everything there
  mkdir -p "$1"
  printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/store"\nrunroot = "%s/run"\n' "$1" "$1" >"$1/storage.conf"
  export CONTAINERS_STORAGE_CONF=$1/storage.conf BUILDAH_ISOLATION=chroot BUILDAH_FORMAT=docker
  unset STORAGE_DRIVER STORAGE_OPTS
}

make_base() { # folder: Debian with Python in it, from the mirror that this machine's apt uses; imported as $base_image
  local codename mirror
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 2>/dev/null |
    awk -v release="$codename" '$2 == release && $3 == "main" { print $1; exit }')
  [ -n "$mirror" ] || die "apt knows no mirror of $codename"
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$codename" "$1" "$mirror" \
    >"$1.log" 2>&1 || { tail -20 "$1.log" >&2; die "debootstrap failed"; }
  rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/var/log/*.log
  printf 'FROM scratch\nADD . /\n' >"$1.Dockerfile"
  buildah bud --quiet -f "$1.Dockerfile" -t "$base_image" "$1" >/dev/null
}

pip_of_here() { # folder: this machine's pip configuration as one file; prints the options that let a build use it
  "$python" - "$1/pip.conf" <<'PYTHON'
import os, shlex, subprocess, sys
from pathlib import Path
from urllib.parse import urlsplit

listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
values = {}
for line in listed.splitlines():  # later files win over earlier ones, the environment over all
    name, _, said = line.partition("=")
    section, _, key = name.partition(".")
    rank = {":env:": 2, "install": 1, "global": 0}.get(section)
    if rank is not None and rank >= values.get(key, (0, ""))[0]:
        values[key] = (rank, shlex.split(said)[0] if said.strip("'\"") else "")
lines = [f"{key} = {said}" for key, (_, said) in values.items()]
Path(sys.argv[1]).write_text("\n".join(["[global]", *lines]) + "\n")
options = ["--secret", f"id=pip,src={sys.argv[1]}"]
mounted = set()
for word in (word for _, said in values.values() for word in said.split()):
    path = Path(urlsplit(word).path if word.startswith("file:") else word)
    if not path.is_absolute() or not path.exists():
        continue
    folder = path if path.is_dir() else path.parent
    folder = folder.parent if folder.name == "simple" else folder  # an index of files beside it
    if folder not in mounted:
        mounted.add(folder)
        options += ["--volume", f"{folder}:{folder}:ro"]
print("\n".join(options))
PYTHON
}

build_cpu() { # work folder, then buildah's own options
  local work=$1 options
  shift
  mapfile -t options < <(pip_of_here "$work")
  buildah bud --pull-never --build-arg "BASE_IMAGE=$base_image" "${options[@]}" "$@" \
    -f "$repository/Dockerfile.cpu" -t "$cpu_image" "$repository" >"$work/build.log" 2>&1 ||
    { tail -30 "$work/build.log" >&2; die "the image was not built"; }
}

image_words() { # image, field of its configuration: a line for each word
  buildah inspect --type image --format "{{range .Docker.Config.$2}}{{println .}}{{end}}" "$1" | sed '/^$/d'
}

healthcheck_of() { # image: the command's words
  buildah inspect --type image --format '{{range .Docker.Config.Healthcheck.Test}}{{println .}}{{end}}' "$1" | sed '1d;/^$/d'
}

start_container() { # root folder, uid, read-only or writable, models folder, folder for /try, then NAME=value ... -- command
  # Sets $keeper (who waits for it) and $server (the container's first process, as this machine numbers it).
  unshare --net --pid --mount --uts --ipc --fork "$here/try_root.sh" "$@" &
  keeper=$!
  server=
  for _ in $(seq 100); do
    server=$(cat "/proc/$keeper/task/$keeper/children" 2>/dev/null | tr -d ' ') && [ -n "$server" ] && return
    sleep 0.1
  done
  die "the container did not start"
}

inside() { # uid, then command: in the running container, without privileges
  local uid=$1
  shift
  nsenter --target "$server" --mount --net --pid --uts --ipc --root -- setpriv --reuid="$uid" --regid=0 \
    --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- env -i -C /app "${variables[@]}" "$@"
}

wait_ready() { # image, uid: the image's own health check says so
  local check
  mapfile -t check < <(healthcheck_of "$1")
  for _ in $(seq 240); do
    if inside "$2" "${check[@]}" >/dev/null 2>&1; then
      printf 'health check: %s -> ' "${check[*]}"
      inside "$2" "${check[@]}"
      return
    fi
    [ -d "/proc/$server" ] || die "the server ended before it was ready"
    sleep 0.5
  done
  inside "$2" "${check[@]}" || true
  die "not ready after two minutes"
}

end_container() { # SIGTERM, and a clean end
  local status=0
  kill -TERM "$server"
  wait "$keeper" || status=$?
  echo "exit status after SIGTERM: $status"
  server=
  case $status in 0 | 143) ;; *) die "that is no clean end" ;; esac
}
