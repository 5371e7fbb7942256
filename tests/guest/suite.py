#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs programs on file systems of their own, many in one guest.

  suite.py [--kernel KERNEL] [--rows A,B...] [--lib FILE]... SUITE FILE...

FILES are what the rows of the suite start. Each row prints its name and whether it passed; the exit status is 1 if one
did not. 77 where this machine lacks a part of the lab.
"""

import argparse
import dataclasses
import sys

import lab
import matrix

EXT4 = "volume ext4 $A dax=always -b 4096"
XFS = "volume xfs $A dax=always -m reflink=0"
REFLINK = "volume xfs $A dax=always -m reflink=1"
EXT4_DISK = "volume ext4 $DISK defaults -b 4096"
XFS_DISK = "volume xfs $DISK defaults -m reflink=0"
# For dm_fail. A periodic commit while the device fails would abort the journal.
EXT4_DM = "DEV=$DISK && make_linear && volume ext4 /dev/mapper/lab commit=300 -b 4096"
XFS_DM = "DEV=$DISK && make_linear && volume xfs /dev/mapper/lab defaults -m reflink=0"

DAX = {"ext4-dax": EXT4, "xfs-dax": XFS}
DM = {"ext4-disk-dm": EXT4_DM, "xfs-disk-dm": XFS_DM}
GUARDED = {**DAX, "ext4-disk": EXT4_DISK}
WATCHED = {"ext4-dax": EXT4, "xfs-dax-reflink": REFLINK, "xfs-disk": XFS_DISK}
SHARED = {name: WATCHED[name] for name in ("ext4-dax", "xfs-dax-reflink")}


FOUR = [f"/mnt/{name}" for name in ("ext4-dax", "xfs-dax", "ext4-disk", "xfs-disk")]


def rows(prefix, setups, command):
    """(name, set-up, command) on each kind of file system."""
    return [(f"{prefix}-{name}", setup, command.replace("@", name)) for name, setup in setups.items()]


SUITES = {
    # Waiting, mostly.
    "events": rows("events", WATCHED, "./test_events @ $D"),
    "causes": [row for cause in ("read-only", "shutdown")
               for row in rows(f"events-{cause}", WATCHED, f"./test_events @ $D final {cause}")] +
              rows("events-bad-block", {"ext4-dax": EXT4}, "./test_events @ $D final bad-block") +
              rows("events-unbind", {name: f"{setup} && keep_mounted" for name, setup in WATCHED.items()},
                   "./test_events @ $D final unbind"),
    "lost": [row for cause in ("unlink", "replace", "shutdown")
             for row in rows(f"lost-{cause}", SHARED, f"./test_events @ $D guarantee {cause}")],
    "faults": rows("guard", GUARDED, "./test_guard $D") +
              rows("health", DAX, 'make_file && ./test_health "$F" "${A##*/}"') +
              rows("shim", DAX, ". ./shim.sh"),
    # The small kernel of the other tests handles no memory errors.
    "poison": rows("poison", GUARDED, "./test_guard $D poison"),
    # Four file systems and a disk, as lab_backings.py has them.
    "files": [("prepared", "D=/mnt", f"./test_prepared {' '.join(FOUR[:2])}"),
              ("times", "D=/mnt", f"./test_times {' '.join(FOUR)}"),
              ("growth", "D=/mnt", f"./test_growth -g 30 {' '.join(FOUR)}"),
              ("libpmem", "D=/mnt", f"./test_libpmem {' '.join(FOUR)}"),
              ("folios", "volume ext4 /dev/vdc defaults -b 4096 -O ^has_journal",
               f"./test_folios {' '.join(FOUR[2:])} first $M")],
    # The same threads at once.
    "growth": [("growth", "D=/mnt", f"./test_growth -g 10 {' '.join(FOUR)}")],
    "calls": [("mixing", "D=/mnt", f"./test_mixing {' '.join(FOUR)}"),
              ("flushes", "D=/mnt", f"./test_flushes {' '.join(FOUR)} /dev/vdc")],
    "companion": [("companion", "D=/mnt", ". ./companion.sh"), ("accelerated", "D=/mnt", ". ./accelerated.sh")],
    "tool": [("tool", "D=/mnt", ". ./commands.sh")],
    "errors": [row for program in ("test_eio", "test_restart")
               for row in rows(program, DM, f"PROGRAM=./{program} && . ./eio.sh")],
}
TOGETHER = ("events",)
BACKINGS = {"files": "cut", "growth": "cut", "calls": "cut", "tool": "cut", "companion": "cut"}
# The emulator's second CPU makes faults of pages and changes of mappings three times as dear.
TWO_CPUS = ("growth",)
# No other test has their machine: with two CPUs, or with the large kernel.
ALONE = ("growth", "poison")


def run(options):
    rows_of_it = [row for row in SUITES[options.suite] if not options.rows or row[0] in options.rows]
    backing, needed = lab.BACKINGS[BACKINGS.get(options.suite, "suite")], {"nvdimm": "$A", "disk": "$DISK"}
    backing = dataclasses.replace(backing, cpus=2 if options.suite in TWO_CPUS else backing.cpus,
                                  filled=options.suite not in ALONE)
    if backing.name == "suite":
        devices = sum(((device,) * sum(needed[device.kind] in setup for _, setup, _ in rows_of_it)
                       for device in backing.devices), ())
        backing = dataclasses.replace(backing, devices=devices)
    commands = []
    for name, setup, command in rows_of_it:
        commands.append(f"row {name} {matrix.quoted(setup)} {matrix.quoted(command)}" +
                        (" &" if options.suite in TOGETHER else ""))
        commands.append(f"use_up {matrix.quoted(setup)}")
    return matrix.run_rows(backing, commands, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=lambda text: text.split(","), metavar="A,B...")
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("files", nargs="+", metavar="FILE")
    return lab.run_test(parser, run)


if __name__ == "__main__":
    sys.exit(main())
