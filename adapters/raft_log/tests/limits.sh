#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A full disk and a read-only one: limits.sh PROGRAM. Needs root and a loop device, or at least a tmpfs; else it skips.
set -u
program=$(realpath "$1")
work=$(mktemp -d "$PWD/raft-limits-XXXXXX") || exit 1
mounted=
finish() {
	[ -z "$mounted" ] || umount "$work/disk"
	rm -rf "$work"
}
trap finish EXIT
mkdir "$work/disk"
truncate -s 4M "$work/image"
if mkfs.ext4 -q -O ^has_journal "$work/image" 2>/dev/null && mount -o loop "$work/image" "$work/disk" 2>/dev/null; then
	kind=ext4
	# Segments of 64 KiB: about a dozen fit.
	free=$(df -k --output=avail "$work/disk" | tail -n 1)
	dd if=/dev/zero of="$work/disk/ballast" bs=1k count=$((free - 900)) 2>/dev/null
elif mount -t tmpfs -o size=900k none "$work/disk" 2>/dev/null; then
	kind=tmpfs
else
	echo "no file system can be mounted here"
	exit 77
fi
mounted=1
echo "on $kind"
"$program" "$work/disk/raft" full || exit 1
rm -rf "$work/disk/raft"
dd if=/dev/zero of="$work/disk/more" bs=4k 2>/dev/null
truncate -s -40K "$work/disk/more"
"$program" "$work/disk/raft" no_room || exit 1
rm -rf "$work/disk/more" "$work/disk/raft"
"$program" "$work/disk/raft" metadata || exit 1
mount -o remount,ro "$work/disk" || exit 77
"$program" "$work/disk/raft" read_only || exit 1
find "$work/disk/raft" -type f -exec sha256sum {} + >"$work/sums"
"$program" "$work/disk/raft" read_only && sha256sum --quiet -c "$work/sums"
