#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""bench/RESULTS.md is what results.py writes from bench/data, a table is of one version, and no number is by hand.

  results_page.py BENCH_DIRECTORY

Then it spoils a copy in each way that it should find, and looks whether it does.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PLACEHOLDER = re.compile(r"\{[^{}]*\}")
NUMBER = re.compile(r"(?<![\w/])\.?\d")  # ext4 and libpmem2 are names
VERSION = re.compile(r"Version `(\w+)(?:-\d+-g\w+)?`; |Measured at: ")
TABLE = re.compile(r"\| operation \|")


def written(bench):
    """The page as the script writes it from the files."""
    with tempfile.TemporaryDirectory() as directory:
        copy = pathlib.Path(directory) / "bench"
        copy.mkdir()
        for name in ("data", "plots"):
            if (bench / name).is_dir():
                shutil.copytree(bench / name, copy / name)
        done = subprocess.run([sys.executable, "-B", bench / "results.py", copy], capture_output=True, text=True)
        return (copy / "RESULTS.md").read_text(encoding="utf-8") if done.returncode == 0 else done.stderr


def problems_of(bench):
    page = (bench / "RESULTS.md").read_text(encoding="utf-8")
    anew = written(bench)
    out = []
    if page != anew:
        lines = sorted(set(anew.splitlines()) ^ set(page.splitlines()))
        out.append("RESULTS.md is not what results.py writes from data: " + "\n".join(lines[:4]))
    for note in sorted((bench / "data").glob("*/note.md")):
        out += [f"{note.parent.name}/note.md: a number by hand: {line}"
                for line in PLACEHOLDER.sub("", note.read_text(encoding="utf-8")).splitlines() if NUMBER.search(line)]
    lines = page.splitlines()
    out += [f"a table that names no version: line {number + 1}" for number, line in enumerate(lines)
            if TABLE.match(line) and not VERSION.match(lines[number - 2])]
    return out


def edit(path, pattern, by):
    text = path.read_text(encoding="utf-8")
    changed = re.sub(pattern, by, text, count=1)
    assert changed != text, (path, pattern)
    path.write_text(changed, encoding="utf-8")


def note_of(bench):
    return next((bench / "data").glob("*/note.md"))


def write_anew(bench):
    (bench / "RESULTS.md").write_text(written(bench), encoding="utf-8")


def edit_note(bench, line):
    edit(note_of(bench), r"$", line + "\n")
    write_anew(bench)


def without_versions(bench):
    edit(bench / "results.py", r"Version `\{commit\}`; ", "")
    write_anew(bench)


NOT_WRITTEN, BY_HAND, NO_VERSION = "is not what results.py writes", "a number by hand", "a table that names no version"
# Each with what is to be found, that alone. What is by hand is found in a page that was written anew; a page without
# versions is what a results.py writes that leaves them out.
MUTATIONS = {
    "a ratio changed in the page": (NOT_WRITTEN, lambda bench: edit(
        bench / "RESULTS.md", r"\| 0\.\d\d ", "| 0.11 ")),
    "a row left out of the page": (NOT_WRITTEN, lambda bench: edit(bench / "RESULTS.md", r"\n\| persist[^\n]*", "")),
    "a file measured anew, the page not": (NOT_WRITTEN, lambda bench: edit(
        next((bench / "data").glob("*/persist.csv")), r"(8 bytes,pm_persist,\d+,[\d.]+),[\d.]+", r"\1,1")),
    "a file of another version": (NOT_WRITTEN, lambda bench: edit(
        next((bench / "data").glob("*/persist.csv")), r"# commit: \w+", "# commit: 0000000")),
    "a number by hand in a note": (BY_HAND, lambda bench: edit_note(bench, "A commit takes 1.1 of it.")),
    "a number without its first digit": (BY_HAND, lambda bench: edit_note(bench, "A commit takes .98 of it.")),
    "a note that names no file": (NOT_WRITTEN, lambda bench: edit(note_of(bench), r"$", "{commit,nowhere|a|b}\n")),
    "a page without versions": (NO_VERSION, without_versions),
}


def main(bench):
    problems = problems_of(bench)
    for what, (sentence, spoil) in MUTATIONS.items():
        with tempfile.TemporaryDirectory() as directory:
            copy = pathlib.Path(directory) / "bench"
            shutil.copytree(bench, copy)
            spoil(copy)
            found = problems_of(copy)
            others = [problem for problem in found if sentence not in problem]
            if not found or others:
                problems.append(f"{what}: not found, or not that alone: {found}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
