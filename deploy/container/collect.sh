#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# collect.sh ROOT PROGRAM...: makes the root of an image that holds the programs
# in /usr/bin, stripped, and every library that they load. For each package that
# a library comes from, the image has the licence and the entry of dpkg, where
# scanners for known weaknesses look. Runs on Debian, as root.
set -euo pipefail
root=$1
shift

# Where the library $1 lies once /lib is /usr/lib.
place_of() { echo "$(realpath "$(dirname "$1")")/$(basename "$1")"; }

# The package that library $1 comes from; the lists of dpkg may name it under
# /lib or under /usr/lib.
package_of() {
  local file
  file=$(place_of "$(realpath "$1")")
  dpkg-query -S "$file" 2>/dev/null || dpkg-query -S "${file#/usr}"
}

mkdir -p "$root"/{dev,etc,models,proc,run,sys,tmp} \
  "$root"/usr/{bin,lib,lib64,share/doc} \
  "$root"/var/lib/dpkg/status.d
chmod 1777 "$root/tmp"
ln -s usr/bin "$root/bin"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"
cp /usr/lib/os-release "$root/etc/os-release"
echo 'root:x:0:0::/:/nologin' >"$root/etc/passwd"
echo 'quern:x:65532:65532::/var/cache/quern:/nologin' >>"$root/etc/passwd"
printf 'root:x:0:\nquern:x:65532:\n' >"$root/etc/group"

install -s -t "$root/usr/bin" "$@"
ldd "$@" | sed -nE 's/^\t(.* => )?(\/[^ ]+) .*/\2/p' | sort -u |
  while read -r library; do
    install -D -m 755 "$library" "$root$(place_of "$library")"
    package_of "$library"
  done | sed 's/:.*//' | sort -u | while read -r package; do
    mkdir "$root/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
  done
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
