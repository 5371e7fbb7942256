#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Three processes write 450 transactions into one database: none fails, none is lost.
#   processes.sh WORK EXTENSION MODE VFS VFS VFS
set -eu
work=$1 extension=$2 mode=$3
shift 3
directory=$(mktemp -d ./vfs-processes-XXXXXX)
trap 'rm -rf "$directory"' EXIT
database=$directory/d.db
pids= number=0
for vfs in "$@"; do
	number=$((number + 1))
	"$work" "$extension" write "$vfs" "$database" "$mode" FULL 150 "writer$number" >"$directory/$number" &
	pids="$pids $!"
done
status=0
for pid in $pids; do
	wait "$pid" || status=1
done
for vfs in unix pmdirect; do
	"$work" "$extension" check $vfs "$database" >"$directory/found" || status=1
	for writer in writer1 writer2 writer3; do
		grep -qx "found $writer 150" "$directory/found" || status=1
	done
done
if [ $status -ne 0 ]; then
	tail -n 2 "$directory"/[123] "$directory/found"
fi
exit $status
