#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks what the library says of every kind of backing, many in one guest.

  matrix.py [--kernel KERNEL] [--rows A,B...] [--part N/OF] [--lib FILE]... MACHINE PROGRAM FILE...

PROGRAM is test_backing; the other files are what rows start it with or need. If tool_agree is one of them it runs after
the program, on the same row. Each row prints its name and whether it passed; the exit status is 1 if one did not. 77
where this machine lacks a part of the lab.

On the machines matrix-power-* one of the other files is survive: on all rows of matrix-* that take part it stores,
and tells the host of what it has persisted; then the guest is killed, booted again on the same images, and everything
must be there. The cut takes what was only in the guest's memory: page cache, metadata, what a driver has not handed
over. No CPU cache is emulated: a store into an NVDIMM is in its image at once, flushed or not. So the rows with DAX
show that name, size and blocks are durable and that the file is where it seems to be, with or without a persistence
domain; not that a flush was needed, or that none was (eADR). In the same way a disk, or the host behind virtiofs, keeps
what it was given, told to flush or not. What reaches them is counted in test_flushes.c.
"""

import argparse
import os
import subprocess
import sys

import lab
from matrix_rows import ROWS, VOLATILE

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 400
POWER = "matrix-power-"


def quoted(text):
    return "'" + text.replace("'", "'\"'\"'") + "'"


def expectations(program):
    """(name, granularity) in the program's table."""
    listing = subprocess.run([program, "--table"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [tuple(line.split("\t")[:2]) for line in listing.splitlines()]


def check_rows(program):
    granularity = dict(expectations(program))
    made, expected = sorted(row.name for row in ROWS), sorted(granularity)
    if made == expected:
        wrong = [row.name for row in ROWS if (granularity[row.name] == "none") != (row.power == VOLATILE)]
        if wrong:
            raise lab.LabError(f"either these promise nothing or they are in a power cut: {wrong}")
    else:
        differing = sorted(set(made).symmetric_difference(expected)) or "a name is there twice"
        raise lab.LabError(f"matrix_rows.py and backing_rows.h differ: {differing}")


def pmem_devices(backing):
    """How many block devices of persistent memory the machine is to have."""
    kinds = [device for device in backing.devices
             if device.kind not in ("disk", "share", "9p") and device.image != "devdax"]
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
    number, of = options.part
    return [row for row in rows if not options.rows or row.name in options.rows][number - 1::of]


def part(text):
    number, of = text.split("/")
    return int(number), int(of)


def commands_of(row, files):
    """What runs on the row: the program, and the command beside the library."""
    program = row.run + ' ./test_backing "$R" "$D" $NODE'
    if not any(os.path.basename(file) == "tool_agree" for file in files):
        return program
    where = "memfd" if row.name == "memfd" else '"$D"'
    return f"{program} && {row.run} ./tool_agree {where} $NODE"


def run(options):
    rows = chosen(options, [row for row in ROWS if row.machine == options.machine])
    check_rows(options.files[0])
    commands = [f"row {row.name} {quoted(row.setup)} {quoted(commands_of(row, options.files))}" for row in rows]
    return run_rows(lab.BACKINGS[options.machine], commands, options)


def run_rows(backing, commands, options):
    """The exit status."""
    machine = lab.prepare(lab.say)
    print(f"kernel {machine.release}", flush=True)
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

def files_of(row):
    """What survive makes: two files, of which the second is on page granularity for its holes; a node is one."""
    return ("prepared",) if row.setup.startswith("NODE=") else ("prepared", "sparse")


def read_until(guest, last):
    """The lines that the guest says until it has said all of last, or the line "end", or that something failed."""
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
        if lines[-1] == "end" or ": " in lines[-1]:
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
        return {row.name: [f"{row.name} {verb} {file}{suffix(row, file)}" for file in files_of(row)] for row in rows}
    guest.start()
    lines = read_until(guest, ["held"])
    rows = [row for row in rows if f"{row.name} skipped" not in lines]
    stored = lines_of("stored", lambda row, file: " " + (granularity[row.name] if file == "prepared" else "page"))
    lines += read_until(guest, sum(stored.values(), []))
    guest.kill9()
    if not set(sum(stored.values(), [])).issubset(lines):
        print("before the cut:")
        return judge(stored, lines)
    guest.start()
    return judge(lines_of("intact", lambda row, file: ""), read_until(guest, ["end"]))


def run_power(options):
    """On rows of the machine that has the same properties and fewer devices."""
    machine = options.machine.replace(POWER, "matrix-")
    release = lab.prepare(lab.say).release
    rows = chosen(options, [row for row in ROWS if row.machine == machine and not row.power and
                            (row.kernels == "both" or release.startswith(row.kernels + "."))])
    program, *files = options.files
    check_rows(program)
    holds = [f"hold {row.name} {quoted(row.setup)} {quoted(row.run)}" for row in rows]
    made = job(lab.BACKINGS[options.machine], holds + ["survive"], files, options.lib)
    granularity = dict(expectations(program))
    return lab.run_on_images(options.machine, made, lambda guest: cut(guest, rows, granularity), lab.write_output)


def run_machine(options):
    return run_power(options) if options.machine.startswith(POWER) else run(options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=lambda text: text.split(","), metavar="A,B...")
    parser.add_argument("--part", type=part, default=(1, 1), metavar="N/OF",
                        help="every so many rows, from this one on")
    parser.add_argument("machine", choices=[name for name in lab.BACKINGS if name.startswith("matrix-")])
    parser.add_argument("files", nargs="+", metavar="FILE")
    return lab.run_test(parser, run_machine)


if __name__ == "__main__":
    sys.exit(main())
