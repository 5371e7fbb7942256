#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The table of quirks (lib/kernel/quirks.c): each row has its test and its paragraph, and is the only place.

  quirks.py ROOT         checks the table and the tree
  quirks.py --self-test  checks that each kind of fault is found
"""

import pathlib
import re
import sys

TABLE = "lib/kernel/quirks.c"
# kernel/sysfs.c shows that /sys and /proc are the kernel's, kernel/magic.h only has the numbers.
MAY_ASK = {TABLE, "lib/kernel/magic.h", "lib/kernel/sysfs.c"}
# The release is evidence too, which facts/gather.c shows.
MAY_ASK_RELEASE = {TABLE, "lib/facts/gather.c"}

ROW = re.compile(r"^\t\s*ROW\(|^#define PROVES.*?ROW\(", re.MULTILINE)
STRINGS = re.compile(r'"((?:[^"\\]|\\.)*)"')


def rows(text):
    """The three strings of each row: source, test, manual."""
    code = text.replace("\\\n", "\n")
    found = []
    for match in ROW.finditer(code):
        depth, at = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(code[at], 0) if not inside_string(code, match.end(), at) else 0
            at += 1
        found.append(STRINGS.findall(code[match.end():at]))
    return found


def inside_string(code, begin, at):
    return code.count('"', begin, at) % 2 == 1


def heading_exists(page, heading):
    plain = re.sub(r"\s+", " ", page)
    return any(f"{macro} {heading} " in plain for macro in (".Ss", ".It Sy", ".Sh"))


def check_row(strings, exists, manual):
    if len(strings) != 3:
        return [f"{TABLE}: a row without source, test and paragraph: {strings}"]
    source, test, paragraph = strings
    named = re.search(r"\b\w+/[\w/]+\.[ch]\b", source) or source == "read-only"
    problems = [] if named else [f"{source}: no kernel source"]
    if not exists(test):
        problems.append(f"{test}: there is no such test")
    match = re.fullmatch(r"(\w+)\(7\), (.+)", paragraph)
    if not match or not heading_exists(manual(match[1]), match[2]):
        problems.append(f"{paragraph}: there is no such paragraph")
    return problems


def check_place(path, text):
    problems = []
    if path not in MAY_ASK and re.search(r"\w_MAGIC\b|\w_MAGIC_V1\b|NTFS3_SUPER", text):
        problems.append(f"{path}: asks for an f_type, which the table of quirks does")
    if path not in MAY_ASK_RELEASE and re.search(r"pm_sys->uname\b", text):
        problems.append(f"{path}: asks for the release, which the table of quirks does")
    return problems


def check(root):
    def manual(name):
        path = root / "doc/man7" / f"{name}.7"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    table = rows((root / TABLE).read_text(encoding="utf-8"))
    problems = [] if len(table) > 20 else [f"{TABLE}: only {len(table)} rows were found"]
    for strings in table:
        problems += check_row(strings, lambda test: (root / test).exists(), manual)
    for path in sorted((root / "lib").rglob("*.[ch]")):
        problems += check_place(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    return problems


def self_test():
    row = '\tROW(ALWAYS, NEVER, X_MAGIC, A | B, "fs/x.c f (y)",\n\t    "tests/t.c", "pm_x(7), A (b)"),\n'
    define = '#define PROVES(magic) ROW(ALWAYS, NEVER, magic, A, "fs/x.c f", \\\n\t"tests/t.c", "pm_x(7), A (b)")\n'
    strings = rows(row + define)
    good = [["fs/x.c f (y)", "tests/t.c", "pm_x(7), A (b)"], ["fs/x.c f", "tests/t.c", "pm_x(7), A (b)"]]
    wrong = [] if strings == good else [f"rows: {strings}"]

    def found(strings, tests=("tests/t.c",), text=".Ss A (b)\ntext"):
        return check_row(strings, lambda test: test in tests, lambda name: text if name == "pm_x" else "")

    wrong += [f"unexpected: {p}" for p in found(good[0])]
    faults = {"no test": found(good[0], tests=()), "no paragraph": found(good[0], text=".Ss A (bc)\n"),
              "no page": found(["fs/x.c", "tests/t.c", "pm_y(7), A (b)"]),
              "no source": found(["hearsay", *good[0][1:]]),
              "too few": found(good[0][:2]), "a magic number": check_place("lib/a.c", "x == EXT4_SUPER_MAGIC"),
              "a release": check_place("lib/a.c", "pm_sys->uname(&name)")}
    return wrong + [f"not found: {fault}" for fault, problems in faults.items() if not problems]


def main(argument):
    problems = self_test() if argument == "--self-test" else check(pathlib.Path(argument))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
