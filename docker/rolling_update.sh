#!/bin/sh
# Replaces the replicas of docker-compose.gpus.yml one after the other, by what is built or pulled now: nobody who asks
# notices. Options are docker compose's own:
#
#   docker compose -f docker-compose.yml -f docker-compose.gpus.yml build
#   docker/rolling_update.sh -f docker-compose.yml -f docker-compose.gpus.yml
#
# READY_SECONDS (900) is how long a replica may take to load its model. If one does not become healthy, the script ends
# there: the others still run what they ran.
set -eu

fail() {
    echo "rolling_update.sh: $1" >&2
    exit 1
}

# Replicas are the services called app, app1, app2 ...
services=$(docker compose "$@" config --services) || fail "docker compose does not say which services there are"
replicas=$(echo "$services" | grep -E '^app[0-9]*$' | sort)
[ "$(echo "$replicas" | grep -c .)" -ge 2 ] || fail "there is only one replica: while it is replaced nobody can be served"

# Says who of them is not healthy, except $1.
unwell() {
    skip=$1
    shift
    states=$(docker compose "$@" ps --all --format '{{.Service}} {{.Health}}') || fail "docker compose does not say who is healthy"
    for other in $replicas; do
        if [ "$other" != "$skip" ] && ! echo "$states" | grep -qx "$other healthy"; then
            echo "$other"
        fi
    done
}

for replica in $replicas; do
    others=$(unwell "$replica" "$@") || exit 1
    [ -z "$others" ] || fail "$replica is left as it is, because these are not healthy: $(echo "$others" | tr '\n' ' ')"
    echo "$replica: stopping; it answers what it has begun"
    docker compose "$@" stop "$replica"
    echo "$replica: starting"
    docker compose "$@" up -d --no-deps --wait --wait-timeout "${READY_SECONDS:-900}" "$replica" ||
        fail "$replica did not become healthy: docker compose logs $replica"
    # nginx looks every second who is ready, and forgets in three who has refused it.
    sleep "${PAUSE_SECONDS:-5}"
done
echo "all replicas are replaced"
