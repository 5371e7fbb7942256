#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints how many tests passed, failed and were skipped, from the test logs (JSON lines) of meson, and which failed."""

import json
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP", "IGNORED"}


def main(paths):
    counts, failed = [0, 0, 0], []
    for path in paths:
        with open(path, encoding="utf-8") as log:
            for line in log:
                test = json.loads(line)
                kind = 0 if test["result"] in PASSED else 2 if test["result"] in SKIPPED else 1
                counts[kind] += 1
                if kind == 1:
                    failed.append(test["name"].split(" / ")[-1])
    print(*counts, *failed)


main(sys.argv[1:])
