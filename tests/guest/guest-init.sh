#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
#
# First process of every guest. The host has left in /lab:
#   machine   shell assignments: modules, and how many nodes of devices they make
# Up to "up" all guests of a machine are the same, and one may have been saved
# there (lab_state.py). Then the host tells, on the port ctl, what take_orders()
# reads, and a disk brings /t and in /lab:
#   settings  shell assignments (device, directory, functions to call)
#   volumes   one "node|fs|mkfs options|mount options|where" line per file system
#   job       what to run; it sees the functions below and $D, $F, $DEV
# Virtio ports: out (the job's output), ctl (what became of the boot), ack (for
# the job's own use). The serial console carries only the kernel and this
# script's mishaps.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/t
PORTS=/dev/virtio-ports

die() {
	echo "guest set-up: $*"
	[ -e $PORTS/ctl ] && echo "failed $*" >$PORTS/ctl
	poweroff -f
}

await() {
	tries=0
	until [ -e "$1" ]; do
		tries=$((tries + 1))
		[ $tries -lt 500 ] || die "$1 did not appear"
		sleep 0.02
	done
}

mount_basics() {
	mount -t proc proc /proc
	mount -t sysfs sys /sys
	mount -t devtmpfs dev /dev
	mkdir -p /dev/shm /run $PORTS
	mount -t tmpfs -o mode=1777 tmpfs /dev/shm
	ln -sf /proc/self/fd /dev/fd
	ln -sf /proc/self/fd/1 /dev/stdout
	ln -sf /proc/self/fd/2 /dev/stderr
}

load_modules() {
	for module in $INSMOD; do
		insmod "$module" || die "cannot load $module"
	done
}

# Ports are announced one by one after the driver has loaded.
name_ports() {
	tries=0
	until [ -e $PORTS/out ] && [ -e $PORTS/ctl ] && [ -e $PORTS/ack ]; do
		for port in /sys/class/virtio-ports/*; do
			name=$(cat "$port/name" 2>/dev/null) && [ -n "$name" ] || continue
			await "/dev/${port##*/}"
			chmod 666 "/dev/${port##*/}"
			ln -sf "/dev/${port##*/}" "$PORTS/$name"
		done
		tries=$((tries + 1))
		[ $tries -lt 1000 ] || die "the result ports did not appear"
		sleep 0.01
	done
}

# Devices are found beside us.
await_nodes() {
	tries=0
	until [ "$(ls -d /dev/pmem* /dev/dax* 2>/dev/null | wc -l)" -ge $NODES ]; do
		tries=$((tries + 1))
		[ $tries -lt 1000 ] || die "$NODES devices of memory did not appear"
		sleep 0.02
	done
}

# Whether the devices are to be formatted, $LAB_ARGUMENT, and what a saved machine cannot know: the time, and a seed.
# What has come in is lost when a port is closed (drivers/char/virtio_console.c discard_port_data).
take_orders() {
	exec 4<>$PORTS/ctl
	echo up >&4
	read -r FORMAT LAB_ARGUMENT now seed <&4
	exec 4>&-
	[ "$FORMAT" = 1 ] || FORMAT=
	[ "$LAB_ARGUMENT" != - ] || LAB_ARGUMENT=
	if [ -n "$seed" ]; then
		date -s "@$now" >/dev/null
		echo "$seed" >/dev/urandom
		/lab/reseed || die "the random numbers have no new seed"
	fi
	echo going >$PORTS/ctl
}

# The disk behind all others, which is gone afterwards.
unpack_job() {
	for disk in /sys/block/vd*; do
		read -r serial <"$disk/serial"
		[ "$serial" != job ] || break
	done
	(cd / && cpio -idu <"/dev/${disk##*/}") 2>/run/cpio || die "cannot unpack the job: $(cat /run/cpio)"
	device=$(readlink -f "$disk/device")
	echo "${device##*/}" >/sys/bus/virtio/drivers/virtio_blk/unbind
}

# $1: node, $2: kind, $3: options; $4: "blank" where no file system was before.
format() {
	case $2 in
	# Discarding a sparse image gains nothing and takes time, as does a journal of zeros on a blank one.
	ext4) mkfs.ext4 -q -F -E nodiscard${4:+,lazy_journal_init=1} $3 "$1" 2>/run/mkfs ;;
	# It writes the whole log, 64 MiB, and makes a smaller one for a test suite only (mkfs/xfs_mkfs.c
	# validate_supported).
	xfs) TEST_DIR=1 TEST_DEV=1 QA_CHECK_FS=1 mkfs.xfs -q -f -K -l size=16m $3 "$1" 2>/run/mkfs ;;
	btrfs) mkfs.btrfs -q -f -K $3 "$1" 2>/run/mkfs ;;
	vfat | exfat) mkfs.$2 $3 "$1" >/run/mkfs 2>&1 ;;
	ntfs3) mkfs.ntfs -q -f -F $3 "$1" >/run/mkfs 2>&1 ;;
	esac || die "mkfs.$2 $1: $(cat /run/mkfs)"
}

# Where other rows have the same machine, /dev/pmemN is the Nth NVDIMM of this one.
real_node() {
	node=$1
	case $FILLED$1 in
	1/dev/pmem*)
		number=${1#/dev/pmem}
		set -- $NODES_OF_ROW
		shift $number
		node=$1 ;;
	esac
}

