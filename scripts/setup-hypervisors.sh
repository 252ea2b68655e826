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

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Runs a command whose output matters only when it fails.
quietly() { "$@" >"$work/output" 2>&1 || { tail -5 "$work/output"; return 1; }; }

missing=()
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("$2"); }
has_driver() { compgen -G "/usr/lib*/libvirt/connection-driver/$1" || compgen -G "/usr/lib/*/libvirt/connection-driver/$1"; }
need qemu-system-x86_64 qemu-system-x86
need libvirtd libvirt-daemon-system
need virsh libvirt-clients
need busybox busybox-static
need cpio cpio
need lz4 lz4
need python3 python3-minimal
need gcc gcc
need strip binutils
# The driver is no program, and is a package of its own where distributions split libvirt.
has_driver libvirt_driver_qemu.so >/dev/null || missing+=(libvirt-daemon-driver-qemu)
if [ "${#missing[@]}" -gt 0 ]; then
  [ "$(id -u)" = 0 ] || fail "needed and missing (run as root to install them): ${missing[*]}"
  command -v apt-get >/dev/null || fail "needed and missing, and no apt-get here: ${missing[*]}"
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  install_them() { quietly apt-get install -y -qq --no-install-recommends "${missing[@]}"; }
  # A first failure is expected where the package lists are old; the second one counts.
  install_them || { say 'updating the package lists'; quietly apt-get update -qq && install_them; } ||
    fail "cannot be installed: ${missing[*]}"
  has_driver libvirt_driver_qemu.so >/dev/null || fail 'this libvirt has no driver for QEMU'
fi

guest=build/guest
wanted=$(cat native/tools/*.c native/tools/*.h native/guest/init "$0" | sha256sum)
# No stamp: nothing was made yet.
if [ -f $guest/stamp ] && [ "$(cat $guest/stamp)" = "$wanted" ]; then exit 0; fi
mkdir -p $guest

if [ ! -s $guest/vmlinux ] || [ ! -d $guest/modules ]; then
  command -v apt-cache >/dev/null || fail 'the guest needs a kernel from a Debian package, and no apt-cache is here'
  # Asking for a package that is not listed fails; an empty answer says the same.
  kernel_package() { { apt-cache depends linux-image-cloud-amd64 2>/dev/null || :; } | awk '/Depends: linux-image-/ && !found {print $2; found = 1}'; }
  package=$(kernel_package)
  if [ -z "$package" ]; then
    say 'updating the package lists'
    quietly apt-get update -qq || fail 'the package lists cannot be updated'
    package=$(kernel_package)
  fi
  [ -n "$package" ] || fail 'the package lists have no linux-image-cloud-amd64'
  say "unpacking $package for the guest"
  chmod 755 "$work"
  (cd "$work" && quietly apt-get download -qq "$package") || fail "$package cannot be downloaded"
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

say 'linking the guest'
root=$work/root
mkdir -p "$root"/{bin,proc,sys,dev,lib,tmp}
cp "$(command -v busybox)" "$root/bin/busybox"
cp $guest/modules/*.ko "$root/lib/"
install -m 755 native/guest/init "$root/init"
quietly gcc -std=gnu11 -O2 -static -w -o "$root/bin/godwit-probe" native/tools/{probe,stream,tcp,bulk,blast,pingpong,announce}.c ||
  fail 'the traffic tool cannot be linked statically for the guest'
strip "$root/bin/godwit-probe"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > $guest/initrd.gz
printf '%s' "$wanted" > $guest/stamp
say "guest ready: $(du -sh $guest/initrd.gz | cut -f1) initramfs"
