#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# On the page cache a commit takes no more flushes than one of SQLite's own VFS, and a flush that failed is not forgotten.
#   calls.sh CALLS EXTENSION
set -eu
directory=$(mktemp -d ./vfs-calls-XXXXXX)
trap 'rm -rf "$directory"' EXIT
"$1" "$2" fails "$directory/fails"
for mode in wal delete persist truncate; do
	commits=25
	[ $mode != wal ] || commits=120
	for vfs in unix pmdirect; do
		calls=$("$1" "$2" $vfs "$directory/$vfs-$mode.db" $mode $commits)
		echo "$mode, $commits commits, $vfs: $calls calls"
		eval "$vfs=$calls"
	done
	# shellcheck disable=SC2154 # set by eval
	[ "$pmdirect" -le "$unix" ] && [ "$pmdirect" -ge $commits ] || exit 1
done