mount_volumes() {
	while IFS='|' read -r name fs mkfs options where; do
		real_node "$name"
		[ "$fs" = tmpfs ] || await "$node"
		[ -z "$FORMAT" ] || format "$node" "$fs" "$mkfs" blank
		mkdir -p "$where"
		mount -t "$fs" -o "$options" "$node" "$where" ||
			die "cannot mount $node ($fs, $options)"
		chmod 1777 "$where"
	done </lab/volumes
}

# FAT knows no sticky bit.
open_to_all() { chmod 1777 "$1" 2>/dev/null || chmod 777 "$1"; }

make_directory() {
	mkdir -p "$D"
	open_to_all "$D"
}

# Every block written, so that mapping it later needs no allocation.
make_file() {
	F=$D/prepared
	dd if=/dev/zero of="$F" bs=1M count=16 conv=fsync 2>/dev/null ||
		die "cannot write $F"
	chmod 666 "$F"
}

### Per-backing functions, named by the "before" and "after" of a row.

inherit_dax_flag() {
	xfs_io -c 'chattr +x' "$D" || die "cannot set the DAX flag"
}

# XFS forces its log of its own accord, every 30 seconds otherwise.
quiet_logs() { echo 720000 >/proc/sys/fs/xfs/xfssyncd_centisecs; }

make_linear() {
	await "$DEV"
	dmsetup create lab --noudevsync --table "$(linear_table)" &&
		dmsetup mknodes lab || die "cannot make the linear device"
}

# Claims namespace $1 for the pfn or dax device $2, in pages described by
# guest memory, and starts driver $3 on that: the driver writes the info block
# which makes the kernel recognise the image in every later boot.
claim_namespace() {
	bus=/sys/bus/nd
	await "$bus/drivers/nd_pmem/$1"
	echo "$1" >$bus/drivers/nd_pmem/unbind
	cat /proc/sys/kernel/random/uuid >"$bus/devices/$2/uuid" &&
		echo ram >"$bus/devices/$2/mode" &&
		echo 2097152 >"$bus/devices/$2/align" &&
		echo "$1" >"$bus/devices/$2/namespace" &&
		echo "$2" >"$bus/drivers/$3/bind" || die "cannot turn $1 into $2"
}

make_golden() {
	claim_namespace namespace0.0 pfn0.0 nd_pmem
	await /dev/pmem0
	claim_namespace namespace1.0 dax1.0 dax_pmem
	await /dev/dax1.0
}

### Functions for scripts.

# Of the row, as the machine was given them: NVDIMMs are numbered in no order, but their addresses are in it; then
# disks. Behind them the machine may have others.
list_devices() {
	for block in /sys/block/pmem*; do
		[ -e "$block" ] || continue
		read -r address <"$block/device/resource"
		echo "$address /dev/${block##*/}"
	done | sort | cut -d' ' -f2 | head -n $NVDIMMS_OF_ROW
	ls -d /dev/vd? 2>/dev/null | head -n $DISKS_OF_ROW
}

device_size() { cat "/sys/block/${DEV##*/}/size"; }
linear_table() { echo "0 $(device_size) linear $DEV 0"; }

# A plain suspend would write everything back first: no error would be left to see.
swap_table() {
	dmsetup suspend --nolockfs --noflush --noudevsync lab &&
		echo "$1" | dmsetup reload lab &&
		dmsetup resume --noudevsync lab
}

# Beware: a journal commit during these two makes ext4 read-only for good.
dm_fail() { swap_table "0 $(device_size) error"; }
dm_fail_writes() { swap_table "0 $(device_size) flakey $DEV 0 0 1 1 error_writes"; }

# Fails only the blocks that hold the data of file $1: the journal stays whole.
dm_fail_file() {
	sync
	swap_table "$(xfs_io -r -c 'fiemap -v' "$1" |
		awk '$3 ~ /\.\./ { split($3, range, "\\.\\."); print range[1], range[2] + 1 }' |
		sort -n |
		awk -v device="$DEV" -v size="$(device_size)" -v at=0 '
			$1 > at { print at, $1 - at, "linear", device, at }
			{ print $1, $2 - $1, "error"; at = $2 }
			END { if (at < size) print at, size - at, "linear", device, at }')"
}

dm_heal() { swap_table "$(linear_table)"; }

as_uid() {
	uid=$1
	shift
	/usr/bin/setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
}

drop_caches() { sync; echo 3 >/proc/sys/vm/drop_caches; }

### The boot.

run_job() {
	cd /t || exit 125
	. /lab/job
}

main() {
	mount_basics
	. /lab/machine
	load_modules
	name_ports
	await_nodes
	take_orders
	unpack_job
	. /lab/settings
	LAB_ACK=$PORTS/ack
	export LAB_ARGUMENT LAB_ACK D F DEV
	NODES_OF_ROW=$(list_devices)
	real_node "$DEV"
	DEV=$node
	[ -z "$DEV" ] || await "$DEV"
	[ -z "$BEFORE" ] || $BEFORE
	mount_volumes
	make_directory
	[ -z "$AFTER" ] || $AFTER
	[ -z "$DEV" ] || chmod 666 "$DEV"
	[ -z "$MAKE_FILE" ] || make_file
	[ -z "$FORMAT" ] || sync
	echo "ready $(cut -d' ' -f1 /proc/uptime)" >$PORTS/ctl
	# A pipe, because a port can be opened only once: /dev/stdout would fail.
	{ (run_job); echo $? >/run/status; } </dev/null 2>&1 | cat >$PORTS/out
	echo "exit $(cat /run/status)" >$PORTS/ctl
	poweroff -f
}

main
