# SPDX-License-Identifier: BSD-3-Clause
# Disks with volatile caches, and what a cut leaves of what was acknowledged: a disk for each place.

# $1: a function that is called with the place, its disk, what is to be expected of it, and its parts: the file system,
# and how it is mounted and switched
each_place() {
	letter=a
	while read -r place expected parts; do
		disk=/dev/vd$letter
		$1 "$place" "$disk" "$expected" $parts </dev/null
		letter=$(echo $letter | tr a-y b-z)
	done <<-END
		ext4 flushed ext4
		xfs flushed xfs
		btrfs flushed btrfs
		no-journal flushed no-journal
		device flushed device
		dm flushed ext4 dm
		loop flushed ext4 loop
		ext4-told flushed ext4 told
		xfs-told flushed xfs told
		told-nobarrier flushed ext4 told nobarrier
		ext4-nobarrier silent ext4 nobarrier
		no-journal-nobarrier silent no-journal nobarrier
		btrfs-nobarrier silent btrfs nobarrier
		loop-nobarrier silent ext4 loop nobarrier
		ext4-queue silent ext4 queue
		xfs-queue silent xfs queue
		device-queue silent device queue
		dm-queue silent ext4 dm queue
		believed-nobarrier believed ext4 nobarrier
		believed-queue believed xfs queue
	END
}

has() { case " $parts " in *" $1 "*) ;; *) return 1 ;; esac }

# Where its records are: a directory, or the disk.
path_of() { has device && echo "$disk" || echo "/mnt/$place"; }

# Few inodes: tables of thousands would be cleared beside us.
make_file_system() {
	case $parts in
	no-journal*) format "$1" ext4 '-b 4096 -N 64 -O ^has_journal' blank ;;
	ext4*) format "$1" ext4 '-b 4096 -N 64' blank ;;
	xfs*) format "$1" xfs ;;
	btrfs*) format "$1" btrfs ;;
	esac
}

type_of() { case $parts in no-journal*) echo ext4 ;; *) echo "${parts%% *}" ;; esac }

# $1: mkfs, or nothing after the cut. The file system is on $node; under a loop device there is another one.
build() {
	node=$disk
	if has dm; then
		dmsetup create "$place" --noudevsync --table "0 $(DEV=$disk device_size) linear $disk 0" &&
			dmsetup mknodes "$place"
		node=/dev/mapper/$place
	fi
	if has loop; then
		mkdir -p "/mnt/below-$place"
		[ -z "$1" ] || make_file_system "$node"
		mount -t ext4 "$node" "/mnt/below-$place" || return 1
		[ -z "$1" ] || dd if=/dev/zero of="/mnt/below-$place/image" bs=1M count=16 conv=fsync 2>/dev/null
		node=$(losetup -f)
		losetup "$node" "/mnt/below-$place/image" || return 1
	fi
	has device && return
	mkdir -p "/mnt/$place"
	[ -z "$1" ] || make_file_system "$node"
	mount -t "$(type_of)" "$node" "/mnt/$place"
}

make() {
	build mkfs && ./flushes make "$(path_of)" || echo "$place: not made" >&3
	sync
}

# What leaves flushes out: the mount, or the queue while the disk says that its cache is volatile. A disk that is told
# itself keeps its cache empty.
switch() {
	name=${disk##*/}
	has loop && where=/mnt/below-$place || where=/mnt/$place
	{ ! has told || echo 'write through' >"/sys/block/$name/cache_type"; } &&
		{ ! has queue || echo 'write through' >"/sys/block/$name/queue/write_cache"; } &&
		{ ! has nobarrier || mount -o remount,nobarrier "$where"; } || echo "$place: not switched" >&3
}

set_place() { place=$1 disk=$2 expected=$3; shift 3; parts=$*; }

make_place() { set_place "$@"; make; switch; }

store_place() {
	set_place "$@"
	if [ "$expected" = believed ]; then
		PMDIRECT_MUTATION=believe-flushes ./flushes_mutant store "$place" "$(path_of)" believed >&3
	else
		./flushes store "$place" "$(path_of)" "$expected" >&3
	fi || echo "$place: the store failed" >&3
}

# What lost its journal's order may not be mounted any more.
find_place() {
	set_place "$@"
	build || echo "note $place: not mounted" >&3
	./flushes found "$place" "$(path_of)" >&3
}

before() {
	each_place make_place
	each_place store_place
	echo cut >&3
	sleep 1000
}

after() { each_place find_place; }

$1
