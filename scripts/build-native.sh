#!/usr/bin/env bash
# Build build/Release/godwit.node: the BPF objects (clang ≥ 14) and the addon (gcc, libbpf ≥ 1.1).
#
# Does nothing when neither sources nor tools have changed since the last success (content hash).
# Finds everything on this machine; downloads nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stamp=build/native.stamp
fail() { echo "build-native: $1" >&2; exit 1; }

node=$(command -v node) || fail 'node is missing'
node=$(readlink -f "$node")
node_include=${node%/bin/node}/include/node
[ -e "$node_include/node_api.h" ] || node_include=/usr/include/node

clang=''
for candidate in clang clang-{21,20,19,18,17,16,15,14}; do
  path=$(command -v "$candidate") || continue
  clang=$path
  break
done

hash=$(
  {
    find native -type f \( -name '*.[ch]' -o -name Makefile \) -print0 | sort -z | xargs -0 sha256sum
    sha256sum "${BASH_SOURCE[0]}"
    # A compiler or header package that was replaced has another size or time.
    stat -Lc '%n %s %Y' "$clang" "$(command -v gcc || echo /)" "$node_include/node_api.h" \
      /usr/include/bpf/libbpf.h 2>&1 || true
    pwd # the addon embeds the objects by absolute path
  } | sha256sum | cut -d' ' -f1
)
if [ -e build/Release/godwit.node ] && [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ]; then
  exit 0
fi

[ -n "$clang" ] || fail 'clang (14 or newer) is missing: apt-get install clang'
command -v gcc >/dev/null || fail 'gcc is missing: apt-get install gcc'
command -v make >/dev/null || fail 'make is missing: apt-get install make'
[ -e /usr/include/bpf/libbpf.h ] || fail 'libbpf is missing: apt-get install libbpf-dev'
[ -e "$node_include/node_api.h" ] || fail "the headers of Node are missing (looked in \
$node_include): install Node from nodejs.org, nodesource.com or libnode-dev"
major=$("$clang" -dumpversion | cut -d. -f1)
[ "$major" -ge 14 ] || fail "$clang is version $major; 14 or newer is needed"

echo 'build-native: compiling the BPF objects and the addon' >&2
mkdir -p build
# One build at a time: two would write the same files.
exec 9> build/native.lock
flock 9
make -C native -j2 --no-print-directory -s OUT=../build CC=gcc CLANG="$clang" \
  NODE_INCLUDE="$node_include" >&2
echo "$hash" > "$stamp"
