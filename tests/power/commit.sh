# SPDX-License-Identifier: BSD-3-Clause
# pm_commit() on all four file systems, with HOW=live while the power is cut. With HOW=left the library leaves something
# out: on the disks the write-back; on DAX the flag MAP_SYNC, and the write-back of a file with holes.
ALL="ext4-dax xfs-dax ext4-disk xfs-disk"

# $1: a function that is called with the program, what it is to do, the file and its kind
each_live() {
	for fs in $ALL; do
		for kind in prepared plain sparse; do
			$1 ./commit live "$kind-$fs" "$D/$fs/$kind" $kind
		done
	done
	for fs in ext4-disk xfs-disk; do
		$1 ./commit live "beside-$fs" "$D/$fs/beside" beside
		MARK=/tmp/started-$fs PMDIRECT_MUTATION=mark-starts $1 ./commit_mutant live "pair-$fs" "$D/$fs/pair" pair
	done
}

each_left() {
	for fs in ext4-dax xfs-dax; do
		PMDIRECT_MUTATION=no-map-sync $1 ./commit_mutant left "unsynced-$fs" "$D/$fs/unsynced" plain
		PMDIRECT_MUTATION=no-writeback $1 ./commit_mutant left "skipped-$fs" "$D/$fs/skipped" sparse
	done
	for fs in ext4-disk xfs-disk; do
		for kind in prepared plain sparse; do
			PMDIRECT_MUTATION=no-writeback $1 ./commit_mutant left "$kind-skipped-$fs" "$D/$fs/skipped-$kind" $kind
		done
	done
	$1 ./commit live "promised-ext4-disk" "$D/ext4-disk/promised" plain
}

begin() { "$@" >&3 2>&1 & }
look() { ./commit found "$3" "$4" 2>&1 >&3 | sed 's/^/note /' >&3; }

# Without a process of its own. A pattern that nothing matches stays as it is.
count() { [ -e "$1" ] && count=$#; }

# $1: mapped, done or begun; $2: how many
wait_for_all() {
	until count /tmp/$1-* && [ $count -ge $2 ]; do
		sleep 0.1
	done
}

before() {
	# A periodic commit would make up for what is left out.
	for fs in ext4-dax ext4-disk; do
		mount -o remount,commit=300 "$D/$fs"
	done
	each_$HOW begin
	if [ $HOW = left ]; then
		wait_for_all mapped 10
		: >/tmp/go
		wait_for_all done 10
		wait_for_all begun 1
	else
		wait_for_all begun 16
		for fs in ext4-disk xfs-disk; do
			[ -e /tmp/started-$fs ] || echo "pair-$fs: no thread started the write of its own" >&3
		done
	fi
	echo cut >&3
	sleep 1000
}

after() { each_$HOW look; }

$1
