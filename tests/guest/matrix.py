#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks what the library says of every kind of backing, many in one guest.

  matrix.py [--kernel KERNEL] [--rows A,B...] [--lib FILE]... MACHINE PROGRAM FILE...

PROGRAM is test_backing; the other files are what rows start it with or need. Each row prints its name and
whether it passed; the exit status is 1 if one did not. 77 where this machine lacks a part of the lab.

On the machine matrix-power the other file is survive: on all rows that take part it stores, and tells the host
of what it has persisted; then the guest is killed, booted again on the same images, and everything must be there.
"""

import argparse
import os
import subprocess
import sys

import lab
from matrix_rows import ROWS

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 400
POWER = "matrix-power"
# What survive makes of each row, and the granularity of the second: it has holes.
FILES = ("prepared", "sparse")


def quoted(text):
    return "'" + text.replace("'", "'\"'\"'") + "'"


def expectations(program):
    """(name, granularity) in the program's table."""
    listing = subprocess.run([program, "--table"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [tuple(line.split("\t")[:2]) for line in listing.splitlines()]


def check_names(program):
    made, expected = sorted(row.name for row in ROWS), sorted(name for name, _ in expectations(program))
    if made != expected:
        differing = sorted(set(made).symmetric_difference(expected)) or "a name is there twice"
        raise lab.LabError(f"matrix_rows.py and test_backing.c differ: {differing}")


def pmem_devices(backing):
    """How many block devices of persistent memory the machine is to have."""
    kinds = [device for device in backing.devices if device.kind != "disk" and device.image != "devdax"]
    return len(kinds) + ("memmap=" in backing.kernel)


def job(backing, commands, files, libraries):
    with open(os.path.join(HERE, "matrix.sh"), encoding="utf-8") as stream:
        lines = [stream.read()]
    lines.append(lab.exports([]))
    lines.append(f"ALL_REQUIRED={1 if os.environ.get('PMDIRECT_GUEST_REQUIRED') == '1' else ''}")
    lines.append(f"find_devices {pmem_devices(backing)}")
    made = lab.Job("\n".join(lines + commands))
    lab.add_files(made, files, libraries)
    return made


def chosen(options, rows):
    return [row for row in rows if not options.rows or row.name in options.rows]


def run(options):
    rows = chosen(options, [row for row in ROWS if row.machine == options.machine])
    check_names(options.files[0])
    machine, backing = lab.prepare(lab.say), lab.BACKINGS[options.machine]
    print(f"kernel {machine.release}", flush=True)
    commands = [f"row {row.name} {quoted(row.setup)} {quoted(row.run)}" for row in rows]
    made = job(backing, commands + ["finish"], options.files, options.lib)
    with lab.Guest(machine, backing, made, output=lab.write_output) as guest:
        try:
            guest.start()
            status = guest.wait(TIMEOUT)
        except lab.GuestFailure as failure:
            print(failure)
            status = 1
        if status:
            print(guest.console_text())
        return 1 if status else 0


# --- The power cut ---

def read_until(guest, last):
    """The lines that the guest says until it has said all of last, or the line "end"."""
    lines, missing = [], set(last)
    while missing:
        try:
            line = guest.read_line(TIMEOUT)
        except lab.GuestFailure:
            print("\n".join(lines))
            raise
        if line is None:
            raise lab.GuestFailure("the job ended")
        lines.append(line.decode(errors="replace"))
        missing.discard(lines[-1])
        if lines[-1] == "end":
            break
    return lines


def judge(wanted, lines):
    """Prints the rows of which not all is as wanted; how many."""
    failed = 0
    for name, texts in wanted.items():
        there = all(text in lines for text in texts)
        failed += not there
        print(f"row {name}: {'passed' if there else 'failed'}")
    for line in lines if failed else ():
        print(f"  {line}")
    return failed


def cut(guest, rows, granularity):
    """The exit status."""
    def lines_of(verb, suffix):
        return {row.name: [f"{row.name} {verb} {file}{suffix(row, file)}" for file in FILES] for row in rows}
    stored = lines_of("stored", lambda row, file: " " + (granularity[row.name] if file == "prepared" else "page"))
    guest.start()
    lines = read_until(guest, sum(stored.values(), []))
    guest.kill9()
    if lines[-1] == "end":
        print("before the cut:")
        return judge(stored, lines)
    guest.start()
    return judge(lines_of("intact", lambda row, file: ""), read_until(guest, ["end"]))


def run_power(options):
    rows = chosen(options, [row for row in ROWS if row.power])
    program, *files = options.files
    made = job(lab.BACKINGS[POWER], [f"hold {row.name} {quoted(row.setup)}" for row in rows] + ["survive"], files,
               options.lib)
    granularity = dict(expectations(program))
    return lab.run_on_images(POWER, made, lambda guest: 1 if cut(guest, rows, granularity) else 0, lab.write_output)


def run_machine(options):
    return run_power(options) if options.machine == POWER else run(options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=lambda text: text.split(","), metavar="A,B...")
    parser.add_argument("machine", choices=sorted({row.machine for row in ROWS} - {""}) + [POWER])
    parser.add_argument("files", nargs="+", metavar="FILE")
    return lab.run_test(parser, run_machine)


if __name__ == "__main__":
    sys.exit(main())
