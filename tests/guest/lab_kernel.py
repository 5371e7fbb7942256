# SPDX-License-Identifier: BSD-3-Clause
"""The kernel without its wrapping, so that no emulated CPU decompresses it in every boot.

QEMU starts an ELF file that has the note of a PVH entry (CONFIG_PVH); a bzImage carries one, compressed, behind its
header (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).

And its modules without what an emulated CPU takes long to look at, and what changes nothing that they do.
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

_SIGNED = b"~Module signature appended~\n"
_SHF_ALLOC = 2
# What the kernel parses (kernel/bpf/btf.c btf_parse_module, with the 5 MB of its own at the first) or sorts
# (arch/x86/kernel/unwind_orc.c unwind_module_init), for tracing programs and for the trace of a crash. Without the
# second, a trace has question marks at the functions of modules.
_NO_CONTENT = (b".BTF", b".BTF.base")
_NOT_LOADED = (b".orc_unwind", b".orc_unwind_ip", b".orc_header")


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


# --- Modules ---

def lean_module(module):
    """The module (bytes) without signature, types and unwinding tables; the kernel hashes all of a signed one."""
    text = bytearray(_unsigned(module))
    start, = struct.unpack_from("<Q", text, 40)
    size, count, names = struct.unpack_from("<HHH", text, 58)
    strings, = struct.unpack_from("<Q", text, start + names * size + 24)
    for header in range(start, start + count * size, size):
        begin = strings + struct.unpack_from("<I", text, header)[0]
        name = bytes(text[begin:text.index(b"\0", begin)])
        if name in _NO_CONTENT:
            struct.pack_into("<Q", text, header + 32, 0)
        elif name in _NOT_LOADED:
            flags, = struct.unpack_from("<Q", text, header + 8)
            struct.pack_into("<Q", text, header + 8, flags & ~_SHF_ALLOC)
    return bytes(text)


def _unsigned(module):
    """Without the signature; a struct module_signature follows it, which ends with its length, and then a text.

    See include/linux/module_signature.h.
    """
    if not module.endswith(_SIGNED):
        return module
    end = len(module) - len(_SIGNED)
    length, = struct.unpack_from(">I", module, end - 4)
    return module[:end - 12 - length]
