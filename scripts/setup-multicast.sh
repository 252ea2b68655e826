#!/usr/bin/env bash
# Makes ready what multicast beside a real PIM router needs beside setup.sh: FRR from Debian's packages
# (zebra, pimd, vtysh). Nothing of it is needed to run Godwit; without it those tests are skipped and the
# demo has no host behind a router.
#
# The package starts a service of its own where there is systemd; the laboratory does not use it and
# starts its own daemons by path. Exit 1 with one sentence when it cannot be had.
set -euo pipefail
exec 1>&2

say() { printf 'setup: %s\n' "$*"; }
fail() { say "$*"; exit 1; }

[ -x /usr/lib/frr/pimd ] && [ -x /usr/lib/frr/zebra ] && [ -x /usr/bin/vtysh ] && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail 'needed and missing: frr'
say 'installing Debian package: frr'
export DEBIAN_FRONTEND=noninteractive
install_it() { apt-get install -y -qq --no-install-recommends frr >/dev/null 2>&1; }
install_it || { apt-get update -qq && install_it; } || fail 'frr cannot be installed'
