#!/usr/bin/env bash
# Everything that can be judged without running a packet: types (done by the build), lint and format,
# generated files, tidiness of the house.
set -euo pipefail
cd "$(dirname "$0")/.."
node_modules/.bin/biome check .
node dist/scripts/generate-abi.js --check
node dist/scripts/generate-records.js --check
node dist/scripts/generate-topology-schema.js --check
node dist/scripts/generate-docs.js --check
node dist/test/tidy.test.js | tail -n 5
echo 'check: ok'
