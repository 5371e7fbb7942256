# SPDX-License-Identifier: BSD-3-Clause
"""The kernel without its wrapping, so that no emulated CPU decompresses it in every boot.

QEMU starts an ELF file that has the note of a PVH entry (CONFIG_PVH); a bzImage carries one, compressed, behind its
header (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).
"""

import lzma
import shutil
import struct
import subprocess

_PT_NOTE = 4
_PHYS32_ENTRY = 18  # XEN_ELFNOTE_PHYS32_ENTRY
# By how they begin; the command has to be there, and lzma comes with Python.
_COMMANDS = {b"\x02\x21\x4c\x18": ["lz4", "-dc"], b"\x28\xb5\x2f\xfd": ["zstd", "-dcq"]}
_XZ = b"\xfd7zXZ"


def unwrapped(image):
    """The ELF file (bytes) in this bzImage; None where it cannot be had or would not be started."""
    sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    # The length that it unpacks to comes last.
    payload = image[(sectors + 1) * 512 + offset:][:length - 4]
    kernel = _unpacked(payload)
    return kernel if kernel and kernel[:4] == b"\x7fELF" and _has_entry(kernel) else None


def _unpacked(payload):
    if payload.startswith(_XZ):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    command = _COMMANDS.get(payload[:4])
    if not command or not shutil.which(command[0]):
        return None
    return subprocess.run(command, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


def _has_entry(elf):
    start, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for number in range(count):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", elf, start + number * size)
        if kind == _PT_NOTE and _PHYS32_ENTRY in _note_types(elf[offset:offset + length]):
            return True
    return False


def _note_types(notes):
    position = 0
    while position < len(notes):
        name, description, kind = struct.unpack_from("<III", notes, position)
        yield kind
        position += 12 + (name + 3 & ~3) + (description + 3 & ~3)
