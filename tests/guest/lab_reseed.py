# SPDX-License-Identifier: BSD-3-Clause
"""A program that has the kernel draw a new key for its random numbers: no command at hand does.

Guests that go on from one saved machine would draw the same numbers otherwise, until the kernel does it of its own
accord (drivers/char/random.c crng_reseed). The new key comes from the pool, which was written to, and the CPU's RDSEED.
"""

import struct

_BASE = 0x400000
_HEADERS = 64 + 56
_CODE = bytes.fromhex(
    "b802000000"      # mov eax, open
    "488d3d24000000"  # lea rdi, [path], which comes after the code
    "be01000000"      # mov esi, O_WRONLY
    "31d2"            # xor edx, edx
    "0f05"            # syscall
    "89c7"            # mov edi, eax
    "b810000000"      # mov eax, ioctl
    "be07520000"      # mov esi, RNDRESEEDCRNG
    "31d2" "0f05"
    "f7d8"            # neg eax: an error number becomes the status
    "89c7"
    "b83c000000"      # mov eax, exit
    "0f05")


def program():
    """An ELF file (bytes) for x86-64."""
    text = _CODE + b"/dev/urandom\0"
    size = _HEADERS + len(text)
    # elf(5): one segment, readable and executable, the whole file.
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + text
