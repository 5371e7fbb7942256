# SPDX-License-Identifier: BSD-3-Clause
"""The images of a machine's devices, which outlive its guests: made, copied, compared."""

import contextlib
import itertools
import os
import tempfile

import lab_backings
from lab_share import why_not

_CHUNK = 1 << 16
_ZEROS = bytes(_CHUNK)
_MEMORY = "/dev/shm"
_GIB = 1 << 30
_ROOM = 6 * _GIB  # for some guests that begin at the same time: each has 1 GiB and writes a few 100 MiB


def scratch(backing):
    """Where the images of a guest are to be; None for the usual place.

    In memory where there is plenty: what a guest stores to, a file system of the host allocates and writes out
    otherwise, which takes longer than the guest does. A directory that it shares stays with the host's file system.
    """
    if os.environ.get("TMPDIR") or not os.access(_MEMORY, os.W_OK):
        return None
    if any(device.kind in ("share", "9p") for device in backing.devices):
        return None
    room = os.statvfs(_MEMORY)
    return _MEMORY if min(room.f_bavail * room.f_frsize, _available_memory()) >= _ROOM else None


def _available_memory():
    with open("/proc/meminfo", encoding="ascii") as stream:
        available = next(int(line.split()[1]) << 10 for line in stream if line.startswith("MemAvailable:"))
    with contextlib.suppress(OSError, ValueError):  # ValueError: there is no limit
        available = min(available, _number("memory.max") - _number("memory.current"))
    return available


def _number(name):
    """Of the control group that a container has."""
    with open(os.path.join("/sys/fs/cgroup", name), encoding="ascii") as stream:
        return int(stream.read())


class Images:
    """The device images of one backing, in a directory; they outlive guests."""

    def __init__(self, lab, backing, directory, paths=()):
        """paths: those of a machine that had such devices; else new ones."""
        self.fresh = not paths  # no guest has formatted them yet
        self.directory = directory
        self.paths = list(paths)
        self.share = ""    # a directory, where the backing has one and this host can share it
        self.no_share = ""  # why not
        self.has_directory = False  # which QEMU or a daemon opens files in while the guest runs
        for number, device in enumerate(backing.devices if self.fresh else ()):
            path = os.path.join(directory, f"{device.kind}{number}.img")
            if device.kind in ("share", "9p"):
                os.mkdir(path)
                self.has_directory = True
            if device.kind == "share":
                self.no_share = why_not(path, directory)
                self.share = "" if self.no_share else path
            elif device.image == "blank" and device.kind != "9p":
                with open(path, "wb") as stream:
                    stream.truncate(lab_backings.DEVICE_SIZE)
            elif device.kind != "9p":
                copy_sparse(lab.image(device.image), path)
            self.paths.append(path)

    def copy(self, numbers=None):
        """Copies of these devices, or of all, as they are now."""
        directory = tempfile.mkdtemp(dir=self.directory)
        copies = []
        for number in range(len(self.paths)) if numbers is None else numbers:
            copies.append(os.path.join(directory, os.path.basename(self.paths[number])))
            copy_sparse(self.paths[number], copies[-1])
        return copies


def data_of(path):
    """(offset, bytes) of what is in a file and not zero, in pieces of one size: a few KiB of a golden image."""
    with open(path, "rb") as stream:
        offset = 0
        while True:
            try:
                offset = os.lseek(stream.fileno(), offset, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                return
            offset -= offset % _CHUNK
            data = os.pread(stream.fileno(), _CHUNK, offset)
            if data != _ZEROS[:len(data)]:
                yield offset, data
            offset += _CHUNK


def copy_sparse(source, target):
    with open(target, "wb") as writer:
        writer.truncate(os.path.getsize(source))
        for offset, data in data_of(source):
            os.pwrite(writer.fileno(), data, offset)


def is_same(one, other):
    """Whether two images of one size hold the same."""
    return all(mine == theirs for mine, theirs in itertools.zip_longest(data_of(one), data_of(other)))
