#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes doc/backings.md from what the guest tests do and expect: matrix_rows.py, and the table of test_backing.

  backings.py TEST_BACKING           prints the page
  backings.py --check TEST_BACKING   says whether doc/backings.md is that page
"""

import difflib
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "guest"))
from matrix_rows import ROWS  # noqa: E402

INTRODUCTION = """\
# Backings

What `pm_query()` says of a mapping on each kind of backing that the guest tests make
(`tests/guest/matrix_rows.py`), on the kernel of Debian 12 (6.1) and on the newest one of its backports (6.12 when
this was written). Each row is a test. The memory is emulated; what a real platform states may differ from row to
row, not the rule.

The files are made by `pm_map()` with `PM_CREATE`, so that they are prepared where they are direct; a file that is
cloned, flagged itself, or only to be read was written before. "Sparse" is the reason that a file made with
`PM_SPARSE` has instead, where that is another one: it is on page granularity until it is prepared. Sync and direct
are unknown, no or yes, and unknown is never taken for a yes. Both are asked for as hints, so that the verdict is
"met" or "demoted"; the two columns on guarantees say whether `pm_map()` gives them. "Power" says "survived" where
data was stored, the machine was killed, and the data was found again after the next boot, else why it cannot be tried.
The emulated machine has no CPU cache: what must be flushed from it, and what a persistence domain spares, no such cut
shows. ext4 and xfs, each with DAX and on a disk, are cut at random moments in `tests/power`.

This page is made by `doc/backings.py`; a test compares.

"""
# What the library knows by name and no row is of.
CLOSING = """
Not tried: ntfs3 on 6.1, which lacks its driver, and 9p on 6.12: the cloud flavour of both kernels lacks the client
(CONFIG_NET_9P).
"""
HEAD = ("backing", "kernel", "granularity", "sync", "direct", "grade", "verdict", "reason", "sparse", "advice",
        "sync guarantee", "direct guarantee", "power", "note")


def expectations(program):
    listing = subprocess.run([program, "--table"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {fields[0]: fields[1:] for fields in (line.split("\t") for line in listing.splitlines())}


def line(cells):
    return "| " + " | ".join(cells) + " |\n"


def row_line(row, expected):
    granularity, sync, direct, grade, reason, advice, guarantee, direct_guarantee, sparse, note = expected
    met = granularity in ("cache line", "byte") and direct == "yes"
    verdict = "met" if met else "refused" if granularity == "unknown" else "demoted"
    return line((f"**{row.name}**: {row.summary}", row.kernels, granularity, sync, direct, grade,
                 verdict, reason, sparse if sparse != reason else "", advice, guarantee,
                 direct_guarantee, row.power or "survived", note))


def page(program):
    expected = expectations(program)
    return (INTRODUCTION + line(HEAD) + line(["---"] * len(HEAD)) +
            "".join(row_line(row, expected[row.name]) for row in ROWS) + CLOSING)


def check(program):
    there = (HERE / "backings.md").read_text(encoding="ascii")
    wanted = page(program)
    diff = difflib.unified_diff(there.splitlines(), wanted.splitlines(), "doc/backings.md", "doc/backings.py", n=0,
                                lineterm="")
    print("\n".join(diff))
    return there != wanted


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        sys.exit(check(sys.argv[2]))
    print(page(sys.argv[1]), end="")
