#!/usr/bin/env bash
# Makes a fresh machine ready: Debian packages, npm packages, TypeScript, BPF objects, addon, tools.
#
# Does nothing that is already done (under half a second then), writes to stderr only, and downloads
# nothing from anywhere but the npm registry and Debian's packages. Without root it installs no
# Debian packages and says which are missing. Whatever fails is one sentence with its remedy, below
# the last lines of the program that failed.
#
# --lab: what is to run afterwards builds networks, so a machine that cannot is told so at once and
# not after minutes of installing (src/lab/requirements.ts asks the same for who comes without this).
# --deploy: without what only tests need.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 1>&2

say() { printf 'setup: %s\n' "$*"; }
fail() { say "$*"; exit 1; }
# Runs a command whose output matters only when it fails.
quietly() {
  local output
  output=$("$@" 2>&1) || { tail -n 8 <<<"$output"; return 1; }
}

node_version=$(node -p 'process.versions.node' 2>/dev/null) || fail 'Node is missing: 20.19 or newer is needed, with npm'
node -e 'const [a,b]=process.versions.node.split(".").map(Number);process.exit(a>20||(a===20&&b>=19)?0:1)' ||
  fail "Node $node_version is too old: 20.19 or newer is needed (Debian 13 has it; elsewhere install it from nodejs.org)"
command -v npm >/dev/null || fail 'npm is missing: as root: apt-get install npm, or install Node with its npm'

deploy=no
case ${1:-} in
  '' | --lab) ;;
  --deploy) deploy=yes ;;
  *) fail "$1 is unknown: --lab or --deploy" ;;
esac
if [ "${1:-}" = --lab ]; then
  kernel=$(uname -r)
  # The older of the two comes first.
  [ "$(printf '6.6\n%s\n' "$kernel" | sort -V | head -n 1)" = 6.6 ] ||
    fail "a kernel of 6.6 or newer is needed, because the datapath attaches by tcx links, which came with 6.6 (this is $kernel; Debian 12 has newer ones in bookworm-backports)"
  [ "$(id -u)" = 0 ] ||
    fail 'root is needed to create network namespaces and to load eBPF programs: run it again with sudo'
fi

# Command or header that proves the package is there → package.
missing=()
need_command() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need_file() { compgen -G "$1" >/dev/null || missing+=("$2"); }
need_command gcc build-essential
need_command make build-essential
need_command python3 python3 # node-gyp of raw-socket and cap
need_command clang clang     # BPF programs; needed to build, not to run
need_command ip iproute2
need_command ethtool ethtool
need_command ping iputils-ping
need_command tcpdump tcpdump
need_command nsenter util-linux
need_command mount mount    # bpffs and namespaces; not in minimal systems
need_command sysctl procps
need_file '/usr/include/bpf/libbpf.h' libbpf-dev
need_file '/usr/include/pcap/pcap.h' libpcap-dev
if [ "${#missing[@]}" -gt 0 ]; then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    fail "these Debian packages are needed and missing: ${missing[*]} (as root: apt-get install ${missing[*]})"
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # A mirror that is away matters only when the packages cannot be had without it.
  quietly apt-get update -qq || say 'the package lists could not be updated; trying with those that are here'
  quietly apt-get install -y -qq --no-install-recommends "${missing[@]}" ||
    fail "apt-get could not install ${missing[*]}: see that it reaches its mirror, then run this again"
fi

# What single tests need and are skipped without: its absence is no failure. What could not be had is
# tried again after a day.
try_package() { # PACKAGE, COMMAND that succeeds when it is there
  local package=$1 refused=/var/tmp/godwit-no-$1
  shift
  [ "$deploy" = no ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  [ -z "$(find "$refused" -mtime -1 2>/dev/null)" ] || return 0
  "$@" >/dev/null 2>&1 && return 0
  say "installing the Debian package $package"
  export DEBIAN_FRONTEND=noninteractive
  local install=(apt-get install -y -qq --no-install-recommends "$package")
  if ("${install[@]}" || { apt-get update -qq && "${install[@]}"; }) >/dev/null 2>&1; then
    # Started by its package; the laboratory starts its own, and a router of ours needs none.
    if [ "$package" = frr ] && [ -d /run/systemd/system ]; then
      quietly systemctl -q disable --now frr || say 'frr runs as a service now: see whether it should'
    fi
    return 0
  fi
  touch "$refused"
  say "$package could not be installed: tests that need it are skipped by name"
}
try_package openssl command -v openssl
try_package tshark command -v tshark
try_package busybox-static command -v busybox
try_package mininet /usr/bin/python3 -c 'import mininet.net'
try_package frr test -x /usr/lib/frr/pimd
try_package "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev" \
  compgen -G '/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a'

# Node's own headers, where they came with node, so that building addons downloads nothing.
prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
[ -e "$prefix/include/node/node_api.h" ] && export npm_config_nodedir="$prefix"

stamp=node_modules/.godwit-lock-stamp
wanted=$(cat package-lock.json <(echo "$node_version") | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
  say 'installing npm packages'
  npm ci --no-audit --no-fund --no-update-notifier --loglevel=error ||
    fail "npm ci failed (above is why): see that npm reaches its registry and may write to $PWD, then run this again"
  for optional in raw-socket cap; do
    [ -d "node_modules/$optional" ] || say "optional package $optional could not be built: what needs it will be skipped by name"
  done
  printf '%s' "$wanted" > "$stamp"
fi

bash scripts/build.sh
