#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The probes of a build with -Dusdt=true are those that the manual lists; a build without has none.

  usdt.py ARCHIVE LIBRARY PAGE   ARCHIVE has them, LIBRARY has not; PAGE is pm_events.7
  usdt.py trace PROGRAM PAGE WORK  the line for bpftrace in the page counts the drains of a program that has them
  usdt.py --self-test            each kind of fault is found
"""

import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

NOTE = re.compile(r"Provider: (\w+)\s+Name: (\w+)\s+Location:[^\n]*\n\s+Arguments:([^\n]*)")
# .It Fn map name base ...: the arguments of a probe as the manual has them
LISTED = re.compile(r"^\.It Sy (\w+)\n\.Fa ([\w ]+)$", re.M)


def notes(readelf):
    """(name, number of arguments) of each probe."""
    return {(name, len(arguments.split())) for provider, name, arguments in NOTE.findall(readelf)
            if provider == "pmdirect"}


def listed(page):
    section = re.search(r"^\.Ss Probes$(.*?)(?=^\.S[sh])", page, re.M | re.S)
    return {(name, len(arguments.split())) for name, arguments in LISTED.findall(section[1] if section else "")}


def compare(built, plain, page):
    there, wanted = notes(built), listed(page)
    problems = [f"{name} with {count} arguments: not in the manual" for name, count in sorted(there - wanted)]
    problems += [f"{name} with {count} arguments: only in the manual" for name, count in sorted(wanted - there)]
    problems += [f"{name}: in a library that was built without" for name, _ in sorted(notes(plain))]
    return problems if wanted else ["the manual lists no probe"]


def read(path):
    return subprocess.run(["readelf", "-nW", path], check=True, stdout=subprocess.PIPE, text=True).stdout


SKIP = 77
ATTACHED = 3  # seconds, in which the program goes on


def command_of(page, process):
    """The words of the example, for that process."""
    example = re.search(r"^# (bpftrace -p PID .*?)^\.Ed", page, re.M | re.S)
    return shlex.split(example[1].replace("PID", str(process), 1)) if example else []


def is_counted(output):
    """The histogram is there, and each result was 0."""
    results = dict(re.findall(r"^@result\[(-?\d+)\]: (\d+)$", output, re.M))
    return "|@" in output and set(results) == {"0"} and int(results["0"]) > 10


def trace(program, page, work):
    """None, a reason to leave it out, or a problem."""
    if os.geteuid() or not shutil.which("bpftrace"):
        return SKIP, "bpftrace is not here, or needs root"
    with tempfile.TemporaryDirectory(dir=work) as directory:
        drains = subprocess.Popen([program, os.path.join(directory, "file")], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        drains.stdout.readline()
        tracer = subprocess.Popen(command_of(page, drains.pid), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True)
        begun = ""
        while "Attaching" not in begun and (line := tracer.stdout.readline()):
            begun += line
        time.sleep(ATTACHED)
        tracer.send_signal(signal.SIGINT)
        output = begun + tracer.communicate()[0]
        drains.communicate()
    if re.search(r"not supported|not permitted|denied|debugfs|tracefs|Kernel lockdown", output):
        return SKIP, f"this kernel traces nothing: {output}"
    return (0, output) if is_counted(output) else (1, output)


def self_test():
    note = "    Provider: pmdirect\n    Name: {}\n    Location: 0x1, Base: 0x2, Semaphore: 0x0\n    Arguments: {}\n"
    page = ".Ss Probes\n.It Sy map\n.Fa name base\n.It Sy error\n.Fa code\n.Sh END\n.It Sy other\n.Fa x\n"
    good = note.format("map", "8@%rax -4@%ebx") + note.format("error", "-4@%eax")
    problems = []
    for built, plain, text, words in (
            (good, "", page, ""), (note.format("map", "8@%rax 8@%rbx"), "", page, "error with 1 arguments: only"),
            (good + note.format("more", ""), "", page, "more with 0"), (good, good, page, "map: in a library"),
            (good.replace(" -4@%ebx", ""), "", page, "map with 1"), (good, "", "", "lists no probe")):
        found = compare(built, plain, text)
        if bool(found) != bool(words) or (words and not any(words in problem for problem in found)):
            problems.append(f"{words or 'good'}: {found}")
    for output, right in (("@ns:\n[1K, 2K) 20 |@@@ |\n@result[0]: 20\n", True), ("@result[0]: 20\n", False),
                          ("", False), ("|@@ |\n@result[0]: 20\n@result[-5]: 1\n", False),
                          ("|@@ |\n@result[0]: 2\n", False)):
        if is_counted(output) != right:
            problems.append(f"{output!r} is {'not ' if right else ''}taken")
    return problems


def main(*arguments):
    if arguments[0] == "trace":
        status, output = trace(arguments[1], pathlib.Path(arguments[2]).read_text(encoding="utf-8"), arguments[3])
        print(output)
        return status
    if arguments[0] == "--self-test":
        problems = self_test()
    else:
        problems = compare(read(arguments[0]), read(arguments[1]),
                           pathlib.Path(arguments[2]).read_text(encoding="utf-8"))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
