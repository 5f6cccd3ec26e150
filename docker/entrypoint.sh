#!/bin/sh
# What the image runs: says which folders cannot be used and why, then becomes the server (or another command of
# start.py's), so that signals reach it.
set -eu
beside=/app/.env
case ${1:-serve} in # what is asked for: options may stand before the command
  -c | --config) command=${3:-serve} ;;
  -h | --help | --version) command=help ;;
  -*) command=${2:-serve} ;;
  *) command=${1:-serve} ;;
esac
if [ "$command" = serve ]; then
  me="uid $(id -u), gid $(id -g)"
  refuse() {
    echo "error: $1 cannot be written by $me." >&2
    echo "hint: on the host: chown -R $(id -u) the folder that is mounted there; or run the container as its owner" \
      "(--user); with a read-only root file system, mount a volume or a tmpfs there" >&2
    exit 2
  }
  for folder in "$TEMP_DIR" "$DATA_DIR"; do
    [ -d "$folder" ] && [ -w "$folder" ] || refuse "$folder"
  done
  for file in "$DATA_DIR"/*.db "$DATA_DIR"/*.db-*; do # of a server that ran as somebody else
    [ ! -e "$file" ] || [ -w "$file" ] || refuse "$file"
  done
  for folder in "$MODELS_DIR" "$MODELS_DIR/.locks"; do
    if [ ! -w "$folder" ] && { [ -e "$folder" ] || [ "$folder" = "$MODELS_DIR" ]; }; then
      echo "note: $folder cannot be written by $me: what lies there is served, nothing is fetched." >&2
      break
    fi
  done
  for name in HOST PORT MODELS_DIR MODELSCOPE_PATH HF_HOME DATA_DIR TEMP_DIR; do
    if [ -r "$beside" ] && grep -q "^ *$name *=" "$beside"; then
      echo "note: $name in $beside does not count: the image's environment has it. Say -e $name=..., or --env-file." >&2
    fi
  done
fi
exec /opt/venv/bin/python /app/start.py "$@"
