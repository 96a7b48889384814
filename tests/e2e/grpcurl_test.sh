#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# grpcurl_test.sh BIN GRPCURL: asks BIN/quernd with the program GRPCURL what it
# serves, by reflection alone, and infers as a person at a shell would. Ends
# with 77 where there is no such program.
set -euo pipefail
bin=$1
grpcurl=$2
if [ ! -x "$grpcurl" ]; then
  echo "[SKIP] there is no $grpcurl"
  exit 77
fi
# shellcheck source=tests/support/daemon.bash
. "$(dirname "${BASH_SOURCE[0]}")/../support/daemon.bash"
mkdir -p "$work/models/mlp/1"
"$bin/quern-make-model" mlp "$work/models/mlp/1/model.onnx" --seed 7
start "$bin" --model-repository "$work/models"
server_at=$(field grpc)

# ask WORD EXPECTED [METHOD] [MESSAGE]: WORD is list, describe or call.
ask() {
  local word=$1 expected=$2; shift 2
  local data=()
  if [ "$word" = call ]; then
    data=(-d "${2:-{\}}")
    set -- "$1"
    word=
  fi
  # shellcheck disable=SC2086  # No word for a call.
  "$grpcurl" -plaintext "${data[@]}" "$server_at" $word "$@" >"$work/answer"
  if ! grep -q -- "$expected" "$work/answer"; then
    echo "$* gave no '$expected' but:" >&2
    cat "$work/answer" >&2
    exit 1
  fi
}

for service in inference.GRPCInferenceService quern.v1.GraphService \
  quern.v1.KernelService; do
  ask list "^$service\$"
  ask describe "is a service" "$service"
done
v2=inference.GRPCInferenceService
ask call '"live": true' $v2/ServerLive
ask call '"ready": true' $v2/ModelReady '{"name": "mlp"}'
ask call '"name": "features"' $v2/ModelMetadata '{"name": "mlp"}'
row=$(printf '0.5,%.0s' $(seq 64))
ask call '"datatype": "FP32"' $v2/ModelInfer '{"model_name": "mlp",
  "inputs": [{"name": "features", "datatype": "FP32", "shape": ["1", "64"],
              "contents": {"fp32_contents": ['"${row%,}"']}}]}'
ask call '"mlp/1"' quern.v1.KernelService/ListKernels
echo "grpcurl: reflection, inference and kernels"
stop
