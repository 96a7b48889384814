#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh [--test] [--base IMAGE]: builds the image localhost/quern from this
# tree and packs it into build/quern-image.tar.gz, for docker load and podman
# load; with --test, serves a model from it. IMAGE is a Debian 12 to build in,
# for machines without a registry. Two builds of one commit on one state of
# Debian's archive are equal.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=deploy/container
image=localhost/quern
archive=build/quern-image.tar
run() { printf '+ %s\n' "$*" >&2; "$@"; }

arguments=(-f "$folder/Containerfile" -t "$image")
test=
while [ $# -gt 0 ]; do
  case $1 in
    --test) test=1; shift ;;
    --base) arguments+=(--build-arg "BASE=${2:?--base: which image?}"); shift 2 ;;
    *) echo "build.sh: unknown: $1" >&2; exit 2 ;;
  esac
done
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

mkdir -p build
rm -f "$archive" "$archive.gz"
if command -v buildah >/dev/null; then
  # chroot is the isolation that needs no privileges and works in a container;
  # only the format of docker has health checks.
  run buildah bud --isolation chroot --format docker \
    --timestamp "$SOURCE_DATE_EPOCH" \
    --ignorefile "$folder/Containerfile.dockerignore" "${arguments[@]}" .
  run buildah push "$image" "docker-archive:$archive:quern:latest"
elif docker version >/dev/null 2>&1; then
  run docker build --build-arg SOURCE_DATE_EPOCH "${arguments[@]}" .
  run docker save -o "$archive" "$image"
else
  echo "build.sh: neither buildah nor a running docker is here" >&2
  exit 77
fi
run gzip -n "$archive"
echo "$archive.gz: $(($(stat -c %s "$archive.gz") / 1000000)) MB compressed"

if [ -n "$test" ]; then
  run cmake --preset dev
  run cmake --build --preset dev --target quern quern-make-model
  run tests/e2e/container_test.sh build/bin "$image"
fi
