# Sets $engine: what handles images. For sh, to be sourced.
engine=${ENGINE:-}
for name in docker podman buildah; do
  [ -n "$engine" ] || ! command -v "$name" >/dev/null || engine=$name
done
case $engine in
  "") echo "error: neither docker nor podman nor buildah is here" >&2; exit 2 ;;
  docker | podman | buildah) ;;
  *) echo "error: ENGINE is $engine: it has to be docker, podman or buildah (by its name; its folder belongs into PATH)" >&2; exit 2 ;;
esac
command -v "$engine" >/dev/null || { echo "error: ENGINE is $engine, and there is no such program here" >&2; exit 2; }
