#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Database engines under the companion: what they do, and the bytes of their files, are the same without it.

  test_engines.py COMMAND WORK NAME=LOAD...   LOAD: the program load_NAME; an empty one is not built, and is left out
"""

import json
import pathlib
import subprocess
import sys
import tempfile

SKIP = 77
COMMITS = 12
PATHS = {"kyoto": "db.kch"}
MODES = {"lmdb": ("", "plain"), "gdbm": ("", "plain"), "sqlite": ("", "plain")}
# What a commit of each engine calls, at the least, and so must be in the report.
CALLS = {"lmdb": "msyncs", "tdb": "msyncs", "gdbm": "msyncs", "tokyo": "msyncs", "kyoto": "msyncs",
         "lmdb plain": "maps", "gdbm plain": None, "sqlite": "maps", "sqlite plain": "fdatasyncs"}


def ran(arguments, directory):
    done = subprocess.run(arguments, cwd=directory, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def load(run, name, program, mode, directory):
    """What the programs say of a database that they make, change, are wrong about, and read."""
    path = PATHS.get(name, "db")
    more = [mode] if mode else []
    return [ran([*run, program, *arguments, *more], directory)
            for arguments in (("run", path, "1", str(COMMITS // 2)), ("run", path, str(COMMITS // 2 + 1), str(COMMITS)),
                              ("mistakes", path), ("verify", path, str(COMMITS)), ("verify", path, str(COMMITS + 1)))]


def files(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*"))
            if path.is_file()}


def expect_calls(name, mode, report):
    wanted = CALLS[f"{name} {mode}".strip()]
    rows = json.loads(report.read_text(encoding="utf-8"))["rows"]
    if wanted:
        assert max(row[wanted] for row in rows) >= (COMMITS // 2 if wanted == "msyncs" else 1), (wanted, rows)


def compare(command, name, program, mode, work):
    """Two runs without the companion show which bytes are the same each time."""
    directories = [pathlib.Path(work, place) for place in ("bare", "again", "covered")]
    report = pathlib.Path(work, "report")
    for directory in directories:
        directory.mkdir()
    bare, again = (load([], name, program, mode, directory) for directory in directories[:2])
    covered = load([command, "run", "--json", "-o", report, "--"], name, program, mode, directories[2])
    assert bare == again, "the engine itself is not the same each time"
    assert bare[0][0] == bare[3][0] == 0 and bare[4][0] == 1, bare
    assert covered == bare, (covered, bare)
    first, second, third = map(files, directories)
    same = [path for path in first if first[path] == second.get(path)]
    assert first.keys() == third.keys() and same, (first.keys(), third.keys())
    different = [path for path in same if third[path] != first[path]]
    assert not different, different
    # Of the first run, whose report the later ones replaced.
    fresh = pathlib.Path(work, "fresh")
    fresh.mkdir()
    ran([command, "run", "--json", "-o", report, "--", program, "run", PATHS.get(name, "db"), "1", str(COMMITS),
         *([mode] if mode else [])], fresh)
    expect_calls(name, mode, report)
    return f"{len(same)} of {len(first)} files are the same each time"


def main(command, work, *engines):
    failed = done = 0
    for name, program in (engine.split("=") for engine in engines):
        for mode in MODES.get(name, ("",)) if program else ():
            with tempfile.TemporaryDirectory(prefix="engine-", dir=work) as directory:
                try:
                    print(f"{name} {mode}: {compare(command, name, program, mode, directory)}", flush=True)
                except (AssertionError, KeyError, ValueError, subprocess.TimeoutExpired) as problem:
                    failed += 1
                    print(f"{name} {mode}: failed: {problem!r}", flush=True)
            done += 1
        if not program:
            print(f"{name}: skipped: its package is not there")
    return 1 if failed else 0 if done else SKIP


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
