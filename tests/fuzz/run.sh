#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [N]: compares N random graphs, 200 if nothing is said, with the
# interpreter.
#
# run.sh NAME [--seconds N]: looks for bytes that the surface NAME does not
# bear. Begins with its seeds, with what once went wrong, and with what earlier
# runs found; builds with the preset fuzz. Prints how to see a failure again.
set -euo pipefail
say() { printf '+ %s\n' "$*" >&2; "$@"; }
name=${1:-200}
if [[ $name =~ ^[0-9]+$ ]]; then
  say ./dev build dev
  say exec build/bin/quern-fuzz --graphs "$name"
fi
shift
seconds=60
if [ "${1:-}" = --seconds ] && [ $# = 2 ]; then seconds=$2; shift 2; fi
if [ $# -gt 0 ]; then echo "fuzz: expected NAME [--seconds N]" >&2; exit 2; fi
if [ ! -f "tests/fuzz/wire/${name}_surface.cc" ]; then
  surfaces=(tests/fuzz/wire/*_surface.cc)
  surfaces=("${surfaces[@]##*/}")
  echo "fuzz: expected a number or one of ${surfaces[*]%_surface.cc}" >&2
  exit 2
fi
say cmake --preset fuzz >/dev/null
say cmake --build --preset fuzz -j "$(nproc)" --target "fuzz-$name"
program=build/fuzz/bin/fuzz-$name
work=build/fuzz/corpus/$name
mkdir -p "$work/found" "$work/failures"
say "$program" "--seeds=$work/seeds"
folders=("$work/found" "$work/seeds")
if [ -d "tests/fuzz/regressions/$name" ]; then
  folders+=("tests/fuzz/regressions/$name")
fi
if ! say "$program" "${folders[@]}" -max_total_time="$seconds" \
    -max_len=4096 -timeout=20 -malloc_limit_mb=512 -rss_limit_mb=2048 \
    -artifact_prefix="$work/failures/" -print_final_stats=1 -verbosity=1; then
  # The newest.
  failure=$(find "$work/failures" -type f -printf '%T@ %f\n' | sort -n |
    tail -n 1 | cut -d' ' -f2)
  cat >&2 <<EOF
fuzz: to see it again: $program $work/failures/$failure
fuzz: to keep it, once it is mended: a small copy into
  tests/fuzz/regressions/$name; fuzz_wire_test reads what lies there
EOF
  exit 1
fi
