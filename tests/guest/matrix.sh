# SPDX-License-Identifier: BSD-3-Clause
# Makes one backing after the other in one guest. Begins the job that matrix.py or suite.py writes; goes on with its
# rows.

region_of() {
	path=$(cd -P "/sys/block/${1##*/}" && pwd)
	region=${path#*/region}
	echo "${path%%/region*}/region${region%%/*}"
}

# The devices of each provider; which number each got depends on the order in which the drivers found them. Those that
# are only to be read are so because their NVDIMM is not armed. One process a device, there may be many.
sort_devices() {
	NVDIMMS='' UNARMED='' E820='' VIRTIOS=''
	for block in /sys/block/pmem*; do
		[ -e "$block" ] || continue
		node=/dev/${block##*/} region=$(region_of "$block")
		read -r provider <"${region%/*}/provider"
		read -r read_only <"$region/read_only"
		case $provider$read_only in
		ACPI.NFIT0) NVDIMMS="$NVDIMMS $node" ;;
		ACPI.NFIT1) UNARMED="$UNARMED $node" ;;
		e8200) E820="$E820 $node" ;;
		virtio-pmem0) VIRTIOS="$VIRTIOS $node" ;;
		esac
	done
}

# $1: how many pmem devices there are to be.
find_devices() {
	tries=0
	until [ "$(ls -d /sys/block/pmem* 2>/dev/null | wc -l)" -ge "$1" ]; do
		tries=$((tries + 1))
		[ $tries -lt 500 ] || die "$1 pmem devices did not appear"
		sleep 0.02
	done
	if [ -n "$FILLED" ]; then
		NVDIMMS=$(list_devices | grep pmem)
	else
		sort_devices
	fi
	DAX=$(ls -d /dev/dax* 2>/dev/null)
	DISKS=$(list_devices | grep vd)
	choose_devices
}

# The first of each kind.
choose_devices() {
	set -- $NVDIMMS
	A=$1 B=$2
	set -- $VIRTIOS
	VIRTIO=$1
	set -- $DISKS
	DISK=$1
}

### What set-ups are made of

# Each row has a directory of its own, since they all show the same one of the host.
plan9_mount() {
	in_kernel 9p || return
	mount -t 9p -o "trans=virtio,version=9p2000.L,msize=262144,cache=$1" lab "$M" && D=$M/$R
}

# What need not be, whatever is required, is 78.
share_mount() {
	[ -z "$NO_SHARE" ] || { echo "$NO_SHARE"; return 78; }
	mount -t virtiofs lab "$M"
}

# ntfs3 and 9p are not in every kernel.
in_kernel() { grep -qw "$1" /proc/filesystems || { echo "this kernel has no $1"; return 78; }; }

need() { [ -x "/usr/sbin/$1" ] || { echo "$1 is not installed"; return 77; }; }

# volume FS NODE OPTIONS [MKFS OPTIONS]: at $M, or with "under" before it at $M.under
volume() {
	type=$1 node=$2 options=$3
	shift 3
	[ -z "$FORMAT" ] || format "$node" "$type" "$*"
	mounted "$type" "$node" "$options"
}

# FS NODE OPTIONS: what is there already
mounted() { mkdir -p "$M" && mount -t "$1" -o "$3" "$2" "$M" && open_to_all "$M"; }

# NODE COMMAND: a file system of 24 MiB, made by that command. Where blocks are had by writing them only, it is full
# sooner than the device would be. What mkfs writes is at its beginning.
small() {
	[ -n "$FORMAT" ] || return 0
	small=$1
	shift
	rm -f /tmp/small
	truncate -s 24M /tmp/small && "$@" /tmp/small && dd if=/tmp/small of="$small" bs=1M count=4 conv=fsync
	rc=$?
	rm -f /tmp/small
	return $rc
}

under() {
	M=$M.under
	"$@"
	rc=$?
	M=${M%.under}
	return $rc
}

memory_mount() { mkdir -p "$M" && mount -t "$1" -o "mode=1777,$2" none "$M"; }

# Flags of the files to come, and of one file: the kernel looks at its flag when it loads the inode.
inherit() { make_directory && xfs_io -c 'chattr +x' "$D"; }

flagged_file() {
	[ -n "$FORMAT" ] || return 0
	make_directory && : >"$D/prepared" && xfs_io -c 'chattr +x' "$D/prepared" && drop_caches && prepared
}

