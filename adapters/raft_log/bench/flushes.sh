#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Flushes and written bytes of the device per append, of both raft_io implementations, on a loop device of their own:
# flushes.sh APPENDS [ext4|xfs]. Needs root.
set -eu
appends=$1
fs=${2:-ext4}
work=$(mktemp -d "$PWD/raft-flushes-XXXXXX")
trap 'umount "$work/disk" 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/disk"
echo "file system,storage,bytes,appends,flushes an append,written bytes an append"
for storage in pm uv; do
	for bytes in 64 1024 16384; do
		truncate -s 600M "$work/image"
		mkfs."$fs" -q "$work/image"
		mount -o loop "$work/image" "$work/disk"
		device=$(basename "$(df --output=source "$work/disk" | tail -n 1)")
		mkdir "$work/disk/raft"
		sync -f "$work/disk"
		before=$(cat "/sys/block/$device/stat")
		result=$("$appends" 2 "$work/disk/raft" $bytes 1 $storage)
		after=$(cat "/sys/block/$device/stat")
		umount "$work/disk"
		rm "$work/image"
		echo "$before $after $result" | awk -v fs="$fs" -v storage=$storage -v bytes=$bytes '{
			n = (NF - 3) / 2
			count = $(2 * n + 1)
			printf "%s,%s,%d,%d,%.2f,%d\n", fs, storage, bytes, count, ($(n + 16) - $16) / count,
			       ($(n + 7) - $7) * 512 / count
		}'
	done
done
