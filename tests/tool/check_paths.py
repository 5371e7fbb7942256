# SPDX-License-Identifier: BSD-3-Clause
"""What the command says of paths, and that it leaves no trace there."""

import os
import re
import shutil
import subprocess
import sys
import time

from place import Skip


def test_probe_unmappable(place):
    """What cannot be mapped is said so, and what cannot be found out is something else."""
    os.mkfifo(place.directory / "fifo")
    for path in (place.directory / "fifo", "/dev/null", "/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled"):
        if os.path.exists(path):
            row, = place.json("probe", path, status=1)["rows"]
            assert row["reason"] == "cannot-be-mapped" and row["sentence"], row
            place.run("probe", "--require=direct", path, status=1)
    row, = place.json("probe", place.directory / "absent", status=2)["rows"]
    assert (row["reason"], row["granularity"], row["direct"]) == ("cannot-tell", "unknown", "unknown"), row
    place.run("probe", "--require=durable", place.directory / "absent", status=2)


def test_probe_unnamed(place):
    """A directory whose file system makes no unnamed files: nothing is told, and that is no fact in the way."""
    for path in ("/sys/kernel", "/proc"):
        row, = place.json("probe", path, status=2)["rows"]
        assert row["reason"] == "cannot-tell" and {row["grade"], row["size"], row["advice"]} == {None}, row
        assert path in row["sentence"] and row["error"] == "", row


def test_empty_names(place):
    """An empty name is seen in the sentence about it."""
    for arguments, status in ((("probe", ""), 2), (("explain", ""), 2), (("watch", ""), 2), (("bench", ""), 2),
                              (("ps", "--file="), 2), (("run", ""), 127), (("run", "-o", "", "true"), 2)):
        done = place.run(*arguments, status=status)
        assert done.stderr.startswith(b'pmdirect: ""'), (arguments, done)


def test_run_what_cannot_run(place):
    """What is there and is no program is told from what is nowhere, as by a shell."""
    if not place.has_companion():
        raise Skip("no companion is built here")
    directory = place.directory / "bin"
    (directory / "below").mkdir(parents=True)
    (directory / "text").write_text("text")
    env = {**os.environ, "PATH": str(directory)}
    for name, status in ((".", 126), ("below", 126), ("text", 126), ("absent", 127), ("", 127),
                         (directory, 126), (directory / "text", 126), (directory / "absent", 127)):
        place.run("run", name, status=status, env=env)


def test_all_and_some(place):
    """Which of two that exclude each other was meant is not guessed."""
    for arguments in (("-a", "-p", "1"), ("-p", "1", "--all"), ("-ap1",)):
        done = place.run("ps", *arguments, status=2)
        assert b"--all" in done.stderr and b"-p" in done.stderr and not done.stdout, done


def test_watch_unmappable(place):
    """What cannot be watched is told by its cause, and is not met only where it cannot be mapped at all."""
    os.mkfifo(place.directory / "fifo")
    os.symlink("nowhere", place.directory / "dangling")
    for path, status, why in ((place.directory / "fifo", 1, "neither a file"), (place.directory, 1, "a directory"),
                              (place.file("empty", 0), 1, "its size is 0"), ("/dev/null", 1, "neither a file"),
                              (place.directory / "dangling", 2, "No such file"), ("", 2, '"": No such file'),
                              (os.path.join(place.file("file"), b"x"), 2, "Not a directory")):
        done = place.run("watch", "--for=1", path, status=status)
        assert done.stderr.decode().startswith("pmdirect: " + (os.fsdecode(path) or '""') + ": "), done
        assert why in done.stderr.decode() and not done.stdout, done
    for option in ("--file=x", "--writable"):
        assert b"of -p" in place.run("watch", option, "--for=1", place.file("file"), status=2).stderr, option


def test_probe_swap(place):
    """Swap space in use can be mapped for reading only."""
    path = place.file("swap", 1 << 20)
    os.chmod(path, 0o600)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    if not shutil.which("mkswap") or subprocess.run(["mkswap", path], **quiet).returncode:
        raise Skip("no mkswap")
    if subprocess.run(["swapon", path], **quiet).returncode:
        raise Skip("no swap file can be used here")
    try:
        row, = place.json("probe", path, status=1)["rows"]
        assert row["reason"] == "cannot-be-mapped" and "swap" in row["sentence"], row
        row, = place.json("probe", "--read-only", path)["rows"]
        assert row["access"] == "read-only", row
    finally:
        subprocess.run(["swapoff", path], check=True)


