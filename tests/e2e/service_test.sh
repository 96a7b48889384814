#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# service_test.sh BIN: asks systemd whether the unit in deploy/systemd is right
# and strict, and serves with the configuration beside it. Ends with 77 where
# systemd is not installed.
set -euo pipefail
bin=$(cd "$1" && pwd)
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../deploy/systemd" && pwd)
if ! command -v systemd-analyze >/dev/null; then
  echo "[SKIP] there is no systemd-analyze"
  exit 77
fi
# shellcheck source=tests/support/daemon.bash
. "$(dirname "${BASH_SOURCE[0]}")/../support/daemon.bash"

# It wants the program to exist, which is installed elsewhere.
sed "s|/usr/bin/quernd|$bin/quernd|" "$folder/quernd.service" \
  >"$work/quernd.service"
systemd-analyze verify "$work/quernd.service"
# From 0, no exposure, to 100.
systemd-analyze security --offline=true --threshold=20 \
  "$work/quernd.service" | tail -n 1

mkdir "$work/models"
start "$bin" --config "$folder/quernd.conf" --model-repository "$work/models"
echo "$ready"
# W^X: no page of it may be written and executed, as the unit says.
if grep -E '^[^ ]+ .wx' "/proc/$server/maps"; then
  echo "quernd has pages that are writable and executable" >&2
  exit 1
fi
stop
