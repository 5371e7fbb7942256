#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What it costs to look from outside: a call under `pmdirect run` and without it, ps and doctor.

  outside.py [--quick] BUILD DIRECTORY JSON_LINES

BUILD is a build directory, and the files that ps looks at are made in DIRECTORY. Results are added to the lines, which
have the machine already. --quick measures nothing of worth.

Calls are made on a file in memory, where they are short. Each time is the least of 20 loops; a loop without the
companion and one with it take turns.
"""

import json
import mmap
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

QUESTION = "What does it cost to look from outside?"
MAPPINGS = 1000


def quartiles(values):
    return [round(value, 3) for value in statistics.quantiles(values, n=4, method="inclusive")]


def entry(case, competitor, times, ours):
    """The ratio is of ours to this one, round by round."""
    ratios = [mine / its for mine, its in zip(ours, times)]
    return {"program": "outside", "question": QUESTION, "case": case, "competitor": competitor, "rounds": len(times),
            "ns": quartiles(times), "ours_to_this": quartiles(ratios)}


def calls_of(*command):
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    return {name: float(ns) for name, ns in re.findall(r"^(.*?) +([\d.]+) ns$", out, re.MULTILINE)}


def companion(command, program, loops, calls):
    bare, covered = [], []
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        loop = [program, file.name, str(calls)]
        for _ in range(loops):
            bare.append(calls_of(*loop))
            covered.append(calls_of(command, "run", "-o", "/dev/null", "--", *loop))
    for case in bare[0]:
        without, ours = [times[case] for times in bare], [times[case] for times in covered]
        yield entry(case, "pmdirect run", ours, ours)
        yield entry(case, "alone", without, ours)


def looks(case, count, least, *command):
    times = []
    for _ in range(count):
        began = time.monotonic_ns()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        times.append(time.monotonic_ns() - began)
        assert done.stdout.count(b"\n") > least, (command, done)
    return entry(case, f"pmdirect {command[1]}", times, times)


def ps(command, count, directory):
    with tempfile.TemporaryDirectory(prefix="outside-", dir=directory) as files:
        held = []
        for number in range(MAPPINGS):
            with open(os.path.join(files, str(number)), "w+b") as file:
                file.truncate(mmap.PAGESIZE)
                held.append(mmap.mmap(file.fileno(), mmap.PAGESIZE))
        case = f"ps of {MAPPINGS} mappings, of a file each"
        yield looks(case, count, MAPPINGS, command, "ps", "-p", str(os.getpid()))
        del held


def main(build, directory, lines, quick):
    build = pathlib.Path(build)
    command = str(build / "tools/pmdirect/pmdirect")
    loops, calls, count = (2, 10, 2) if quick else (9, 1000, 15)
    mounts = len(pathlib.Path("/proc/self/mountinfo").read_text(encoding="ascii", errors="replace").splitlines())
    with open(lines, "a", encoding="utf-8") as out:
        for found in (*companion(command, str(build / "bench/companion"), loops, calls),
                      *ps(command, count, directory), looks(f"doctor, {mounts} mounts", count, 1, command, "doctor")):
            out.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[-3:], quick=sys.argv[1] == "--quick")
