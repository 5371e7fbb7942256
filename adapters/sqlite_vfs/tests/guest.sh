# SPDX-License-Identifier: BSD-3-Clause
# The VFS on file systems of an emulated machine, by tests/guest/lab.py; LABELS=A,B names them.
extension=$(readlink -f ./pmdirect_vfs.so)
failed=0

# $1: what; the rest: a command
try() {
	what=$1
	shift
	if "$@" >/tmp/said 2>&1; then
		grep ' commits' /tmp/said
		echo "$label: $what: passed, $(cut -d. -f1 /proc/uptime) s"
	else
		tail -n 5 /tmp/said
		echo "$label: $what: FAILED"
		failed=1
	fi
}

# On lines a commit of a prepared database makes no call, checkpoints included.
count_calls() {
	ours=$(./vfs_calls "$extension" pmdirect "$directory/p.db" wal 100) || return 1
	echo "100 commits: $ours calls"
	[ "$ours" -eq 0 ]
}

# A commit must make durable what another process left before it in the log; where writes cannot be watched, each commit.
others_write() {
	./vfs_calls "$extension" foreign "$directory/f.db" || return 1
	./vfs_calls "$(readlink -f ./pmdirect_vfs_mutant.so)" foreign "$directory/f.db" | grep 'makes no call' ||
		{ echo "the rule is switched off, and nothing fails"; return 1; }
	watches=$(cat /proc/sys/fs/inotify/max_user_watches)
	echo 0 >/proc/sys/fs/inotify/max_user_watches
	./vfs_calls "$extension" unwatched "$directory/f.db" || return 1
	echo "$watches" >/proc/sys/fs/inotify/max_user_watches
}

# $1: commits, $2: journal mode, $3: VFS; sets calls, flushes, and bytes, by the counters of the device.
measure() {
	sync
	set -- $(./vfs_calls "$extension" "$3" "$directory/$3-$2.db" "$2" "$1" "$(basename "$device")")
	calls=$1 flushes=$2 bytes=$4
}

# On the page cache not one call and not one flush of the device more than by SQLite's own VFS, and not many more bytes.
# One thread commits, and no timer does, so the counts are those of the calls; but XFS, whose log is small here, writes it
# back now and then, so one of three tries must show it.
compare() {
	for _ in 1 2 3; do
		compare_once "$@" && return
	done
	return 1
}

compare_once() {
	measure "$1" "$2" unix
	most_calls=$calls most=$flushes most_bytes=$((bytes + bytes / 4))
	measure "$1" "$2" pmdirect
	echo "$label, $1 commits, $2: $calls calls, $flushes flushes and $bytes bytes of the device;" \
		"at most $most_calls, $most and $most_bytes"
	[ "$calls" -ge "$1" ] && [ "$calls" -le "$most_calls" ] && [ "$flushes" -ge "$1" ] &&
		[ "$flushes" -le "$most" ] && [ "$bytes" -le "$most_bytes" ]
}

# Hundredths of a second between $1: write-backs, $2: what XFS does with its log; $3: seconds between commits of ext4.
set_timers() {
	echo $1 >/proc/sys/vm/dirty_writeback_centisecs
	echo $2 >/proc/sys/fs/xfs/xfssyncd_centisecs
	case $label in
	ext4-*) mount -o remount,noinit_itable,commit=$3 "/mnt/$label" ;;
	esac
}

# What the device counts is then what the calls caused.
without_timers() {
	set_timers 0 720000 300 && "$@"
	result=$?
	set_timers 500 3000 5 && return $result
}

count_flushes() {
	device=$(awk -v where="/mnt/$label" '$2 == where { print $1 }' /proc/mounts)
	compare 60 wal && compare 15 delete && compare 15 persist && compare 15 truncate || return 1
	export SYNC_TWICE=1
	measure 15 truncate pmdirect
	unset SYNC_TWICE
	[ "$flushes" -gt "$most" ] || { echo "each sync is made twice, and no flush is counted"; return 1; }
	# Cached in large folios, where the file system has them.
	sync
	echo 1 >/proc/sys/vm/drop_caches
	cat "$directory"/*-delete.db >/dev/null
	compare 15 delete
}

three_processes() {
	./vfs_work "$extension" write pmdirect "$directory/m.db" wal full 50 a >/tmp/a & a=$!
	./vfs_work "$extension" write unix "$directory/m.db" wal full 50 b >/tmp/b & b=$!
	./vfs_work "$extension" write pmdirect "$directory/m.db" wal full 50 c >/tmp/c & c=$!
	wait $a && wait $b && wait $c || { tail -n 1 /tmp/a /tmp/b /tmp/c; return 1; }
	for vfs in unix pmdirect; do
		./vfs_work "$extension" check $vfs "$directory/m.db" >/tmp/found && [ "$(grep -c ' 50$' /tmp/found)" -eq 3 ] ||
			{ cat /tmp/found; return 1; }
	done
}

# Less than three MiB are left, and what is kept for root is taken as well.
full() {
	number=0
	for size in 32M 4M 512K; do
		while fallocate -l $size "$directory/most.$number" 2>/dev/null; do
			number=$((number + 1))
		done
		rm -f "$directory/most.$number"
		number=$((number - 1))
		rm "$directory/most.$number"
	done
	for last in 1 2 3 4; do
		rm "$directory/most.$((number - last))"
	done
	df -k "$directory"
	./vfs_bad "$extension" full "$directory" || return 1
	rm "$directory"/most.*
}

read_only() {
	./vfs_bad "$extension" prepare "$directory" && mount -o remount,ro "/mnt/$label" || return 1
	./vfs_bad "$extension" read-only "$directory"
	result=$?
	mount -o remount,rw "/mnt/$label" && return $result
}

for label in $(echo "$LABELS" | tr , ' '); do
	directory=/mnt/$label/sqlite
	mkdir "$directory"
	case $label in
	*-dax)
		try "calls of a commit" count_calls
		try "other processes write" others_write
		;;
	*) try "flushes of the device" without_timers count_flushes ;;
	esac
	try "three processes" three_processes
	try "random SQL" ./vfs_random "$extension" "$directory" 3
	try "cut off" ./vfs_bad "$extension" cut "$directory"
	try "truncated" ./vfs_bad "$extension" truncated "$directory"
	try "both VFSes" ./vfs_bad "$extension" both "$directory"
	try "full" full
	try "read-only" read_only
	rm -rf "$directory"
done
exit $failed
