#!/usr/bin/env bash
# Makes ready what `npm run migrate` needs beside setup.sh: QEMU and libvirt from Debian's packages,
# and a guest: a cloud kernel (downloaded and unpacked, never installed) with an initramfs that holds
# busybox and the traffic tool. Nothing of it is needed to run Godwit.
#
# Installing starts no daemon that would stay: the laboratory starts its own two libvirtd in
# namespaces of their own. Exit 1 with one sentence when something cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 1>&2

say() { printf 'setup: %s\n' "$*"; }
fail() { say "$*"; exit 1; }

missing=()
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("$2"); }
need qemu-system-x86_64 qemu-system-x86
need libvirtd libvirt-daemon-system
need virsh libvirt-clients
need busybox busybox-static
need cpio cpio
need lz4 lz4
if [ "${#missing[@]}" -gt 0 ]; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "needed and missing: ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  install_them() { apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1; }
  install_them || { apt-get update -qq && install_them; } || fail "cannot be installed: ${missing[*]}"
fi

guest=build/guest
wanted=$(cat native/tools/*.c native/tools/*.h native/guest/init "$0" | sha256sum)
[ "$(cat $guest/stamp 2>/dev/null || true)" = "$wanted" ] && exit 0
mkdir -p $guest
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -s $guest/vmlinux ] || [ ! -d $guest/modules ]; then
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-/{print $2;exit}')
  [ -n "$package" ] || { apt-get update -qq; package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/{print $2;exit}'); }
  [ -n "$package" ] || fail 'Debian has no package linux-image-cloud-amd64 here'
  say "unpacking $package for the guest"
  chmod 755 "$work"
  (cd "$work" && apt-get download -qq "$package") 2>/dev/null || fail "$package cannot be downloaded"
  mkdir "$work/kernel"
  dpkg-deb --fsys-tarfile "$work"/*.deb | tar -C "$work/kernel" -x --wildcards './boot/vmlinuz-*' \
    '*/kernel/drivers/virtio/virtio.ko' '*/virtio_ring.ko' '*/virtio_pci*.ko' \
    '*/net/core/failover.ko' '*/net_failover.ko' '*/virtio_net.ko'
  rm -rf $guest/modules && mkdir -p $guest/modules
  find "$work/kernel" -name '*.ko' -exec cp {} $guest/modules/ \;
  strip --strip-debug $guest/modules/*.ko
  # The decompressed kernel starts by PVH: an emulated CPU would take seconds to decompress it.
  python3 - "$work"/kernel/boot/vmlinuz-* $guest/vmlinux <<'PYTHON'
import re, subprocess, sys
image = open(sys.argv[1], 'rb').read()
for match in re.finditer(re.escape(b'\x02\x21\x4c\x18'), image):
    out = subprocess.run(['lz4', '-d', '-c'], input=image[match.start():], capture_output=True).stdout
    if out[:4] == b'\x7fELF':
        open(sys.argv[2], 'wb').write(out)
        sys.exit(0)
sys.exit('this kernel image holds no LZ4 payload')
PYTHON
fi

root=$work/root
mkdir -p "$root"/{bin,proc,sys,dev,lib,tmp}
cp "$(command -v busybox)" "$root/bin/busybox"
cp $guest/modules/*.ko "$root/lib/"
install -m 755 native/guest/init "$root/init"
gcc -std=gnu11 -O2 -static -w -o "$root/bin/godwit-probe" native/tools/{probe,stream,tcp,bulk,blast,pingpong,announce}.c 2>/dev/null ||
  fail 'the traffic tool cannot be linked statically for the guest'
strip "$root/bin/godwit-probe"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > $guest/initrd.gz
printf '%s' "$wanted" > $guest/stamp
say "guest ready: $(du -sh $guest/initrd.gz | cut -f1) initramfs"
