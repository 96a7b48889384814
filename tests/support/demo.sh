#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# demo.sh BIN: serves a generated convolutional network with BIN/quernd, sends
# it requests with BIN/quern through the API of Triton and with curl over HTTP,
# and shows what the server knows about its kernels. Leaves nothing behind.
set -euo pipefail
bin=$(cd "$1" && pwd)
work=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT
run() { printf '\n$ %s\n' "${*/#$bin\//}"; "$@"; }

mkdir -p "$work/models/demo_cnn/1"
run "$bin/quern-make-model" demo_cnn "$work/models/demo_cnn/1/model.onnx" \
  --seed 1

printf '\n$ quernd --model-repository %s\n' "$work/models"
"$bin/quernd" --model-repository "$work/models" --cache-dir "$work/cache" \
  --grpc-address 127.0.0.1:0 --http-address 127.0.0.1:0 \
  --metrics-address 127.0.0.1:0 >"$work/stdout" 2>"$work/stderr" &
server=$!
until grep -q '^quernd ready' "$work/stdout"; do
  if ! kill -0 "$server" 2>/dev/null; then
    echo "quernd ended before it was ready:" >&2
    cat "$work/stderr" >&2
    exit 1
  fi
  sleep 0.1
done
cat "$work/stdout"
field() { sed -n "s/.* $1=\([^ ]*\).*/\1/p" "$work/stdout"; }
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

kill -TERM "$server"
wait "$server"
server=
printf '\nThe server drained and ended.\n'
