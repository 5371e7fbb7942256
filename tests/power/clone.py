#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cuts the power under a file that others clone, cut and punch while it is stored into.

  clone.py --program PROGRAM [--rounds N] [--deeds N] [--trusting] [--seed N] [--kernel KERNEL] [--lib FILE]...

PROGRAM (clone.c) tells what is durable; after a boot from the same image every such number, or a later one, must be in
its place, unless another process was about to wipe it. With --deeds a cut comes no earlier than after so many deeds of
others. With --trusting the library's rule is off: it takes the kernel's word and holds no lease. Then the test passes
if something is lost.

The exit status is 0 if all is well, 1 if not, 77 where this machine lacks a part of the lab.
"""

import argparse
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
# pylint: disable=wrong-import-position
import lab

TIMEOUT = 120
DEEDS = ("cloned", "cut", "punched")
# The guest checks what the last round has left, then begins the next one when it is told to.
SCRIPT = r"""
exec 3<>"$LAB_ACK"
before=${LAB_ARGUMENT%%,*} mode=${LAB_ARGUMENT##*,}
./PROGRAM check "$D" "$before" >&3
read -r round seed <&3
./PROGRAM work "$mode" "$D" "$round" "$seed" >&3 2>&3
echo ended >&3
"""


class Round:
    """What was promised, and what was done meanwhile."""

    def __init__(self):
        self.acked = {}
        self.risky = set()
        self.counts = {"promoted": 0, "demoted": 0, **dict.fromkeys(DEEDS, 0)}
        self.acks = 0
        self.now = False
        self.problems = []

    def take(self, line):
        verb, *rest = line.split()
        if verb == "acked":
            self.acked[int(rest[0])] = int(rest[1])
            self.risky.discard(int(rest[0]))
            self.acks += 1
        elif verb == "risk":
            self.risky.add(int(rest[0]))
        elif verb in self.counts:
            self.counts[verb] = int(rest[0])
            if rest[1:] == ["lease-forced"]:
                self.problems.append("a lease was taken by force")
        elif verb == "now":
            self.now = True
        else:
            self.problems.append(line)

    def deeds(self):
        return sum(self.counts[deed] for deed in DEEDS)

    def lost(self, found):
        return [f"slot {slot}: acknowledged {number}, found {found.get(slot)}"
                for slot, number in self.acked.items()
                if found.get(slot, 0) < number and not (slot in self.risky and found.get(slot) == 0)]


class Test:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.totals = Round()

    def run(self):
        script = SCRIPT.replace("PROGRAM", os.path.basename(self.options.program))
        job = lab.Job(lab.exports([]) + script)
        lab.add_files(job, [self.options.program], self.options.lib)
        return lab.run_on_images("xfs-dax-reflink", job, self.rounds)

    def rounds(self, guest):
        last, lost = Round(), []
        for number in range(self.options.rounds + 1):
            mode = "trusting" if self.options.trusting else "leasing"
            guest.start(f"{number - 1},{mode}")
            lost = last.lost(self.check(guest))
            for problem in last.problems + lost:
                print(f"seed {self.options.seed}, round {number}: {problem}", flush=True)
            if lost or last.problems or number == self.options.rounds:
                break
            last = self.work(guest, number + 1)
            guest.kill9()
            print(f"round {number + 1}: {last.acks} acknowledged, {last.counts}", flush=True)
        if self.options.trusting:
            print("the loss was noticed" if lost else "NOTHING was lost")
            return 0 if lost and not last.problems else 1
        return 1 if lost or last.problems else 0

    def check(self, guest):
        found = {}
        while (line := self.read(guest, TIMEOUT)) != "checked":
            _, slot, number = line.split()
            found[int(slot)] = int(number)
        return found

    def work(self, guest, number):
        this = Round()
        guest.send_line(f"{number - 1} {self.random.randrange(1, 1 << 32)}".encode())
        deadline = time.monotonic() + TIMEOUT
        wanted = self.random.randrange(self.options.deeds, self.options.deeds * 3 // 2 + 1)
        while this.deeds() < wanted and not this.now and not this.problems:
            this.take(self.read(guest, deadline - time.monotonic()))
        # Somewhere in what comes next.
        end = time.monotonic() + (0 if this.now else self.random.uniform(0, 0.3))
        try:
            while (left := end - time.monotonic()) > 0:
                this.take(self.read(guest, left))
        except lab.GuestFailure as failure:
            if not failure.hung:
                raise
        guest.kill9()
        for line in guest.pending_lines():
            this.take(line.decode(errors="replace"))
        return this

    @staticmethod
    def read(guest, timeout):
        line = guest.read_line(max(timeout, 0.001))
        if line is None:
            raise lab.GuestFailure("the program ended")
        return line.decode(errors="replace")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--deeds", type=int, default=50, help="of others, before the power is cut")
    parser.add_argument("--trusting", action="store_true")
    lab.add_seed_option(parser)
    return lab.run_test(parser, lambda options: Test(options).run())


if __name__ == "__main__":
    sys.exit(main())
