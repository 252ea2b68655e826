#!/usr/bin/env bash
# TypeScript, BPF objects with the addon, and the C tools; each only when its inputs changed.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/build-native.sh
make -s -C native/tools
# Sources removed since the last build must not leave their output behind.
# By find: an unpacked archive has no git repository, and a small machine no git.
inputs=$({
  find . \( -name node_modules -o -name 'dist*' -o -name build -o -name '.?*' \) -prune -o -name '*.ts' -print
  printf '%s\n' tsconfig.json package-lock.json
} | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum)
if [ "$(cat dist/.inputs 2>/dev/null || true)" != "$inputs" ]; then
  find dist -name '*.js' -delete 2>/dev/null || true
  rm -f dist/.tsbuildinfo
  node_modules/.bin/tsc -p .
  # npx makes them so only once, and the compiler writes them anew.
  chmod +x dist/src/cli/main.js dist/src/daemon/main.js
  node dist/scripts/compile-validators.js
  printf '%s' "$inputs" > dist/.inputs
fi