def test_probe_exit(place):
    """Met, not met, and a list of both."""
    place.run("probe", "--require=durable", place.directory, place.file("file"), status=0)
    if place.json("probe", place.directory)["rows"][0]["direct"] == "no":
        place.run("probe", "--require=direct", place.directory, status=1)
        place.run("probe", "--require=durable,sync", place.directory, status=1)
        place.run("probe", "--require=direct", place.directory, place.directory / "absent", status=1)
    if os.path.ismount("/dev/shm"):
        place.run("probe", "--require=durable", "/dev/shm", status=1)


def times_of(path):
    stat = os.stat(path)
    return stat.st_atime_ns, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_blocks, stat.st_nlink


# That could leave something behind. O_CREAT without a name (O_TMPFILE) is the exception, and is checked by the listing.
CHANGES = re.compile(r"^(?:\d+ +)?(?:write|pwrite|pwritev|ftruncate|truncate|fallocate|utime|chmod|fchmod|chown|mkdir"
                     r"|mknod|rename|link|unlink|symlink|setxattr|fsetxattr|fsync|fdatasync|sync)\w*\("
                     r"|O_CREAT|O_TRUNC", re.MULTILINE)
# To stdout and stderr; trials of a sync that must fail, without a file; of an unnamed file in the library.
HARMLESS = re.compile(r"writev?\([12],|sync\w*\(-1\)|= -1 E")


def test_probe_trace(place):
    """No call that changes anything, and no time that moved: of a file, an empty one, a directory."""
    path, empty = place.file("file"), place.file("empty", 0)
    old = time.time() - 10 * 86400
    for name in (path, empty, place.directory):
        os.utime(name, (old, old))
    names = [path, empty, place.directory]
    before = [times_of(name) for name in names]
    for command in ("probe", "explain"):
        for name in names:
            place.run(command, name)
    assert [times_of(name) for name in names] == before, (before, [times_of(name) for name in names])
    assert sorted(os.listdir(place.directory)) == ["empty", "file"]
    if not shutil.which("strace"):
        raise Skip("no strace; times and names were looked at")
    log = place.directory / "strace.log"
    done = subprocess.run(["strace", "-f", "-o", log, *place.command, "probe", path, empty, place.directory],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode or not log.exists():
        raise Skip("strace may not be used here; times and names were looked at")
    calls = log.read_text(errors="replace").splitlines()
    changes = [line for line in calls if CHANGES.search(line) and not HARMLESS.search(line) and "O_TMPFILE" not in line]
    assert not changes, changes
    assert sum("O_TMPFILE" in line for line in calls) == 1, "one unnamed file, for the directory"
    print(f"    {len(calls)} system calls, none of which changes anything")


def test_lease(place):
    """A lease of another process is not broken, and what is known without an open is told."""
    path = place.file("leased")
    holder = subprocess.Popen([sys.executable, "-c", """
import fcntl, mmap, os, signal, sys
signal.signal(signal.SIGIO, lambda *_: os.write(1, b"broken"))
fd = os.open(sys.argv[1], os.O_RDWR)
held = mmap.mmap(fd, 0)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.write(1, b"held\\n")
sys.stdin.read()
""", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if holder.stdout.readline() != b"held\n":
        raise Skip("no lease can be taken here")
    row, = place.json("probe", path, status=2)["rows"]
    assert row["reason"] == "leased" and row["direct"] in ("no", "yes") and row["sync"] == "unknown", row
    place.run("probe", "--require=direct", path, status=0 if row["direct"] == "yes" else 1)
    row, = place.json("ps", "--all", "--file", path)["rows"]
    assert (row["granularity"], row["sync"]) == ("unknown", "no") and "lease" in row["note"], row
    # The kernel may list a lock twice while those of other tests come and go.
    assert row["leases"] in (1, 2), row
    assert row["direct"] in ("no", "yes"), row
    place.run("watch", "--for=1", path, status=2)
    assert holder.communicate()[0] == b"", "the lease was broken"


def test_explain(place):
    path = place.file("file")
    done = place.run("explain", path).stdout.decode()
    assert "MAP_SYNC accepted" in done and "statx" in done and ". " in done.split("\n\n")[-1], done
    document = place.json("explain", path)
    assert {"fact", "state", "source"} <= set(document["rows"][0]) and len(document["notes"]) == 1
    assert {row["state"] for row in document["rows"]} <= {"yes", "no", "unknown"}
    place.run("explain", "/dev/null", status=1)
    place.run("explain", place.directory / "absent", status=2)
