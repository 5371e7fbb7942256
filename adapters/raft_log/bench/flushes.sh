#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Flushes and written bytes of the device per append, of both raft_io implementations, on a loop device of their own:
# flushes.sh APPENDS [ext4|xfs]... Needs root. Sixteen at a time fill two segments, so that the zeros of the segments
# after them, which ours writes in advance, are in the bytes.
set -eu
appends=$1
shift
[ $# -gt 0 ] || set -- ext4 xfs
work=$(mktemp -d "$PWD/raft-flushes-XXXXXX")
trap 'umount "$work/disk" 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/disk"
echo "file system,storage,bytes,appends at a time,appends,flushes an append,written bytes an append"
for fs in "$@"; do
	for storage in pm uv; do
		for bytes in 64 1024 16384; do
			for depth in 1 16; do
				count=500
				[ $depth -eq 1 ] || count=$((16800000 / (bytes + 40)))
				truncate -s 600M "$work/image"
				mkfs."$fs" -q "$work/image"
				mount -o loop "$work/image" "$work/disk"
				device=$(basename "$(df --output=source "$work/disk" | tail -n 1)")
				mkdir "$work/disk/raft"
				sync -f "$work/disk"
				"$appends" "=$count" "$work/disk/raft" $bytes $depth $storage "$device" |
					awk -v row="$fs,$storage,$bytes,$depth" '{
						printf "%s,%d,%.3f,%d\n", row, $1, $4 / $1, $6 / $1
					}'
				umount "$work/disk"
				rm "$work/image"
			done
		done
	done
done
