# SPDX-License-Identifier: BSD-3-Clause
"""What the manual claims of the JSON, and what others can do to the output."""

import ctypes
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys

from check_processes import as_child
from place import Skip, mapped

CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
BLKPG, BLKPG_ADD_PARTITION, BLKPG_DEL_PARTITION = 0x1269, 1, 2
ENUMERATED = {"kind", "access", "granularity", "could", "sync", "direct", "durable", "grade", "state", "folios",
              "level", "area", "method", "met", "event"}
# The page, and what the constant begins with: "" where the words themselves stand there.
REFERRED = {"reason": ("pm_evidence.7", "PM_REASON_"), "could_reason": ("pm_evidence.7", "PM_REASON_"),
            "advice": ("pm_evidence.7", "PM_ADVICE_"), "fact": ("pm_evidence.7", ""),
            "event": ("pm_events.7", "PM_EVENT_")}


def documents_of(place):
    """Of each command a document, as it is written; of watch more than one."""
    path = place.file(b"wrong\xff")
    held = mapped(path)
    documents = []
    for arguments in (("probe", "--require=durable", path, place.directory, "/dev/null", place.directory / "absent"),
                      ("explain", path), ("ps", "-p", str(os.getpid())),
                      ("bench", "--seconds=1", place.directory), ("doctor",)):
        documents.append((arguments[0], place.json(*arguments, status=None)))
    lines = place.run("watch", "--json", "--for=1", path).stdout.decode().splitlines()
    lines += place.run("watch", "--json", "--for=1", "-p", str(os.getpid())).stdout.decode().splitlines()
    del held
    return documents + run_documents(place, path) + [("watch", json.loads(line)) for line in lines]


def run_documents(place, path):
    if not place.has_companion():
        return []
    report = place.directory / "run.json"
    mapping = "import mmap, os, sys; file = os.open(sys.argv[1], os.O_RDWR); mmap.mmap(file, 0).flush()"
    place.run("run", "--json", "-o", report, "--", sys.executable, "-c", mapping, path)
    return [("run", json.loads(report.read_text(encoding="utf-8")))]


def plain(mdoc):
    words = re.sub(r"^\.\w\w ", "", mdoc, flags=re.MULTILINE).replace("\\-", "-").replace(" ,", ",")
    return re.sub(r"\s+", " ", words)


def entries_of(section):
    """Text by name of the list's items."""
    parts = re.split(r"^\.It Cm (\w+)\n", section, flags=re.MULTILINE)
    return {name: plain(text.split("\n.El")[0]) for name, text in zip(parts[1::2], parts[2::2])}


def test_json_documented(place):
    """Each field that a command writes has its entry, each entry its field, and each word of a field stands there."""
    text = pathlib.Path(place.manual).read_text(encoding="ascii")
    section = {name: text.split(f".Ss {name}\n")[1].split("\n.Ss ")[0].split("\n.Sh ")[0]
               for name in ("probe", "explain", "ps", "watch", "bench", "run", "doctor", "JSON")}
    manual = pathlib.Path(place.manual).parents[1] / "man7"
    top = set(entries_of(section["JSON"]))
    assert top == {"schema", "version", "library", "rows", "notes"}, top
    for command, document in documents_of(place):
        assert set(document) == ({"schema", "version", "library", "row"} if command == "watch" else top), document
        assert document["schema"] == "pmdirect-" + command, document
        entries = entries_of(section[command])
        for row in document.get("rows") or [document["row"]]:
            names = [name for name in row if not (name.endswith("_hex") and name[:-4] in entries)]
            assert names == list(entries), (command, names, list(entries))
            for name in names:
                check_words(command, name, row[name], section[command] + section["probe"], manual)


def check_words(command, name, value, section, manual):
    if name not in ENUMERATED | set(REFERRED) or not isinstance(value, str) or (command, name) == ("doctor", "advice"):
        return
    wanted, page = rf"(?<![\w-]){re.escape(value)}(?![\w-])", ""
    if name in REFERRED:
        page = (manual / REFERRED[name][0]).read_text(encoding="utf-8")
        constant = REFERRED[name][1]
        word = value.upper().replace("-", "_")
        wanted += rf"|^\.It Dv {constant}{word}$" if constant else rf"|Dq {re.escape(value)}$"
    assert re.search(wanted, plain(section) + "\n" + page, re.MULTILINE), (command, name, value)


