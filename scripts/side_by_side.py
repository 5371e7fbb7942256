#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints two reports of examples/03_why in two columns, or below each other where the terminal is narrow.

  side_by_side.py LEFT_TITLE LEFT_FILE RIGHT_TITLE RIGHT_FILE
"""

import itertools
import re
import shutil
import sys
import textwrap

FALLBACK_WIDTH = 112
NARROWEST = 76
WIDEST = 150
GAP = "  "


class Report:
    """Its sentences, and its facts as name -> value."""

    def __init__(self, title, text):
        self.title = title
        head, _, evidence = text.partition("\nEvidence:\n")
        first, _, self.sentences = head.partition("\n")
        self.verdict = dict(re.findall(r"(granularity|sync|direct|reason) ([\w -]+)", first))
        self.facts = {}
        for line in evidence.splitlines():
            match = re.match(r"  (\S.*?)\s{2,}(yes|no|unknown)\b\s*(.*?)\s*\[(.*)\]$", line)
            if match:
                name, state, value, _ = match.groups()
                self.facts[name] = f"{state}  {value}" if value else state


def columns(*cells):
    """Cells of (text, width), wrapped, as lines."""
    wrapped = [textwrap.wrap(text, width) or [""] for text, width in cells]
    for parts in itertools.zip_longest(*wrapped, fillvalue=""):
        yield GAP.join(part.ljust(width) for part, (_, width) in zip(parts, cells)).rstrip()


def table(left, right, part, names, cell):
    for name in dict.fromkeys([*getattr(left, part), *getattr(right, part)]):
        yield from columns((name, names), *((getattr(r, part).get(name, ""), cell) for r in (left, right)))


def side_by_side(left, right, width):
    names = max(len(name) for name in (*left.facts, *right.facts, "granularity"))
    cell = (width - names - 2 * len(GAP)) // 2
    half = (width - len(GAP)) // 2
    rule = GAP.join("-" * w for w in (names, cell, cell))
    yield from columns(("", names), (left.title, cell), (right.title, cell))
    yield rule
    yield from table(left, right, "verdict", names, cell)
    yield rule
    yield from table(left, right, "facts", names, cell)
    yield ""
    yield from columns((left.title + ":", half), (right.title + ":", half))
    yield from columns((left.sentences, half), (right.sentences, half))


def one_below_the_other(reports, width):
    for report in reports:
        yield from [report.title, "-" * min(width, len(report.title))]
        yield from (f"{name}: {value}" for name, value in {**report.verdict, **report.facts}.items())
        yield from ["", *textwrap.wrap(report.sentences, width), ""]


def main(left_title, left_file, right_title, right_file):
    reports = []
    for title, name in ((left_title, left_file), (right_title, right_file)):
        with open(name, encoding="utf-8") as stream:
            reports.append(Report(title, stream.read().replace("\r", "")))
    # COLUMNS, then the terminal, then the fallback.
    width = min(shutil.get_terminal_size((FALLBACK_WIDTH, 0)).columns, WIDEST)
    lines = side_by_side(*reports, width) if width >= NARROWEST else one_below_the_other(reports, width)
    print("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
