# SPDX-License-Identifier: BSD-3-Clause
"""The rate of the counter that guests take the time from.

The emulator gives the host's own (include/qemu/timer.h cpu_get_host_ticks), whose rate a kernel finds out by comparing
it with a timer: on a busy host it may be wrong by a factor of five, and then the guest's seconds are.
"""

import ctypes
import mmap
import platform
import time

# rdtsc; shl rdx, 32; or rax, rdx; ret
_CODE = bytes.fromhex("0f3148c1e2204809d0c3")
_TRIES = 50
_APART = 0.05  # seconds


def rate():
    """In kHz; 0 where it cannot be told."""
    if platform.machine() != "x86_64":
        return 0
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:  # where nothing may be written and executed
        return 0
    page.write(_CODE)
    counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    first, then = _sample(counter)
    time.sleep(_APART)
    last, now = _sample(counter)
    return round((last - first) * 1e6 / (now - then))


def _sample(counter):
    """The counter and the time in ns, of the try that took least."""
    best = None
    for _ in range(_TRIES):
        before = time.monotonic_ns()
        count = counter()
        after = time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = after - before, count, (before + after) / 2
    return best[1:]
