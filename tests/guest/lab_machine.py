# SPDX-License-Identifier: BSD-3-Clause
"""The emulated machine of a backing: QEMU's command."""

import hashlib
import os

from lab_cache import find_tool
from lab_clock import rate

# panic=-1 with -no-reboot makes QEMU exit; an oops is never an acceptable result. A busy host may keep the emulated
# timer from ticking in time for the kernel's check of it, which is a panic as well. tsc=reliable: with two CPUs that
# promise no constant rate the kernel takes the time from the HPET (arch/x86/kernel/tsc.c unsynchronized_tsc), a device:
# each reading leaves the translated code. init_on_alloc=0: Debian's kernels clear each page that they allocate.
# norandmaps: at the same addresses as before a program starts in less than half the time, 12 ms instead of 27.
# From lsm on: what is asked or counted at each system call and page, 2.6 % of a unit test's instructions.
_KERNEL_ARGUMENTS = ("console=ttyS0 quiet loglevel=5 panic=-1 oops=panic nokaslr "
                     "mitigations=off norandmaps no_timer_check tsc=reliable init_on_alloc=0 cryptomgr.notests "
                     "lsm=capability psi=0 cgroup_disable=memory hardened_usercopy=off "
                     "random.trust_cpu=on rcupdate.rcu_expedited=1 8250.nr_uarts=1")

# QEMU 7.2 leaves an address in the flags register after some cmpxchg16b, which Linux 6.12 uses on each allocation
# (mm/slub.c): the guest soon dies of a double fault. Without the feature the kernel takes a lock instead. Two more cost
# time only: for ERMS the kernel copies and clears by bytes, which are emulated one by one, instead of by words, and the
# marks of SMAP around each copy from or to a program end a block of translated code.
_CPU = "max,cx16=off,erms=off,smap=off"

MEMORY = 1 << 30
JOB_DISK = 256 << 20  # of each guest, whatever is on it: a saved machine knows its size


def qemu():
    return find_tool("qemu-system-x86_64")


def cpus(backing):
    return os.environ.get("LAB_CPUS") or str(backing.cpus)


def digest(lab, backing):
    """What machines have in common that begin alike, as a name."""
    program = os.stat(qemu())
    # Whether a disk has a cache is for its server to know.
    devices = [(device.kind.replace("cached-", ""), device.image) for device, _ in backing.machine()]
    # What was saved before the host started is not believed: nothing has flushed it.
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        boot = stream.read()
    parts = (devices, cpus(backing), backing.persistence, backing.kernel, lab.insmod_order(backing.all_modules()),
             program.st_size, program.st_mtime_ns, boot)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def command(lab, backing, initrd, memory="", share=""):
    """All but its devices.

    initrd: "" where a state will be loaded; memory: the arguments of a memory-backend; share: the daemon's socket.
    """
    machine = "q35,nvdimm=on,usb=off,sata=off,smbus=off"
    if share:
        # The daemon reads and writes the guest's memory.
        memory = "memory-backend-memfd,share=on"
    if memory:
        machine += ",memory-backend=ram"
    if backing.persistence:
        machine += f",nvdimm-persistence={backing.persistence}"
    words = [qemu(), "-accel", "tcg,thread=multi", "-cpu", _CPU, "-smp", cpus(backing), "-M", machine,
             "-m", f"{MEMORY >> 20}M,slots=48,maxmem=32G", "-nodefaults", "-no-user-config",
             "-display", "none", "-no-reboot", "-device", "virtio-serial-pci"]
    if not initrd:
        words += ["-incoming", "defer"]
    else:
        known = rate()
        clock = f"tsc_early_khz={known}" if known else ""
        words += ["-kernel", lab.kernel, "-initrd", initrd, "-append", f"{_KERNEL_ARGUMENTS} {clock} {backing.kernel}"]
    if memory:
        words += ["-object", f"{memory},id=ram,size={MEMORY}"]
    if share:
        words += ["-chardev", f"socket,id=share,path={share}", "-device", "vhost-user-fs-pci,chardev=share,tag=lab"]
    return words


def channel(name, descriptor):
    arguments = ["-chardev", f"socket,id={name},fd={descriptor}"]
    if name == "console":
        return arguments + ["-serial", "chardev:console"]
    if name == "monitor":
        return arguments + ["-mon", "chardev=monitor,mode=control"]
    return arguments + ["-device", f"virtserialport,chardev={name},name={name}"]


def cached_disk(number, descriptor):
    return ["-blockdev", f"driver=nbd,node-name=disk{number},server.type=fd,server.str={descriptor}",
            "-device", f"virtio-blk-pci,drive=disk{number},write-cache=on"]


def blank_disk(number, size):
    """Nothing looks at it."""
    return ["-blockdev", f"driver=null-co,node-name=disk{number},size={size},read-zeroes=on",
            "-device", f"virtio-blk-pci,drive=disk{number}"]


def job_disk(path):
    """Behind all others, so that these have their letters. The guest reads it once and lets go of it."""
    return ["-drive", f"file={path},if=none,id=job,format=raw,cache=unsafe,read-only=on",
            "-device", "virtio-blk-pci,drive=job,serial=job"]


def device(kind, number, path):
    if kind == "share":
        return []
    if kind == "disk":
        # The host does not lose its power: no flush of the guest needs to reach the host's disk.
        return ["-drive", f"file={path},if=none,id=disk{number},format=raw,cache=unsafe",
                "-device", f"virtio-blk-pci,drive=disk{number}"]
    if kind == "9p":
        return ["-fsdev", f"local,id=fs{number},path={path},security_model=none",
                "-device", f"virtio-9p-pci,fsdev=fs{number},mount_tag=lab"]
    front = {"virtio-pmem": "virtio-pmem-pci", "unarmed": "nvdimm,unarmed=on"}.get(kind, "nvdimm")
    return ["-object", f"memory-backend-file,id=mem{number},share=on,mem-path={path},"
                       f"size={os.path.getsize(path)}",
            "-device", f"{front},memdev=mem{number},id=dev{number}"]
