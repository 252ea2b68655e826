#!/usr/bin/env bash
# TypeScript, BPF objects with the addon, and the C tools; each only when its inputs changed.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/build-native.sh
make -s -C native/tools
# Sources removed since the last build must not leave their output behind.
inputs=$(git ls-files --cached --others --exclude-standard -- '*.ts' tsconfig.json package-lock.json 2>/dev/null | LC_ALL=C sort |
  xargs -r -d '\n' sha256sum 2>/dev/null | sha256sum)
if [ "$(cat dist/.inputs 2>/dev/null || true)" != "$inputs" ]; then
  find dist -name '*.js' -delete 2>/dev/null || true
  rm -f dist/.tsbuildinfo
  node_modules/.bin/tsc -p .
  node dist/scripts/compile-validators.js
  printf '%s' "$inputs" > dist/.inputs
fi