# A file with content, in $D or in the d of $1; what was stored in it since is kept.
prepared() {
	[ -n "$FORMAT" ] || return 0
	mkdir -p "${1:-$M}/d" &&
		dd if=/dev/zero of="${1:-$M}/d/prepared" bs=1M count=4 conv=notrunc,fsync && chmod 666 "${1:-$M}/d/prepared"
}

cp_reflink() { [ -z "$FORMAT" ] || xfs_io -f -c "reflink $D/prepared" "$D/clone"; }

sectors() { cat "/sys/class/block/${1##*/}/size"; }

device_mapper() {
	dmsetup create "$R" --noudevsync --table "$1" && dmsetup mknodes "$R"
}

linear() { device_mapper "0 $(sectors "$1") linear $1 0"; }
flakey() { device_mapper "0 $(sectors "$1") flakey $1 0 3600 0"; }
stripe() { device_mapper "0 $(($(sectors "$1") * 2 / 8192 * 8192)) striped 2 4096 $1 0 $2 0"; }

# 512-byte sectors: 64 MiB of each.
concatenated() {
	device_mapper "0 131072 linear $1 0
131072 131072 linear $2 0"
}

loop_file() {
	[ -z "$FORMAT" ] || dd if=/dev/zero of="$M.under/loop" bs=1M count=24 conv=fsync || return 1
	LOOP=$(losetup -f) && losetup "$LOOP" "$M.under/loop"
}

write_through() { QUEUE=/sys/block/${1##*/}/queue/write_cache && echo "write through" >"$QUEUE"; }

# Whether the region of the NVDIMM that is not armed is only to be read, as the kernel makes it.
unarmed_region() { echo "$1" >"$(region_of $UNARMED)/read_only"; }

# Memory as a disk.
ram_disk() { [ -b /dev/ram0 ] || modprobe brd rd_nr=1 rd_size=65536; RAM=/dev/ram0; }

zram_disk() {
	modprobe lzo-rle 2>/dev/null # what it compresses with on Linux 6.1
	[ -b /dev/zram0 ] || modprobe zram num_devices=1
	echo 1 >/sys/block/zram0/reset && echo 64M >/sys/block/zram0/disksize
}

# The kernel's NFS server without its tools: the clients that may mount are what they would have answered
# (fs/nfsd/export.c svc_export_parse, expkey_parse). 9218: insecure_port, no_subtree_check and fsid; without
# NFSEXP_ASYNC.
nfs_server() {
	RPC=/proc/net/rpc FOREVER=2147483647
	modprobe nfsd && modprobe nfsv4 && ifconfig lo 127.0.0.1 up && mkdir -p /var/lib/nfs/v4recovery || return 1
	[ -e /proc/fs/nfsd/threads ] || mount -t nfsd nfsd /proc/fs/nfsd || return 1
	SERVER=1
	echo "nfsd 127.0.0.1 $FOREVER lab" >$RPC/auth.unix.ip/channel &&
		echo "lab $M.under $FOREVER 9218 65534 65534 0" >$RPC/nfsd.export/channel &&
		echo "lab 1 \\x00000000 $FOREVER $M.under" >$RPC/nfsd.fh/channel &&
		echo "-2 -3 +4" >/proc/fs/nfsd/versions && echo 2 >/proc/fs/nfsd/threads &&
		echo Y >/proc/fs/nfsd/v4_end_grace
}

nfs_stop() {
	[ -n "$SERVER" ] || return 0
	SERVER=
	echo 0 >/proc/fs/nfsd/threads
	for cache in nfsd.fh nfsd.export auth.unix.ip; do
		echo 1 >$RPC/$cache/flush
	done
}

nfs_mount() {
	nfs_server && mkdir -p "$M" &&
		mount -t nfs4 -o vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1 127.0.0.1:/ "$M" || { nfs_stop; return 1; }
}

erofs_image() { prepared /tmp/erofs && mkfs.erofs "$1" /tmp/erofs; }
fuse_mount() { FUSE=1; { [ -z "$FORMAT" ] || format "$1" ext4 "-O ^has_journal"; } && fuse2fs "$1" "$M"; }

### One row after the other

# $1: name, $2: set-up; makes $D. 77 or 78: not possible here.
set_up() {
	R=$1 M=/mnt/m/$1 NODE=
	D=$M/d
	mkdir -p "$M"
	eval "$2" >"/tmp/setup.$R" 2>&1 && { [ -n "$NODE" ] || [ -d "$D" ] || make_directory; }
}

# Linux 6.1 closes the files that the server had open a moment after its end.
unmount() {
	tries=0
	until umount "$1" 2>"/tmp/umount.$R"; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || { cat "/tmp/umount.$R"; return 1; }
		sleep 0.1
	done
}

# The server of a FUSE file system has the disk open until it ends, a moment after the umount(2).
fuse_stop() {
	tries=0
	while [ -n "$FUSE" ] && pidof fuse2fs >/dev/null && [ $tries -lt 100 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	FUSE=
}

# What lost its device may bring the kernel down when it is unmounted.
keep_mounted() { KEPT=$R; }

# In reverse, as they lie upon each other.
clean_up() {
	[ "$KEPT" != "$R" ] || return 0
	awk -v of="/mnt/m/$R" '$2 == of || index($2, of ".") == 1 { at[++n] = $2 } END { while (n) print at[n--] }' \
		/proc/mounts >"/tmp/mounts.$R"
	while read -r at; do
		unmount "$at" || return 1
		[ -z "$LOOP" ] || losetup -d "$LOOP"
		LOOP=
		nfs_stop
	done <"/tmp/mounts.$R"
	fuse_stop
	for dm in /sys/block/dm-*; do
		[ ! -e "$dm" ] || { dmsetup remove_all --noudevsync || return 1; }
		break
	done
	[ -z "$QUEUE" ] || echo "write back" >"$QUEUE"
	QUEUE=
	echo 0 >/proc/sys/vm/nr_hugepages
}

verdict() {
	echo "row $R: $1${2:+: $2}"
	echo "row $R: $1${2:+: $2}" >>/tmp/verdicts
}

# $3: a command.
row() {
	set_up "$1" "$2"
	case $? in
	0)
		(eval "$3") >"/tmp/log.$R" 2>&1
		case $? in
		0) verdict passed ;;
		77) verdict skipped "$(tail -n 1 "/tmp/log.$R")" ;;
		*) cat "/tmp/log.$R"; verdict failed ;;
		esac ;;
	77) verdict skipped "$(cat "/tmp/setup.$R")" ;;
	78) verdict absent "$(cat "/tmp/setup.$R")" ;;
	*) verdict failed "the set-up: $(cat "/tmp/setup.$R")" ;;
	esac
	clean_up || verdict failed "not to be removed"
}

