#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The demo shows a leader, and what it made is there at the next start: test_demo.sh DEMO SERVER
set -u
directory=$(mktemp -d "$PWD/raft-demo-XXXXXX") || exit 1
trap 'rm -rf "$directory"' EXIT
run() { python3 -B "$1" "$2" --directory "$directory/servers" --seconds "$3" segment=65536 >"$directory/out" || exit 1; }

run "$1" "$2" 4
grep -q ' leader ' "$directory/out" && grep -q ' follower ' "$directory/out" && grep -q '^stopped' "$directory/out" || {
	cat "$directory/out"
	exit 1
}
first=$(grep -o '[0-9]* values' "$directory/out" | tail -n 1 | cut -d' ' -f1)
run "$1" "$2" 3
last=$(awk '$3 == "leader" && NF == 8 { commit = $5 } END { print commit + 0 }' "$directory/out")
[ "$first" -gt 0 ] && [ "$last" -gt "$first" ] || {
	echo "$first values in the first run, commit index $last in the second"
	cat "$directory/out"
	exit 1
}
! pgrep -f "$directory" >/dev/null || { echo "a server is left"; exit 1; }
