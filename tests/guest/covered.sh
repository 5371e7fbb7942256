# SPDX-License-Identifier: BSD-3-Clause
# A path that the kernel shows, of a loop device's file or of an overlay's upper layer, is covered by a later mount or
# seen from another mount namespace: whether the file below is volatile is then unknown, never no.
# $D is on a disk; the file below is on a tmpfs.
status=0

# $1: what is looked at; $2: the state of the row "volatile"; $3: the file; then the command that looks.
expect() {
	what=$1 state=$2 file=$3
	shift 3
	row=$("$@" ./pmdirect explain "$file" | awk '$1 " " $2 == "volatile backing" { $1 = $2 = ""; print }')
	echo "$what:$row"
	case $row in
	"  $state "*) ;;
	*) echo "$what: not $state" && status=1 ;;
	esac
}

image() { dd if=/dev/zero of="$1" bs=1M count=32 2>/dev/null && mkfs.ext4 -q -F "$1"; }

W=/tmp/covered
mkdir -p $W/under $W/mnt $W/overlay $W/lower "$D/image" && mount -t tmpfs -o size=80m tmpfs $W/under || exit 1
image $W/under/loop && image "$D/image/loop" && mkdir $W/under/up $W/under/work || exit 1
LOOP=$(losetup -f) && losetup "$LOOP" $W/under/loop && mount "$LOOP" $W/mnt && echo data >$W/mnt/file || exit 1
mount -t overlay -o lowerdir=$W/lower,upperdir=$W/under/up,workdir=$W/under/work overlay $W/overlay || exit 1
echo data >$W/overlay/file
chmod 666 $W/mnt/file $W/overlay/file

expect "loop" yes $W/mnt/file env
expect "overlay" yes $W/overlay/file env
expect "loop, not to be asked" yes $W/mnt/file as_uid 1000
mkdir -p "$D/image/up"
mount --bind "$D/image" $W/under || exit 1
expect "loop, covered" unknown $W/mnt/file env
expect "loop, covered, not to be asked" unknown $W/mnt/file as_uid 1000
expect "overlay, covered" unknown $W/overlay/file env
expect "overlay, covered, not root" unknown $W/overlay/file as_uid 1000
umount $W/under
expect "loop, uncovered" yes $W/mnt/file env
expect "overlay, uncovered" yes $W/overlay/file env
umount $W/overlay && umount $W/mnt && losetup -d "$LOOP"

# On a disk the answer is no, if the device can be asked.
LOOP=$(losetup -f) && losetup "$LOOP" "$D/image/loop" && mount "$LOOP" $W/mnt && echo data >$W/mnt/file || exit 1
chmod 666 $W/mnt/file
mkdir -p "$D/image/work"
mount -t overlay -o lowerdir=$W/lower,upperdir="$D/image/up",workdir="$D/image/work" overlay $W/overlay || exit 1
echo data >$W/overlay/file
chmod 666 $W/overlay/file
expect "loop on a disk" no $W/mnt/file env
expect "loop on a disk, not to be asked" unknown $W/mnt/file as_uid 1000
expect "overlay on a disk" no $W/overlay/file env
expect "overlay on a disk, not root" no $W/overlay/file as_uid 1000
umount $W/overlay && umount $W/mnt && losetup -d "$LOOP"
exit $status
