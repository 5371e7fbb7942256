#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What linking the library and mapping a plain file costs, counted against the same work by plain system calls.

  cost.py WORK PMDIRECT_PROGRAM PLAIN_PROGRAM

How to count honestly: a program that links any shared library pays the dynamic loader for finding and mapping
it, and how often the loader looks in vain depends on where the build put things, not on us. So the plain program links
an empty library, found in the same way (one directory in its rpath), and two numbers are compared:
  - the calls between the two marks in main(): open to close, and whatever the library does at its first use;
  - all calls of the process, which adds what the loader does for us beyond what any library costs.
The objects that end up in the process are counted apart; there the plain program is charged libc, the loader and
the kernel's vdso only, so that our own library counts as one more.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# Six for the first file of a mount: what lies below it. Six for large folios: release, advice, how much is cached, and
# where the kernel has written the file back by now, which pages are, a fault and a split.
MORE_CALLS = 31
WITHOUT_JOURNAL = 3  # an ext4 without one takes a call more, whether that is ignored is asked, and the release
MORE_OBJECTS = 2
SKIP = 77


def trace(program, path, log):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LD_", "PM"))}
    done = subprocess.run(["strace", "-f", "-o", log, program, path], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    # Signals and exits are no calls; a call cut in two by another thread is one.
    lines = [re.sub(r"^\d+\s+", "", line) for line in pathlib.Path(log).read_text(encoding="utf-8").splitlines()]
    return done, [line for line in lines if re.match(r"\w+\(", line)]


def between_marks(lines):
    marks = [i for i, line in enumerate(lines) if line.startswith("write(-1, ")]
    return lines[marks[0] + 1:marks[1]]


def objects(program):
    """What the loader maps: everything that ldd names, libc and the loader included."""
    output = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {line.split()[0] for line in output.splitlines() if line.strip()}


def can_trace():
    if not shutil.which("strace") or not shutil.which("ldd"):
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def main(work, program, plain):
    if not can_trace():
        print("skipped: strace or ldd is not installed, or tracing is not permitted")
        return SKIP
    counted = {}
    with tempfile.TemporaryDirectory(dir=work) as directory:
        path = os.path.join(directory, "file")
        for name, command in (("pmdirect", program), ("plain", plain)):
            pathlib.Path(path).write_bytes(b"\1" * 65536)
            done, lines = trace(command, path, os.path.join(directory, "log"))
            if done.returncode:
                print(f"{name}: exit {done.returncode}: {done.stdout}")
                return 1
            counted[name] = (between_marks(lines), lines)
    problems = []
    for what, index in (("between the marks", 0), ("in all", 1)):
        mine, theirs = (len(counted[name][index]) for name in ("pmdirect", "plain"))
        print(f"system calls {what}: {mine}, plain {theirs}")
        most = MORE_CALLS + WITHOUT_JOURNAL * any(line.startswith("syncfs(") for line in counted["pmdirect"][0])
        if mine - theirs > most:
            problems.append(f"{mine - theirs} more system calls {what}, at most {most}")
    more = objects(program) - {name for name in objects(plain) if not name.startswith("libcost_empty")}
    print(f"objects more: {len(more)}: {' '.join(sorted(more))}")
    if len(more) > MORE_OBJECTS:
        problems.append(f"{len(more)} more objects, at most {MORE_OBJECTS}")
    for problem in problems:
        print(problem)
    print("\n".join(counted["pmdirect"][0]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
