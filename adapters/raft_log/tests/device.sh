#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What appends cost the device, by its own counters: device.sh APPENDS. Needs root and a loop device; else it skips.
#
# Of one append at a time each takes one flush, of sixteen all share one, and libraft's own takes no fewer. A small append
# writes at most 16 KiB, also to a log that was read from the medium before: a kernel with large folios would write
# more, if recovery had the kernel read ahead.
set -u
appends=$(realpath "$1")
work=$(mktemp -d "$PWD/raft-device-XXXXXX") || exit 1
mounted=
finish() {
	[ -z "$mounted" ] || umount "$work/disk"
	rm -rf "$work"
}
trap finish EXIT
mkdir "$work/disk"

# $1: storage, $2: bytes, $3: at a time, $4: directory, $5: how many; sets flushes and bytes to those of 1000 appends.
measure() {
	mkdir -p "$work/disk/$4"
	sync -f "$work/disk"
	result=$("$appends" "=$5" "$work/disk/$4" "$2" "$3" "$1" "$device") || exit 1
	# shellcheck disable=SC2086 # words
	set -- "$1" "$2" "$3" $result
	flushes=$(($7 * 1000 / $4)) bytes=$((${9} * 1000 / $4))
	echo "$kind, $1, $2 bytes, $3 at a time: $4 appends; of 1000: $flushes flushes, $bytes bytes"
}

# $1: what, $2: is at most, $3
at_most() {
	[ "$2" -le "$3" ] || { echo "$kind: $1: $2, more than $3"; exit 1; }
}

try_all() {
	for depth in 1 16; do
		for size in 64 4096; do
			measure pm $size $depth "pm-$size-$depth" $((50 * depth))
			ours=$flushes
			measure uv $size $depth "uv-$size-$depth" $((50 * depth))
			at_most "flushes, libraft's own has $flushes" "$ours" $((flushes + 10))
			at_most "flushes" "$ours" $((1000 / depth + 20))
		done
	done
	measure pm 64000 16 again 50
	measure pm 64 1 again 50
	at_most "bytes after a start" "$bytes" 16384000
}

for kind in ext4 xfs; do
	truncate -s 400M "$work/image"
	mkfs.$kind -q "$work/image" 2>/dev/null && mount -o loop "$work/image" "$work/disk" 2>/dev/null || continue
	mounted=$kind
	device=$(basename "$(df --output=source "$work/disk" | tail -n 1)")
	try_all
	umount "$work/disk"
	rm "$work/image"
done
[ -n "$mounted" ] || { echo "no file system can be mounted here"; exit 77; }
mounted=