def test_columns_once(place):
    """A column that is asked for twice is there once: JSON has no two keys of one name."""
    path = place.file("file")
    rows = place.json("probe", "-o", "path,direct,path", path)["rows"]
    assert [list(row) for row in rows] == [["path", "direct"]], rows
    assert list(place.json("ps", "-o", "+note,pid,note", "--all")["rows"][0]).count("pid") == 1


def test_escapes(place):
    """No name and no argument reaches the terminal as a control character, in a table, a sentence or a mistake."""
    odd = "odd\x1b[31m\n"
    directory = place.directory / odd
    directory.mkdir()
    absent = directory / "absent"
    for arguments in (("bench", "--seconds=1", directory), ("bench", absent / "file"), ("probe", directory),
                      ("probe", absent), ("explain", absent), ("watch", directory), ("ps", "--file", absent), (odd,),
                      ("ps", odd), ("probe", "-o", odd, "/"), ("probe", "--require", odd, "/"), ("ps", "-p", odd),
                      ("doctor", "--" + odd), ("run", odd), ("run", absent), ("run", "-o", absent / odd, "true"),
                      ("run", "--columns", odd, "true")):
        done = place.run(*arguments, status=None)
        assert b"\x1b" not in done.stdout + done.stderr, done
        assert all(line.startswith(b"pmdirect: ") for line in done.stderr.splitlines()), done
    note, = place.json("probe", directory / "absent", status=2)["notes"]
    assert odd in note, "JSON has its own escapes"


def test_lost_output(place):
    """Whatever cannot be written is no success, and nothing goes on writing it."""
    path = place.file("file")
    for arguments in (("--help",), ("--version",), ("probe", "--help"), ("explain", path), ("doctor",),
                      ("watch", "--for=1000", "--interval=50", path)):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([*place.command, *arguments], stdout=full, stderr=subprocess.PIPE, check=False,
                                  timeout=30)
        assert done.returncode in (1, 2) and b"stdout cannot be written" in done.stderr, (arguments, done)
        assert b"temporarily" not in done.stderr, done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*place.command, "ps", "--all"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.returncode == -signal.SIGPIPE or (done.returncode == 2 and b"stdout" in done.stderr), done


def test_sentences(place):
    """A process that is not there, a file of /proc, a number that is none."""
    done = place.run("ps", "-p", "999999999", status=2)
    assert done.stderr == b"pmdirect: process 999999999: there is no such process\n", done.stderr
    row, = place.json("probe", "/proc/version", status=1)["rows"]
    assert "procfs" in row["sentence"] and "Input/output" not in row["sentence"], row
    for arguments in (("bench", "--seconds=1x", "/"), ("bench", "--seconds=4000", "/"), ("watch", "--for=", "/"),
                      ("watch", "--for=99999999999999999999", "/"), ("probe", "--require")):
        assert place.run(*arguments, status=2).stdout == b"", arguments


def test_watch_several(place):
    """When one of two processes ends, the other one is still watched; its end is the end."""
    from check_machine import Watch  # pylint: disable=import-outside-toplevel
    first, second = (subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(2))
    path = place.file("file")
    held = mapped(path)
    for pids, is_told in ((f"{first.pid},{os.getpid()}", True), (os.getpid(), False)):
        words = place.run("watch", "--for=1", "-p", str(pids), "--file", path).stdout.decode().split()
        assert words[1] == "now" and (words[2] == str(os.getpid())) == is_told, words
    watch = Watch(place, "-p", f"{first.pid},{os.getpid()}")
    watch.until("now", path=path.decode())
    first.communicate()
    # The first of them may come in the look that meets the end.
    more = []
    for name in ("soon", "later"):
        more.append(mapped(place.file(name)))
        watch.until("mapped", path=os.path.join(str(place.directory), name))
    watch.end()
    # What the second one has mapped, if anything, is not looked at; that its end is seen.
    other = Watch(place, "-p", f"{second.pid},{os.getpid()}", "--file", path)
    other.until("now", path=path.decode())
    second.communicate()
    other.end()
    del held, more


