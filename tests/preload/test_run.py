#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""pmdirect run: the report, and that the program is none the wiser.

  test_run.py COMMAND PROGRAMS WORK [TEST...]   PROGRAMS: the directory of maps and variants; WORK: one for files
"""

import collections
import ctypes
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PR_SET_CHILD_SUBREAPER = 36
OTHER_USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
PAGES = 16
PAGE = 4096


COMMAND = []


class Skip(Exception):
    """Why a test cannot run here."""


class Case:
    def __init__(self, command, programs, directory):
        self.command, self.directory = command, pathlib.Path(directory)
        self.maps, self.maps_at_fork, self.variants, self.allocator = (
            os.path.join(programs, name) for name in ("maps", "maps_at_fork", "variants", "allocator"))
        self.file, self.other = str(self.directory / "file"), str(self.directory / "other")
        self.document = self.stderr = self.status = None

    def run(self, *program, options=(), status=0, before=(), **more):
        """Runs a program under the command; the rows of its report."""
        out = self.directory / "report"
        done = subprocess.run([*before, self.command, "run", "--json", "-o", out, *options, "--", *program],
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
           size=PAGES * PAGE, access="rw")
    assert case.document["schema"] == "pmdirect-run" and case.document["version"] == 1
    assert row["inode"] == os.stat(case.file).st_ino
    assert sum(int(site.rsplit(" ", 1)[1]) for site in row["call_sites"].split("; ")) == 6, row["call_sites"]
    assert "do_sync_page+0x" in row["call_sites"] and "(maps)" in row["call_sites"]
    row = case.row("open", "map", "fdatasyncs", "fdatasyncs")
    counts(row, fdatasyncs=20)
    assert row["call_sites"].count(" 2; ") == 8 and row["call_sites"].endswith("; other places 4"), row["call_sites"]


def test_allocator(case):
    """A mapping made inside malloc(3): the companion allocates nothing there."""
    (case.directory / "allocator.data").write_bytes(bytes(1 << 20))
    row, = case.run(case.allocator, cwd=case.directory)
    assert row["async_msyncs"] >= 98 and row["maps"] >= 50, row
    assert case.document["notes"] == []


def test_stacks(case):
    """With --stacks a call site has its callers, if libunwind is there."""
    row = case.row("open", "map", "sync-page", options=["--stacks"])
    if case.document["notes"]:
        raise Skip(case.document["notes"][0])
    first = re.sub(r"\+0x[0-9a-f]+", "", row["call_sites"])
    assert first.startswith("do_sync_page (maps) < ") and " < main (maps) < " in first, row["call_sites"]
    assert row["call_sites"].endswith(" 1") and ";" not in row["call_sites"]
    assert " < " not in case.row("open", "map", "sync-page")["call_sites"]


def test_writes(case):
    row = case.row("open", "map", "writes", "changes")
    counts(row, writes=4, write_bytes=5, changes=3)


def test_names(case):
    """Each name of a call counts: those for 64-bit offsets, the checked ones, and so on."""
    counts(case.run(case.variants, case.file, case.other, "writes")[0], writes=12, write_bytes=12)
    counts(case.run(case.variants, case.file, case.other, "changes")[0], writes=0, changes=11)
    counts(case.run(case.variants, case.file, case.other, "opens")[0], writes=0, fdatasyncs=12)
    counts(case.run(case.variants, case.file, case.other, "closes")[0], writes=0, fdatasyncs=4)


def test_exchanges(case):
    """A number that the C library gave to another file, or to this one, by itself."""
    counts(case.run(case.variants, case.file, case.other, "exchanges")[0], fdatasyncs=13, fsyncs=13, writes=13,
           write_bytes=13, errors=0)


def test_lookups(case):
    """What dlsym(3) finds: the companion's function twice, and that of the C library once."""
    counts(case.run(case.variants, case.file, case.other, "lookups")[0], fdatasyncs=2)


def test_many(case):
    """Each of many files has its own counts, whatever inodes they have."""
    files = [str(case.directory / str(number)) for number in range(4000)]
    for name in files:
        pathlib.Path(name).touch()
    files = random.Random(1).sample(files, 300)
    rows = case.run(case.variants, case.file, case.other, "many", *files)
    found = {row["path"]: (row["writes"], row["write_bytes"]) for row in rows[1:]}
    wanted = {name: (1, number + 1) for number, name in enumerate(files)}
    assert found == wanted, {name: found.get(name) for name in wanted if found.get(name) != wanted[name]}


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
    assert row["written"] is not None or not os.path.exists("/proc/self/io")


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


