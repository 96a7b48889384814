# SPDX-License-Identifier: Apache-2.0
#
# For scripts that serve: a folder, $work, that goes away with the script, and a
# quernd that ends with it.

work=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT

# start BIN [FLAG...]: starts BIN/quernd on free ports with a cache of its own
# and waits until it is ready; its line is in $ready. Of a flag that is given
# twice, the last counts.
start() {
  local bin=$1; shift
  "$bin/quernd" --cache-dir "$work/cache" --grpc-address 127.0.0.1:0 \
    --http-address 127.0.0.1:0 --metrics-address 127.0.0.1:0 "$@" \
    >"$work/stdout" 2>"$work/stderr" &
  server=$!
  until ready=$(grep '^quernd ready' "$work/stdout"); do
    if ! kill -0 "$server" 2>/dev/null; then
      echo "quernd ended before it was ready:" >&2
      cat "$work/stderr" >&2
      exit 1
    fi
    sleep 0.1
  done
}

# field NAME: the address of grpc, http or metrics.
field() { sed -n "s/.* $1=\([^ ]*\).*/\1/p" <<<"$ready"; }

# stop: ends it by SIGTERM; that must be a success.
stop() {
  kill -TERM "$server"
  wait "$server"
  server=
}
