# SPDX-License-Identifier: BSD-3-Clause
"""Initramfs archives, and the libraries that programs need inside them."""

import os
import re
import stat
import subprocess

_MAGIC_ELF = b"\x7fELF"


class LabError(Exception):
    """The lab was used wrongly, or something it did failed."""


class Missing(LabError):
    """A part that the lab needs is not available on this machine."""


class Archive:
    """A newc archive in memory, which the kernel accepts after another one.

    Written here rather than by cpio(1) so that owners are root and paths are
    absolute guest paths, without staging a tree on disk.
    """

    def __init__(self):
        self._parts = []
        self._known = {"/"}

    def __contains__(self, path):
        return path in self._known

    def directory(self, path, mode=0o755):
        path = os.path.normpath(path)
        if path not in self._known:
            self._entry(path, stat.S_IFDIR | mode, b"")

    def file(self, path, data, mode=0o644):
        self._entry(os.path.normpath(path), stat.S_IFREG | mode, data)

    def symlink(self, path, target):
        self._entry(os.path.normpath(path), stat.S_IFLNK | 0o777, target.encode())

    def copy(self, source, path=None):
        """Adds a host file, by default under its own absolute path."""
        path = path or os.path.abspath(source)
        if path in self._known:
            return
        with open(source, "rb") as stream:
            # Readable by every uid of the guest, whatever the host's umask was.
            mode = 0o755 if os.access(source, os.X_OK) else 0o644
            self.file(path, stream.read(), mode)

    def elf(self, source):
        """Adds a file and, where it is dynamic ELF, all that it loads."""
        source = os.path.realpath(source)
        self.copy(source)
        for library in elf_closure(source):
            self.copy(library)
        return source

    def bytes(self):
        return b"".join(self._parts) + _newc("TRAILER!!!", 0, b"")

    def _entry(self, path, mode, data):
        if path != "/":
            self.directory(os.path.dirname(path))
        self._known.add(path)
        self._parts.append(_newc(path.lstrip("/"), mode, data))


def _newc(name, mode, data):
    encoded = name.encode() + b"\0"
    nlink = 2 if stat.S_ISDIR(mode) else 1
    fields = (0, mode, 0, 0, nlink, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + encoded) + _padded(data)


def _padded(data):
    return data + b"\0" * (-len(data) % 4)


def elf_closure(path):
    """Absolute paths of the interpreter and of the libraries of an ELF file."""
    with open(path, "rb") as stream:
        if stream.read(4) != _MAGIC_ELF:
            return []
    listing = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    lost = re.findall(r"^\s*(\S+) => not found", listing.stdout, re.M)
    if lost:
        raise LabError(f"{path}: libraries not found: {' '.join(lost)}")
    found = re.findall(r"(?:=> |^\s*)(/\S+) \(0x", listing.stdout, re.M)
    return [os.path.normpath(library) for library in found]
