#!/bin/sh
# Makes the table beside the samples of an architecture anew: make_tables.sh ARCH DEBUG_ROOT
# DEBUG_ROOT is an unpacked -dbg package of the kernel that README.md names. The table holds the functions that the logs
# name, of the kernel and its modules.
set -eu
folder=$(dirname "$0")/$1
release=$(ls "$2/usr/lib/debug/lib/modules")
set -- "$folder" "$2/usr/lib/debug/boot/vmlinux-$release" "$2/usr/lib/debug/lib/modules"
folder=$1; shift
for log in "$folder"/*.log; do
    set -- "$@" --only-frames "$log"
done
exec lineinfo build "$@" -o "$folder/$release.lineinfo"
