#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cuts the power once, at a moment that a script chooses, and compares what is left with what was promised.

  cut.py [--kernel KERNEL] [--lib FILE]... [--env NAME=VALUE]... [--times N] [--seed N] BACKING SCRIPT [FILES...]

The script runs in a guest with $1 = before, and again with $1 = after when the guest was killed and booted from the
same images. What it writes to descriptor 3 is for the host, in lines:

  promise NAME DIGEST   this content is durable, and must be found after the cut
  control NAME DIGEST   no call that keeps its promise has promised this content: of each group of controls (NAME up to
                        the first /) at least one must not be found, else the cut proves nothing
  note TEXT             shown
  cut                   to be killed now
  found NAME DIGEST     what is there after the cut

Anything else is a failure. The exit status is 0 if every promise was kept and every group of controls lost, 1 if
not, 77 where this machine lacks a part of the lab (1 if PMDIRECT_GUEST_REQUIRED=1).
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
# pylint: disable=wrong-import-position
import lab

TIMEOUT = 180  # for one line, a boot included

JOB = 'set -- "$LAB_ARGUMENT"\nexec 3<>"$LAB_ACK"\n'


class Account:
    """What was promised, and what came of it."""

    def __init__(self):
        self.promises = {}
        self.controls = {}
        self.found = {}
        self.problems = []
        self.ready_for_cut = False

    def take(self, line):
        verb, _, rest = line.partition(" ")
        table = {"promise": self.promises, "control": self.controls, "found": self.found}.get(verb)
        words = rest.split()
        if table is not None and len(words) == 2:
            table[words[0]] = words[1]
        elif verb == "note":
            print(rest, flush=True)
        elif line == "cut":
            self.ready_for_cut = True
        else:
            self.problems.append(line)

    def judge(self):
        for name, digest in self.promises.items():
            if self.found.get(name) != digest:
                self.problems.append(f"LOST: {name}: {self._found(name)}, promised {digest}")
        groups = {}
        for name, digest in self.controls.items():
            groups.setdefault(name.split("/")[0], []).append(self.found.get(name) != digest)
        for group, lost in groups.items():
            print(f"controls {group}: {sum(lost)} of {len(lost)} lost")
        self.problems += [f"{group}: nothing was lost, so the cut shows nothing"
                          for group, lost in groups.items() if not any(lost)]
        if not self.promises:
            self.problems.append("nothing was promised")
        print(f"{len(self.promises)} promises, {len(self.controls)} controls in {len(groups)} groups")

    def _found(self, name):
        return f"found {self.found[name]}" if name in self.found else "not found"


def listen(guest, account):
    """Takes in lines until the script ends or asks to be cut."""
    while not account.ready_for_cut:
        line = guest.read_line(TIMEOUT)
        if line is None:
            return
        account.take(line.decode(errors="replace"))


def cut(guest, account, seed):
    guest.seed = seed
    guest.start("before")
    listen(guest, account)
    if not account.ready_for_cut:
        account.problems.append("the script ended before the cut")
    guest.kill9()
    for words in guest.last_words:
        print(words)
    account.ready_for_cut = False
    guest.start("after")
    listen(guest, account)
    return 0


def test(options):
    """As often as is asked for, each time on new images; the status of the worst."""
    statuses = [test_once(options, options.seed + number) for number in range(options.times)]
    if options.times > 1:
        print(f"{options.times} cuts, {len([status for status in statuses if status])} with something amiss")
    return max(statuses)


def test_once(options, seed):
    account = Account()
    with open(options.script, encoding="utf-8") as stream:
        job = lab.Job(lab.exports(options.env) + JOB + stream.read())
    lab.add_files(job, options.files, options.lib)
    failed = lab.run_on_images(options.backing, job, lambda guest: cut(guest, account, seed), lab.write_output)
    account.judge()
    for problem in account.problems:
        print(problem)
    return 1 if failed or account.problems else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--times", type=int, default=1, metavar="N")
    lab.add_seed_option(parser)
    parser.add_argument("backing", choices=lab.BACKINGS)
    parser.add_argument("script")
    parser.add_argument("files", nargs="*")
    return lab.run_test(parser, test)


if __name__ == "__main__":
    sys.exit(main())
