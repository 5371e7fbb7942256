#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A guest that goes on from a saved machine is what a guest is that boots."""

import argparse
import contextlib
import dataclasses
import io
import os
import sys
import tempfile
import time

import lab
from lab_state import State

TIMEOUT = 120
# Each line that begins with "fact" must be the same in all guests, each with "own" must not.
JOB = r"""
exec 3<>"$LAB_ACK"
fact() { echo "fact $*" >&3; }
fact argument $LAB_ARGUMENT
fact formatted ${FORMAT:-no}
fact modules $(cut -d' ' -f1 /proc/modules)
fact command line $(sed 's/tsc_early_khz=[0-9]*//' /proc/cmdline)
fact processors $(grep -c ^processor /proc/cpuinfo) of $(grep flags /proc/cpuinfo | sort -u)
fact memory $(grep MemTotal /proc/meminfo)
fact partitions $(cat /proc/partitions)
fact devices $(ls /sys/bus/nd/devices /sys/bus/virtio/devices /sys/block)
fact drivers $(cd /sys/bus/virtio/drivers && ls -d */*)
fact mounts $(cat /proc/mounts)
fact clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
fact complaints $(dmesg | grep -cE "WARNING: CPU|Oops")
echo own uuid $(cat /proc/sys/kernel/random/uuid) >&3
echo own bytes $(head -c 16 /dev/urandom | od -An -tx1) >&3
echo own volume $(xfs_io -r -c "pread -v 32 16" /dev/pmem0 | head -n 1) >&3
echo time $(date +%s) >&3
echo up for $(cut -d' ' -f1 /proc/uptime) >&3
echo kept $(cat /mnt/test/kept) >&3
echo $LAB_ARGUMENT >/mnt/test/kept
sync
echo end >&3
read -r line <&3
"""


def lines_of(guest, argument):
    """What the job says; the guest goes on."""
    guest.start(argument)
    lines = []
    while not lines or lines[-1] != "end":
        line = guest.read_line(TIMEOUT)
        assert line is not None, guest.console_text()
        lines.append(line.decode())
    return lines


def having(lines, word):
    return [line for line in lines if line.split()[0] == word]


class Test:
    def __init__(self):
        self.machine = lab.prepare(lab.say)
        row = lab.BACKINGS["xfs-dax"]
        # With a word that makes it a machine of its own.
        self.row = dataclasses.replace(row, kernel=f"lab.test={os.getpid()}", devices=row.devices +
                                       lab.BACKINGS["xfs-disk"].devices + lab.BACKINGS["cached-disks"].devices[:1])
        self.state = State(self.machine, self.row)
        self.lines = {}

    def run(self, spoil):
        with tempfile.TemporaryDirectory(prefix="pmdirect-state-", dir=lab.scratch(self.row)) as directory:
            try:
                self.compare(directory)
                if spoil:
                    self.spoil(directory)
            finally:
                self.state.remove()
        return 0

    def start(self, directory, arguments, restored=True):
        """Starts a machine with new images, and again on these, once for each argument; keeps what it says by name."""
        where = tempfile.mkdtemp(dir=directory)
        before = int(time.time()) - 1
        with lab.Guest(self.machine, self.row, lab.Job(JOB), lab.Images(self.machine, self.row, where)) as guest:
            for name, argument in arguments.items():
                self.lines[name] = lines_of(guest, argument)
                guest.kill9()
                assert guest.restored == restored, name
                now = int(having(self.lines[name], "time")[0].split()[1])
                assert before <= now <= time.time() + 1, f"{name}: {now} is not the time"
                print(f"{name}: {having(self.lines[name], 'up')}, {'restored' if restored else 'booted'}", flush=True)

    def compare(self, directory):
        assert not self.state.is_there()
        self.start(directory, {"saved": "word"}, restored=False)
        assert self.state.is_there()
        self.start(directory, {"one": "word", "one again": "-word", "one at last": ""})
        self.start(directory, {"two": "word"})
        os.environ["PMDIRECT_LAB_BOOT"] = "1"
        self.start(directory, {"booted": "word"}, restored=False)
        del os.environ["PMDIRECT_LAB_BOOT"]
        assert len(having(self.lines["booted"], "fact")) == 12
        self.same("booted", "saved")
        self.same("booted", "one")
        self.same("booted", "two")
        # On images that were there already a guest differs in nothing else.
        for name, argument, kept in (("one", "word", ""), ("one again", "-word", "word"), ("one at last", "", "-word")):
            assert f"kept {kept}".strip() in self.lines[name], self.lines[name]
            formatted = "1" if name == "one" else "no"
            self.same_facts([f"fact argument {argument}".strip(), f"fact formatted {formatted}"] +
                            having(self.lines["booted"], "fact")[2:], name)
        # A volume keeps its identity, and nothing else is drawn twice.
        owned = sum((having(lines, "own") for lines in self.lines.values()), [])
        volumes = [line for line in owned if line.startswith("own volume")]
        assert len(owned) == 18 and len(set(owned)) == 16 and len(set(volumes)) == 4, owned

    def same(self, one, other):
        self.same_facts(having(self.lines[one], "fact"), other)

    def same_facts(self, facts, name):
        theirs = having(self.lines[name], "fact")
        assert facts == theirs, f"{name} is not as a boot: {set(facts) ^ set(theirs)}"

    def spoil(self, directory):
        """A state that cannot be used gives way to a boot, which saves a new one."""
        devices, memory = (os.path.join(self.state.path, name) for name in ("devices", "memory"))

        def no_memory():
            os.unlink(memory)
            os.mkdir(memory)

        for number, deed in enumerate((lambda: os.truncate(devices, 1000), no_memory)):
            deed()
            with contextlib.redirect_stderr(io.StringIO()) as errors:
                self.start(directory, {f"spoiled {number}": "word"}, restored=False)
            assert "a saved machine did not go on" in errors.getvalue(), errors.getvalue()
            self.start(directory, {f"mended {number}": "word"})
            self.same("booted", f"mended {number}")
        os.truncate(devices, 0)
        assert not self.state.is_there()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spoil", action="store_true", help="look at what becomes of states that cannot be used, too")
    return lab.run_test(parser, lambda options: Test().run(options.spoil))


if __name__ == "__main__":
    sys.exit(main())
