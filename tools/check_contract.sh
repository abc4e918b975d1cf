#!/usr/bin/env bash
# Check the contract: buf's STANDARD lint, no change that breaks the released one, no drift between
# the .proto files and the Python generated from them.
set -euo pipefail
cd "$(dirname "$0")/.."

buf=.venv/bin/buf
"$buf" lint
"$buf" breaking --against proto/released.binpb

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
proto/generate.sh "$fresh"
while read -r -d '' generated; do
    if ! cmp --silent "$fresh/$generated" "$generated"; then
        echo "$generated is not what the .proto files make. Run: make proto" >&2
        exit 1
    fi
done < <(cd "$fresh" && find . -type f -print0)
