#!/bin/sh
# Keeps nginx from sending anybody to a server that is there but not ready: one that still loads its model, or is about
# to end. nginx finds out by itself only who refuses connections. A file in run/out/ named after a server's place in
# ASR_SERVERS is what takes it out; who takes the connection and does not answer in time is left as it is, since busy is not
# gone. ASR_SERVERS is as 10-speech.envsh has left it. run/watched tells the container's health check when the last look was.
set -eu

run="${NGINX_RUN_FOLDER:-/etc/nginx/run}"
every="${NGINX_WATCH_SECONDS:-1}"
if ! command -v curl >/dev/null; then
    echo "40-watch-replicas.sh: there is no curl: servers that are not ready are asked, too" >&2
    exit 0
fi

# Prints a server's status and how long it took to reach it, 0 if it was not. A proxy of the environment's knows nothing
# of these servers.
ask() {
    curl -s -o /dev/null --noproxy '*' --connect-timeout 2 -m 5 -w '%{http_code} %{time_connect}' "http://$1/health/ready"
}

look() {
    local index=0 one status said
    for one in $(echo "$ASR_SERVERS" | tr ',' ' '); do
        status=0
        said=$(ask "$one") || status=$?
        case "$status $said" in
        '0 200 '*) rm -f "$run/out/$index" ;;
        '28 '*' '*[1-9]*) ;; # reached, and no answer in time
        *) : >"$run/out/$index" ;;
        esac
        index=$((index + 1))
    done
    : >"$run/watched"
}

mkdir -p "$run/out"
look
# Whatever fails once, such as writing to a disk that is full, does not end the watch.
while :; do
    sleep "$every" || :
    (look) || :
done &
