#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# container_test.sh BIN IMAGE: serves a model from the image as strictly as a
# cluster would (read-only, no capabilities, no new privileges, a user without
# name), infers through it with BIN/quern, and ends it by SIGTERM. Ends with 77
# where neither podman nor docker can run a container.
set -euo pipefail
bin=$1
image=$2
skip() { echo "[SKIP] $*"; exit 77; }

if command -v podman >/dev/null; then
  engine=(podman)
  # crun does not know the control groups of every machine.
  command -v runc >/dev/null && engine+=(--runtime runc)
  # Limits below those of this shell: raising them needs a privilege.
  flags=(--ulimit nofile=1024:1024 --ulimit nproc=1024:1024)
elif docker version >/dev/null 2>&1; then
  engine=(docker)
  flags=()
else
  skip "neither podman nor a running docker is here"
fi
flags+=(--read-only --cap-drop all --security-opt no-new-privileges)

name=quern-test-$$
work=$(mktemp -d)
finish() {
  "${engine[@]}" rm -fv "$name" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT
"${engine[@]}" image inspect "$image" >/dev/null 2>&1 ||
  skip "there is no image $image; ./dev image makes it"
"${engine[@]}" run --rm --no-healthcheck --network host "${flags[@]}" \
  "$image" --version || skip "${engine[0]} cannot run a container here"
mkdir -p "$work/models/mlp/1"
"$bin/quern-make-model" mlp "$work/models/mlp/1/model.onnx"
chmod -R a+rX "$work"

# serve [FLAG...] [-- ARGUMENT...]: starts the container; `ready` is its line.
serve() {
  local more=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do more+=("$1"); shift; done
  if [ $# -gt 0 ]; then shift; fi
  # Without systemd, podman complains that nobody will ask for the health.
  "${engine[@]}" run -d --name "$name" "${flags[@]}" \
    -v "$work/models:/models:ro" "${more[@]}" "$image" "$@" \
    >/dev/null 2>"$work/stderr" || { cat "$work/stderr" >&2; exit 1; }
  for _ in $(seq 300); do
    ready=$("${engine[@]}" logs "$name" 2>/dev/null | grep '^quernd ready' ||
      true)
    if [ -n "$ready" ]; then echo "$ready"; return; fi
    sleep 0.1
  done
  "${engine[@]}" logs "$name" >&2
  echo "quernd did not get ready" >&2
  exit 1
}

# stop: ends the container by SIGTERM, and sees that this is a success.
stop() {
  local code
  "${engine[@]}" kill --signal TERM "$name" >/dev/null
  code=$("${engine[@]}" wait "$name")
  echo "quernd ended with $code after SIGTERM"
  [ "$code" = 0 ]
  "${engine[@]}" rm -v "$name" >/dev/null 2>&1
}

field() { sed -n "s/.* $1=\([^ ]*\).*/\1/p" <<<"$ready"; }

# From outside, on free ports: of two addresses the last counts.
serve --network host -- --model-repository=/models \
  --grpc-address=127.0.0.1:0 --http-address=127.0.0.1:0 \
  --metrics-address=127.0.0.1:0
"$bin/quern" --server "$(field grpc)" run mlp --inputs random
# get NAME PATH: what the address NAME answers.
get() {
  local address
  address=$(field "$1")
  exec 3<>"/dev/tcp/${address%:*}/${address#*:}"
  printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3
  cat <&3
}
get http /v2/models/mlp/ready | grep -F '200 OK'
# The volume takes compiled kernels though the root is read-only.
get metrics /metrics |
  grep -E '^quern_compile_cache_bytes\{tier="disk"\} [1-9]'
stop

# As it comes, with a loopback of its own: the health check finds it.
serve --network none
if [ "${engine[0]}" = podman ]; then
  "${engine[@]}" healthcheck run "$name"
else
  until [ "$(docker inspect -f '{{.State.Health.Status}}' "$name")" = healthy ]
  do sleep 1; done
fi
echo "the health check succeeds"
stop
