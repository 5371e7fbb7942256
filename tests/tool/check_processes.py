# SPDX-License-Identifier: BSD-3-Clause
"""What the command says of the mappings of processes."""

import ctypes
import fcntl
import json
import mmap
import os
import shutil
import subprocess
import time

from place import Skip, mapped

NOBODY = 65534
MANY = 1000


def test_ps_all_kinds(place):
    """Every shared file mapping, and nothing else; the reason on a disk; the ranges."""
    before = place.own()
    path, other = place.file("file", 65536), place.file("other")
    memfd = os.memfd_create("mem")
    os.ftruncate(memfd, 8192)
    shared = [mapped(path, length=65536), mapped(path, prot=mmap.PROT_READ), mapped(other), mmap.mmap(memfd, 8192)]
    others = [mapped(path, mmap.MAP_PRIVATE), mmap.mmap(-1, 8192),
              mmap.mmap(-1, 8192, mmap.MAP_PRIVATE | mmap.MAP_ANON)]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype, libc.shmat.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    segment = libc.shmget(0, ctypes.c_size_t(8192), 0o600)
    at = libc.shmat(segment, None, 0) if segment >= 0 else None
    try:
        rows = {start: row for start, row in place.own().items() if start not in before}
        expected = {(path.decode(), 65536, "rw"), (path.decode(), 8192, "r"), (other.decode(), 8192, "rw"),
                    ("/memfd:mem (deleted)", 8192, "rw")}
        assert {(row["path"], row["size"], row["access"]) for row in rows.values()} == expected, rows
        assert len(rows) == len(shared)
        for row in rows.values():
            assert row["pid"] == os.getpid() and row["command"] and row["sync"] == "no", row
            if row["path"].startswith("/memfd"):
                assert (row["granularity"], row["durable"]) == ("none", "no"), row
        assert len(place.own("--writable")) - len(place.own("--writable", "--file", other)) >= 2
        only, = place.own("--file", other).values()
        assert only["path"] == other.decode()
    finally:
        if at not in (None, ctypes.c_void_p(-1).value):
            libc.shmdt.argtypes = [ctypes.c_void_p]
            libc.shmdt(at)
        if segment >= 0:
            libc.shmctl(segment, 0, None)
        os.close(memfd)
    del others


def test_ps_agrees(place):
    """What ps says of a plain mapping is what probe says of its file, where no MAP_SYNC is to be had."""
    path = place.file("file")
    held = mapped(path)
    foretold, = place.json("probe", path)["rows"]
    row, = place.own("--file", path).values()
    if foretold["direct"] == "yes":
        raise Skip("the guest looks at files that are DAX")
    for name in ("granularity", "sync", "direct", "durable", "reason"):
        assert row[name] == foretold[name], (name, row, foretold)
    assert row["could"] == foretold["granularity"]
    del held


def test_ps_many(place):
    """A thousand mappings of a thousand files, and of one: the rows, the reads. The time is reported."""
    paths = [place.file(f"many{i}", 4096) for i in range(MANY)]
    held = [mapped(path, length=4096) for path in paths]
    held += [mapped(paths[0], length=4096) for _ in range(MANY)]
    began = time.monotonic()
    rows = place.own("-o", "start,path,granularity,dirty")
    took = time.monotonic() - began
    ours = [row for row in rows.values() if "/many" in row["path"]]
    # Mappings that continue each other are one to the kernel: no two of these do, since offsets are 0.
    assert len(ours) == 2 * MANY and len({row["path"] for row in ours}) == MANY, len(ours)
    assert {row["granularity"] for row in ours} == {ours[0]["granularity"]}
    print(f"    {2 * MANY} mappings in {took * 1000:.0f} ms")
    if shutil.which("strace"):
        log = place.directory / "strace.log"
        subprocess.run(["strace", "-f", "-o", log, *place.command, "ps", "-p", str(os.getpid())],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        calls = log.read_text(errors="replace").splitlines() if log.exists() else []
        opened = sum("map_files" in line and "openat(" in line for line in calls)
        print(f"    {len(calls)} system calls, {opened} opens of the files")
        assert not any("map_files" in line and "O_RDWR" in line for line in calls), "an open for writing is news"
        assert not calls or opened <= 2 * MANY and len(calls) < 60 * MANY, (opened, len(calls))
    del held


def test_ps_cache(place):
    """Dirty bytes are counted as they come and go; on a file system that counts them."""
    path = place.file("file", 1 << 20)
    held = mapped(path, length=1 << 20)
    held.flush()
    row, = place.own("--file", path).values()
    if row["dirty"] is None:
        raise Skip("the kernel or the file system does not count")
    assert row["dirty"] == 0 and 4096 <= row["cached"] <= 1 << 20, row
    # A sync of another process may come in between.
    for _ in range(50):
        held[:8192] = b"y" * 8192
        row, = place.own("--file", path).values()
        if row["dirty"] >= 8192:
            break
    assert 8192 <= row["dirty"] <= row["cached"] and row["writeback"] <= row["cached"], row
    del held


def test_ps_folios(place):
    """Pages that were read one by one, and a range that is cached in large folios; only as root."""
    if os.geteuid() or not os.access("/proc/kpageflags", os.R_OK):
        raise Skip("the flags of pages cannot be read")
    path = place.file("file", 1 << 21)
    held = mapped(path, length=1 << 21)
    row, = place.own("--file", path, "-o", "start,path,folios").values()
    assert row["folios"] in ("no", "unknown", "yes"), row
    for at in range(0, 1 << 21, 4096):
        held[at] = 1
    row, = place.own("--file", path, "-o", "start,path,folios").values()
    assert row["folios"] in ("no", "yes"), f"all pages are there: {row}"
    print(f"    large folios: {row['folios']}")
    del held


def test_ps_locks(place):
    """Record locks, flock(2) and their number; ps takes none away."""
    path = place.file("file")
    held = mapped(path)
    fd, other = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 100)
    fcntl.flock(other, fcntl.LOCK_SH)
    # The kernel may list a lock twice while those of other tests come and go.
    rows = [row for _ in range(5) for row in place.own("--file", path).values()]
    assert [(row["locks"], row["flocks"], row["leases"]) for row in rows].count((2, 1, 0)) >= 2, rows
    os.close(fd)
    os.close(other)
    del held


