#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cuts the power once a script, at a moment that the script chooses, and compares what is left with what was promised.

  cut.py [--kernel KERNEL] [--lib FILE]... [--times N] [--seed N] BACKING --script FILE NAME [ENV=VALUE...]
         [--script ...] [--files FILE...]

The script runs in a guest with $1 = before, and again with $1 = after when the power is back. What it writes to
descriptor 3 is for the host, in lines:

  promise NAME DIGEST   this content is durable, and must be found after the cut
  control NAME DIGEST   no call that tells the truth has promised this content: of each group of controls (NAME up
                        to the first /) at least one must not be found, else the cut proves nothing
  note TEXT             shown
  cut                   to be killed now
  found NAME DIGEST     what is there after the cut
  looked NAME           what has this name, or one that begins with NAME/ or NAME-, was looked for after the cut: it is
                        there only if it is found

Anything else is a failure, and so is content that was not looked for: it is neither lost nor there.

One script has the machine for itself, which is killed and booted again. Several run one after the other, each on the
file systems under /mnt/NAME, which is $D, and on $DEVICE if it has one; each is cut for itself, by a copy of its
devices (copies.py), and one boot with all the copies shows what is left.

The exit status is 0 if every promise was kept and every group of controls lost, 1 if not, 77 where this machine lacks a
part of the lab (1 if PMDIRECT_GUEST_REQUIRED=1).
"""

import argparse
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
# pylint: disable=wrong-import-position
import copies
import lab

TIMEOUT = 360  # for one line, a boot included that makes many file systems

JOB = r"""
exec 3<>"$LAB_ACK"

# $1: a function, in the directory /mnt/$2 if there are more; $3: a device of it that is not mounted
run() {
	[ $SCRIPTS -eq 1 ] || D=/mnt/$2
	if [ $LAB_ARGUMENT = after ]; then
		$1
		echo ended >&3
	else
		{ awk -v under="$D/" 'index($2 "/", under) == 1 { print $1 }' /proc/mounts; echo $3; } >/tmp/mine
		echo devices $(list_devices | grep -nxFf /tmp/mine | cut -d: -f1) >&3
		{ $1; echo ended >&3; } </dev/null &
		read -r go <&3
	fi
}
"""


class Account:
    """What was promised, and what came of it."""

    def __init__(self):
        self.promises = {}
        self.controls = {}
        self.found = {}
        self.looked = set()
        self.problems = []
        self.devices = []      # numbers
        self.cut = self.ended = False

    def take(self, line):
        verb, _, rest = line.partition(" ")
        table = {"promise": self.promises, "control": self.controls, "found": self.found}.get(verb)
        words = rest.split()
        if table is not None and len(words) == 2:
            table[words[0]] = words[1]
        elif verb == "looked" and len(words) == 1:
            self.looked.add(words[0])
        elif verb == "note":
            print(rest, flush=True)
        elif verb == "devices":
            self.devices = [int(word) - 1 for word in words]
        elif line in ("cut", "ended"):
            setattr(self, line, True)
        else:
            self.problems.append(line)

    def judge(self):
        for name, digest in self.promises.items():
            if self._is_known(name) and self.found.get(name) != digest:
                self.problems.append(f"LOST: {name}: {self._found(name)}, promised {digest}")
        groups = {}
        for name, digest in self.controls.items():
            lost = self._is_known(name) and self.found.get(name) != digest
            groups.setdefault(name.split("/")[0], []).append(lost)
        self.problems += [f"{name}: was not looked for" for name in {**self.promises, **self.controls}
                          if not self._is_known(name)]
        for group, lost in groups.items():
            print(f"controls {group}: {sum(lost)} of {len(lost)} lost")
        self.problems += [f"{group}: nothing was lost, so the cut shows nothing"
                          for group, lost in groups.items() if not any(lost)]
        if not self.promises:
            self.problems.append("nothing was promised")
        print(f"{len(self.promises)} promises, {len(self.controls)} controls in {len(groups)} groups")

    def _is_known(self, name):
        """Whether the script looked for it; one that ends early does not."""
        begins = (name[:match.start()] for match in re.finditer("[/-]|$", name))
        return name in self.found or any(begin in self.looked for begin in begins)

    def _found(self, name):
        return f"found {self.found[name]}" if name in self.found else "not found"


def listen(guest, account):
    """Takes in lines until the script ends or asks to be cut."""
    account.cut = account.ended = False
    while not account.cut and not account.ended:
        account.take(copies.read(guest, TIMEOUT))


def cut(guest, accounts, seed):
    guest.seed = seed
    guest.start("before")
    images = list(guest.images.paths)
    for account in accounts:
        listen(guest, account)
        if not account.cut:
            account.problems.append("the script ended before the cut")
        if len(accounts) > 1:
            guest.stop()
            for number, path in zip(account.devices, guest.images.copy(account.devices)):
                images[number] = path
            guest.go_on()
            guest.send_line(b"go")
    guest.kill9()
    for words in guest.last_words:
        print(words)
    guest.images.paths = images
    guest.start("after")
    for account in accounts:
        listen(guest, account)
    return 0


def job(options):
    lines = [lab.exports([f"SCRIPTS={len(options.script)}"]), JOB]
    for number, (path, name, *settings) in enumerate(options.script):
        with open(path, encoding="utf-8") as stream:
            lines.append(f'script_{number}() (\nset -- $LAB_ARGUMENT\n{lab.exports(settings)}{stream.read()}\n)')
        device = dict(setting.split("=") for setting in settings).get("DEVICE", "")
        lines.append(f"run script_{number} {name} {device}")
    made = lab.Job("\n".join(lines))
    lab.add_files(made, options.files, options.lib)
    return made


def test(options):
    """As often as is asked for, each time on new images; the status of the worst."""
    statuses = [test_once(options, options.seed + number) for number in range(options.times)]
    if options.times > 1:
        print(f"{options.times} cuts, {len([status for status in statuses if status])} with something amiss")
    return max(statuses)


def test_once(options, seed):
    accounts = [Account() for _ in options.script]
    failed = lab.run_on_images(options.backing, job(options), lambda guest: cut(guest, accounts, seed),
                               lab.write_output)
    for (_, name, *_), account in zip(options.script, accounts):
        print(f"---- {name}")
        account.judge()
        for problem in account.problems:
            print(problem)
        print(f"script {name}: {'failed' if account.problems else 'passed'}", flush=True)
    return 1 if failed or any(account.problems for account in accounts) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=1, metavar="N")
    lab.add_seed_option(parser)
    parser.add_argument("backing", choices=lab.BACKINGS)
    parser.add_argument("--script", action="append", nargs="+", required=True, metavar="WORD")
    parser.add_argument("--files", nargs="+", default=[], metavar="FILE")
    return lab.run_test(parser, test)


if __name__ == "__main__":
    sys.exit(main())
