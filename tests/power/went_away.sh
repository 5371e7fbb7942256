# SPDX-License-Identifier: BSD-3-Clause
# What became of file systems that went away under mappings, in the way that $WAY says.
places='ext4-dax xfs-dax ext4-disk xfs-disk'

# The disk under a place, without /dev/.
node_of() { awk -v at="$D/$1" '$2 == at { print substr($1, 6) }' /proc/mounts; }

# Waits for so many lines of the writers that begin with a word.
await_writers() {
	until [ "$(grep -c "^$1 " /tmp/writers)" -eq $2 ]; do
		sleep 0.1
	done
}

put_on_dm() {
	for place in $places; do
		node=$(node_of $place) options=
		umount "$D/$place"
		dmsetup create $place --noudevsync \
			--table "0 $(cat /sys/block/$node/size) linear /dev/$node 0" && dmsetup mknodes $place
		[ "${place#*-}" != dax ] || options='-o dax=always'
		mount -t "${place%-*}" $options "/dev/mapper/$place" "$D/$place" || echo "cannot mount $place on dm" >&3
	done
}

is_read_only() { grep -q " $D/$1 [^ ]* ro[, ]" /proc/mounts; }

go_away() {
	case $WAY in
	read-only)
		echo u >/proc/sysrq-trigger
		for place in $places; do
			until is_read_only $place; do sleep 0.1; done
		done ;;
	shutdown)
		for place in $places; do ./went_away shutdown $D/$place >&3; done ;;
	device)
		for place in $places; do
			dmsetup suspend --nolockfs --noflush --noudevsync $place &&
				dmsetup table $place | sed 's/linear.*/error/' | dmsetup reload $place &&
				dmsetup resume --noudevsync $place || echo "cannot fail $place" >&3
		done ;;
	esac
}

come_back() {
	[ $WAY = read-only ] || return
	# Those of others as well.
	for place in $(awk '$1 ~ "^/dev/[pv]" { print $2 }' /proc/mounts); do
		mount -o remount,rw $place || echo "$place cannot be made writable again" >&3
	done
}

before() {
	[ $WAY != device ] || put_on_dm
	writers=4
	rm -f /tmp/gone /tmp/back
	: >/tmp/writers
	for place in $places; do
		case $WAY-$place in
		# Linux 6.1 may never end the emergency remount of an XFS that is stored to meanwhile (xfs_buftarg_wait).
		read-only-xfs*) when=late ;;
		*) when=store ;;
		esac
		./went_away $when promise $place $D/$place/file >&3 2>>/tmp/writers &
	done
	if [ $WAY = read-only ]; then
		# The same with the rule switched off: the kernel is believed.
		PMDIRECT_MUTATION=believe-msync ./went_away_mutant store control ext4-believed \
			$D/ext4-disk/believed >&3 2>>/tmp/writers &
		# Which the flags of an overlay do not tell.
		mkdir $D/overlay $D/ext4-disk/lower $D/ext4-disk/upper $D/ext4-disk/work
		mount -t overlay overlay $D/overlay -o "lowerdir=$D/ext4-disk/lower,\
upperdir=$D/ext4-disk/upper,workdir=$D/ext4-disk/work" || echo 'no overlay' >&3
		./went_away store promise overlay $D/overlay/file >&3 2>>/tmp/writers &
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
		./went_away found $place $D/$place/file >&3
	done
	[ $WAY = read-only ] || return 0
	./went_away found ext4-believed $D/ext4-disk/believed >&3
	./went_away found overlay $D/ext4-disk/upper/file >&3
}

$1
