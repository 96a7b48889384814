#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# environments.sh NAME...: makes, in .venv/NAME, what tests and benchmarks need
# of other projects: triton, python and kserve are Python environments with
# clients, bench is one with the engines that ours is compared with, prometheus
# and grpcurl hold those programs. What is there already is left.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

triton=(numpy==2.4.6 'tritonclient[grpc,http]==2.73.0')
python=(
  grpc-stubs==1.53.0.6 grpcio==1.85.3 grpcio-tools==1.81.1 ml_dtypes==0.5.4
  mypy==2.4.1 numpy==2.4.6 onnx==1.23.2 protobuf==6.33.6 setuptools==80.9.0
  'tritonclient[grpc]==2.73.0' types-protobuf==7.35.1.20260906)
bench=(
  grpcio==1.85.3 grpcio-tools==1.81.1 numpy==2.4.6 onnx==1.23.2
  onnxruntime==1.31.1 openvino==2026.4.1 protobuf==6.33.6)
kserve=(kserve==0.21.0 numpy==2.4.6)
grpcurl=github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.8.9

run() { printf '+ %s\n' "$*" >&2; "$@"; }

# A Python environment in .venv/$1 with the packages that follow.
python_environment() {
  local folder=.venv/$1; shift
  if [ "$(cat "$folder/.packages" 2>/dev/null)" = "$*" ]; then return; fi
  run python3 -m venv "$folder"
  run "$folder/bin/python" -m pip install -q --disable-pip-version-check "$@"
  echo "$*" >"$folder/.packages"
}

# The packages that follow, unpacked in .venv/$1 and not installed: Prometheus
# would be started, and a compiler would be everybody's.
unpacked() {
  local folder=.venv/$1; shift
  if [ -e "$folder/.unpacked" ]; then return; fi
  run mkdir -p "$folder"
  # The lists of packages may be old, or not there.
  if ! (cd "$folder" && run apt-get download -q "$@"); then
    local root=()
    if [ "$(id -u)" != 0 ]; then root=(sudo); fi
    run "${root[@]}" apt-get update -q
    (cd "$folder" && run apt-get download -q "$@")
  fi
  for package in "$folder"/*.deb; do run dpkg-deb -x "$package" "$folder"; done
  rm "$folder"/*.deb
  touch "$folder/.unpacked"
}

# grpcurl is in no package of Debian; where the modules that it is made of
# cannot be had, its test is skipped.
grpcurl_environment() {
  local folder=$PWD/.venv/grpcurl
  if [ -x "$folder/grpcurl" ]; then return; fi
  unpacked go golang-1.19-go golang-1.19-src
  local go=$PWD/.venv/go/usr/lib/go-1.19
  # Debian has the sources elsewhere, behind links to the root.
  run ln -sfn "$PWD/.venv/go/usr/share/go-1.19"/* "$go/" 2>/dev/null || true
  if run env GOROOT="$go" GOBIN="$folder" GOFLAGS=-modcacherw GOTOOLCHAIN=local \
    GOPATH="$PWD/.venv/go/path" "$go/bin/go" install "$grpcurl"
  then
    run rm -rf .venv/go
  else
    echo "environments.sh: grpcurl could not be made" >&2
  fi
}

for name; do
  case $name in
    triton) python_environment triton "${triton[@]}" ;;
    python) python_environment python "${python[@]}" ;;
    bench) python_environment bench "${bench[@]}" ;;
    kserve) python_environment kserve "${kserve[@]}" ;;
    prometheus) unpacked prometheus prometheus ;;
    grpcurl) grpcurl_environment ;;
    *) echo "environments.sh: there is no '$name'" >&2; exit 2 ;;
  esac
done
