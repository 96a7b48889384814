#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# python_client_test.sh BIN ENVIRONMENT: builds and installs the Python client
# with the packages of a Python environment, checks its types, and runs its
# tests against BIN/quernd. Ends with 77 where there is no such environment.
set -euo pipefail
bin=$1
python=$2/bin/python
if ! "$python" -c 'import grpc_tools, mypy, tritonclient.grpc' 2>/dev/null; then
  echo "[SKIP] there are no grpcio-tools, mypy and tritonclient in $2"
  exit 77
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A copy, because a build leaves files beside its sources.
mkdir -p "$work/clients"
cp -r "$root/proto" "$work"
cp -r "$root/clients/python" "$work/clients"
"$python" -m pip install -q --no-deps --no-build-isolation --no-index \
  --disable-pip-version-check --target "$work/site" "$work/clients/python"
(cd "$work/site" && "$python" -m mypy --no-incremental \
  --config-file "$work/clients/python/pyproject.toml" -p quern)
(cd "$work/site" && "$python" -m mypy --no-incremental --strict \
  "$work/clients/python/tests/typed_use.py")
cd "$work/clients/python/tests"
PYTHONPATH=$work/site QUERN_BIN=$bin "$python" -m unittest discover
