# SPDX-License-Identifier: BSD-3-Clause
"""The kinds of storage a guest can offer: one row each, nothing but data.

The host turns a row into QEMU arguments and into /lab/settings, which
guest-init.sh reads; "before" and "after" name shell functions of that file.
"""

from dataclasses import dataclass, replace

MIB = 1 << 20
# mkfs.xfs refuses devices below 300 MiB.
DEVICE_SIZE = 512 * MIB


@dataclass(frozen=True)
class Device:
    """An emulated device; image names the golden image it starts from."""

    kind: str                # nvdimm, unarmed (an NVDIMM that keeps nothing), virtio-pmem, disk, cached-disk
                             # (lab_disk.py); share or 9p: a directory of the host
    image: str = "blank"     # blank, fsdax or devdax


@dataclass(frozen=True)
class Volume:
    """A file system to make and to mount."""

    node: str
    fs: str
    options: str = "defaults"
    mkfs: str = ""
    where: str = "/mnt/test"


@dataclass(frozen=True)
class Backing:
    name: str
    summary: str
    devices: tuple = ()
    volumes: tuple = ()
    node: str = ""           # what @DEV stands for, and what the guest waits for
    persistence: str = ""    # persistence domain the NFIT states, "" = none
    kernel: str = ""         # extra kernel arguments
    modules: str = ""        # besides those that devices and volumes imply
    before: str = ""         # shell function run before the mounts
    after: str = ""          # shell function run after them
    directory: str = "/mnt/test/d"
    cpus: int = 2            # the emulator is faster with one, which will do where no two things happen at once
    filled: bool = False     # up to FILLED and MODULES, as others: the machine of all is saved once (lab_state.py)

    def machine(self):
        """(device, its number in devices) of all that the machine has; the number is None where the row has it not."""
        own = [(device, number) for number, device in enumerate(self.devices)]
        if not self.filled:
            return own
        filled = []
        for kind, count in FILLED.items():
            mine = [pair for pair in own if pair[0].kind.endswith(kind)]
            filled += mine + [(BLANK[kind], None)] * (count - len(mine))
        return filled

    def all_modules(self):
        """Modules to load, in order; virtio_console first: it carries the results; virtio_blk: it brings the job."""
        wanted = ["virtio_pci", "virtio_console", "virtio_blk"]
        for device, _ in self.machine():
            wanted += {"nvdimm": ["nfit", "nd_pmem"],
                       "virtio-pmem": ["virtio_pmem", "nd_pmem"],
                       "disk": [], "cached-disk": [], "share": ["virtiofs"],
                       "unarmed": ["nfit", "nd_pmem"], "9p": ["9pnet_virtio", "9p"]}[device.kind]
            if device.image == "devdax":
                wanted += ["device_dax", "dax_pmem"]
        wanted += MODULES.split() if self.filled else []
        wanted += [volume.fs for volume in self.volumes if volume.fs != "tmpfs"]
        return list(dict.fromkeys(wanted + self.modules.split()))

    def memory_nodes(self):
        """How many nodes of persistent memory and of device-dax there will be."""
        kinds = [device for device, _ in self.machine() if device.kind in ("nvdimm", "unarmed", "virtio-pmem")]
        return len(kinds) + ("memmap=" in self.kernel)


NVDIMM = (Device("nvdimm", "fsdax"),)
UNARMED = (Device("unarmed", "fsdax"),)
DEVDAX = (Device("nvdimm", "devdax"),)
VIRTIO_PMEM = (Device("virtio-pmem"),)
DISK = (Device("disk"),)
CACHED_DISK = (Device("cached-disk"),)
SHARE = (Device("share"),)
BLANK = {"nvdimm": NVDIMM[0], "disk": DISK[0]}
# Of the machine that rows share.
FILLED = {"nvdimm": 48, "disk": 20}
MODULES = "ext4 xfs btrfs loop overlay dm-mod dm-flakey"
MATRIX_MODULES = ("ext4 xfs btrfs overlay fuse loop dm-mod dm-flakey erofs "
                  "xts cts ecb sha512_generic nls_cp437 nls_ascii vfat exfat")
PMEM = "/dev/pmem0"
VDA = "/dev/vda"
TMPFS = (Volume("tmpfs", "tmpfs"),)


