#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Both raft_io implementations in turn: compare.py APPENDS [--rounds N] [--seconds S] [--directory DIR] [--csv FILE]

Microseconds an append, medians of the rounds, and the ratio ours / libraft's own; below 1 ours is faster. The directory
is made anew for each run.
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile

BYTES, DEPTHS = (64, 1024, 16384), (1, 16)


def cpu():
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        return next(line.split(":")[1].strip() for line in stream if line.startswith("model name"))


def file_system(directory):
    """As findmnt(8) names it: stat(1) knows only a number that ext2, ext3 and ext4 share."""
    return subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", directory], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


def measure(options, size, depth, storage):
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        done = subprocess.run([options.appends, str(options.seconds), directory, str(size), str(depth), storage],
                              stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[2])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("appends")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--directory", default=".")
    parser.add_argument("--csv")
    options = parser.parse_args()
    rows = []
    for size in BYTES:
        for depth in DEPTHS:
            times = {"pm": [], "uv": []}
            for number in range(options.rounds):
                for storage in ("pm", "uv") if number % 2 else ("uv", "pm"):
                    times[storage].append(measure(options, size, depth, storage))
            ours, theirs = (statistics.median(times[storage]) for storage in ("pm", "uv"))
            rows.append([cpu(), file_system(options.directory), size, depth, options.rounds, f"{ours:.1f}",
                         f"{theirs:.1f}", f"{ours / theirs:.2f}"])
            print(f"{size:6} bytes, {depth:2} at a time: {ours:9.1f} us, libraft's own {theirs:9.1f} us, "
                  f"ratio {ours / theirs:.2f}", flush=True)
    if options.csv:
        with open(options.csv, "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["cpu", "file system", "bytes", "appends at a time", "rounds", "pmdirect us", "libraft us",
                             "ratio"])
            writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
