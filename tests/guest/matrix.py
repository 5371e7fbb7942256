#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks what the library says of every kind of backing, many in one guest.

  matrix.py [--kernel KERNEL] [--rows A,B...] [--lib FILE]... MACHINE PROGRAM FILE...
  matrix.py --machine-of ROW

PROGRAM is test_backing; the other files are what rows start it with or need. Each row prints its name and
whether it passed; the exit status is 1 if one did not. 77 where this machine lacks a part of the lab.
"""

import argparse
import os
import signal
import subprocess
import sys

import lab
from matrix_rows import ROWS

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 400


def quoted(text):
    return "'" + text.replace("'", "'\"'\"'") + "'"


def expectations(program):
    """The names in the program's table."""
    listing = subprocess.run([program, "--table"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line.split("\t")[0] for line in listing.splitlines()]


def check_names(program):
    made, expected = sorted(row.name for row in ROWS), sorted(expectations(program))
    if made != expected:
        differing = sorted(set(made).symmetric_difference(expected)) or "a name is there twice"
        raise lab.LabError(f"matrix_rows.py and test_backing.c differ: {differing}")


def pmem_devices(backing):
    """How many block devices of persistent memory the machine is to have."""
    kinds = [device for device in backing.devices if device.kind != "disk" and device.image != "devdax"]
    return len(kinds) + ("memmap=" in backing.kernel)


def job(backing, rows, files, libraries):
    with open(os.path.join(HERE, "matrix.sh"), encoding="utf-8") as stream:
        lines = [stream.read()]
    for name in ("LD_LIBRARY_PATH",):
        if name in os.environ:
            lines.append(f"export {name}={quoted(os.environ[name])}")
    lines.append(f"ALL_REQUIRED={1 if os.environ.get('PMDIRECT_GUEST_REQUIRED') == '1' else ''}")
    lines.append(f"find_devices {pmem_devices(backing)}")
    lines += [f"row {row.name} {quoted(row.setup)} {quoted(row.run)}" for row in rows]
    made = lab.Job("\n".join(lines + ["finish"]))
    for path in files:
        made.add(path)
    for path in libraries:
        made.add_library(path)
    return made


def run(options):
    rows = [row for row in ROWS if row.machine == options.machine and
            (not options.rows or row.name in options.rows)]
    check_names(options.files[0])
    machine, backing = lab.prepare(lab.say), lab.BACKINGS[options.machine]
    print(f"kernel {os.path.basename(machine.path)}", flush=True)
    with lab.Guest(machine, backing, job(backing, rows, options.files, options.lib),
                   output=lab.write_output) as guest:
        try:
            guest.start()
            status = guest.wait(TIMEOUT)
        except lab.GuestFailure as failure:
            print(failure)
            status = 1
        if status:
            print(guest.console_text())
        return 1 if status else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    lab.add_kernel_option(parser)
    parser.add_argument("--rows", type=lambda text: text.split(","), metavar="A,B...")
    parser.add_argument("--lib", action="append", default=[], metavar="FILE", help="a library opened at run time")
    parser.add_argument("machine", choices=sorted({row.machine for row in ROWS} - {""}))
    parser.add_argument("files", nargs="+", metavar="FILE")
    options = parser.parse_args()
    lab.choose_kernel(options)
    # Turned into an exception, so that the guest and its images go away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run(options)
    except lab.Missing as error:
        return lab.missing_part(error)
    except lab.LabError as error:
        lab.say(f"guest lab: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
