#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes DIRECTORY/RESULTS.md from what the programs of bench/ wrote with --json.

  results.py JSON_LINES DIRECTORY [PLOTS]   draws all plots into PLOTS, and copies the most telling to DIRECTORY/plots

Besides the machine and the results (bench.h) a line may be {"place": where what follows was measured}, {"about":
{...}}, which is shown with the machine, or {"not_run": what, and why}.
"""

import collections
import json
import pathlib
import re
import shutil
import sys

import plots

HEAD = """# Results

Written by `./scripts/bench` (`bench/results.py`); no number here is made by hand. Every table is one run of one
program, in which the competitors take turns, round by round. A cell is the median of a competitor and, in parentheses,
how many times as long ours takes: `(0.50)` means that ours needs half the time, `(2.00)` twice. That ratio is the
median of the ratios of each round. `(x 2)` is twice the first column, where no peer takes part. **Ratios carry over,
absolute times do not**, and a single sample such as a maximum says little.
"""
# Of the machine; what is left of its evidence stands in the JSON.
SHOWN = ("kernel", "CPU", "load", "file", "mount known", "fsync complete", "MAP_SYNC accepted", "DAX file",
         "CPU write-back")
HERE = "this machine"
# Cases that are too many for a line each: what, by column and row.
GRID = re.compile(r"(.*) (to \d+ and from \d+) past a line, bytes: (\d+)")
# What the library is to reach: words, program, cases, the competitor, and what ours may take at most in multiples of
# it.
MISALIGNED = r"copy .* to [1-9]\d* and from \d+ past a line, bytes: (256|264|[3-9]\d\d|10[012]\d)"
LIBPMEM = "libpmem pmem_memcpy_persist"
LIBPMEM2 = "libpmem2 flush ..., drain"
BARS = (
    ("16 flushes in one page: a tenth of libpmem2", "page_flush", r"16 flushes in one page.*", LIBPMEM2, 1 / 10),
    ("32 scattered pages: a quarter of libpmem2", "page_flush", r"32 flushes in scattered.*", LIBPMEM2, 1 / 4),
    ("a drain for 8 records: a sixth of libpmem2", "log_append", r".*one drain for each 8", "libpmem2 memcpy", 1 / 6),
    ("misaligned copies of 256 to 1024 bytes: 1.3 times as fast as libpmem", "copy", MISALIGNED, LIBPMEM, 1 / 1.3),
    ("no copy below 0.97 of libpmem's speed", "copy", r"copy .* bytes: .*", LIBPMEM, 1 / 0.97),
    ("small persist: 1.03 of the instructions", "persist", r"store and persist \d\d? bytes", "clwb; sfence", 1.03),
    ("map and unmap: 1.5 of the raw calls", "map_unmap", r".*", "open, mmap, munmap, close", 1.5),
    ("map and unmap: a third of libpmem2", "map_unmap", r".*", "libpmem2 map_new, map_delete", 1 / 3),
    ("p99.9 of first stores, prepared: a tenth of unprepared", "first_store", r".*p99\.9", "pm_map with PM_SPARSE",
     1 / 10),
)
NO_PEERS = {"no copy"}  # shown to compare with, and does less
TELLING = {"copy", "first_store-ext4-dax-memctrl", "log_append", "persist", "whole_sync",
           "whole_sync-ext4-dax-memctrl"}


class Table:
    """The results of one program at one place: case -> competitor -> result."""

    def __init__(self, place, machine):
        self.place, self.machine = place, machine
        self.question = ""
        self.cases = collections.defaultdict(dict)

    def add(self, result):
        self.question = result["question"]
        self.cases[result["case"]][result["competitor"]] = result

    def grid(self):
        return {what: case for what, case in self.cases.items() if GRID.fullmatch(what)}

    def lines(self):
        return {what: case for what, case in self.cases.items() if not GRID.fullmatch(what)}


def is_ours(name):
    return name.startswith("pm_")


def first_of_ours(case):
    return next((name for name in case if is_ours(name)), None)


def ours_to(case, name):
    """Quartiles of ours : theirs. Of a figure that is no median of rounds there is one."""
    ours, result = first_of_ours(case), case[name]
    if ours is None:
        return None
    if "ours_to_this" in result:
        return result["ours_to_this"]
    return [case[ours]["ns"][1] / result["ns"][1]] * 3


def read(lines):
    place, machine, tables, about, not_run = HERE, {}, {}, {}, []
    for line in lines:
        entry = json.loads(line)
        if "place" in entry:
            place = entry["place"]
        elif "about" in entry:
            about.update(entry["about"])
        elif "not_run" in entry:
            not_run.append(entry["not_run"])
        elif "machine" in entry:
            machine = entry["machine"]
        else:
            key = entry["program"], place
            if key not in tables:
                tables[key] = Table(place, machine)
            tables[key].add(entry)
    return tables, about, not_run


def duration(ns):
    for unit, size in (("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9)):
        if ns < 999.5 * size or unit == "s":
            return f"{ns / size:.3g} {unit}" if ns < 99.5 * size else f"{ns / size:.0f} {unit}"
    raise AssertionError


def cell(case, name):
    if name not in case:
        return ""
    text, ratio = duration(case[name]["ns"][1]), ours_to(case, name)
    if ratio is None:
        return f"{text} (x {case[name]['ratio'][1]:.3g})"
    if name == first_of_ours(case):
        return text
    return f"{text} ({ratio[1]:.2f})" if ratio[1] >= 0.095 else f"{text} ({ratio[1]:.1g})"


def rows(cells):
    return ["| " + " | ".join(cells[0]) + " |", "|" + " --- |" * len(cells[0])] + \
        ["| " + " | ".join(row) + " |" for row in cells[1:]]


def machines(tables, about):
    """What the first program of each place found."""
    found = {}
    for table in tables.values():
        found.setdefault(table.place, table.machine)
    out = ["", "## Machine", ""]
    names = [name for name in SHOWN if any(name in machine for machine in found.values())]
    out += rows([["", *found]] + [[name, *(machine.get(name, "") for machine in found.values())] for name in names])
    return out + [""] + [f"* {name}: {text}" for name, text in about.items()]


def grids(cases):
    """A table of ratios for each kind of case: sizes down, alignments across, in each cell a ratio for each peer."""
    out, kinds = [], {}
    for what, case in cases.items():
        kind, column, row = GRID.fullmatch(what).groups()
        kinds.setdefault(kind, {}).setdefault(row, {})[column] = case
    for kind, lines in kinds.items():
        peers = [name for name in next(iter(next(iter(lines.values())).values())) if not is_ours(name)]
        columns = list(dict.fromkeys(column for line in lines.values() for column in line))
        out += ["", f"{kind}: how many times as long ours takes as " + " / ".join(peers), ""]
        out += rows([["bytes", *columns]] + [
            [row, *(" / ".join(f"{ours_to(line[column], name)[1]:.2f}" for name in peers) for column in columns)]
            for row, line in lines.items()])
    return out


def one_table(cases):
    names = list(dict.fromkeys(name for case in cases.values() for name in case))
    return [""] + rows([["", *names]] + [[what, *(cell(case, name) for name in names)] for what, case in cases.items()])


def peers_that_win(tables):
    """Where three rounds of four, or the only figure, are better for a peer: the worst of a kind of case, for each."""
    worst, wins, cells = {}, collections.Counter(), collections.Counter()
    for (program, place), table in tables.items():
        for what, case in table.cases.items():
            grid = GRID.fullmatch(what)
            for name in case:
                ratio = ours_to(case, name)
                if not ratio or is_ours(name) or name in NO_PEERS:
                    continue
                key = program, place, grid and grid[1], name
                cells[key] += 1
                wins[key] += ratio[0] > 1
                if ratio[0] > 1 and (key not in worst or ratio[1] > worst[key][0][1]):
                    worst[key] = ratio, what, "rounds" in case[name]
    return [win_row(key, wins[key], cells[key], *found)
            for key, found in sorted(worst.items(), key=lambda item: -item[1][0][1])]


def win_row(key, wins, cells, ratio, what, has_rounds):
    program, place, _, name = key
    return [f"`{program}`" + ("" if place == HERE else f", {place}"), f"{wins} of {cells}", what, name,
            f"{ratio[1]:.3f}",
            f"{ratio[0]:.3f} to {ratio[2]:.3f}" if has_rounds else "one figure"]


def winners(tables):
    out = ["", "## Where a peer wins", "",
           "Cases in which ours took longer in at least three of four rounds, bare system calls and instructions",
           "included: for each peer how many there are, and of the worst what ours takes, in multiples of theirs.",
           "The quartiles of that",
           "ratio say how sure it is."]
    won = peers_that_win(tables)
    if not won:
        return out + ["", "In this run: nowhere."]
    return out + [""] + rows([["program", "cases", "the worst", "peer", "ours : theirs", "quartiles"]] + won)


def bars(tables):
    out = ["", "## What was to be reached", "",
           "Of the cases of a bar how many reach it in this run, by the median of the rounds, and the one furthest",
           "from it.",
           "A first store is made expensive by MAP_SYNC, which only the emulated machines have.", ""]
    lines = [["bar", "reached", "furthest: ours takes", "in the case of"]]
    for words, program, cases, peer, most in BARS:
        found = sorted((ours_to(case, peer)[1], what, place) for (name, place), table in tables.items()
                       if name == program and (name != "first_store" or place != HERE)
                       for what, case in table.cases.items() if peer in case and re.fullmatch(cases, what))
        if not found:
            continue
        ratio, what, place = found[-1]
        reached = sum(entry[0] <= most for entry in found)
        where = "" if place == HERE else f" ({place})"
        lines.append([words, f"{reached} of {len(found)}", f"{ratio:.3f}", what + where])
    return out + rows(lines)


def section(program, table, images):
    where = "DIRECTORY" if table.place == HERE else "@D"
    out = ["", f"## {table.question}" + ("" if table.place == HERE else f" ({table.place})"), "",
           f"`{program} {where}`, load {table.machine.get('load', 'unknown')}"]
    out += grids(table.grid())
    if table.lines():
        out += one_table(table.lines())
    for image in images:
        out += ["", f"![{table.question}]({image})"]
    return out


def draw(program, table, directory, plot_directory):
    """Returns the plots that the page is to show, as paths in its directory."""
    name = program if table.place == HERE else f"{program}-{table.place.split()[-1]}"
    paths = plots.draw(pathlib.Path(plot_directory), name, table.question,
                       {what: {c: r["ns"] for c, r in case.items()} for what, case in table.cases.items()})
    if name not in TELLING:
        return []
    (directory / "plots").mkdir(exist_ok=True)
    for path in paths:
        shutil.copy(path, directory / "plots")
    return [pathlib.Path("plots") / path.name for path in paths if path.suffix == ".svg"]


def main(source, directory, plot_directory=None):
    with open(source, encoding="utf-8") as lines:
        tables, about, not_run = read(lines)
    directory = pathlib.Path(directory)
    out = HEAD.splitlines() + machines(tables, about) + bars(tables) + winners(tables)
    if not_run:
        out += ["", "## Not run", ""] + [f"* {what}" for what in not_run]
    for (program, _), table in tables.items():
        out += section(program, table, draw(program, table, directory, plot_directory) if plot_directory else [])
    (directory / "RESULTS.md").write_text("\n".join(out) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
