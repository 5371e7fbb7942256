# SPDX-License-Identifier: BSD-3-Clause
"""What the command says of the machine, and of what happens on it."""

import os
import shutil
import subprocess
import time

from check_processes import as_nobody
from place import Skip

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
    if os.geteuid():
        raise Skip("only root can become another user")
    if subprocess.run([*place.command, "--version"], preexec_fn=as_nobody, stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skip("the command is where another user cannot start it")
    rows = place.json("doctor", status=None, preexec_fn=as_nobody)["rows"]
    mine = [row for row in rows if row["area"] == "mount" and row["subject"] == "/"]
    assert not mine or mine[0]["level"] in ("unknown", "note", "bad"), mine