def in_own_mounts(act):
    """What act() returns in a mount namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)

    def child():
        if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
            return "no mount namespace can be made here"
        return act(libc)
    if os.geteuid():
        raise Skip("only root can mount")
    result = as_child(child)
    if isinstance(result, str):
        raise Skip(result)
    return result


def test_same_numbers(place):
    """Locks and leases on another file, of the same number on another tmpfs, are not this file's."""
    def act(libc):
        for name in ("one", "two"):
            os.mkdir(place.directory / name)
            if libc.mount(b"none", os.fsencode(place.directory / name), b"tmpfs", 0, None):
                return "no tmpfs can be mounted here"
        one, two = place.file("one/file"), place.file("two/file")
        held = mapped(two)
        fd, leased = os.open(one, os.O_RDWR), os.open(place.file("one/leased"), os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_SH)
        fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        # In the order of their making both tmpfs give the same numbers.
        names = (one, two, place.directory / "one/leased", place.file("two/leased"))
        numbers = [os.stat(name).st_ino for name in names]
        row, = place.own("--file", two).values()
        reason = place.json("probe", place.directory / "two/leased")["rows"][0]["reason"]
        del held
        return [numbers, row["flocks"], reason]
    numbers, flocks, reason = in_own_mounts(act)
    if numbers[0] != numbers[1] or numbers[2] != numbers[3]:
        raise Skip(f"the numbers differ here: {numbers}")
    assert flocks == 0 and reason == "volatile", (flocks, reason)


def test_without_sysfs(place):
    """What sysfs would have told is unknown: nothing is known to be durable, and no mount or disk is ok."""
    def act(libc):
        if libc.mount(b"none", b"/sys", b"tmpfs", 0, None):
            return "nothing can be mounted over /sys here"
        rows = place.json("doctor", status=None)["rows"]
        row, = place.json("probe", "--require=durable", place.file("file"), status=None)["rows"]
        return [rows, row, place.run("probe", "--require=durable", place.directory, status=None).returncode]
    rows, row, status = in_own_mounts(act)
    levels = {row["level"] for row in rows if row["area"] in ("mount", "region", "disk")}
    assert levels <= {"unknown", "note", "warning", "bad"} and "unknown" in levels, rows
    assert (row["durable"], status) in (("unknown", 2), ("no", 1)), (row, status)


def test_doctor_mounts(place):
    """Hundreds of mounts, and one at a long path with an escape in it, whose options are long."""
    def act(libc):
        many = place.directory / "many"
        os.mkdir(many)
        for number in range(280):
            os.mkdir(many / str(number))
            if libc.mount(b"none", os.fsencode(many / str(number)), b"tmpfs", 0, None):
                return "no tmpfs can be mounted here"
        lower = [many / "0" / ("lower" + "x" * 60 + str(i)) for i in range(5)]
        last = os.path.join(str(many), "1", *("long name" + "y" * 200 for _ in range(15)))
        for directory in (*lower, many / "2" / "upper", many / "2" / "work", last):
            os.makedirs(directory)
        options = (f"lowerdir={':'.join(map(str, lower))},upperdir={many}/2/upper,workdir={many}/2/work").encode()
        if libc.mount(b"none", last.encode(), b"overlay", 0, options):
            return "no overlay can be mounted here"
        rows = place.json("doctor", status=None)["rows"]
        return [len(last), *([row for row in rows if row["subject"] == name] for name in (last, "tmpfs"))]
    length, found, memory = in_own_mounts(act)
    assert length > 3000 and found and found[0]["level"] == "bad" and "memory" in found[0]["evidence"], found
    assert int(memory[0]["evidence"].split()[0]) >= 280, memory


