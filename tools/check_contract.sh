#!/usr/bin/env bash
# Check the contract: buf's STANDARD lint, no change that breaks the released one, no drift between
# the .proto files and the generated Python beside them.
set -euo pipefail
cd "$(dirname "$0")/.."

buf=.venv/bin/buf
"$buf" lint
"$buf" breaking --against proto/released.binpb

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
proto/generate.sh "$fresh"
if ! diff --recursive --brief --exclude='*.proto' --exclude=__init__.py --exclude=__pycache__ \
    --exclude=py.typed "$fresh/finesieve" proto/finesieve; then
    echo "The generated code is not what the .proto files make. Run: make proto" >&2
    exit 1
fi
