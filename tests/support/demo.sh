#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# demo.sh BIN: serves a generated convolutional network with BIN/quernd, sends
# it requests with BIN/quern through the API of Triton and with curl over HTTP,
# and shows what the server knows about its kernels. Leaves nothing behind.
set -euo pipefail
bin=$(cd "$1" && pwd)
# shellcheck source=tests/support/daemon.bash
. "$(dirname "${BASH_SOURCE[0]}")/daemon.bash"
run() { printf '\n$ %s\n' "${*/#$bin\//}"; "$@"; }

mkdir -p "$work/models/demo_cnn/1"
run "$bin/quern-make-model" demo_cnn "$work/models/demo_cnn/1/model.onnx" \
  --seed 1

printf '\n$ quernd --model-repository %s\n' "$work/models"
start "$bin" --model-repository "$work/models"
echo "$ready"
address=$(field grpc)
http=$(field http)

run "$bin/quern" --server "$address" run demo_cnn --inputs random
run "$bin/quern" --server "$address" bench demo_cnn --inputs random --runs 200
run "$bin/quern" --server "$address" kernels demo_cnn
run curl -sSf "http://$http/v2/models/demo_cnn"
values=$(printf '0.5,%.0s' $(seq 12288))
cat >"$work/request.json" <<END
{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 3, 64, 64],
             "data": [${values%,}]}]}
END
run curl -sSf "http://$http/v2/models/demo_cnn/infer" \
  --data "@$work/request.json"
echo

stop
printf '\nThe server drained and ended.\n'
