#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [BASE] [MODEL.onnx ...]: compiles one corpus with the compiler of the
# commit BASE, HEAD if nothing is said, and with that of the working tree, and
# prints how generated code and estimates differ.
#
# Ends with 1 if there is a difference and a commit since BASE has the trailer
# "Kernels: unchanged"; without that claim a difference is news, not an error.
set -euo pipefail
say() { printf '+ %s\n' "$*" >&2; "$@"; }
base=$(git rev-parse --verify "${1:-HEAD}^{commit}")
if [ $# -gt 0 ]; then shift; fi
work=build/replay
mkdir -p "$work"

models=()
for model in demo_cnn mlp; do
  mkdir -p "$work/models"
  say build/bin/quern-make-model "$model" "$work/models/$model.onnx"
  models+=("$PWD/$work/models/$model.onnx")
done
for model in "$@"; do models+=("$(realpath "$model")"); done

# The tree of BASE, which stays for the next time.
if [ ! -d "$work/base/.git" ] && [ ! -f "$work/base/.git" ]; then
  say git worktree prune
  say git worktree add --force --detach "$work/base" "$base" >&2
fi
say git -C "$work/base" checkout --quiet --detach "$base"
if [ ! -f "$work/base/tests/replay/replay_main.cc" ]; then
  echo "replay: $base is older than quern-replay; name a later commit" >&2
  exit 2
fi
say cmake --preset dev -S "$work/base" -B "$work/base/build" >/dev/null
say cmake --build "$work/base/build" -j "$(nproc)" --target quern-replay >&2

rm -rf "$work/old" "$work/new"
say "$work/base/build/bin/quern-replay" "$work/old" "${models[@]}"
say build/bin/quern-replay "$work/new" "${models[@]}"
if say python3 tests/replay/compare.py "$work/old" "$work/new"; then exit 0; fi
echo "replay: all of it: diff -ru $work/old $work/new"
if git log --format='%(trailers:key=Kernels,valueonly)' "$base..HEAD" |
    grep -qx unchanged; then
  echo "replay: a commit since $base claims \"Kernels: unchanged\"" >&2
  exit 1
fi
