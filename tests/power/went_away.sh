# SPDX-License-Identifier: BSD-3-Clause
# What became of file systems that went away under mappings, in the way that $WAY says.
places='ext4-dax xfs-dax ext4-disk xfs-disk'
nodes='pmem0 pmem1 vda vdb'

# Waits for so many lines of the writers that begin with a word.
await_writers() {
	until [ "$(grep -c "^$1 " /tmp/writers)" -eq $2 ]; do
		sleep 0.1
	done
}

put_on_dm() {
	set -- $places
	for node in $nodes; do
		umount "/mnt/$1"
		dmsetup create $node --noudevsync \
			--table "0 $(cat /sys/block/$node/size) linear /dev/$node 0" && dmsetup mknodes $node
		options=
		[ "${1#*-}" != dax ] || options='-o dax=always'
		mount -t "${1%-*}" $options "/dev/mapper/$node" "/mnt/$1" || echo "cannot mount $1 on dm" >&3
		shift
	done
}

is_read_only() { grep -q " /mnt/$1 [^ ]* ro[, ]" /proc/mounts; }

go_away() {
	case $WAY in
	read-only)
		echo u >/proc/sysrq-trigger
		for place in $places; do
			until is_read_only $place; do sleep 0.1; done
		done ;;
	shutdown)
		for place in $places; do ./went_away shutdown /mnt/$place >&3; done ;;
	device)
		for node in $nodes; do
			dmsetup suspend --nolockfs --noflush --noudevsync $node &&
				echo "0 $(cat /sys/block/$node/size) error" | dmsetup reload $node &&
				dmsetup resume --noudevsync $node || echo "cannot fail $node" >&3
		done ;;
	esac
}

come_back() {
	[ $WAY = read-only ] || return
	for place in $places; do
		mount -o remount,rw /mnt/$place || echo "$place cannot be made writable again" >&3
	done
}

before() {
	[ $WAY != device ] || put_on_dm
	writers=4
	: >/tmp/writers
	for place in $places; do
		case $WAY-$place in
		# Linux 6.1 may never end the emergency remount of an XFS that is stored to meanwhile (xfs_buftarg_wait).
		read-only-xfs*) when=late ;;
		*) when=store ;;
		esac
		./went_away $when promise $place /mnt/$place/file >&3 2>>/tmp/writers &
	done
	if [ $WAY = read-only ]; then
		# The same with the rule switched off: the kernel is believed.
		PMDIRECT_MUTATION=believe-msync ./went_away_mutant store control ext4-believed \
			/mnt/ext4-disk/believed >&3 2>>/tmp/writers &
		# Which the flags of an overlay do not tell.
		mkdir /mnt/overlay /mnt/ext4-disk/lower /mnt/ext4-disk/upper /mnt/ext4-disk/work
		mount -t overlay overlay /mnt/overlay -o "lowerdir=/mnt/ext4-disk/lower,\
upperdir=/mnt/ext4-disk/upper,workdir=/mnt/ext4-disk/work" || echo 'no overlay' >&3
		./went_away store promise overlay /mnt/overlay/file >&3 2>>/tmp/writers &
		writers=6
	fi
	await_writers ready $writers
	sed 's/^ready/note/' /tmp/writers >&3
	go_away
	touch /tmp/gone
	await_writers asked $writers
	come_back
	touch /tmp/back
	await_writers 'done' $writers
	echo cut >&3
	sleep 1000
}

after() {
	for place in $places; do
		./went_away found $place /mnt/$place/file >&3
	done
	[ $WAY = read-only ] || return 0
	./went_away found ext4-believed /mnt/ext4-disk/believed >&3
	./went_away found overlay /mnt/ext4-disk/upper/file >&3
}

$1
