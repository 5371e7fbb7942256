#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Databases that are cut off, full, read-only, or opened by both VFSes.
#   bad.sh BAD EXTENSION [DIRECTORY]
# Without DIRECTORY: in the current one, and with a small file system in a mount namespace if the caller may make one.
set -eu
bad=$1 extension=$2
if [ "${3:-}" != inside ]; then
	directory=$(mktemp -d "${3:-.}/vfs-bad-XXXXXX")
	trap 'rm -rf "$directory"' EXIT
	for what in cut truncated shortened both; do
		"$bad" "$extension" $what "$directory" || { echo "$what failed"; exit 1; }
	done
	if ! unshare -m true 2>/dev/null; then
		echo "skipped: full and read-only, which need a mount namespace"
		exit 0
	fi
	truncate -s 8M "$directory/image"
	unshare -m "$0" "$bad" "$extension" inside "$directory/image"
	exit
fi
mount -t tmpfs -o size=4m none /mnt
"$bad" "$extension" full /mnt
umount /mnt
mount -t tmpfs none /mnt
"$bad" "$extension" prepare /mnt
mount -o remount,ro /mnt
"$bad" "$extension" read-only /mnt
umount /mnt
# Blocks that are smaller than what SQLite's own VFS reserves by one byte.
if mkfs.ext4 -q -b 1024 "$4" 2>/dev/null && mount -o loop "$4" /mnt 2>/dev/null; then
	"$bad" "$extension" index /mnt
	umount /mnt
else
	echo "skipped: the index of the WAL on a full disk, which needs mkfs.ext4 and a loop device"
fi
