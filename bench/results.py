#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Keeps what the programs of bench/ wrote with --json as CSV, one file a table, and writes the page from the CSV.

  results.py DIRECTORY                       writes DIRECTORY/RESULTS.md from DIRECTORY/data/*/*.csv
  results.py JSON_LINES DIRECTORY [PLOTS]    first adds the tables of that run; draws all plots into PLOTS, and keeps
                                             some of them in DIRECTORY/plots/CPU

A table is what one program measured in one run at one place: DIRECTORY/data/CPU/PROGRAM[,PLACE].csv. Lines that begin
with # say of which commit, so that no table mixes two.
DIRECTORY/data/CPU/note.md, if there, ends the first section of that CPU. Besides the machine and the results (bench.h)
a line may be {"place": where what follows was measured} or {"about": {...}}. What an emulated machine measured is no
time, and is left out.
"""

import collections
import csv
import json
import math
import pathlib
import re
import shutil
import sys

import plots

ABOUT = ("commit", "cpu", "kernel", "place", "peers", "question")
COLUMNS = ("case", "competitor", "rounds", "ns_q1", "ns", "ns_q3", "ours_q1", "ours", "ours_q3")
HEAD = """# Results

Written by `./scripts/bench` (`bench/results.py`) from the files in [`data`](data); no number is made by hand. A row
sums up the cases of an operation. *Ours* is how many times as long ours takes as the best peer, or as the limit: the
geometric mean over the cases, each the median of the ratios of all rounds, in which the competitors take turns. The
best peer is the one with the greatest mean. **Below 1 ours is faster.** *Where ours loses* is the worst case against a
peer that wins in three rounds of four. The limit is the bare instructions or system calls, which each thread makes for
itself. A library that shares a write-back among threads, or chooses another call, can go below it. Where a file has no
times, only ratios were kept. On a loop device over a file each flush syncs that file as well. A section that names no
file system does not know that of its page rows. How to be fast: [`doc/fast.md`](../doc/fast.md).

"""
OURS = r"pm_|pmdirect_vfs$"
SHOWN = ("persist", "flushes", "log_append", "commit")  # their first plot, on the first file system
LIBPMEM2 = r"libpmem2.*|libpmem .*"
GRID = r" to \d+ and from \d+ past a line, bytes: (64|[7-9]\d|\d{3,6}|[1-3]\d{6}|4194304)"
# Words, program, cases, the peers, the limit.
ROWS = (
    ("persist 8 to 256 bytes (lines)", "persist", r"store and persist (8|16|32|64|256) bytes", LIBPMEM2,
     r"clwb; sfence"),
    ("flush 4 to 64 ranges, one drain (lines)", "flushes", r"\d+ flushes .*", LIBPMEM2, r"clwb \.\.\., sfence"),
    ("copy 4 to 64 ranges, one drain (lines)", "flushes", r"\d+ copies .*", LIBPMEM2, None),
    ("copy 64 B to 4 MiB, same place (lines)", "copy", r"copy to the same place" + GRID, LIBPMEM2, None),
    ("copy, appending (lines)", "copy", r"copy one behind the other" + GRID, LIBPMEM2, None),
    ("copy, scattered (lines)", "copy", r"copy scattered" + GRID, LIBPMEM2, None),
    ("copy, shifted in the page (lines)", "copy", r"copy to other pages" + GRID, LIBPMEM2, None),
    ("fill 64 B to 4 MiB (lines)", "copy", r"set .*" + GRID, LIBPMEM2, None),
    ("append a durable record (pages)", "log_append", r"append a durable record, threads: 1",
     r"libpmem2.*|memcpy, msync", r"pwrite, O_DSYNC"),
    ("append, 8 to 32 threads (pages)", "log_append", r"append a durable record, threads: (8|16|32)",
     r"libpmem2.*|memcpy, msync", r"pwrite, O_DSYNC"),
    ("write a durable record by a call (pages)", "record_write", r"write a durable record, threads: 1",
     r"pwritev2.*|pwrite, .*|io_uring.*", r"a page, O_DIRECT .*"),
    ("write by a call, 4 and 16 threads (pages)", "record_write", r"write a durable record, threads: (4|16)",
     r"pwritev2.*|pwrite, .*|io_uring.*", r"a page, O_DIRECT .*"),
    ("a record in a log; LMDB: a key (pages)", "engines", r"one commit of 100 bytes", r"LMDB.*", None),
    ("INSERT, SQLite, WAL, FULL (pages)", "engines", r"one INSERT .*", r"SQLite.*", None),
    ("commit 100 bytes, 1 thread (pages)", "commit", r"1 threads, .*", r"an msync each", r"a page, O_DIRECT .*"),
    ("commit 100 bytes, 2 and 4 threads (pages)", "commit", r"[24] threads, .*", r"an msync each", None),
    ("commit 100 bytes, 8 to 32 threads (pages)", "commit", r"(8|16|32) threads, .*", r"an msync each", None),
    ("commit 100 bytes beside drains (pages)", "commit_beside", r"a commit .*", r"an msync each", None),
    ("flush pages, one drain (pages)", "page_flush", r".*", LIBPMEM2, r"one fdatasync"),
    ("map and unmap", "map_unmap", r".*", LIBPMEM2, r"open, mmap, munmap, close"),
    ("find and sync a range", "range_validation", r".*", LIBPMEM2, r"msync"),
)


# What `outside.py` measured: of its cases the first that matches, and the most that is added to a call, or taken.
BARS = ((r"ps of 1000 .*", 100e6), (r"doctor.*", 300e6), (r".*", 1e3))


def spread(result, name):
    return result.get(name) or [None] * 3


def read(lines):
    """program, place -> what is said about it, and rows in the columns."""
    place, machine, about, found = "", {}, {}, {}
    for line in lines:
        entry = json.loads(line)
        place = entry.get("place", place)
        about.update(entry.get("about", {}))
        machine = entry.get("machine", machine)
        if "case" not in entry or place.startswith("emulated"):
            continue
        said = (about.get("commit", "unknown"), machine.get("CPU", "unknown"), machine.get("kernel", "unknown"), place,
                about.get("peers", ""), entry["question"])
        row = [entry["case"], entry["competitor"], entry.get("rounds"), *spread(entry, "ns"),
               *spread(entry, "ours_to_this")]
        found.setdefault((entry["program"], place), (dict(zip(ABOUT, said)), []))[1].append(row)
    return found


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def write(path, about, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as out:
        out.writelines(f"# {name}: {about[name]}\n" for name in ABOUT)
        csv.writer(out, lineterminator="\n").writerows([COLUMNS, *rows])


def slug_of(cpu):
    return slug(re.sub(r", \d+ of them$", "", cpu))


def keep(found, directory):
    for (program, place), (about, rows) in found.items():
        name = program + ("," + slug(place) if place else "") + ".csv"
        write(directory / "data" / slug_of(about["cpu"]) / name, about, rows)


class Table:
    """A CSV file: case -> competitor -> row."""

    def __init__(self, path):
        self.program = path.stem.split(",")[0]
        self.cases = collections.defaultdict(dict)
        with open(path, encoding="utf-8", newline="") as lines:
            text = lines.read().splitlines(keepends=True)
        said = [line[2:].rstrip("\n").split(": ", 1) for line in text if line.startswith("# ")]
        self.about = {entry[0].rstrip(":"): entry[1] if len(entry) > 1 else "" for entry in said}
        if sorted(self.about) != sorted(ABOUT) or len(said) != len(ABOUT):
            sys.exit(f"{path}: the lines that begin with # must say {', '.join(ABOUT)}, once each")
        for row in csv.DictReader(text[len(ABOUT):]):
            self.cases[row["case"]][row["competitor"]] = row


def number(row, name):
    return float(row[name]) if row.get(name) else None


def mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def against(cases, names):
    """Of each case the ratio to the best competitor of those, and its row."""
    found = []
    for what, case in cases:
        ratios = [(number(row, "ours"), name, row) for name, row in case.items()
                  if names and re.fullmatch(names, name) and number(row, "ours")]
        if ratios:
            found.append((*max(ratios, key=lambda entry: entry[0]), what))
    return found


def best_of(cases, names):
    """The mean ratio to the best of those competitors that are in every case, and its name; else None."""
    ratios = collections.defaultdict(list)
    for _, case in cases:
        for name, row in case.items():
            if names and re.fullmatch(names, name) and number(row, "ours"):
                ratios[name].append(number(row, "ours"))
    means = [(mean(found), name) for name, found in ratios.items() if len(found) == len(cases)]
    return max(means) if means else None


def of_ours(cases):
    """The least and the greatest time of ours."""
    times = [number(row, "ns") for _, case in cases for name, row in case.items() if re.match(OURS, name)]
    times = [ns for ns in times if ns]
    if not times:
        return "ratios only"
    return duration(min(times)) if min(times) == max(times) else f"{duration(min(times))} to {duration(max(times))}"


def duration(ns):
    units = (("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9))
    unit, size = next((unit, size) for unit, size in units if ns < 999.5 * size or unit == "s")
    return f"{ns / size:.3g} {unit}" if ns < 99.5 * size else f"{ns / size:.0f} {unit}"


def ratio(value):
    return "" if value is None else f"{value:.2f}"


def worst(found):
    losing = [entry for entry in found if (number(entry[2], "ours_q1") or entry[0]) > 1 and entry[0] > 1.005]
    if not losing:
        return "nowhere"
    value, name, _, what = max(losing, key=lambda entry: entry[0])
    what = re.sub(r"^.* to (\d+) and from (\d+) past a line, bytes: (\d+)$", r"\3 bytes, to \1 from \2 past a line",
                  what)
    return f"{len(losing)} of {len(found)}; {value:.2f}: {what} ({name})"


def row_of(words, cases, peers, limit):
    by_peer, by_limit = against(cases, peers), against(cases, limit)
    best = best_of(cases, peers)
    if not best:
        common = collections.Counter(entry[1] for entry in by_peer).most_common(1)
        best = (mean([entry[0] for entry in by_peer]), common[0][0] if common else "")
    return [words, of_ours(cases), f"{ratio(best[0])} {best[1]}".strip(),
            ratio(mean([entry[0] for entry in by_limit])), worst(by_peer)]


def lines_of(cells):
    return ["| " + " | ".join(cells[0]) + " |", "|" + " --- |" * len(cells[0])] + \
        ["| " + " | ".join(row) + " |" for row in cells[1:]]


def outside(tables):
    """Of each case what it takes and what the companion adds to a call; a plus sign stands between two calls."""
    cells, commits = [["seen from outside", "time", "without", "added a call", "bar"]], set()
    for table in tables:
        for case, rows in table.cases.items() if table.program == "outside" else ():
            commits.add(table.about["commit"])
            ours, alone = next(number(row, "ns") for row in rows.values()), number(rows.get("alone", {}), "ns")
            added = (ours - alone) / (1 + case.count(" + ")) if alone else None
            bar = next(most for pattern, most in BARS if re.fullmatch(pattern, case))
            cells.append([case, duration(ours), duration(alone) if alone else "",
                          "" if added is None else duration(max(added, 0)), duration(bar)])
    said = "Medians; calls on a file in memory. Measured at: `outside` " + ", ".join(sorted(commits)) + "."
    return [*lines_of(cells), "", said, ""] if commits else []


def section(cpu, tables, note):
    places, out = collections.defaultdict(list), []
    for table in tables:
        places[table.about["place"]].append(table)
    for place, of_place in places.items():
        shown = {}
        cells = [["operation", "ours", "ours : best peer", "ours : limit", "where ours loses"]]
        for words, program, pattern, peers, limit in ROWS:
            for table in of_place:
                cases = [(what, case) for what, case in table.cases.items() if re.fullmatch(pattern, what)]
                if table.program == program and cases:
                    cells.append(row_of(words, cases, peers, limit))
                    shown[program] = table.about["commit"]
        if len(cells) > 1:
            commits = ", ".join(f"`{program}` {commit}" for program, commit in sorted(shown.items()))
            out += ["## " + cpu + (f", {place}" if place else ""), "", *lines_of(cells), "",
                    f"Linux {of_place[0].about['kernel']}; {of_place[0].about['peers']}. Measured at: {commits}.",
                    *note, ""]
            note = []
    return out + outside(tables)


def page(directory):
    cpus, notes = collections.defaultdict(list), {}
    for path in sorted((directory / "data").glob("*/*.csv")):
        table = Table(path)
        cpus[table.about["cpu"]].append(table)
        note = path.parent / "note.md"
        notes[table.about["cpu"]] = note.read_text(encoding="utf-8").splitlines() if note.exists() else []
    out = HEAD.splitlines()
    for cpu, tables in cpus.items():
        out += section(cpu, tables, notes[cpu])
        drawn = sorted((directory / "plots" / slug_of(cpu)).glob("*.svg"))
        if drawn:
            out += ["Plots: " + ", ".join(f"[{path.stem}]({path.relative_to(directory)})" for path in drawn) + ".", ""]
    (directory / "RESULTS.md").write_text("\n".join(out).rstrip() + "\n", encoding="utf-8")


def draw(found, directory, kept):
    shown = set()
    for (program, place), (about, rows) in found.items():
        cases = collections.defaultdict(dict)
        for row in rows:
            entry = dict(zip(COLUMNS, row))
            cases[entry["case"]][entry["competitor"]] = [entry["ns_q1"], entry["ns"], entry["ns_q3"]]
        paths = plots.draw(directory, program + ("-" + slug(place) if place else ""), about["question"], cases)
        if paths and program in SHOWN and program not in shown:
            shown.add(program)
            to = kept / slug_of(about["cpu"])
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy(paths[0], to / (program + ".svg"))


def main(*arguments):
    directory = pathlib.Path(arguments[0] if len(arguments) == 1 else arguments[1])
    if len(arguments) > 1:
        with open(arguments[0], encoding="utf-8") as lines:
            found = read(lines)
        keep(found, directory)
        if len(arguments) > 2:
            draw(found, pathlib.Path(arguments[2]), directory / "plots")
    page(directory)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
