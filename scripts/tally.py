#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints how many tests passed, failed and were skipped, from the test logs (JSON lines) of meson, and which failed,
with the rows of tests that have many.

  tally.py [--slowest N] LOG...    N: prints the slowest of them instead, with their seconds, and those of CPUs where
                                   scripts/timed ran them: in the others are what more tests did at the same time
"""

import argparse
import json
import os
import re

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP", "IGNORED"}
LONG = 60  # seconds; a test above it should be two


def read(paths):
    """(build, name, test) for each test."""
    for path in paths:
        build = os.path.basename(os.path.dirname(os.path.dirname(path)))
        with open(path, encoding="utf-8") as log:
            for line in log:
                test = json.loads(line)
                yield build, test["name"].split(" / ")[-1], test


def print_counts(tests):
    counts, failed = [0, 0, 0], []
    for _, name, test in tests:
        kind = 0 if test["result"] in PASSED else 2 if test["result"] in SKIPPED else 1
        counts[kind] += 1
        if kind == 1:
            failed += [name] + re.findall(r"^(?:row|script) (\S+): failed", test.get("stdout", ""), re.M)
    print(*counts, *failed)


def of_cpus(test):
    found = re.findall(r"^seconds of CPUs: ([0-9.]+) \+ ([0-9.]+)$", test.get("stderr", ""), re.M)
    return f"{sum(map(float, found[-1])):6.0f} s of CPUs" if found else " " * 16


def print_slowest(tests, count):
    for build, name, test in sorted(tests, key=lambda entry: -entry[2]["duration"])[:count]:
        mark = f", above {LONG} s" if test["duration"] > LONG else ""
        print(f"{test['duration']:6.0f} s {of_cpus(test)}  {name} ({build}){mark}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--slowest", type=int, metavar="N")
    parser.add_argument("logs", nargs="+")
    options = parser.parse_args()
    if options.slowest:
        print_slowest(read(options.logs), options.slowest)
    else:
        print_counts(read(options.logs))


main()
