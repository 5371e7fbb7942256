#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the README shows works: its program, its two commands, its links.

  readme.py ROOT LIBRARY WORK COMPILER...   compiles the program against the library, and runs it
  readme.py --self-test COMPILER...         checks that each kind of fault is found
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)\)")
PATH = re.compile(r"^(\./\S+|cc|meson)\b", re.MULTILINE)
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CODING_STYLE.md", "CONTRIBUTING.md", "SECURITY.md")


def blocks(text, language):
    return [match[2] for match in FENCE.finditer(text) if match[1] == language]


def check_program(text, header, library, work, compiler):
    """The program is one C file of at most a dozen lines beside its includes, and leaves its greeting."""
    programs = blocks(text, "c")
    if len(programs) != 1:
        return [f"{len(programs)} programs"]
    with tempfile.TemporaryDirectory(dir=work) as directory:
        # Built where it runs, by the name that the README gives it: its file must have another.
        source, program = pathlib.Path(directory) / "greeting.c", pathlib.Path(directory) / "greeting"
        source.write_text(programs[0], encoding="utf-8")
        options = ["-I", header, source, "-o", program]
        options += [library, f"-Wl,-rpath,{pathlib.Path(library).parent}"] if library else []
        done = subprocess.run([*compiler, "-Wall", "-Wextra", "-Werror", *options], stderr=subprocess.PIPE, text=True,
                              check=False)
        if done.returncode:
            return [f"the program does not compile: {done.stderr.strip()}"]
        return run_program(program, pathlib.Path(directory) / "greeting.txt")


def run_program(program, greeting):
    """It stores its greeting, and says why where it cannot."""
    done = subprocess.run([program], cwd=greeting.parent, check=False)
    if done.returncode or not greeting.exists() or not greeting.read_bytes().startswith(b"hello, durable world\0"):
        return [f"the program ends with {done.returncode}, and its file is not what it stored"]
    greeting.unlink()
    greeting.mkdir()
    done = subprocess.run([program], cwd=greeting.parent, stderr=subprocess.PIPE, check=False)
    if not done.returncode or b"greeting.txt" not in done.stderr:
        return [f"where the file is a directory the program ends with {done.returncode} and says {done.stderr}"]
    return []


def check_commands(text, root):
    """Every script that is shown exists and can be run; CI runs scripts/test, which is one of them."""
    problems = []
    shown = [command for block in blocks(text, "") for command in PATH.findall(block) if command.startswith("./")]
    problems += [f"{command} cannot be run" for command in shown if not os.access(root / command, os.X_OK)]
    if "./scripts/test" not in shown or "./scripts/demo" not in shown:
        problems.append("one of the two commands is not shown")
    if "scripts/test" not in (root / ".ci/run").read_text(encoding="utf-8"):
        problems.append(".ci/run runs another command than the README shows")
    return problems


def check_install(text):
    """Where meson finds no dpkg-architecture it chooses lib64, which neither loader nor pkg-config of Debian knows."""
    lines = [line for block in blocks(text, "") for line in block.splitlines() if "meson install" in line]
    return [f"{line}: the directory of the libraries is left open" for line in lines if "--libdir=lib " not in line] + (
        [] if lines else ["no installation is shown"])


def check_links(root):
    return [f"{name}: {link} does not exist" for name in DOCUMENTS
            for link in LINK.findall((root / name).read_text(encoding="utf-8")) if not (root / link).exists()]


def main(root, library, work, *compiler):
    top = pathlib.Path(root)
    text = (top / "README.md").read_text(encoding="utf-8")
    problems = check_program(text, top / "include", library, work, compiler)
    problems += check_commands(text, top) + check_install(text) + check_links(top)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


GOOD = """```c
#include <stdio.h>
int main(void)
{
	FILE *f = fopen("greeting.txt", "w");
	if (!f)
		perror("greeting.txt");
	return !f || fwrite("hello, durable world", 1, 21, f) != 21 || fclose(f);
}
```
"""


def self_test(compiler):
    problems = []
    with tempfile.TemporaryDirectory() as work:
        for name, text, wanted in (("good", GOOD, 0), ("no program", "text", 1), ("two", GOOD + GOOD, 1),
                                   ("broken", GOOD.replace("FILE *f", "FILE f"), 1),
                                   ("warns", GOOD.replace("return", "int unused; return"), 1),
                                   ("its own executable", GOOD.replace('fopen("greeting.txt"', 'fopen("greeting"'), 1),
                                   ("silent", GOOD.replace('perror("greeting.txt")', "(void)f"), 1),
                                   ("fails", GOOD.replace("21 ||", "20 ||"), 1),
                                   ("other content", GOOD.replace("hello", "jello"), 1)):
            found = check_program(text, work, "", work, compiler)
            if len(found) != wanted:
                problems.append(f"{name}: {found}")
        root = pathlib.Path(work)
        (root / "scripts").mkdir()
        (root / ".ci").mkdir()
        (root / ".ci/run").write_text("exec make test\n", encoding="utf-8")
        (root / "scripts/test").write_text("#!/bin/sh\n", encoding="utf-8")
        found = check_commands("```\n./scripts/demo\n./scripts/test\n```\n", root)
        if len(found) != 3:
            problems.append(f"commands: {found}")
        for line, wanted in (("meson setup b --libdir=lib && meson install -C b", 0),
                             ("meson setup b && meson install -C b", 1), ("meson test", 1)):
            if len(check_install(f"```\n{line}\n```\n")) != wanted:
                problems.append(f"installation: {line}")
        for name in DOCUMENTS:
            (root / name).write_text("[a](scripts/test) [b](https://example.org/x)\n", encoding="utf-8")
        (root / "README.md").write_text("[a](missing.md)\n", encoding="utf-8")
        found = check_links(root)
        if len(found) != 1:
            problems.append(f"links: {found}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(self_test(sys.argv[2:]) if sys.argv[1] == "--self-test" else main(*sys.argv[1:]))
