#!/bin/sh
# The first process of a container that try_image.sh makes: in new namespaces already, it mounts what an engine would and
# becomes the command. try_root.sh ROOT UID ro|rw MODELS TRY NAME=value ... -- COMMAND ...
set -eu
root=$1 uid=$2 mode=$3 models=$4 try=$5
shift 5
ip link set lo up
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"
done
mkdir -m 1777 "$root/dev/shm"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mount --bind "$models" "$root/app/models"
mount -o remount,bind,ro "$root/app/models"
mount --bind "$try" "$root/srv"
mount -o remount,bind,ro "$root/srv"
if [ "$mode" = ro ]; then
  for folder in temp data logs; do
    mount -t tmpfs -o mode=1777,nosuid,nodev,noexec "$folder" "$root/app/$folder"
  done
  mount -o remount,bind,ro "$root"
fi
# chroot comes first: it is a privilege that setpriv takes away.
variables=
for word in "$@"; do
  [ "$word" != -- ] || break
  variables="$variables $word" # values of ours, without blanks
  shift
done
shift
exec chroot "$root" setpriv --reuid="$uid" --regid=0 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  -- env -i -C /app $variables "$@"
