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
work=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT
mkdir -p "$work/models/mlp/1"
"$bin/quern-make-model" mlp "$work/models/mlp/1/model.onnx" --seed 7
"$bin/quernd" --model-repository "$work/models" --cache-dir "$work/cache" \
  --grpc-address 127.0.0.1:0 --http-address 127.0.0.1:0 \
  --metrics-address none >"$work/stdout" &
server=$!
until grep -q '^quernd ready' "$work/stdout"; do
  kill -0 "$server"
  sleep 0.1
done
field() { sed -n "s/.* $1=\([^ ]*\).*/\1/p" "$work/stdout"; }
for carrier in grpc http; do
  "$python" "$(dirname "${BASH_SOURCE[0]}")/triton_client_test.py" "$carrier" \
    "$(field "$carrier")" "$work/models/mlp/1/model.onnx"
done
kill -TERM "$server"
wait "$server"
server=
