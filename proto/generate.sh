#!/usr/bin/env bash
# Generate all Python that protocols make: the contract's, and that of the clients' conformance
# suite; into the tree given: this repository, or an empty folder to compare with.
# The generators stand in an environment of their own (.venv-proto), because their version fixes the
# oldest grpcio and protobuf that the generated code loads beside: grpcio 1.76.0 and protobuf 6.31.1.
set -euo pipefail

tree=$(realpath "${1:?usage: proto/generate.sh TREE}")
cd "$(dirname "$0")/.."

grpcio_tools=grpcio-tools==1.76.0
mypy_protobuf=mypy-protobuf==5.1.0
if [[ "$(cat .venv-proto/.made-of 2>/dev/null)" != "$grpcio_tools $mypy_protobuf" ]]; then
    "${PYTHON:-python3}" -m venv --clear .venv-proto
    .venv-proto/bin/pip install --quiet --disable-pip-version-check "$grpcio_tools" "$mypy_protobuf"
    echo "$grpcio_tools $mypy_protobuf" > .venv-proto/.made-of
fi
protoc() { PATH="$PWD/.venv-proto/bin:$PATH" .venv-proto/bin/python -m grpc_tools.protoc "$@"; }

out=$tree/proto
mapfile -t messages < <(find proto -name '*.proto' | sort)
mapfile -t services < <(grep -l '^service ' "${messages[@]}")
mkdir -p "$out"
protoc -I proto --python_out="$out" --pyi_out="$out" "${messages[@]}"
protoc -I proto --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" "${services[@]}"

# Beside the suite, and not by its package: `finesieve` is the contract's alone.
out=$tree/clients/conformance
mkdir -p "$out"
protoc -I clients/conformance/proto/finesieve/conformance/v1 --python_out="$out" --pyi_out="$out" \
    conformance.proto