def test_at_fork(case):
    """A library's handlers of fork(2) map the file and other memory, and are counted in their process."""
    for options in ([], ["--accelerate"]):
        rows = case.run(case.maps_at_fork, case.file, "open", "map", "sync", "fork", "sync-page", options=options,
                        env={**os.environ, "AT_FORK_FILE": case.file})
        assert len(rows) == 2 and rows[0]["pid"] != rows[1]["pid"], rows
        counts(rows[0], maps=3, msyncs=1)
        counts(rows[1], maps=1, msyncs=1, asked=PAGE, path=case.file)
        assert case.document["notes"] == [], case.document["notes"]


def test_grandchildren(case):
    """A process has the path and the verdict of the file though those between it and the mapping made no call."""
    for ways in (["fork", "fork"], ["fork", "clone"], ["clone", "fork"], ["clone", "clone"], ["daemon-of-child"],
                 ["fork", "fork", "daemon-of-child"]):
        rows = case.maps_run("open", "map", *ways, "sync-page")
        assert len(rows) == 2 and rows[0]["pid"] != rows[1]["pid"], (ways, rows)
        counts(rows[0], msyncs=0)
        same = ("path", "size", "access", "granularity", "could", "sync", "direct", "durable", "reason", "could_reason")
        counts(rows[1], msyncs=1, note="", **{name: rows[0][name] for name in same})
        assert rows[0]["path"] == case.file, (ways, rows)


def test_uncovered(case):
    """A program begun without the companion is named; one that could not be begun is not."""
    for way in ("bare", "bare-search"):
        case.maps_run("open", "map", way, "open", "map", "sync")
        assert ["is not covered" in note for note in case.document["notes"]] == [True], (way, case.document)
        assert "is not covered" in case.stderr, (way, case.stderr)
    case.maps_run("open", "map", "exec-fails")
    assert case.document["notes"] == []


def refused(case, program, words, before=()):
    done = subprocess.run([*before, case.command, "run", program], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          check=False)
    return done.returncode == 2 and words in done.stderr.decode()