def test_ps_gone(place):
    """A file without a name, one whose name another has, one that was cut off."""
    path, replaced, cut = place.file("gone"), place.file("replaced"), place.file("cut")
    held = [mapped(name) for name in (path, replaced, cut)]
    os.unlink(path)
    os.rename(place.file("new"), replaced)
    os.truncate(cut, 0)
    before = {row["path"]: row for row in place.own().values()}
    deleted = before[path.decode() + " (deleted)"]
    assert deleted["reason"] in ("unlinked", "unknown") and deleted["durable"] in ("no", "unknown"), deleted
    assert before[replaced.decode() + " (deleted)"]["durable"] in ("no", "unknown")
    assert before[cut.decode()]["note"] and before[cut.decode()]["granularity"] == "unknown", before[cut.decode()]
    del held


def test_ps_require(place):
    """Of the mappings as they are; nothing found is not met by nothing."""
    path = place.file("file")
    held = mapped(path)
    me = ("ps", "-p", str(os.getpid()), "--file", path)
    durable = place.json(*me)["rows"][0]["durable"]
    place.run(*me, "--require=durable", status={"yes": 0, "no": 1, "unknown": 2}[durable])
    place.run(*me, "--require=sync", status=1)
    place.run(*me[:3], "--file", place.file("unmapped"), "--require=durable", status=2)
    place.run("ps", "-p", "999999999", status=2)
    del held


def as_nobody():
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def require_nobody(place):
    """Another user can start the command, which below a home of mode 0700 none can."""
    if os.geteuid():
        raise Skip("only root can become another user")
    try:
        subprocess.run([*place.command, "--version"], preexec_fn=as_nobody, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True)
    except (PermissionError, subprocess.CalledProcessError) as error:
        raise Skip("the command is where another user cannot start it") from error


def rows_of_nobody(place):
    """Of a process of that user: a file by its path, and one without a name by a descriptor."""
    as_nobody()
    # A process that changed its user is hidden from it (PR_SET_DUMPABLE).
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    files = [open(place.directory / "sub" / name, "wb+") for name in ("kept", "gone")]
    for file in files:
        file.write(b"x" * 4096)
        file.flush()
    held = [mmap.mmap(file.fileno(), 4096) for file in files]
    os.unlink(files[1].name)
    rows = place.own("--writable")
    del held
    return [(row["path"], row["direct"], row["could_reason"]) for row in rows.values()]


def as_child(act):
    """What act() returns in a child of its own."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, json.dumps(act()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    assert text, "the child failed"
    return json.loads(text)


def test_unprivileged(place):
    """A user without privilege is told what it could not see; nothing becomes a yes by that."""
    require_nobody(place)
    done = place.run("ps", "--all", preexec_fn=as_nobody)
    assert b"may not look at" in done.stderr, done.stderr
    done = place.run("ps", "-p", str(os.getpid()), preexec_fn=as_nobody, status=2)
    assert b"may not see" in done.stderr and done.stdout == b"", done
    path = place.file("secret")
    os.chmod(path, 0o600)
    row, = place.json("probe", path, preexec_fn=as_nobody, status=2)["rows"]
    assert (row["sync"], row["granularity"], row["reason"]) == ("unknown", "unknown", "cannot-tell"), row
    hidden = place.directory / "hidden"
    hidden.mkdir(0o700)
    done = place.run("probe", hidden, preexec_fn=as_nobody, status=2)
    assert b"hidden'" in done.stderr and b".pmdirect-probe" not in done.stderr + done.stdout, done
    os.mkdir(place.directory / "sub")
    os.chown(place.directory / "sub", NOBODY, NOBODY)
    rows = as_child(lambda: rows_of_nobody(place))
    assert len(rows) == 2 and all(direct in ("no", "yes") for _, direct, _ in rows), rows
    assert sorted(reason for _, _, reason in rows)[-1] in ("unlinked", "volatile"), rows
