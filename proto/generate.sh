#!/usr/bin/env bash
# Generate the contract's Python into the folder given: proto/ itself, or another to compare with.
# The generators stand in an environment of their own (.venv-proto), because their version fixes the
# oldest grpcio and protobuf that the generated code loads beside: grpcio 1.76.0 and protobuf 6.31.1.
set -euo pipefail

out=${1:?usage: proto/generate.sh FOLDER}
cd "$(dirname "$0")/.."

grpcio_tools=grpcio-tools==1.76.0
mypy_protobuf=mypy-protobuf==5.1.0
if [[ "$(cat .venv-proto/.made-of 2>/dev/null)" != "$grpcio_tools $mypy_protobuf" ]]; then
    "${PYTHON:-python3}" -m venv --clear .venv-proto
    .venv-proto/bin/pip install --quiet --disable-pip-version-check "$grpcio_tools" "$mypy_protobuf"
    echo "$grpcio_tools $mypy_protobuf" > .venv-proto/.made-of
fi

mapfile -t messages < <(find proto -name '*.proto' | sort)
mapfile -t services < <(grep -l '^service ' "${messages[@]}")
protoc() { PATH="$PWD/.venv-proto/bin:$PATH" .venv-proto/bin/python -m grpc_tools.protoc -I proto "$@"; }
protoc --python_out="$out" --pyi_out="$out" "${messages[@]}"
protoc --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" "${services[@]}"
