#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cuts the power under a file that others clone, cut and punch while it is stored into.

  clone.py --program PROGRAM [--cuts N] [--deeds N] [--trusting] [--seed N] [--kernel KERNEL] [--lib FILE]...

PROGRAM (clone.c) tells what is durable; after a cut (copies.py) every such number, or a later one, must be in its
place, unless another process was about to wipe it. A check that ends early shows neither that something is lost nor
that nothing is: the test fails. With --deeds a cut comes no earlier than after so many deeds of others since the last
one. With --trusting the library's rule is off: it takes the kernel's word and holds no lease. Then each cut has a file
of its own, and the test passes as soon as something is lost; at most TRIES times as many cuts are made.

The exit status is 0 if all is well, 1 if not, 77 where this machine lacks a part of the lab.
"""

import argparse
import copy
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
# pylint: disable=wrong-import-position
import copies
import lab

TIMEOUT = 120              # for what comes before one cut
TRIES = 4
SLOTS, PAGE = 64, 4096
DEEDS = ("cloned", "cut", "punched")
BACKING = "xfs-dax-reflink"
CHECK = "./PROGRAM check /mnt/xfs-dax/d $1"
# A run of the program for each line from the host.
SCRIPT = r"""
quiet_logs
exec 3<>"$LAB_ACK"
while read -r mode number seed <&3; do
	./PROGRAM work $mode "$D" $number $seed >&3 2>&3 &
done
"""


class Round:
    """What was promised, and what was done meanwhile."""

    def __init__(self):
        self.acked = {}
        self.counts = {"promoted": 0, "demoted": 0, **dict.fromkeys(DEEDS, 0)}
        self.acks = 0
        self.now = False
        self.problems = []

    def take(self, line):
        verb, *rest = line.split()
        if verb == "acked":
            self.acked[int(rest[0])] = int(rest[1])
            self.acks += 1
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


class Found:
    """What a check said of the file."""

    def __init__(self):
        self.slots, self.risky = {}, set()
        self.size = None
        self.problems = []

    def take(self, line):
        verb, *rest = line.split()
        if verb == "slot":
            self.slots[int(rest[0])] = int(rest[1])
        elif verb == "risk":
            self.risky.add(int(rest[0]))
        elif verb == "size":
            self.size = int(rest[0])
        else:
            self.problems.append(line)

    def judge(self, acked):
        """The problems, and the losses: of a check that did not come to its end nothing is known."""
        problems, losses = list(self.problems), []
        if self.size is None or list(self.slots) != list(range(min(SLOTS, self.size // PAGE))):
            problems.append(f"the check ended early: {len(self.slots)} slots, size {self.size}")
        if not problems:
            losses = [f"slot {slot}: acknowledged {number}, found {self.slots.get(slot)}"
                      for slot, number in acked.items() if self._is_lost(slot, number)]
        return problems, losses

    def _is_lost(self, slot, number):
        found = self.slots.get(slot)
        # Wiped, or cut off: a look of the library makes the cut durable before the file has its size again.
        is_wiped = not found and slot in self.risky
        return (found or 0) < number and not is_wiped


class Test:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.files = [options.program], options.lib

    def run(self):
        job = lab.Job(lab.exports([]) + self.script(SCRIPT))
        lab.add_files(job, *self.files)
        # Without the rule nothing is done at once.
        act, cpus = (self.lose_something, 1) if self.options.trusting else (self.lose_nothing, 0)
        return lab.run_on_images(BACKING, job, act, cpus=cpus)

    def script(self, text):
        return text.replace("PROGRAM", os.path.basename(self.options.program))

    def lose_nothing(self, guest):
        self.boot(guest)
        cuts = list(self.leasing(guest))
        guest.kill9()
        problems, lost = self.look_at(cuts)
        return 1 if problems or lost else 0

    def lose_something(self, guest):
        self.boot(guest)
        for first in range(0, TRIES * self.options.cuts, self.options.cuts):
            problems, lost = self.look_at(list(self.trusting(guest, first)))
            if problems or lost:
                return 1 if problems else 0
        return 1

    @staticmethod
    def boot(guest):
        guest.start()
        guest.wait_ready(copies.BOOT_TIMEOUT)

    def look_at(self, cuts):
        """How many problems there were besides losses, and how many cuts lost something."""
        found = [Found() for _ in cuts]
        copies.look_at([images for images, _, _ in cuts], BACKING, self.files, self.script(CHECK),
                       [name for _, name, _ in cuts], lambda number, line: found[number].take(line))
        problems, lost = dict.fromkeys(sum((promised.problems for _, _, promised in cuts), [])), 0
        for number, (_, _, promised) in enumerate(cuts):
            amiss, losses = found[number].judge(promised.acked)
            problems.update(dict.fromkeys(f"cut {number}: {problem}" for problem in amiss))
            lost += bool(losses)
            if losses:
                print(f"seed {self.options.seed}, cut {number}: size {found[number].size}, "
                      f"to be wiped: {sorted(found[number].risky)}")
            for loss in losses:
                print(f"seed {self.options.seed}, cut {number}: {loss}")
        for problem in problems:
            print(f"seed {self.options.seed}: {problem}")
        print(f"{len(cuts)} cuts, {lost} with a loss", flush=True)
        return len(problems), lost

    def begin(self, guest, mode, number):
        guest.send_line(f"{mode} {number} {self.random.randrange(1, 1 << 32)}".encode())
        return time.monotonic() + TIMEOUT

    def leasing(self, guest):
        """A cut now and then; yields the images, the number of the file, and what was promised."""
        this = Round()
        self.begin(guest, "leasing", 0)
        for number in range(self.options.cuts):
            deadline = time.monotonic() + TIMEOUT
            wanted = this.deeds() + self.random.randrange(self.options.deeds, self.options.deeds * 3 // 2 + 1)
            while this.deeds() < wanted and not this.problems:
                this.take(copies.read(guest, deadline - time.monotonic()))
            # Somewhere in what comes next.
            copies.listen(guest, self.random.uniform(0, 0.3), this.take)
            yield self.copy(guest, 0, this)
            print(f"cut {number + 1}: {this.acks} acknowledged, {this.counts}", flush=True)
            if this.problems:
                return

    def trusting(self, guest, first):
        for number in range(first, first + self.options.cuts):
            this = Round()
            deadline = self.begin(guest, "trusting", number)
            while not this.now and not this.problems:
                this.take(copies.read(guest, deadline - time.monotonic()))
            yield self.copy(guest, number, this)

    @staticmethod
    def copy(guest, number, this):
        guest.stop()
        copies.take_pending(guest, this.take)
        images = guest.images.copy()
        guest.go_on()
        return images, str(number), copy.deepcopy(this)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--cuts", type=int, default=4)
    parser.add_argument("--deeds", type=int, default=50, help="of others, before the power is cut")
    parser.add_argument("--trusting", action="store_true")
    lab.add_seed_option(parser)
    return lab.run_test(parser, lambda options: Test(options).run())


if __name__ == "__main__":
    sys.exit(main())