count_of() { grep -cE "^row [^:]*: ($1)" /tmp/verdicts; }

# Fails where a row had to be left out though all must run.
finish() {
	wait
	echo "$(count_of '') rows: $(count_of passed) passed, $(count_of failed) failed, $(count_of 'skipped|absent') skipped"
	[ "$(count_of failed)" -eq 0 ] || exit 1
	[ "$(count_of skipped)" -eq 0 ] || [ -z "$ALL_REQUIRED" ]
}

# What the set-up $1 names is no other row's.
use_up() {
	NVDIMMS=$(left_of "$NVDIMMS" "$1" '$A' '$B')
	VIRTIOS=$(left_of "$VIRTIOS" "$1" '$VIRTIO')
	DISKS=$(left_of "$DISKS" "$1" '$DISK')
	choose_devices
}

### The power cut: every row at once, each on devices of its own

# $1: a list of devices. $2: the set-up. What is left when the set-up has taken those that the other arguments name.
left_of() {
	list="$(echo $1) " setup=$2
	shift 2
	for device in "$@"; do
		case $setup in
		*"$device"*) list=${list#* } ;;
		esac
	done
	echo "$list"
}

# Sets the row up, over what was stored before the cut if there was one. $3: what the program is started with.
hold() {
	set_up "$1" "$2"
	case $?$ALL_REQUIRED in
	0*) echo "$1 ${NODE:-$D} $3" >>/tmp/held ;;
	77 | 78*) echo "row $1: skipped: $(cat "/tmp/setup.$R")"; echo "$1 skipped" >>/tmp/skipped ;;
	*) echo "$1: the set-up: $(cat "/tmp/setup.$R")"; exit 1 ;;
	esac
	use_up "$2"
}

survive() {
	exec 3<>"$LAB_ACK"
	sync
	cat /tmp/skipped >&3 2>/dev/null
	echo held >&3
	while read -r name place run; do
		if [ -n "$FORMAT" ]; then
			$run ./survive store "$name" "$place" >&3 2>&1 &
		else
			./survive verify "$name" "$place" >&3 2>&1
		fi
	done </tmp/held
	wait
	echo end >&3
}
