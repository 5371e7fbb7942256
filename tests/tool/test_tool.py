#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The command pmdirect, on this machine.

  test_tool.py COMMAND WORK MANUAL [TEST...]   WORK is a directory for files
  test_tool.py --self-test N/OF COMMAND WORK MANUAL
                                               a command that is wrong in one way fails a test, for each way of a part

Each test has a name in the output. One that cannot run here says why, and the exit status is 77 if none could.
"""

import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

import check_claims
import check_form
import check_machine
import check_paths
import check_processes
import wrong
from place import Place, Skip

SKIP = 77
TESTS = {name[5:]: test for module in (check_form, check_claims, check_paths, check_processes, check_machine)
         for name, test in vars(module).items() if name.startswith("test_")}


def run_test(name, command, work, manual):
    """None, or why it was left out; raises where it fails."""
    with tempfile.TemporaryDirectory(prefix="tool-", dir=work) as directory:
        os.chmod(directory, 0o755)
        try:
            TESTS[name](Place(command, pathlib.Path(directory).resolve(), manual))
        except Skip as reason:
            return str(reason)
    return None


def run_all(command, work, manual, names):
    failed = skipped = 0
    for name in names:
        try:
            reason = run_test(name, command, work, manual)
        except (AssertionError, ValueError, KeyError, subprocess.SubprocessError) as problem:
            failed += 1
            print(f"{name}: failed: {problem!r}")
            continue
        skipped += reason is not None
        print(f"{name}: {'skipped: ' + reason if reason else 'passed'}", flush=True)
    print(f"{len(names)} tests, {failed} failed, {skipped} skipped")
    return 1 if failed else SKIP if skipped == len(names) else 0


def is_found(script, test, command, work, manual):
    """Whether the test fails with the command behind the script; a text: why it was left out."""
    with tempfile.TemporaryDirectory(prefix="wrong-", dir=work) as directory:
        os.chmod(directory, 0o755)
        path = pathlib.Path(directory, "pmdirect")
        path.write_text("#!/bin/sh\nTRUE=" + shlex.quote(command) + "\n" + script, encoding="ascii")
        path.chmod(0o755)
        try:
            return run_test(test, [str(path)], work, manual) or False
        except (AssertionError, ValueError, KeyError, subprocess.SubprocessError):
            return True


def self_test(part, command, work, manual):
    """Each wrong command is the true one behind a filter; the test that it names must fail, and pass without it."""
    missed = 0
    number, of = map(int, part.split("/"))
    commands = wrong.COMMANDS[len(wrong.COMMANDS) * (number - 1) // of:len(wrong.COMMANDS) * number // of]
    failing = {test for test in {test for _, test, _ in commands}
               if is_found('exec "$TRUE" "$@"\n', test, command, work, manual) is True}
    for name, test, script in commands:
        found, innocent = is_found(script, test, command, work, manual), test in failing
        missed += innocent or not found
        print(f"{name}: " + ("the test fails without it" if innocent else f"skipped: {found}" if isinstance(found, str)
                             else "found" if found else "not found"), flush=True)
    return 1 if missed else 0


def main():
    arguments = sys.argv[1:]
    if arguments[0] == "--self-test":
        return self_test(arguments[1], os.path.abspath(arguments[2]), *arguments[3:5])
    command, work, manual, *names = arguments
    command = os.path.abspath(command)
    return run_all([command], work, manual, names or list(TESTS))


if __name__ == "__main__":
    sys.exit(main())
