#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# triton_client_test.sh BIN ENVIRONMENT: serves a model with BIN/quernd and
# speaks to it with the tritonclient of a Python environment, over gRPC and over
# HTTP. Ends with 77 where there is no such environment.
set -euo pipefail
bin=$1
python=$2/bin/python
if ! "$python" -c 'import tritonclient.grpc, tritonclient.http' 2>/dev/null
then
  echo "[SKIP] there is no tritonclient in $2"
  exit 77
fi
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=tests/support/daemon.bash
. "$here/../support/daemon.bash"
mkdir -p "$work/models/mlp/1"
"$bin/quern-make-model" mlp "$work/models/mlp/1/model.onnx" --seed 7
start "$bin" --model-repository "$work/models"
for carrier in grpc http; do
  "$python" "$here/triton_client_test.py" "$carrier" "$(field "$carrier")" \
    "$work/models/mlp/1/model.onnx"
done
stop
