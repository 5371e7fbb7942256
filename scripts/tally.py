#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints how many tests passed, failed and were skipped, from the test logs (JSON lines) of meson, and which failed,
with the rows of tests that have many.

  tally.py [--slowest N] LOG...    N: prints the slowest of them instead, with their seconds
"""

import argparse
import json
import os
import re

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP", "IGNORED"}


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


def print_slowest(tests, count):
    for build, name, test in sorted(tests, key=lambda entry: -entry[2]["duration"])[:count]:
        print(f"{test['duration']:6.0f} s  {name} ({build})")


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
