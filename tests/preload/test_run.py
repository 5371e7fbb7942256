#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""pmdirect run: the report, and that the program is none the wiser.

  test_run.py COMMAND PROGRAMS WORK [TEST...]   PROGRAMS: the directory of maps and variants; WORK: one for files
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

PAGES = 16
PAGE = 4096


class Case:
    def __init__(self, command, programs, directory):
        self.command, self.directory = command, pathlib.Path(directory)
        self.maps, self.variants = (os.path.join(programs, name) for name in ("maps", "variants"))
        self.file, self.other = str(self.directory / "file"), str(self.directory / "other")
        self.document = self.stderr = self.status = None

    def run(self, *program, options=(), status=0, **more):
        """Runs a program under the command; the rows of its report."""
        out = self.directory / "report"
        done = subprocess.run([self.command, "run", "--json", "-o", out, *options, "--", *program],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60, **more)
        self.status, self.stderr = done.returncode, done.stderr.decode()
        assert done.returncode == status, (done.returncode, done.stderr)
        self.document = json.loads(out.read_text(encoding="utf-8"))
        return self.document["rows"]

    def maps_run(self, *operations, **more):
        return self.run(self.maps, self.file, *operations, **more)

    def row(self, *operations, **more):
        rows = self.maps_run(*operations, **more)
        assert len(rows) == 1, rows
        assert rows[0]["path"] == self.file, rows
        return rows[0]


def counts(row, **wanted):
    found = {name: row[name] for name in wanted}
    assert found == wanted, (found, wanted)


def test_counts(case):
    """Each call is counted once, with the bytes of its range."""
    row = case.row("open", "map", "store", "sync", "sync-page", "sync-async", "fsync", "fdatasync", "fdatasync")
    counts(row, msyncs=2, async_msyncs=1, asked=(PAGES + 2) * PAGE, fsyncs=1, fdatasyncs=2, errors=0, maps=1,
           size=PAGES * PAGE, access="rw", by_lines=0)
    assert case.document["schema"] == "pmdirect-run" and case.document["version"] == 1
    assert row["inode"] == os.stat(case.file).st_ino
    assert sum(int(site.rsplit(" ", 1)[1]) for site in row["call_sites"].split("; ")) == 6, row["call_sites"]
    assert "do_sync_page+0x" in row["call_sites"] and "(maps)" in row["call_sites"]


def test_writes(case):
    row = case.row("open", "map", "writes", "changes")
    counts(row, writes=4, write_bytes=5, changes=3)


def test_names(case):
    """Each name of a call counts: those for 64-bit offsets, the checked ones, and so on."""
    counts(case.run(case.variants, case.file, case.other, "writes")[0], writes=12, write_bytes=12)
    counts(case.run(case.variants, case.file, case.other, "changes")[0], writes=0, changes=11)
    counts(case.run(case.variants, case.file, case.other, "opens")[0], writes=0, fdatasyncs=12)
    counts(case.run(case.variants, case.file, case.other, "closes")[0], writes=0, fdatasyncs=4)


def test_execs(case):
    """A program is covered whichever name begins it, and the one before it is not taken for uncovered."""
    for name in ("execl", "execlp", "execle", "execv", "execvp", "execvpe", "execve", "fexecve", "execveat",
                 "posix_spawn", "posix_spawnp"):
        rows = case.run(case.variants, case.file, case.other, "exec", name, case.maps)
        assert [row["msyncs"] for row in rows] == [0, 1] and case.document["notes"] == [], (name, case.document)
        assert (rows[0]["pid"] == rows[1]["pid"]) == (not name.startswith("posix")), (name, rows)


def test_verdict(case):
    """As of pmdirect probe on the same file."""
    row = case.row("open", "map", "store", "sync")
    probe = json.loads(subprocess.run([case.command, "probe", "--json", case.file], stdout=subprocess.PIPE,
                                      check=True).stdout)["rows"][0]
    assert (row["could"], row["direct"], row["durable"], row["could_reason"]) == (
        probe["granularity"], probe["direct"], probe["durable"], probe["reason"]), (row, probe)