def _ext4(options="dax=always", node=PMEM):
    return (Volume(node, "ext4", options, "-b 4096"),)


def _xfs(options="dax=always", node=PMEM, reflink=0):
    return (Volume(node, "xfs", options, f"-m reflink={reflink}"),)


# Each with its name as directory.
_FOUR = (Volume("/dev/pmem0", "ext4", "dax=always", "-b 4096", "/mnt/ext4-dax"),
         Volume("/dev/pmem1", "xfs", "dax=always", "-m reflink=0", "/mnt/xfs-dax"),
         Volume("/dev/vda", "ext4", where="/mnt/ext4-disk"),
         Volume("/dev/vdb", "xfs", where="/mnt/xfs-disk"))


# The same, each with quotas of users and projects.
_LIMITED = tuple(replace(volume, options=f"{volume.options},{options}", mkfs=f"{volume.mkfs} {mkfs}".strip())
                 for volume in _FOUR
                 for options, mkfs in [("usrquota,prjquota", "-I 256 -O quota,project") if volume.fs == "ext4" else
                                       ("uquota,pquota", "")])


def _below(name, volumes, nvdimms, disks):
    """The same under /mnt/NAME, on the devices that follow so many others."""
    def moved(node):
        if node.startswith("/dev/pmem"):
            return f"/dev/pmem{int(node[9:]) + nvdimms}"
        return node[:-1] + chr(ord(node[-1]) + disks)
    return tuple(replace(volume, node=moved(volume.node), where=volume.where.replace("/mnt", "/mnt/" + name, 1))
                 for volume in volumes)


_NO_JOURNAL = tuple(Volume(node, "ext4", options, "-b 4096 -O ^has_journal", "/mnt/" + name)
                    for node, options, name in ((PMEM, "dax=always", "dax"), ("/dev/pmem1", "dax=always", "dax-raw"),
                                                (VDA, "defaults", "disk"), ("/dev/vdb", "defaults", "disk-raw"),
                                                ("/dev/vdc", "defaults", "disk-read"),
                                                ("/dev/vdd", "defaults", "disk-zeroed"),
                                                # /dev/vdg is that of paths.sh.
                                                ("/dev/vdf", "defaults", "disk-prepared")))


# For ways.sh: one file system for each way, so that what commits for one does not for another. Nothing commits by
# itself.
_WAYS = tuple(Volume(f"/dev/pmem{number}", fs, options, mkfs, f"/mnt/{name}")
              for number, (name, fs, options, mkfs) in enumerate(
                  [(f"ext4-{i}", "ext4", "dax=always,commit=300", "-b 4096") for i in range(19)] +
                  [(f"xfs-{i}", "xfs", "dax=always", "-m reflink=0") for i in range(20)] +
                  [(f"fast-{i}", "ext4", "dax=always,commit=300", "-b 4096 -O fast_commit") for i in range(8)]))

# The same for accelerated_cut.sh.
_ACCELERATED = tuple(replace(volume, node=f"/dev/pmem{number}") for number, volume in enumerate(
    volume for volume in _WAYS if volume.where in [f"/mnt/{fs}-{i}" for fs in ("ext4", "xfs") for i in range(7)]))


