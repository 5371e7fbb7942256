# SPDX-License-Identifier: BSD-3-Clause
# The VFS on file systems of an emulated machine, by tests/guest/lab.py; LABELS=A,B names them.
extension=$(readlink -f ./pmdirect_vfs.so)
failed=0

# $1: what; the rest: a command
try() {
	what=$1
	shift
	if "$@" >/tmp/said 2>&1; then
		grep '^100 commits' /tmp/said
		echo "$label: $what: passed, $(cut -d. -f1 /proc/uptime) s"
	else
		tail -n 5 /tmp/said
		echo "$label: $what: FAILED"
		failed=1
	fi
}

# On lines a commit of a prepared database makes no call; on the page cache not more than SQLite's own VFS.
count_calls() {
	unix=$(./vfs_calls "$extension" unix "$directory/u.db" wal 100) &&
		ours=$(./vfs_calls "$extension" pmdirect "$directory/p.db" wal 100) || return 1
	echo "100 commits: unix $unix, pmdirect $ours calls"
	case $label in *-dax) [ "$ours" -eq 0 ] ;; *) [ "$ours" -le "$unix" ] && [ "$ours" -ge 100 ] ;; esac
}

three_processes() {
	./vfs_work "$extension" write pmdirect "$directory/m.db" wal full 50 a >/dev/null & a=$!
	./vfs_work "$extension" write unix "$directory/m.db" wal full 50 b >/dev/null & b=$!
	./vfs_work "$extension" write pmdirect "$directory/m.db" wal full 50 c >/dev/null & c=$!
	wait $a && wait $b && wait $c || return 1
	for vfs in unix pmdirect; do
		./vfs_work "$extension" check $vfs "$directory/m.db" >/tmp/found || return 1
		[ "$(grep -c ' 50$' /tmp/found)" -eq 3 ] || return 1
	done
}

# All but a few MiB is taken, what is kept for root as well.
full() {
	number=0
	while fallocate -l 4M "$directory/most.$number" 2>/dev/null; do
		number=$((number + 1))
	done
	rm -f "$directory/most.$number" "$directory/most.$((number - 1))"
	./vfs_bad "$extension" full "$directory" || return 1
	rm "$directory"/most.*
}

for label in $(echo "$LABELS" | tr , ' '); do
	directory=/mnt/$label/sqlite
	mkdir "$directory"
	try "calls of a commit" count_calls
	try "three processes" three_processes
	try "random SQL" ./vfs_random "$extension" "$directory" 3
	try "cut off" ./vfs_bad "$extension" cut "$directory"
	try "truncated" ./vfs_bad "$extension" truncated "$directory"
	try "both VFSes" ./vfs_bad "$extension" both "$directory"
	try "full" full
	rm -rf "$directory"
done
exit $failed
