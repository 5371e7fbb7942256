# SPDX-License-Identifier: BSD-3-Clause
"""Saved machines: where a boot has come to our script, a later guest of the same machine goes on from there.

The first guest of a machine boots. Once its script says "up" the guest stands still, QEMU writes the state of its
devices into a file (a migration), what is in its memory is copied, and the guest goes on. Later guests map the copy of
the memory privately (QEMU's option share=off) and load the state. The contents of NVDIMMs and disks are no part of it:
each guest has its own, of the same kind, and until "up" the guest has read of them only what is the same in all (the
info blocks of the golden images) and what the kernel forgets again (a partition table that is not there).

PMDIRECT_LAB_BOOT=1 boots each guest. A directory of the host by virtiofs cannot be saved (QEMU's vhost-user-fs), and
after a virtio-pmem device is restored, its first flush is never answered (QEMU 7.2).
"""

import contextlib
import fcntl
import glob
import json
import os
import shlex
import shutil
import sys
import time

import lab_machine
from lab_backings import GOLDEN
from lab_cache import new_directory
from lab_images import copy_sparse

_KEPT = 40           # in all labs of the cache; about 150 MiB each
_PATIENCE = 60       # for another process that boots the same machine
_ANSWER = 60         # of QEMU
_UNSAVABLE = ("share", "9p", "virtio-pmem")


class _Refused(Exception):
    """QEMU does not want to."""


class _Monitor:
    """QEMU's own channel (docs/interop/qmp-spec.txt)."""

    def __init__(self, channel):
        channel.settimeout(_ANSWER)
        self._stream = channel.makefile("rwb")
        self._stream.readline()  # its greeting
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self._stream.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self._stream.flush()
        while True:
            line = self._stream.readline()
            if not line:
                raise _Refused("QEMU ended")
            answer = json.loads(line)
            if "error" in answer:
                raise _Refused(answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]

    def ignore_shared(self):
        """What is shared is no part of the state: NVDIMMs, and the memory of the guest that is saved."""
        self.ask("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])


class State:
    """Of one machine: there, or to be saved by the guest that has this."""

    def __init__(self, lab, backing):
        self._root = os.path.dirname(lab.path)
        self.path = os.path.join(lab.path, "state-" + lab_machine.digest(lab, backing))
        self._lock = None
        self._memory = None

    def is_there(self):
        # QEMU waits for ever for the first byte of nothing.
        with contextlib.suppress(OSError):
            return os.path.getsize(os.path.join(self.path, "devices")) > 0
        return False

    def claim(self):
        """Whether this process is the one that saves it. While another is about to, it is waited for."""
        lock = open(self.path + ".lock", "w", encoding="ascii")
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if self.is_there() or time.monotonic() >= deadline:
                lock.close()
                return False
            time.sleep(0.02)
        if self.is_there():
            lock.close()
            return False
        self._lock = lock
        self._memory = os.memfd_create("pmdirect-guest")
        os.ftruncate(self._memory, lab_machine.MEMORY)
        return True

    def descriptors(self):
        """None if it is there."""
        return [] if self._memory is None else [self._memory]

    def memory(self):
        """The arguments of its memory."""
        if self._memory is None:
            return f"memory-backend-file,share=off,mem-path={self.path}/memory"
        return f"memory-backend-file,share=on,mem-path=/dev/fd/{self._memory}"

    def load(self, channel):
        """Into a machine that was started with -incoming defer. If it cannot, that machine ends."""
        with contextlib.suppress(OSError, ValueError, _Refused):
            monitor = _Monitor(channel)
            monitor.ignore_shared()
            monitor.ask("migrate-incoming", uri="exec:cat " + shlex.quote(self.path + "/devices"))

    def save(self, channel):
        """The machine goes on in any case."""
        try:
            monitor = _Monitor(channel)
            try:
                self._write(monitor)
            finally:
                monitor.ask("cont")
            self._forget_old()
        except (OSError, ValueError, _Refused) as error:
            print(f"the machine is not saved: {error}", file=sys.stderr)
        finally:
            self.close()

    def _write(self, monitor):
        with new_directory(os.path.dirname(self.path)) as new:
            _write_devices(monitor, os.path.join(new, "devices"))
            copy_sparse(f"/dev/fd/{self._memory}", os.path.join(new, "memory"))
            self.remove()
            os.rename(new, self.path)

    def used(self):
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self):
        if self._lock:
            self._lock.close()
            os.close(self._memory)
            self._lock = self._memory = None

    def _forget_old(self):
        found = []
        for path in glob.glob(os.path.join(glob.escape(self._root), "lab-*", "state-" + "[0-9a-f]" * 16)):
            with contextlib.suppress(OSError):
                found.append((os.stat(path).st_mtime, path))
        for _, path in sorted(found)[:-_KEPT]:
            shutil.rmtree(path, ignore_errors=True)


def state_of(lab, backing):
    """The State to begin with, or to make; None where the guest is to boot and no more."""
    if (os.environ.get("PMDIRECT_LAB_BOOT") == "1" or backing is GOLDEN or
            any(device.kind in _UNSAVABLE for device in backing.devices)):
        return None
    state = State(lab, backing)
    try:
        if state.is_there() or state.claim() or state.is_there():
            state.used()
            return state
    except OSError:  # not our cache, or no room in it
        pass
    return None


def _write_devices(monitor, path):
    monitor.ignore_shared()
    monitor.ask("migrate", uri="exec:cat >" + shlex.quote(path))
    deadline = time.monotonic() + _ANSWER
    while (status := monitor.ask("query-migrate").get("status")) != "completed":
        if status in ("failed", "cancelled") or time.monotonic() >= deadline:
            raise _Refused(f"the migration is {status}")
        time.sleep(0.005)
