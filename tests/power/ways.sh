# SPDX-License-Identifier: BSD-3-Clause
# One cut of all the ways of ways.c, each on a file system of its own; and of some with a rule of the library switched
# off.
PLAIN="sync persist read-only deep renamed descriptor appended rewritten-sync rewritten-deep rewritten-look
rewritten-looking turns-rewritten turns-cut turns-cut-and-written cut-acknowledged
renamed-above moved-above"
FAST="fast-unsynced fast-punched fast-cut fast-rewritten fast-trusted fast-leased"

# $1: a function that is called with the way, its name, its directory, and the mutation if it is a control
each_way() {
	for fs in ext4 xfs; do
		number=0
		for way in $PLAIN; do
			$1 "$way" "$fs/$way" "/mnt/$fs-$number"
			number=$((number + 1))
		done
		$1 persist "unpublished-$fs/persist" "/mnt/$fs-$number" no-fsync
		$1 rewritten-sync "uncommitted-$fs/rewritten" "/mnt/$fs-$((number + 1))" no-writeback
	done
	# On ext4 the search for fast_commit commits it as well.
	$1 renamed-above pathless/renamed-above "/mnt/$fs-$((number + 2))" no-syncfs
	number=0
	for way in $FAST; do
		$1 "$way" "fast/$way" "/mnt/fast-$number"
		number=$((number + 1))
	done
	$1 fast-punched "believed/punched" "/mnt/fast-$number" believe-fast-commit
	$1 fast-cut "believed/cut" "/mnt/fast-$((number + 1))" believe-fast-commit
}

store() {
	if [ -z "$4" ]; then
		./ways store "$1" "$2" "$3" >&3
	else
		PMDIRECT_MUTATION=$4 ./ways_mutant store "$1" "$2" "$3" control >&3
	fi || echo "$2: the store failed" >&3
}

find_it() { ./ways found "$1" "$2" "$3" >&3; }

before() {
	each_way store
	echo cut >&3
	sleep 1000
}

after() { each_way find_it; }
$1
