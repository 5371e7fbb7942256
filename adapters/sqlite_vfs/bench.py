#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Commits a second of small transactions, by SQLite's own VFS and by this one: a table as CSV.

  bench.py --work PROGRAM --extension FILE [--rounds N] [--commits N] DIRECTORY

Both take turns, in an order that changes; the median of the rounds counts, and the smallest and the largest are shown.
"""

import argparse
import os
import statistics
import subprocess
import tempfile

MODES = ("wal", "delete", "persist")
VFSES = ("unix", "pmdirect")


def rate(options, vfs, mode):
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        command = [options.work, os.path.abspath(options.extension), "rate", vfs, os.path.join(directory, "b.db"), mode,
                   str(options.commits)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", required=True)
    parser.add_argument("--extension", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--commits", type=int, default=500)
    parser.add_argument("directory")
    options = parser.parse_args()
    print("mode,vfs,commits_per_second,least,most,of_unix")
    for mode in MODES:
        rates = {vfs: [] for vfs in VFSES}
        for number in range(options.rounds):
            for vfs in VFSES[::(-1) ** number]:
                rates[vfs].append(rate(options, vfs, mode))
        for vfs in VFSES:
            median = statistics.median(rates[vfs])
            print(f"{mode},{vfs},{median:.0f},{min(rates[vfs])},{max(rates[vfs])},"
                  f"{median / statistics.median(rates['unix']):.2f}", flush=True)


if __name__ == "__main__":
    main()
