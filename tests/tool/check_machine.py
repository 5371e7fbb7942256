# SPDX-License-Identifier: BSD-3-Clause
"""What the command says of the machine, and of what happens on it."""

import json
import mmap
import os
import select
import shutil
import signal
import subprocess
import time

from check_processes import as_nobody, require_nobody
from place import Skip, mapped

LEVELS = {"ok", "note", "unknown", "warning", "bad"}


def test_doctor(place):
    """Each finding has its evidence, the exit status is that of the worst, and nothing is changed."""
    began = time.monotonic()
    done = place.run("doctor", status=None)
    took = time.monotonic() - began
    document = place.json("doctor", status=done.returncode)
    rows = document["rows"]
    assert rows and all(row["level"] in LEVELS and row["evidence"] and row["subject"] for row in rows), rows
    assert {"cpu", "kernel", "region", "mount"} <= {row["area"] for row in rows}, {row["area"] for row in rows}
    assert all(row["advice"] for row in rows if row["level"] == "bad"), rows
    levels = {row["level"] for row in rows}
    assert done.returncode == (1 if "bad" in levels else 2 if "unknown" in levels else 0), (done.returncode, levels)
    print(f"    {len(rows)} findings in {took * 1000:.0f} ms")
    place.run("doctor", "argument", status=2)


def test_doctor_calls(place):
    """It opens for reading what it looks at, and the unnamed files that pm_probe() makes."""
    if not shutil.which("strace"):
        raise Skip("no strace")
    log = place.directory / "strace.log"
    subprocess.run(["strace", "-f", "-o", log, *place.command, "doctor"], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False)
    if not log.exists():
        raise Skip("strace may not be used here")
    calls = log.read_text(errors="replace").splitlines()
    opened = [line for line in calls if "open" in line.split("(")[0] and "= -1" not in line]
    writing = [line for line in opened if ("O_WRONLY" in line or "O_RDWR" in line) and "O_TMPFILE" not in line]
    assert opened and not writing, writing
    print(f"    {len(calls)} system calls, {len(opened)} opens")


def test_doctor_unprivileged(place):
    """What this user cannot ask is unknown."""
    require_nobody(place)
    rows = place.json("doctor", status=None, preexec_fn=as_nobody)["rows"]
    mine = [row for row in rows if row["area"] == "mount" and row["subject"] == "/"]
    assert not mine or mine[0]["level"] in ("unknown", "note", "bad"), mine


class Watch:
    """pmdirect watch beside the test: its lines, as they come."""

    def __init__(self, place, *arguments):
        self.process = subprocess.Popen([*place.command, "watch", "--json", "--interval=50", "--for=50", *arguments],
                                        bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        start_new_session=True)

    def until(self, event, **fields):
        """The row of the first line that has the event and the fields."""
        seen = []
        while select.select([self.process.stdout], [], [], 10)[0]:
            line = self.process.stdout.readline()
            if not line:
                break
            document = json.loads(line)
            assert document["schema"] == "pmdirect-watch" and document["version"] == 1, document
            row = document["row"]
            if row["event"] == event and all(row[name] == value for name, value in fields.items()):
                return row
            seen.append(row["event"])
        os.killpg(self.process.pid, signal.SIGKILL)
        raise AssertionError(f"no {event} {fields} after {seen}: {self.process.communicate()}")

    def end(self, number=signal.SIGINT):
        """By a signal, or by itself long before its --for."""
        if number:
            os.killpg(self.process.pid, number)
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        assert self.process.returncode == 0, self.process.returncode


def test_watch_file(place):
    """What befalls a file, by the names of its events."""
    path = place.file("file", 65536)
    watch = Watch(place, path)
    row = watch.until("now")
    assert row["length"] == 65536 and row["sentence"] and row["granularity"] != "unknown", row
    with open(path, "ab") as stream:
        stream.write(b"x")
    assert watch.until("modified")["sentence"]
    os.rename(path, path + b".moved")
    watch.until("name-lost", reason="moved")
    os.truncate(path + b".moved", 4096)
    row = watch.until("truncated")
    assert row["path"] == path.decode(), row
    watch.end()
    place.run("watch", place.directory / "absent", status=2)
    place.run("watch", "/dev/null", status=1)
    place.run("watch", status=2)
    assert place.run("watch", "--for=1", "-o", "event,path", path + b".moved").stdout.startswith(b"now  ")


def test_watch_process(place):
    """A mapping that comes, one that is cut off, one that goes; and the end of the process."""
    path, other = place.file("file"), place.file("other")
    held = mapped(path)
    watch = Watch(place, "-p", str(os.getpid()), "--writable")
    watch.until("now", path=path.decode(), pid=os.getpid())
    more = mapped(other)
    watch.until("mapped", path=other.decode())
    more.close()
    watch.until("unmapped", path=other.decode())
    os.unlink(path)
    row = watch.until("changed") if os.geteuid() == 0 else None
    assert not row or row["reason"] in ("unlinked", "volatile"), row
    watch.end()
    # A process without a shared mapping would have no line that says when the command has begun to watch.
    child = os.fork()
    if not child:
        signal.pause()
    watch = Watch(place, "-p", str(child))
    watch.until("now", pid=child)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    watch.end(None)
    del held


def test_bench(place):
    """Each method is measured, and nothing is left behind."""
    document = place.json("bench", "--seconds=1", place.directory)
    rows = {(row["method"], row["size"]): row for row in document["rows"]}
    assert {("pm_persist", 64), ("pm_persist", 4096), ("write and fdatasync", 4096)} <= set(rows), rows
    for row in rows.values():
        assert row["commits"] > 0 and row["per_second"] > 0 and 0 < row["median_ns"] <= row["p99_ns"], row
        if row["written"]:
            assert abs(row["amplification"] - row["written"] / row["commits"] / row["size"]) < 0.02, row
    assert document["notes"] and os.listdir(place.directory) == []
    file = place.file("file")
    assert str(place.directory) in place.json("bench", "--seconds=1", file)["notes"][0], "in the directory of a file"
    os.unlink(file)
    other = place.directory / "other"
    other.mkdir()
    os.symlink(place.file("other/file"), place.directory / "link")
    assert str(other) in place.json("bench", "--seconds=1", place.directory / "link")["notes"][0], "of the file itself"
    gone = place.directory / "absent"
    for absent, why in ((gone, "No such file"), (gone / "file", "No such file"), ("", "No such file"),
                        ("/proc/version/file", "Not a directory")):
        done = place.run("bench", absent, status=2)
        assert why in done.stderr.decode() and str(absent) in done.stderr.decode() and not done.stdout, done
    os.mkfifo(place.directory / "fifo")
    devices = [name for name in ("/dev/loop0", "/dev/vda", "/dev/sda") if os.path.exists(name)]
    for path in (place.directory / "fifo", "/dev/null", *devices):
        done = place.run("bench", "--seconds=1", path, status=2)
        assert str(path) in done.stderr.decode() and not done.stdout, done
    place.run("bench", "--seconds=0", place.directory, status=2)


def test_bench_writes(place):
    """Each commit of a page-cache mapping reaches the device, which counts them; not on memory."""
    if place.json("probe", place.directory)["rows"][0]["granularity"] != "page":
        raise Skip("nothing is written by pages here")
    rows = place.json("bench", "--seconds=1", place.directory)["rows"]
    blocks = next(row for row in rows if (row["method"], row["size"]) == ("pm_persist", 4096))
    if blocks["written"] is None:
        raise Skip("the device does not count")
    assert blocks["written"] >= blocks["commits"] * mmap.PAGESIZE, blocks
