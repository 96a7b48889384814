#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh BIN ENVIRONMENT [NAME] [FLAGS]: runs one harness of this folder, or
# all, with the Python of an environment. Ends with 77 where that has not the
# packages.
set -euo pipefail
folder=$(dirname "${BASH_SOURCE[0]}")
bin=$1 python=$2/bin/python
shift 2
names=(drain reload hostile isolation)
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
  if [[ " ${names[*]} " != *" $1 "* ]]; then
    echo "soak: expected one of ${names[*]}, got $1" >&2
    exit 2
  fi
  names=("$1")
  shift
fi
if ! "$python" -c 'import onnx, tritonclient.grpc' 2>/dev/null; then
  echo "[SKIP] there is no tritonclient or onnx in ${python%/bin/python}"
  exit 77
fi
for name in "${names[@]}"; do
  "$python" "$folder/$name.py" "$bin" "$@"
done
