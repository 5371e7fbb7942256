#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Keeps what the programs of bench/ wrote with --json as CSV, one file a table, and writes the page from the CSV.

  results.py DIRECTORY                       writes DIRECTORY/RESULTS.md from DIRECTORY/data/*/*.csv
  results.py JSON_LINES DIRECTORY [PLOTS]    first adds the tables of that run; draws all plots into PLOTS, and keeps
                                             some of them in DIRECTORY/plots/CPU

A table is what one program measured in one run at one place: DIRECTORY/data/CPU/PROGRAM[,PLACE].csv. Lines that begin
with # say of which commit. A table of the page has the files of one place and one commit.
DIRECTORY/data/CPU/note.md, if there, ends that CPU's tables. It has no number of its own: {FILE|CASE|COMPETITOR} stands
for the ratio of ours to that competitor, where FILE is PROGRAM[,PLACE].
Besides the machine and the results (bench.h) a line may be {"place": where what follows was measured} or
{"about": {...}}. What an emulated machine measured is no time, and is left out.
"""

import collections
import csv
import json
import math
import pathlib
import re
import shutil
import sys
import textwrap

import plots

ABOUT = ("commit", "cpu", "kernel", "place", "peers", "question")
COLUMNS = ("case", "competitor", "rounds", "ns_q1", "ns", "ns_q3", "ours_q1", "ours", "ours_q3")
HEAD = """# Results

`bench/results.py` writes this page from the files in [`data`](data), which `./scripts/bench` measures: it computes each
time and each ratio below, and `tests/contract/results_page.py` compares the page with the files. A table is of one
version. A row sums up the cases of an operation. A ratio is how many times as long ours takes: the geometric mean over
the cases, each the median of the ratios of all rounds, in which the competitors take turns; of copies and flush
batches, the median of that of several runs. **Below 1 ours is faster.**
The *best peer* is, of all competitors that were measured, the one with the greatest mean. The *limit* is what no
library can leave out: the bare instructions or calls, or a page written to the device itself (O_DIRECT, O_DSYNC) by
each thread, below which threads come that share a write. It is empty where none was measured. *Where ours loses*
counts the cases in which any peer wins in three rounds of four, and names the worst. *Perhaps* means that no peer does,
and that a median is above 1 all the same. Where a file has no times, only ratios were kept. On a loop device over a
file each flush syncs that file as well. A section that names no file system does not know that of its page rows. How to
be fast: [`doc/fast.md`](../doc/fast.md).

"""
SHOWN = ("persist", "flushes", "log_append", "commit")  # their first plot, on the first file system
GRID = r" to \d+ and from \d+ past a line, bytes: (64|[7-9]\d|\d{3,6}|[1-3]\d{6}|4194304)"
DIRECT = r"a page, O_DIRECT .*"
# Words, program, cases, the limit. All other competitors are peers, so that none that was measured is left out.
ROWS = (
    ("persist 8 to 256 bytes (lines)", "persist", r"store and persist (8|16|32|64|256) bytes", r"clwb; sfence"),
    ("flush 4 to 64 ranges, one drain (lines)", "flushes", r"\d+ flushes .*", r"clwb \.\.\., sfence"),
    ("copy 4 to 64 ranges, one drain (lines)", "flushes", r"\d+ copies .*", None),
    ("copy 64 B to 4 MiB, same place (lines)", "copy", r"copy to the same place" + GRID, None),
    ("copy, appending (lines)", "copy", r"copy one behind the other" + GRID, None),
    ("copy, scattered (lines)", "copy", r"copy scattered" + GRID, None),
    ("copy, shifted in the page (lines)", "copy", r"copy to other pages" + GRID, None),
    ("fill 64 B to 4 MiB (lines)", "copy", r"set .*" + GRID, None),
    ("find a range", "range_validation", r"find a range, .*", None),
    ("find and sync a range in memory", "range_validation", r"find and sync .*", r"msync"),
    ("store a record, 1 thread (pages)", "log_append", r"append a durable record, threads: 1", DIRECT),
    ("store a record, 2 to 32 threads (pages)", "log_append", r"append a durable record, threads: \d*[02-9]", DIRECT),
    ("write a record, 1 thread (pages)", "record_write", r"write a durable record, threads: 1", DIRECT),
    ("write a record, 4 and 16 threads (pages)", "record_write", r"write a durable record, threads: (4|16)", DIRECT),
    ("a record in a log; LMDB: a key (pages)", "engines", r"one commit of 100 bytes", None),
    ("INSERT, SQLite, WAL, FULL (pages)", "engines", r"one INSERT .*", None),
    ("commit 100 bytes, 1 thread (pages)", "commit", r"1 threads, .*", DIRECT),
    ("commit to one log, 2 to 32 threads (pages)", "commit", r"\d*[02-9] threads, one log", DIRECT),
    ("commit far apart, 2 to 32 threads (pages)", "commit", r"\d*[02-9] threads, pages far apart", DIRECT),
    ("commit side by side, 2 to 32 threads (pages)", "commit", r"\d*[02-9] threads, pages side by side", DIRECT),
    ("commit beside drains, median (pages)", "commit_beside", r"a commit .*, median", None),
    ("commit beside drains, 90th percentile", "commit_beside", r"a commit .*, 90th percentile", None),
    ("flush and drain, large folios (pages)", "page_flush", r".*, cached as readahead does", None),
    ("flush and drain, single pages (pages)", "page_flush", r".*, cached in single pages", None),
    ("map and unmap", "map_unmap", r".*", r"open, mmap, .*"),
    ("ask what a mapping is", "query", r".*", r"fstat"),
)


# What `outside.py` measured: of its cases the first that matches, and the most that is added to a call, or taken.
BARS = ((r"ps of 1000 .*", 100e6), (r"doctor.*", 300e6), (r".*", 1e3))


HEADINGS = ["operation", "ours", "ours : best peer", "ours : limit", "where ours loses"]
JUST_ABOVE = 1.005  # is shown as more than 1


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
        self.name = path.stem
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


def ours_of(case):
    """The competitor that the ratios are of: its own is 1, or not in the file. Other ways of ours are no peers."""
    return next((name for name, row in case.items() if is_ours(name) and number(row, "ours") in (1, None)), None)


def is_ours(name):
    return name.startswith(("pm_", "pmdirect_vfs"))


def limits_of(cases, limit):
    """Of each case that has a limit the ratio to it, and its name."""
    return [(number(row, "ours"), name) for _, case in cases for name, row in case.items()
            if limit and re.fullmatch(limit, name) and number(row, "ours")]


def peers_of(cases, limit):
    """Of each case its peers: the least ratio of three rounds in four, the ratio, the peer's name, the case."""
    return [[(number(row, "ours_q1") or number(row, "ours"), number(row, "ours"), name, what)
             for name, row in case.items()
             if number(row, "ours") and not is_ours(name) and not (limit and re.fullmatch(limit, name))]
            for what, case in cases]


def best_of(peers):
    """The mean ratio to the best of those peers that are in every case, and its name; or to the best of each case."""
    ratios = collections.defaultdict(list)
    for of_case in peers:
        for _, value, name, _ in of_case:
            ratios[name].append(value)
    found = [(mean(found), name) for name, found in ratios.items() if len(found) == len(peers)]
    if found or not any(peers):
        return max(found, default=(None, ""))
    return mean([max(value for _, value, _, _ in of_case) for of_case in peers if of_case]), "the best of each case"


def of_ours(cases):
    """The least and the greatest time of ours."""
    times = [number(case[ours_of(case)], "ns") for _, case in cases if ours_of(case)]
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


def shown(value, name, what):
    what = re.sub(r"^.* to (\d+) and from (\d+) past a line, bytes: (\d+)$", r"\3 bytes, to \1 from \2 past a line",
                  what)
    return f"{ratio(value)}: {what} ({name})"


def worst(peers):
    """A peer wins if it does in three rounds of four; a median alone may be noise."""
    above = [[entry for entry in of_case if entry[1] > JUST_ABOVE] for of_case in peers]
    lost = [[entry for entry in of_case if entry[0] > 1] for of_case in above]
    for word, found in (("", lost), ("perhaps ", above)):
        if any(found):
            _, *most = max((entry for of_case in found for entry in of_case), key=lambda entry: entry[1])
            return f"{word}{sum(map(bool, found))} of {len(peers)}; {shown(*most)}"
    return "nowhere" if any(peers) else ""


def bound(limits):
    if not limits:
        return ""
    ratios = [value for value, _ in limits]
    most = f", at most {ratio(max(ratios))}" if len(ratios) > 1 else ""
    return f"{ratio(mean(ratios))}{most}: {limits[0][1]}"


def row_of(words, cases, limit):
    peers, limits = peers_of(cases, limit), limits_of(cases, limit)
    value, name = best_of(peers)
    return [words, of_ours(cases), f"{ratio(value)} {name}".strip(), bound(limits), worst(peers)]


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


def filled(text, tables):
    """The note with the ratios that it names, its paragraphs filled anew."""
    def value_of(match):
        file, case, competitor = " ".join(match.group(1).split()).split("|")
        for table in tables:
            if table.name == file and case in table.cases and competitor in table.cases[case]:
                return ratio(number(table.cases[case][competitor], "ours"))
        return sys.exit(f"note.md: no file has {match.group(0)}")
    paragraphs = re.sub(r"\{([^{}]+)\}", value_of, text).strip().split("\n\n")
    return "\n\n".join(part if part.startswith("|") else textwrap.fill(part, 120, break_on_hyphens=False)
                       for part in paragraphs)


def cells_of(tables):
    cells = []
    for words, program, pattern, limit in ROWS:
        for table in tables:
            cases = [(what, case) for what, case in table.cases.items() if re.fullmatch(pattern, what)]
            if table.program == program and cases:
                cells.append(row_of(words, cases, limit))
    return cells


def section(cpu, tables, note):
    """A table for each place and commit, and for each kernel and set of peers."""
    groups, out = collections.defaultdict(list), []
    for table in tables:
        groups[tuple(table.about[what] for what in ("place", "commit", "kernel", "peers"))].append(table)
    last = None
    for (place, commit, kernel, peers), of_group in sorted(groups.items(), key=lambda group: group[0][0]):
        cells = cells_of(of_group)
        if not cells:
            continue
        if place != last:
            out += ["## " + cpu + (f", {place}" if place else ""), ""]
        last = place
        out += [f"Version `{commit}`; Linux {kernel}; {peers}.", "", *lines_of([HEADINGS, *cells]), ""]
    return out + outside(tables) + ([*filled("\n".join(note), tables).splitlines(), ""] if note else [])


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