def test_refused(case):
    """What the dynamic loader would load nothing into."""
    for program in ("/nowhere", "no-such-program"):
        done = subprocess.run([case.command, "run", program], stderr=subprocess.PIPE, check=False)
        assert done.returncode == 127 and b"cannot be run" in done.stderr, done
    whole = pathlib.Path(case.maps).read_bytes()
    loader = re.search(rb"/lib[\w/.-]*/ld-[\w.-]+", whole)[0]
    machine = whole[:18] + b"\x03\x7f" + whole[20:]
    other_libc = whole.replace(loader, loader.replace(b"ld-", b"lx-"), 1)
    for name, content, words in (("machine", machine, "of another kind"), ("libc", other_libc, "another C library")):
        program = case.directory / name
        program.write_bytes(content)
        program.chmod(0o755)
        assert refused(case, program, words), name
        script = case.directory / f"{name}-script"
        script.write_text(f"#! {program} \n", encoding="ascii")
        script.chmod(0o755)
        assert refused(case, script, words), name
    static, source = case.directory / "static", case.directory / "static.c"
    source.write_text("int main(void) { return 0; }\n", encoding="ascii")
    if not shutil.which("cc"):
        raise Skip("there is no compiler for a static program")
    if subprocess.run(["cc", "-static", "-o", static, source], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        assert refused(case, static, "linked statically")


def need_way_for_others(case):
    """A checkout in the home directory of root, for instance, can be reached by root alone."""
    for words in ([case.command, "--version"], ["test", "-x", case.maps]):
        if subprocess.run([*OTHER_USER, *words], stdout=subprocess.DEVNULL, check=False).returncode:
            raise Skip("another user cannot reach the command and its programs")


def test_privileged(case):
    """A set-user-ID program is refused to a user for whom it is one, and is covered for its owner."""
    program = case.directory / "privileged"
    shutil.copy(case.maps, program)
    program.chmod(0o4755)
    assert case.run(program, case.file, "open", "map", "sync")[0]["msyncs"] == 1
    mount = os.statvfs(case.directory)
    if os.getuid() or not shutil.which("setpriv") or mount.f_flag & os.ST_NOSUID:
        raise Skip("needs root, setpriv and a file system with set-user-ID programs")
    case.directory.chmod(0o755)
    need_way_for_others(case)
    assert refused(case, program, "is set-user-ID", OTHER_USER)


def test_not_loaded(case):
    """A companion that the dynamic loader cannot load is said aloud, and the program runs without it."""
    beside = case.directory / "pmdirect"
    shutil.copy(case.command, beside)
    (case.directory / "libpmdirect-preload.so").write_bytes(b"no library")
    case.command = str(beside)
    environment = dict(os.environ, LD_LIBRARY_PATH=os.path.dirname(os.path.dirname(os.path.dirname(COMMAND[0]))))
    assert case.maps_run("open", "map", "sync", env=environment) == []
    assert "is not covered" in case.stderr and len(case.document["notes"]) == 1, (case.stderr, case.document)


def test_quiet(case):
    """stdout is the program's, and a descriptor more or less is not seen in it."""
    bare = subprocess.run([case.maps, case.file, "open", "map", "numbers"], stdout=subprocess.PIPE, check=True).stdout
    for closed in ((), (0,), (0, 1, 2)):
        names = [f"exec {number}<&-" for number in closed]
        script = "; ".join([*names, f'"{case.maps}" "{case.file}" open map sync numbers-to-file'])
        rows = case.run("sh", "-c", script)
        counts(rows[0], msyncs=1)
    covered = subprocess.run([case.command, "run", "-o", "/dev/null", case.maps, case.file, "open", "map", "numbers"],
                             stdout=subprocess.PIPE, check=True).stdout
    assert covered == bare and bare, (covered, bare)


def test_now(case):
    """SIGUSR1 to the command: a report of the program that runs on, which a later one replaces."""
    out = case.directory / "report"
    with subprocess.Popen([case.command, "run", "--json", "-o", out, "--", case.maps, case.file, "open", "map", "sync",
                           "pause", "sync"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as command:
        assert command.stdout.readline() == b"pause\n"
        for _ in range(2):
            command.send_signal(signal.SIGUSR1)
            deadline = time.monotonic() + 30
            while not (text := out.read_text(encoding="utf-8")).endswith("]}\n") and time.monotonic() < deadline:
                time.sleep(0.01)
            counts(json.loads(text)["rows"][0], msyncs=1)
        command.communicate(b"\n", timeout=30)
    assert command.returncode == 0
    counts(json.loads(out.read_text(encoding="utf-8"))["rows"][0], msyncs=2)


def test_signals(case):
    """SIGTERM to the command goes to the program, whose end it is; an interrupt that is typed is for both."""
    out = case.directory / "report"
    program = [case.maps, case.file, "open", "map", "pause"]
    with subprocess.Popen([case.command, "run", "--json", "-o", out, "--", *program], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as command:
        assert command.stdout.readline() == b"pause\n"
        command.send_signal(signal.SIGTERM)
        assert command.wait(timeout=30) == -signal.SIGTERM
        command.stdin.close()
    assert len(json.loads(out.read_text(encoding="utf-8"))["rows"]) == 1


def test_outlived(case):
    """A daemon goes on when the command has ended, and waits for no answer of it."""
    case.maps_run("open", "map", "daemon", "unmap", "map", "sync", "mark")
    deadline = time.monotonic() + 30
    while not os.path.exists(case.file + ".mark") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os.path.exists(case.file + ".mark")


def left(case, *operations, **more):
    """What the report says of the children that the program leaves, which have a row each and then end."""
    # This process waits for none of them until the report is written.
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    rows = case.maps_run("open", "map", "sync", *operations, **more)
    for row in rows[1:]:
        os.kill(row["pid"], signal.SIGKILL)
        os.waitpid(row["pid"], 0)
    assert [row["msyncs"] for row in rows] == [1] * (len(operations) + 1), rows
    return case.document["notes"]


def test_left(case):
    """The report counts children that still run, and no zombie, and none that runs another program now."""
    runs = "1 covered process still runs, and is counted no further"
    assert left(case, "leave-zombie") == []
    assert left(case, "leave-running") == [runs]
    assert left(case, "leave-running", "leave-zombie", "leave-running") == [
        "2 covered processes still run, and are counted no further"]
    is_told = [row["written"] is not None for row in case.document["rows"]]
    assert is_told == [os.path.exists("/proc/self/io")] * 4, case.document
    note, = left(case, "leave-bare")
    assert case.document["rows"][1]["written"] is None, case.document
    assert note.endswith("is not covered: the companion was not loaded, or did not find pmdirect run"), note
    assert case.run("true") == [] and case.document["notes"] == ["no file was mapped shared, in 1 covered program"]
    assert case.run("sh", "-c", "sh -c true; true") == []
    assert case.document["notes"] == ["no file was mapped shared, in 2 covered programs"]
    if os.getuid() == 0:
        os.unlink(case.file)
        os.unlink(case.directory / "report")
        os.chown(case.directory, 65534, 65534)
        need_way_for_others(case)
    assert left(case, "leave-secret", before=OTHER_USER if os.getuid() == 0 else ()) == [runs]


def traced(case, *operations, covered):
    """System calls by name that the program makes for these operations; covered: the options of run, or None."""
    if not shutil.which("strace"):
        raise Skip("strace is not there")
    log = case.directory / "trace"
    program = ["strace", "-f", "-qq", "-o", log, case.maps, case.file, *operations]
    done = subprocess.run(program if covered is None else [case.command, "run", "-o", "/dev/null", *covered, *program],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, timeout=60)
    if done.returncode:
        raise Skip(f"strace: {done.stderr.decode().strip()}")
    return collections.Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(encoding="utf-8"), re.MULTILINE))


def added(case, operations, *options, times=10):
    """System calls that the companion adds to the operations, or leaves out, when they are made once more."""
    def more(covered):
        once = traced(case, "open", "map", "store", *operations, *operations, covered=covered)
        often = traced(case, "open", "map", "store", *operations, *operations * (times + 1), covered=covered)
        return {name: (often[name] - once[name]) / times for name in often}
    bare, covered = more(None), more(options)
    found = {name: covered.get(name, 0) - bare.get(name, 0) for name in {**bare, **covered}}
    # A question of the first ones may wait once more or less.
    return {name: round(count) for name, count in found.items() if round(count)}


def test_costs(case):
    """System calls that are added to a call, or left out: none but for calls on descriptors, and maps of files."""
    # Where nothing can be accelerated --accelerate adds none.
    for options in ([], ["--accelerate"]):
        found = added(case, ["sync", "sync-page", "sync-async", "anonymous", "read"], *options)
        assert found == {}, (options, found)
        # The descriptor's file, each time.
        found = added(case, ["fsync", "fdatasync", "writes", "null-writes"], *options)
        assert found == {"statx": 7}, (options, found)
        # The descriptor's file, and a lock with signals blocked each for what comes and goes.
        found = added(case, ["unmap", "map"], *options)
        assert found == {"statx": 1, "rt_sigprocmask": 4}, (options, found)


def test_allocations(case):
    """The companion calls no function of the C library that allocates by malloc(3)."""
    if not shutil.which("nm"):
        raise Skip("nm is not there")
    shown = subprocess.run([case.command, "run", "-o", "/dev/null", "--", "sh", "-c", 'echo "$LD_PRELOAD"'],
                           stdout=subprocess.PIPE, text=True, check=True)
    names = subprocess.run(["nm", "-D", "--undefined-only", re.split("[: \n]", shown.stdout)[0]],
                           stdout=subprocess.PIPE, text=True, check=True)
    found = set(re.findall(r" U (\w+)", names.stdout))
    assert {"snprintf", "madvise"} <= found
    allocating = {"malloc", "calloc", "realloc", "reallocarray", "free", "strdup", "strndup", "asprintf", "vasprintf",
                  "__asprintf_chk", "__vasprintf_chk", "getline", "getdelim", "opendir", "fdopendir", "scandir",
                  "fopen", "fopen64", "fdopen", "realpath", "open_memstream", "aligned_alloc", "posix_memalign",
                  "qsort", "__tls_get_addr"}
    assert not found & allocating, found & allocating


def test_accelerated(case):
    """--accelerate changes no result where nothing can be accelerated."""
    program = os.path.join(os.path.dirname(case.maps), "accelerated")
    outputs = []
    for prefix in ([], [case.command, "run", "--accelerate", "-o", "/dev/null", "--"]):
        pathlib.Path(case.file).write_bytes(bytes(65536))
        done = subprocess.run([*prefix, program, case.file], capture_output=True, check=False, timeout=50)
        assert not done.returncode, done
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] and outputs[0].count(b"\n") > 40, outputs


def test_manual(case):
    """Each name that is interposed is in the manual."""
    root = pathlib.Path(__file__).resolve().parents[2]
    names = re.findall(r"\b(\w+);", (root / "tools/preload/preload.map").read_text(encoding="ascii"))
    text = (root / "doc/man1/pmdirect-run.1").read_text(encoding="ascii")
    assert len(names) > 50 and case
    missing = [name for name in names if f".Fn {name} " not in text]
    assert not missing, missing
    for name in re.findall(r"^\(([a-z, *-]+)\)$", text, re.MULTILINE):
        for test in name.split(", "):
            assert test in TESTS or test in ("preload-stress", "engine-*"), test


TESTS = {name[5:]: test for name, test in list(globals().items()) if name.startswith("test_")}


def main(command, programs, work, *names):
    failed = 0
    COMMAND.append(command)
    for name in names or TESTS:
        with tempfile.TemporaryDirectory(prefix="run-", dir=work) as directory:
            try:
                TESTS[name](Case(command, programs, os.path.realpath(directory)))
                print(f"{name}: passed", flush=True)
            except Skip as reason:
                print(f"{name}: skipped: {reason}", flush=True)
            except (AssertionError, KeyError, ValueError, subprocess.TimeoutExpired) as problem:
                failed += 1
                print(f"{name}: failed: {problem!r}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
