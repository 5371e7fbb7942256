#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each language runs conformance.script, and gets what it says there; where that is "*", all get the same.

  conformance.py run WORK LIBRARY MODULES PROGRAM...   runs each program (a .py by python3), and compares
  conformance.py compare SCRIPT RESULT...              compares what was run elsewhere
  conformance.py --self-test                           differences are found
"""

import os
import pathlib
import subprocess
import sys
import tempfile

SCRIPT = pathlib.Path(__file__).with_name("conformance.script")


def expected(text):
    return [line for line in text.splitlines() if " => " in line and not line.startswith("#")]


def compare(script, results):
    """script and each result as text; results by name."""
    wanted, problems, first = expected(script), [], None
    for name, text in results.items():
        lines = text.splitlines()
        if len(lines) != len(wanted):
            problems.append(f"{name}: {len(lines)} results, the script has {len(wanted)} commands")
        for want, got in zip(wanted, lines):
            command, _, result = want.partition(" => ")
            if got != want and not (result == "*" and got.startswith(f"{command} => ")):
                problems.append(f"{name}: '{got}', not '{want}'")
        first = first or (name, lines)
        problems += [f"{name}: '{mine}', but {first[0]}: '{other}'" for mine, other in zip(lines, first[1])
                     if mine != other]
    return problems if wanted and results else ["nothing was compared"]


def run_each(work, library, modules, programs):
    results = {}
    environment = dict(os.environ, PMDIRECT_LIBRARY=library, PYTHONPATH=modules, PYTHONDONTWRITEBYTECODE="1")
    for program in map(os.path.abspath, programs):
        command = [sys.executable] if program.endswith(".py") else []
        # Not in /tmp, which may be a tmpfs: the results would be those of volatile memory.
        with tempfile.TemporaryDirectory(dir=work) as directory:
            done = subprocess.run([*command, program, SCRIPT], cwd=directory, env=environment, stdout=subprocess.PIPE,
                                  text=True, check=False)
        if done.returncode:
            return [f"{program} ends with {done.returncode} after {done.stdout[-200:]}"]
        results[pathlib.Path(program).name] = done.stdout
    return compare(SCRIPT.read_text(encoding="utf-8"), results)


def self_test():
    script = "# none\nopen x => 0\nsize => *\n"
    cases = [({"a": "open x => 0\nsize => 5\n", "b": "open x => 0\nsize => 5\n"}, ""),
             ({"a": "open x => -2\nsize => 5\n"}, "a: 'open x => -2', not"),
             ({"a": "open x => 0\nsize => 5\n", "b": "open x => 0\nsize => 6\n"}, "b: 'size => 6', but a"),
             ({"a": "open x => 0\n"}, "a: 1 results"),
             ({"a": "open x => 0\nlength => 5\n"}, "a: 'length => 5'"),
             ({}, "nothing")]
    problems = []
    for results, words in cases:
        found = compare(script, results)
        if bool(found) != bool(words) or (words and not any(words in problem for problem in found)):
            problems.append(f"{words or 'no difference'}: {found}")
    return problems


def main(what, *arguments):
    if what == "run":
        problems = run_each(arguments[0], arguments[1], arguments[2], arguments[3:])
    elif what == "compare":
        texts = [pathlib.Path(name).read_text(encoding="utf-8") for name in arguments]
        problems = compare(texts[0], dict(zip(arguments[1:], texts[1:])))
    else:
        problems = self_test()
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
