# SPDX-License-Identifier: BSD-3-Clause
"""How each kind of backing is made: one row each, nothing but data.

What the library must say of it stands under the same name in the table of backing_rows.h; doc/backings.md
is made from both. A set-up is a line of shell with the functions of matrix.sh: it makes $D, or $NODE where
the row is a device node. $A and $B are NVDIMMs, $DISK and $DAX what they say, and $E820 and $VIRTIO the pmem
devices of those kinds.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    name: str
    summary: str
    setup: str
    run: str = ""             # what the program is started with
    machine: str = "matrix-memctrl"   # "": what another row may turn out to be
    kernels: str = "both"     # for the manual
    power: str = ""           # why it is in no power cut; in one, the set-up keeps what is there if $FORMAT is empty


NODOMAIN, EADR, PLAN9 = "matrix-nodomain", "matrix-eadr", "matrix-9p"
NOBODY = "as_uid 65534"
GENERIC = "6.1, not the cloud flavour"

# All other rows are in a power cut.
VOLATILE = "nothing is promised"
READ_ONLY = "nothing is stored"
# The emulator's own disks keep what they were given, flushed or not; those of tests/power/flushes.sh do not.
NO_FLUSH = "nothing is promised"
NOT_MAPPED = "nothing can be mapped"
NOT_CUT = "not tried"
# The library makes it durable as well as can be, and says that it cannot know. Here it is known: the emulator's memory
# is gone with the emulator.
DRAM = "the medium is memory that the cut takes"


def _ext4(options="dax=always", node="$A", mkfs=""):
    return f"volume ext4 {node} {options} -b 4096 {mkfs}".rstrip()


def _xfs(options="dax=always", node="$A", mkfs="-m reflink=0"):
    return f"volume xfs {node} {options} {mkfs}".rstrip()


def _under_overlay(options):
    """An ext4 with DAX at $M.under, and over it the overlay that is $M."""
    return (f"under {_ext4()} && mkdir -p $M $M.low $M.under/up $M.under/work && "
            f"mount -t overlay -o {options},workdir=$M.under/work overlay $M")


ROWS = (
    # ext4
    Row("ext4-dax", "ext4, dax=always, no persistence domain stated", _ext4(), machine=NODOMAIN),
    Row("ext4-dax-memctrl", "ext4, dax=always, domain memory_controller", _ext4()),
    Row("ext4-dax-memctrl-unprivileged", "ext4, dax=always, used without any privilege", _ext4(), NOBODY),
    Row("ext4-dax-eadr", "ext4, dax=always, domain cpu_cache (eADR)", _ext4(), machine=EADR),
    Row("ext4-inode-flag", "ext4, dax=inode, flag inherited from the directory",
        _ext4("dax=inode") + " && inherit"),
    Row("ext4-file-flag", "ext4, dax=inode, flag set on the file itself",
        _ext4("dax=inode") + " && flagged_file"),
    Row("ext4-inode-noflag", "ext4, dax=inode, no flag", _ext4("dax=inode")),
    Row("ext4-nodax", "ext4, dax=never", _ext4("dax=never")),
    Row("ext4-ro", "ext4, dax=always, mounted read-only",
        _ext4() + " && prepared && mount -o remount,ro $M", power=READ_ONLY),
    Row("ext4-data-journal", "ext4, data=journal, dax=inode and the flag",
        _ext4("dax=inode,data=journal") + " && inherit"),
    Row("ext4-encrypted", "ext4, dax=always, encrypted directory",
        _ext4(mkfs="-O encrypt") + " && make_directory && ./seal encrypt $D", kernels="6.1"),
    Row("ext4-encrypted-dax", "as ext4-encrypted, and the kernel makes its files DAX all the same", "", machine="",
        kernels="6.12", power=VOLATILE),
    Row("ext4-verity", "ext4, dax=always, file under fs-verity",
        _ext4("dax=never", mkfs="-O verity") + " && prepared && ./seal verity $D/prepared && "
        "umount $M && mount -t ext4 -o dax=always $A $M", power=READ_ONLY),
    Row("ext4-fast-commit", "ext4 with fast_commit, dax=always", _ext4(mkfs="-O fast_commit")),
    Row("ext4-nojournal", "ext4 without journal, dax=always", _ext4(mkfs="-O ^has_journal")),
    Row("ext2-dax", "ext2 format by the ext4 driver, dax=always",
        "small $A mkfs.ext4 -q -F -b 4096 -t ext2 && mounted ext4 $A dax=always"),
    Row("ext4-disk", "ext4 on a disk", _ext4("defaults", "$DISK")),
    Row("ext4-nobarrier", "ext4 on a disk, mounted nobarrier", _ext4("nobarrier", "$DISK"), power=NO_FLUSH),
    Row("ext4-write-through", "ext4 on a disk with a cache, whose queue was set to write through",
        "write_through $DISK && " + _ext4("defaults", "$DISK"), power=NO_FLUSH),
    Row("ext4-journal-brd", "ext4 on a disk, its journal on a RAM disk (brd)",
        "ram_disk && mkfs.ext4 -q -F -b 4096 -O journal_dev $RAM && " + _ext4("defaults", "$DISK", "-J device=$RAM"),
        power=VOLATILE),
    # XFS
    Row("xfs-dax", "xfs without reflink, dax=always, domain memory_controller", _xfs()),
    Row("xfs-dax-unprivileged", "xfs without reflink, dax=always, used without any privilege", _xfs(), NOBODY),
    Row("xfs-dax-nodomain", "xfs without reflink, dax=always, no persistence domain stated",
        _xfs(), machine=NODOMAIN),
    Row("xfs-dax-eadr", "xfs without reflink, dax=always, domain cpu_cache (eADR)", _xfs(), machine=EADR),
    Row("xfs-inode-flag", "xfs, dax=inode, flag inherited from the directory",
        _xfs("dax=inode") + " && inherit"),
    Row("xfs-file-flag", "xfs, dax=inode, flag set on the file itself",
        _xfs("dax=inode") + " && flagged_file"),
    Row("xfs-inode-noflag", "xfs, dax=inode, no flag", _xfs("dax=inode")),
    Row("xfs-nodax", "xfs, dax=never", _xfs("dax=never")),
    Row("xfs-ro", "xfs, dax=always, mounted read-only",
        _xfs() + " && prepared && mount -o remount,ro $M", power=READ_ONLY),
    Row("xfs-dax-reflink", "xfs with reflink, dax=always", _xfs(mkfs="-m reflink=1")),
    Row("xfs-cloned", "xfs with reflink, dax=always, file that was cloned",
        _xfs(mkfs="-m reflink=1") + " && prepared && cp_reflink"),
    Row("xfs-realtime", "xfs, dax=always, file on a realtime device on other persistent memory",
        _xfs("dax=always,rtdev=$B", mkfs="-m reflink=0 -d rtinherit=1 -r rtdev=$B")),
    Row("xfs-disk", "xfs on a disk", _xfs("defaults", "$DISK")),
    Row("xfs-log-brd", "xfs on a disk, its log on a RAM disk (brd)",
        "ram_disk && " + _xfs("logdev=$RAM", "$DISK", "-m reflink=0 -l logdev=$RAM"), power=VOLATILE),
    # Memory that is not what it looks like
    Row("e820-ext4", "ext4, dax=always, on plain DRAM posing as pmem (memmap=)", _ext4(node="$E820"), power=DRAM),
    Row("virtio-pmem-ext4", "ext4, dax=always, on virtio-pmem", _ext4(node="$VIRTIO"), machine=EADR),
    Row("virtio-pmem-xfs", "xfs, dax=always, on virtio-pmem", _xfs(node="$VIRTIO"), machine=EADR),
    Row("ext4-unarmed", "ext4, dax=always, on an NVDIMM that is not armed, whose region was made writable",
        "unarmed_region 0 && " + _ext4(node="$UNARMED"), machine=EADR, power=VOLATILE),
    Row("ext4-unarmed-ro", "ext4, dax=always, on an NVDIMM that is not armed, in its read-only region",
        "unarmed_region 0 && " + _ext4(node="$UNARMED") + " && prepared && umount $M && unarmed_region 1 && "
        "mount -t ext4 -o ro,dax=always $UNARMED $M", machine=EADR, power=VOLATILE),
    # Devices in between
    Row("dm-linear", "ext4, dax=always, on dm-linear over pmem", "linear $A && " + _ext4(node="/dev/mapper/$R")),
    Row("dm-stripe", "xfs, dax=always, on dm-stripe over two pmem",
        "stripe $A $B && " + _xfs(node="/dev/mapper/$R")),
    Row("dm-mixed", "ext4, dax=always, on dm-linear over pmem and over DRAM posing as pmem",
        "concatenated $A $E820 && " + _ext4(node="/dev/mapper/$R"), power=DRAM),
    Row("dm-flakey", "xfs, dax=always (dropped by the kernel), on dm-flakey over pmem",
        "flakey $A && " + _xfs(node="/dev/mapper/$R")),
    Row("loop", "ext4 on a loop device over a DAX file",
        f"under {_ext4()} && loop_file && " + _ext4("defaults", "$LOOP")),
    Row("overlay-upper", "overlayfs, upper layer on ext4 with DAX",
        _under_overlay("lowerdir=$M.low,upperdir=$M.under/up")),
    Row("overlay-lower", "overlayfs, file in a lower layer on ext4 with DAX",
        f"under {_ext4()} && prepared $M.under && mkdir -p $M $M.low && "
        "mount -t overlay -o lowerdir=$M.under:$M.low overlay $M", power=READ_ONLY),
    Row("overlay-volatile", "overlayfs mounted volatile, upper layer on ext4 with DAX",
        _under_overlay("volatile,lowerdir=$M.low,upperdir=$M.under/up"), power=VOLATILE),
    Row("loop-tmpfs", "ext4 on a loop device over a file of a tmpfs",
        "under memory_mount tmpfs size=80m && loop_file && " + _ext4("defaults", "$LOOP"), power=VOLATILE),
    Row("overlay-tmpfs", "overlayfs, upper layer on a tmpfs",
        "under memory_mount tmpfs size=80m && mkdir -p $M $M.low $M.under/up $M.under/work && "
        "mount -t overlay -o lowerdir=$M.low,upperdir=$M.under/up,workdir=$M.under/work overlay $M", power=VOLATILE),
    # Other file systems
    Row("erofs-dax", "erofs, dax=always",
        "need mkfs.erofs && erofs_image $A && mount -t erofs -o dax=always $A $M", power=READ_ONLY),
    Row("btrfs", "btrfs on pmem", "need mkfs.btrfs && volume btrfs $A defaults"),
    Row("virtiofs", "a directory of the host by virtiofs", "share_mount", machine=EADR),
    Row("fuse", "ext4 by FUSE (fuse2fs) on a disk", "need fuse2fs && fuse_mount $DISK"),
    Row("vfat", "vfat on a disk", "need mkfs.vfat && small $DISK mkfs.vfat -F 32 -s 8 && mounted vfat $DISK umask=0"),
    Row("exfat", "exfat on a disk", "need mkfs.exfat && small $DISK mkfs.exfat -c 32K && mounted exfat $DISK umask=0"),
    Row("ntfs3", "ntfs3 on a disk", "in_kernel ntfs3 && need mkfs.ntfs && volume ntfs3 $DISK umask=0,force",
        machine=NODOMAIN, kernels="6.12"),
    Row("9p-none", "a directory of the host by 9p, cache=none", "plan9_mount none", machine=PLAN9,
        kernels=GENERIC, power=NOT_MAPPED),
    Row("9p-mmap", "a directory of the host by 9p, cache=mmap", "plan9_mount mmap", machine=PLAN9,
        kernels=GENERIC, power=NOT_CUT),
    Row("9p-loose", "a directory of the host by 9p, cache=loose", "plan9_mount loose", machine=PLAN9,
        kernels=GENERIC, power=NOT_CUT),
    Row("nfs", "NFS 4.2, whose server has an ext4 on a disk",
        f"under {_ext4('defaults', '$DISK')} && nfs_mount"),
    # Memory, and no file system at all
    Row("tmpfs", "tmpfs", "memory_mount tmpfs huge=never", power=VOLATILE),
    Row("tmpfs-huge", "tmpfs with huge pages", "memory_mount tmpfs huge=always", power=VOLATILE),
    Row("ramfs", "ramfs", "memory_mount ramfs mode=1777", power=VOLATILE),
    Row("hugetlbfs", "hugetlbfs", "echo 24 >/proc/sys/vm/nr_hugepages && memory_mount hugetlbfs pagesize=2M",
        power=VOLATILE),
    Row("memfd", "memfd", "memory_mount tmpfs size=4k", power=VOLATILE),
    Row("brd", "ext4 on a RAM disk (brd)", "ram_disk && " + _ext4("defaults", "$RAM"), power=VOLATILE),
    Row("zram", "ext4 on zram", "zram_disk && " + _ext4("defaults", "/dev/zram0"), power=VOLATILE),
    Row("blockdev-brd", "block device node of a RAM disk (brd)", "ram_disk && NODE=$RAM", power=VOLATILE),
    Row("devdax", "device-dax, domain memory_controller", "NODE=$DAX"),
    Row("devdax-nodomain", "device-dax, no persistence domain stated", "NODE=$DAX", machine=NODOMAIN),
    Row("blockdev", "block device node of a disk", "NODE=$DISK"),
    Row("blockdev-pmem", "block device node of pmem", "NODE=$A"),
    # Kernels and shims that accept MAP_SYNC without knowing it
    Row("shim-all", "ext4, dax=always, a shim accepts every flag", _ext4(), "env LD_PRELOAD=/t/libignore_all_flags.so"),
    Row("shim-sync", "ext4, dax=always, a shim takes MAP_SYNC away", _ext4(),
        "env LD_PRELOAD=/t/libignore_map_sync.so"),
    Row("shim-disk", "ext4 on a disk, a shim takes MAP_SYNC away", _ext4("defaults", "$DISK"),
        "env LD_PRELOAD=/t/libignore_map_sync.so"),
)
