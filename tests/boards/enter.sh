#!/usr/bin/env bash
# Run a command in a root of another architecture, in namespaces of its own: no network, and this machine's settings as
# they are. usage: unshare --user --map-root-user --mount --net --pid --fork enter.sh QEMU|- ROOT COMMAND…
# QEMU: a static qemu-aarch64, registered for this namespace alone (Linux 6.7 or newer); - for this architecture.
set -euo pipefail
qemu=$1 root=$2; shift 2
if [ "$qemu" != - ]; then
  mount -t tmpfs none /mnt && mkdir /mnt/binfmt && mount -t binfmt_misc none /mnt/binfmt
  # The first bytes of an ELF file for aarch64 and which of them count, as in qemu's scripts/qemu-binfmt-conf.sh; F opens
  # the interpreter now, so that it need not be in the root.
  magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  printf '%s' ":qemu-aarch64:M::$magic:$mask:$qemu:F" >/mnt/binfmt/register
fi
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sys "$root/sys"
exec chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin:/usr/sbin HOME=/root LANG=C.UTF-8 QEMU_CPU="${QEMU_CPU:-max}" "$@"
