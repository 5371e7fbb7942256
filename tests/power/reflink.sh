# SPDX-License-Identifier: BSD-3-Clause
# What becomes of a DAX file on XFS that was cloned, with the library's rules and with each switched off.

# On Linux 6.1 a mapping is left with the old blocks by write(2), what write faults allocate of a cloned file shows what
# the blocks held before, and an inode that was ever cloned is not DAX any more when it is loaded again. 6.12 does none
# of it.
case $(uname -r) in
6.1.*) broken=control loaded=cached open=refused ;;
*) broken=promise loaded=direct open=done ;;
esac

new_file() { dd if=/dev/zero of="$D/$1" bs=64k count=1 conv=fsync 2>/dev/null; }
clone() { ./reflink clone "$D/$1" "$D/$1.clone" >&3; }

# $1: direct or cached; $2: the file; $3: since when
look() {
	echo "note $2 $3:" >&3
	./reflink look "$1" "$2" "$D/$2" >&3
}

mount_again() {
	sync
	node=$(awk -v at="$D" '$2 == at { print $1 }' /proc/mounts)
	umount "$D" && mount -t xfs -o dax=always "$node" "$D" || echo "cannot mount $node again" >&3
}

write_and_unshare() {
	./reflink write promise write "$D/write" >&3
	PMDIRECT_MUTATION=hide-shared ./reflink_mutant write $broken write-unruled "$D/write-unruled" >&3
	./reflink unshare promise faults "$D/faults" >&3
	# A promise as well: both kernels copy on the medium, see pm_durability(7).
	PMDIRECT_MUTATION=unshare-by-fallocate ./reflink_mutant unshare promise fallocate "$D/fallocate" >&3
}

# The memory of an inode whose file was mapped is not given back by this; the clone never was.
drop_inodes() {
	for time in 1 2 3; do drop_caches; done
	look $loaded dropped.clone 'when dropped from memory'
}

load_anew() {
	new_file file
	new_file dropped
	look direct file 'when new'
	clone file
	look direct file 'when cloned'
	clone file
	clone dropped
	drop_inodes
	mount_again
	look $loaded file 'when mounted again'
	# Apart, yet marked as cloned; the call removes the mark.
	look $loaded faults 'when mounted again'
	look direct fallocate 'when mounted again'
	rm "$D/file.clone"
	dd if="$D/file" of="$D/copy" bs=64k 2>/dev/null
	xfs_io -c 'funshare 0 64k' "$D/faults" || echo 'funshare failed' >&3
	mount_again
	look $loaded file 'when its clone is gone'
	look direct faults 'when unshared by fallocate(2)'
	look direct copy 'made by read(2) and write(2)'
}

# $1: the program; $2: how; $3: verb; $4: group
grow_one() {
	./reflink soil "$D/soil" >&3
	"$1" grow "$2" "$3" "$4/$2" "$D/$4-$2" >&3
}

# Which of these get such a block is the allocator's to say: one control that is lost will do.
grow() {
	for how in map resize hole left; do
		PMDIRECT_MUTATION=believe-faults grow_one ./reflink_mutant $how $broken unruled
		grow_one ./reflink $how promise grown
	done
	./reflink open $open grown-open "$D/grown-open" >&3
}

before() {
	grow
	write_and_unshare
	load_anew
	echo cut >&3
	sleep 1000
}

after() {
	for name in write write-unruled faults fallocate file dropped.clone copy grown-open; do
		./reflink found $name "$D/$name" >&3
	done
	for how in map resize hole left; do
		./reflink found grown/$how "$D/grown-$how" >&3
		./reflink found unruled/$how "$D/unruled-$how" >&3
	done
}

$1