_ROWS = (
    Backing("ext4-dax", "ext4 dax=always, NVDIMM that states no persistence domain",
            NVDIMM, _ext4(), PMEM),
    Backing("ext4-dax-memctrl", "ext4 dax=always, domain memory_controller",
            NVDIMM, _ext4(), PMEM, "mem-ctrl"),
    Backing("ext4-dax-eadr", "ext4 dax=always, domain cpu_cache",
            NVDIMM, _ext4(), PMEM, "cpu"),
    Backing("xfs-dax", "xfs dax=always without reflink, domain memory_controller",
            NVDIMM, _xfs(), PMEM, "mem-ctrl"),
    Backing("xfs-dax-nodomain", "xfs dax=always without reflink, no domain stated",
            NVDIMM, _xfs(), PMEM),
    Backing("xfs-dax-eadr", "xfs dax=always without reflink, domain cpu_cache",
            NVDIMM, _xfs(), PMEM, "cpu"),
    Backing("xfs-dax-reflink", "xfs dax=always with reflink, domain memory_controller",
            NVDIMM, _xfs(reflink=1), PMEM, "mem-ctrl"),
    Backing("xfs-inode-flag", "xfs dax=inode, new files inherit the DAX flag",
            NVDIMM, _xfs("dax=inode"), PMEM, "mem-ctrl", after="inherit_dax_flag"),
    Backing("xfs-inode-noflag", "xfs dax=inode, no DAX flag: page cache on pmem",
            NVDIMM, _xfs("dax=inode"), PMEM, "mem-ctrl"),
    Backing("ext4-nodax", "ext4 dax=never on pmem",
            NVDIMM, _ext4("dax=never"), PMEM, "mem-ctrl"),
    Backing("xfs-nodax", "xfs dax=never on pmem",
            NVDIMM, _xfs("dax=never"), PMEM, "mem-ctrl"),
    Backing("ext4-disk", "ext4 on a virtio disk",
            DISK, _ext4("defaults", VDA), VDA),
    Backing("xfs-disk", "xfs on a virtio disk",
            DISK, _xfs("defaults", VDA), VDA),
    Backing("btrfs-disk", "btrfs on a virtio disk",
            DISK, (Volume(VDA, "btrfs"),), VDA),
    Backing("ext4-disk-dm", "ext4 on a virtio disk that dm_fail can break",
            # A periodic commit while the device fails would abort the journal.
            DISK, _ext4("commit=300", "/dev/mapper/lab"), VDA,
            modules="dm-mod dm-flakey", before="make_linear"),
    Backing("xfs-disk-dm", "xfs on a virtio disk that dm_fail can break",
            DISK, _xfs("defaults", "/dev/mapper/lab"), VDA,
            modules="dm-mod dm-flakey", before="make_linear"),
    Backing("e820-ext4", "ext4 dax=always on plain DRAM posing as pmem (memmap=)",
            (), _ext4(), PMEM, kernel="memmap=128M!512M", modules="nd_e820 nd_pmem"),
    Backing("virtio-pmem-ext4", "ext4 dax=always on virtio-pmem (never synchronous)",
            VIRTIO_PMEM, _ext4(), PMEM),
    Backing("devdax", "device-dax, domain memory_controller",
            DEVDAX, TMPFS, "/dev/dax0.0", "mem-ctrl"),
    Backing("devdax-nodomain", "device-dax, no domain stated",
            DEVDAX, TMPFS, "/dev/dax0.0"),
    Backing("tmpfs", "tmpfs", (), TMPFS),
    Backing("blockdev", "raw virtio disk; the directory is on tmpfs",
            DISK, TMPFS, VDA),
    Backing("matrix-memctrl", "every kind of device at once, domain memory_controller; for matrix.py",
            NVDIMM * 2 + DEVDAX + DISK, TMPFS, "", "mem-ctrl",
            kernel="memmap=128M!512M", modules="nd_e820 " + MATRIX_MODULES),
    Backing("matrix-nodomain", "NVDIMMs that state no persistence domain; for matrix.py",
            NVDIMM * 2 + DEVDAX + DISK, TMPFS, modules="ext4 xfs ntfs3"),
    # An NVDIMM takes a slot of what a daemon can share with its guest, so that the share is where they are few. What
    # cannot be saved (lab_state.py) is in one machine.
    Backing("matrix-eadr", "NVDIMM with domain cpu_cache, one not armed, virtio-pmem, and a directory of the host; for "
            "matrix.py", NVDIMM + UNARMED + VIRTIO_PMEM + SHARE, TMPFS, "", "cpu", modules="ext4 xfs"),
    Backing("matrix-9p", "a directory of the host by 9p; for matrix.py", (Device("9p"),), TMPFS),
    Backing("matrix-power-memctrl", "as matrix-memctrl, many devices for one power cut of them all",
            NVDIMM * 31 + DEVDAX + DISK * 8, TMPFS, "", "mem-ctrl", modules=MATRIX_MODULES),
    Backing("matrix-power-nodomain", "as matrix-nodomain, for one power cut",
            NVDIMM * 2 + DEVDAX + DISK, TMPFS, modules="ext4 xfs ntfs3"),
    Backing("matrix-power-eadr", "as matrix-eadr, for one power cut",
            NVDIMM * 2 + VIRTIO_PMEM * 2 + SHARE, TMPFS, "", "cpu", modules="ext4 xfs"),
    Backing("suite", "as many NVDIMMs, domain memory_controller, and disks as there are rows; for suite.py",
            NVDIMM + DISK, TMPFS, "", "mem-ctrl", modules="ext4 xfs dm-mod dm-flakey"),
    Backing("power", "ext4 and xfs, each on pmem with DAX and on a disk, for power cuts",
            NVDIMM * 2 + DISK * 2,
            _FOUR,
            "/dev/pmem0", "mem-ctrl", directory="/mnt"),
    Backing("power-cached", "ext4 and xfs, each on a disk with a volatile cache that a power cut empties",
            CACHED_DISK * 2, tuple(replace(volume, node=node) for volume, node in zip(_FOUR[2:], (VDA, "/dev/vdb"))),
            VDA, directory="/mnt"),
    Backing("cached-disks", "many disks with volatile caches, without file systems; for flushes.sh",
            CACHED_DISK * 20, TMPFS, "/dev/vdt", modules="ext4 xfs btrfs loop dm-mod"),
    Backing("covered", "ext4 on a virtio disk, loop devices and overlays; for covered.sh",
            DISK, _ext4("defaults", VDA), VDA, modules="loop overlay"),
    Backing("limits", "as power, with quotas of users and projects",
            NVDIMM * 2 + DISK * 2, _LIMITED, "/dev/pmem0", "mem-ctrl", modules="quota_v2", directory="/mnt"),
    Backing("ext4-dax-fastcommit", "ext4 dax=always with fast_commit, domain memory_controller",
            NVDIMM, (Volume(PMEM, "ext4", "dax=always", "-b 4096 -O fast_commit"),), PMEM, "mem-ctrl"),
    Backing("cuts-away", "as power, three times; for scripts that make file systems go away",
            NVDIMM * 6 + DISK * 6,
            _below("read-only", _FOUR, 0, 0) + _below("shutdown", _FOUR, 2, 2) + _below("device", _FOUR, 4, 4),
            "/dev/pmem5", "mem-ctrl", modules="dm-mod overlay", directory="/mnt"),
    Backing("cuts-files", "for scripts about what becomes of files: as power with another disk, xfs with reflink, "
            "and ext4 without a journal", NVDIMM * 5 + DISK * 8,
            _below("write-paths", _FOUR, 0, 0) + _below("no-journal", _NO_JOURNAL, 2, 2) +
            (Volume("/dev/pmem4", "xfs", "dax=always", "-m reflink=1", "/mnt/reflink"),),
            "/dev/pmem4", "mem-ctrl", directory="/mnt"),
    Backing("ways", "ext4, xfs and ext4 with fast_commit, many of each on pmem with DAX, for one power cut of them all",
            NVDIMM * len(_WAYS), _WAYS, f"/dev/pmem{len(_WAYS) - 1}", "mem-ctrl", before="quiet_logs",
            directory="/mnt"),
    Backing("accelerated", "as ways, fewer of them",
            NVDIMM * len(_ACCELERATED), _ACCELERATED, f"/dev/pmem{len(_ACCELERATED) - 1}", "mem-ctrl",
            before="quiet_logs", directory="/mnt"),
    Backing("cut", "as power, with a third disk without a file system, dm and overlays",
            NVDIMM * 2 + DISK * 3, _FOUR, "/dev/pmem0", "mem-ctrl", modules="dm-mod overlay", directory="/mnt"),
)

# Two are where threads, processes or the kernel do things at once: races, stale blocks, growth (suite.py).
_ONE_CPU = ("accelerated", "matrix-", "cut", "ways", "cached-disks", "power", "suite")
# They share a machine.
_FILLED = ("accelerated", "cached-disks", "cut", "cuts-away", "cuts-files", "power", "power-cached", "suite", "ways")
BACKINGS = {row.name: replace(row, cpus=1 if row.name.startswith(_ONE_CPU) else row.cpus, filled=row.name in _FILLED,
                              persistence="mem-ctrl" if row.name in _FILLED else row.persistence) for row in _ROWS}

# Not offered to users: the boot that turns blank NVDIMMs into golden images.
GOLDEN = Backing("golden", "makes the golden images",
                 (Device("nvdimm"), Device("nvdimm")), TMPFS,
                 modules="device_dax dax_pmem", before="make_golden")
