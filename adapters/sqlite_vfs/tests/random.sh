#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Random SQL through both VFSes, and what SQLite's own tools say of the outcome.
#   random.sh RANDOM EXTENSION SECONDS [SEED]
set -eu
directory=$(mktemp -d ./vfs-random-XXXXXX)
trap 'rm -rf "$directory"' EXIT
"$1" "$2" "$directory" "$3" ${4:+"$4"}
if command -v sqldiff >/dev/null; then
	differences=$(sqldiff "$directory/random-unix.db" "$directory/random-pmdirect.db")
	[ -z "$differences" ] || { echo "$differences" | head; exit 1; }
	echo "sqldiff: no difference"
fi
