#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# kserve_client_test.sh BIN ENVIRONMENT: serves a model with BIN/quernd and
# speaks to it with the clients of KServe's SDK in a Python environment. Ends
# with 77 where there is no such environment.
set -euo pipefail
bin=$1
python=$2/bin/python
if ! "$python" -c 'import kserve' 2>/dev/null; then
  echo "[SKIP] there is no kserve in $2"
  exit 77
fi
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=tests/support/daemon.bash
. "$here/../support/daemon.bash"
mkdir -p "$work/models/mlp/1"
"$bin/quern-make-model" mlp "$work/models/mlp/1/model.onnx" --seed 7
start "$bin" --model-repository "$work/models" --model-control-mode explicit \
  --load-model mlp
"$python" "$here/kserve_client_test.py" "$(field grpc)" "$(field http)"
stop