class Loop:
    """A loop device on a file, with an ext4 on its only partition, mounted."""

    def __init__(self, place, *options):
        self.options = options
        if os.geteuid() or not all(map(shutil.which, ("losetup", "mkfs.ext4", "mount"))):
            raise Skip("only root can make a loop device")
        path = place.directory / "image"
        path.touch()
        os.truncate(path, 100 << 20)
        done = subprocess.run(["losetup", "-f", "--show", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=False)
        if done.returncode:
            raise Skip("there is no loop device here")
        self.disk, self.where = done.stdout.decode().strip(), place.directory / "mount"
        self.where.mkdir(exist_ok=True)

    def partition(self, operation):
        record = struct.pack("=qqi64s64s4x", 1 << 20, 90 << 20, 1, b"", b"")
        buffer = ctypes.create_string_buffer(record)
        argument = struct.pack("=iiiiQ", operation, 0, len(record), 0, ctypes.addressof(buffer))
        fd = os.open(self.disk, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, BLKPG, argument)
        finally:
            os.close(fd)

    def __enter__(self):
        try:
            self.partition(BLKPG_ADD_PARTITION)
            subprocess.run(["mkfs.ext4", "-q", *self.options, self.disk + "p1"], check=True, stderr=subprocess.DEVNULL)
            subprocess.run(["mount", self.disk + "p1", self.where], check=True, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            raise Skip("no partition can be made and mounted here") from error
        return self

    def __exit__(self, *_):
        quiet = {"check": False, "stderr": subprocess.DEVNULL}
        subprocess.run(["umount", self.where], **quiet)
        try:
            self.partition(BLKPG_DEL_PARTITION)
        except OSError:
            pass
        subprocess.run(["losetup", "-d", self.disk], **quiet)


def test_quirks(place):
    """What the kernel does wrong with an ext4 without a journal is said by probe, by explain and by doctor."""
    with Loop(place, "-O", "^has_journal") as loop:
        row, = place.json("probe", loop.where)["rows"]
        assert "fsync-skips-inode" in row["quirks"].split(","), row
        sentences = place.json("explain", loop.where)["notes"][-1]
        found = [row for row in place.json("doctor", status=None)["rows"] if row["subject"] == str(loop.where)]
    assert "leave the inode out" in sentences and "journal" in sentences.split("advice: ")[-1], sentences
    assert any("leave the inode out" in row["evidence"] and row["advice"] for row in found), found
    with Loop(place) as loop:
        row, = place.json("probe", loop.where)["rows"]
        assert row["quirks"] == "", row


def test_bench_counts(place):
    """Flushes of a partition are those of its disk; counting that is off counts nothing, which is not 0."""
    with Loop(place) as loop:
        rows = place.json("bench", "--seconds=1", loop.where)["rows"]
        small = next(row for row in rows if row["size"] == 64)
        queue = pathlib.Path("/sys/block", os.path.basename(loop.disk), "queue")
        # What root told the kernel of the device's cache stays when the device is set up anew.
        is_flushed = (queue / "write_cache").read_text(encoding="ascii") == "write back\n"
        assert small["flushes"] is None or (small["flushes"] >= 0.9) == is_flushed, small
        switch = queue / "iostats"
        before = switch.read_text(encoding="ascii")
        try:
            switch.write_text("0", encoding="ascii")
        except OSError as error:
            raise Skip("counting cannot be switched off here") from error
        try:
            document = place.json("bench", "--seconds=1", loop.where)
        finally:
            switch.write_text(before, encoding="ascii")
        rows = document["rows"]
        assert {(row["written"], row["amplification"], row["flushes"]) for row in rows} == {(None, None, None)}, rows
        assert "no device counts" in document["notes"][0], document["notes"]


def test_bench_mounted_file(place):
    """A file that is a mount of its own is not on the file system of the directory beside it."""
    def act(libc):
        here, there = place.file("here"), place.directory / "there"
        there.mkdir()
        if libc.mount(b"none", os.fsencode(there), b"tmpfs", 0, None):
            return "no tmpfs can be mounted here"
        (there / "file").write_bytes(b"x")
        if libc.mount(os.fsencode(there / "file"), here, None, MS_BIND, None):
            return "no file can be bound here"
        done = place.run("bench", "--seconds=1", here, status=None)
        return [done.returncode, done.stdout.decode(), done.stderr.decode()]
    status, table, talk = in_own_mounts(act)
    assert (status, table) == (2, "") and "mount of its own" in talk, (status, table, talk)
