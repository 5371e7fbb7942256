#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Threads of one process on one database, in both kinds of journal: threads.sh THREADS EXTENSION SECONDS
set -eu
directory=$(mktemp -d ./vfs-threads-XXXXXX)
trap 'rm -rf "$directory"' EXIT
for mode in wal delete; do
	"$1" "$2" "$directory/$mode.db" $mode "$3"
done