def test_status(case):
    """The program's exit status, or its signal."""
    case.maps_run("open", "map", "status", status=7)
    case.maps_run("open", "map", "term", status=-signal.SIGTERM)
    counts(case.row("open", "map", "sync", "kill", status=-signal.SIGKILL), msyncs=1)
    row = case.row("open", "map", "sync", "quick-end", status=5)
    assert row["written"] is not None


def test_reading(case):
    """A mapping for reading has a row; one that becomes writable is writable; a private one has none."""
    counts(case.row("open", "map-read", "fsync"), access="r", fsyncs=1)
    counts(case.row("open", "map-read", "writable", "store", "sync"), access="rw", msyncs=1)
    assert case.maps_run("open", "private") == []


def test_pieces(case):
    """What was unmapped, or has another mapping over it, is no longer the file's."""
    counts(case.row("open", "map", "unmap-page", "sync-gap", "fsync"),
           msyncs=0, errors=0)
    counts(case.row("open", "map", "over", "sync-over"), msyncs=0)
    counts(case.row("open", "map", "unmap-wrong", "sync"), msyncs=1)
    counts(case.row("open", "map", "move", "store", "sync"), msyncs=1, maps=2)


def test_errors(case):
    """Wrong arguments have the kernel's errno, and are counted as errors."""
    counts(case.row("open", "map", "sync-wrong"), errors=2)


def test_numbers(case):
    """A number of a descriptor is not taken for the file that it had before."""
    counts(case.row("open", "map", "writes", "other-number"), writes=4, fdatasyncs=0)
    counts(case.row("open", "map", "dup", "writes", "fdatasync"), writes=4, fdatasyncs=1)


def test_locks(case):
    """Record locks survive a mapping, its syncs and its end."""
    counts(case.row("open", "lock", "map", "locked", "store", "sync", "locked", "unmap", "locked"), msyncs=1)


def test_children(case):
    """Each process has a row of its own, however it was made."""
    for way in ("fork", "clone"):
        rows = case.maps_run("open", "map", "sync", way, "sync-page", "fdatasync")
        assert len(rows) == 2 and rows[0]["pid"] != rows[1]["pid"], rows
        counts(rows[0], msyncs=1, fdatasyncs=0)
        counts(rows[1], msyncs=1, asked=PAGE, fdatasyncs=1, access="rw", path=case.file)
    for way in ("exec", "vfork", "spawn"):
        rows = case.maps_run("open", "map", "sync", way, "open", "map", "sync-page")
        assert len(rows) == 2 and (rows[0]["pid"] == rows[1]["pid"]) == (way == "exec"), rows
        counts(rows[0], msyncs=1, asked=PAGES * PAGE)
        counts(rows[1], msyncs=1, asked=PAGE)
        assert case.document["notes"] == [], case.document["notes"]


def test_uncovered(case):
    """A program begun without the companion is named; one that could not be begun is not."""
    case.maps_run("open", "map", "bare", "open", "map", "sync")
    assert any("not covered" in note for note in case.document["notes"]), case.document
    case.maps_run("open", "map", "exec-fails")
    assert case.document["notes"] == []


def test_refused(case):
    """What the dynamic loader would load nothing into."""
    for program, words in (("/nowhere", "cannot be run"), ("no-such-program", "cannot be run")):
        case.stderr = subprocess.run([case.command, "run", program], stderr=subprocess.PIPE, check=False)
        assert case.stderr.returncode == 127 and words in case.stderr.stderr.decode()
    static = case.directory / "static"
    source = case.directory / "static.c"
    source.write_text("int main(void) { return 0; }\n", encoding="ascii")
    if subprocess.run(["cc", "-static", "-o", static, source], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        done = subprocess.run([case.command, "run", static], stderr=subprocess.PIPE, check=False)
        assert done.returncode == 2 and b"linked statically" in done.stderr, done


TESTS = {name[5:]: test for name, test in list(globals().items()) if name.startswith("test_")}


def main(command, programs, work, *names):
    failed = 0
    for name in names or TESTS:
        with tempfile.TemporaryDirectory(prefix="run-", dir=work) as directory:
            try:
                TESTS[name](Case(command, programs, os.path.realpath(directory)))
                print(f"{name}: passed", flush=True)
            except (AssertionError, KeyError, ValueError, subprocess.TimeoutExpired) as problem:
                failed += 1
                print(f"{name}: failed: {problem!r}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
