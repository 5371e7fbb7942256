#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The table of quirks (lib/kernel/quirks.c): each row has its test and its paragraph, and is the only place.

A test that shows a row runs on a real kernel. A row that no test shows says "read, not shown", maybe with the test on
the fake machine that shows what the library makes of it; ARCHITECTURE.md says how many rows there are of both kinds.

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
SHOWN_IN = ("tests/guest/", "tests/power/", "tests/race/")
READ = "read, not shown"
LOOKS_UP = "tests/unit/test_quirks.c"  # in the table itself, so it shows nothing of a kernel
COUNTS = re.compile(r"of its (\d+) rows\s+(\d+)\s+say \"read, not shown\"")

ROW = re.compile(r"^\t\s*ROW\(", re.MULTILINE)
SHORT_FORM = re.compile(r"^#define (\w+)\(magic, test\)((?: *\\\n[^\\\n]*)+)\n", re.MULTILINE)
STRINGS = re.compile(r'"((?:[^"\\]|\\.)*)"')


def written_out(text):
    """The table without its short forms: rows that differ only in file system and test."""
    for name, row in SHORT_FORM.findall(text):
        form = row.replace("\\", "").replace(" test,", " {},")
        text = re.sub(rf'^\t{name}\(\w+, ("[^"]+")\)', lambda use, form=form: form.replace("{}", use[1]), text,
                      flags=re.MULTILINE)
    return SHORT_FORM.sub("", text)


def rows(text):
    """The three strings of each row: source, test, manual."""
    found, text = [], written_out(text)
    for match in ROW.finditer(text):
        depth, at = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[at], 0) if not inside_string(text, match.end(), at) else 0
            at += 1
        found.append(STRINGS.findall(text[match.end():at]))
    return found


def inside_string(code, begin, at):
    return code.count('"', begin, at) % 2 == 1


def heading_exists(page, heading):
    plain = re.sub(r"\s+", " ", page)
    return any(f"{macro} {heading} " in plain for macro in (".Ss", ".It Sy", ".Sh"))


def check_test(test, exists):
    """What the column says: a test on a real kernel, or that there is none."""
    if test == READ:
        return []
    path = test.removeprefix(READ + "; ")
    places = SHOWN_IN if path == test else ("tests/unit/",)
    if path == LOOKS_UP:
        return [f"{path}: looks the table up in itself"]
    if not path.startswith(places):
        return [f"{test}: not in {' '.join(places)}; without a test on a real kernel a row says \"{READ}\""]
    return [] if exists(path) else [f"{path}: there is no such test"]


def check_counts(table, text):
    counts, read = COUNTS.search(text), sum(len(row) > 1 and row[1].startswith(READ) for row in table)
    if counts and [int(count) for count in counts.groups()] == [len(table), read]:
        return []
    return [f'ARCHITECTURE.md: does not say that of its {len(table)} rows {read} say "{READ}"']


def check_row(strings, exists, manual):
    if len(strings) != 3:
        return [f"{TABLE}: a row without source, test and paragraph: {strings}"]
    source, test, paragraph = strings
    named = re.search(r"\b\w+/[\w/]+\.[ch]\b", source) or source == "read-only"
    problems = [] if named else [f"{source}: no kernel source"]
    problems += check_test(test, exists)
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
    problems += check_counts(table, (root / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    for path in sorted((root / "lib").rglob("*.[ch]")):
        problems += check_place(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    return problems


def self_test():
    guest, unit = "tests/guest/t.c", "tests/unit/t.c"
    text = f'\tROW(ALWAYS, NEVER, X_MAGIC, A | B, "fs/x.c f (y)",\n\t    "{guest}", "pm_x(7), A (b)"),\n'
    good = rows(text)
    wrong = [] if good == [["fs/x.c f (y)", guest, "pm_x(7), A (b)"]] else [f"rows: {good}"]
    short = '#define SHORT(magic, test)  \\\n\tROW(A, magic, "fs/x.c f (y)", test,  \\\n\t    "pm_x(7), A (b)")\n'
    both = rows(f'{short}\n\tSHORT(X_MAGIC, "{guest}"),\n\tSHORT(Y_MAGIC, "{guest}"),\n')
    wrong += [] if both == good * 2 else [f"rows in a short form: {both}"]

    def found(strings, page=".Ss A (b)\ntext"):
        return check_row(strings, {guest, unit, LOOKS_UP}.__contains__, lambda name: page if name == "pm_x" else "")

    def with_test(test):
        return found([good[0][0], test, good[0][2]])

    both = [good[0], ["", f"{READ}; {unit}", ""]]
    for fine in (found(good[0]), with_test(READ), with_test(f"{READ}; {unit}"),
                 check_counts(both, f'of its 2 rows 1\nsay "{READ}"')):
        wrong += [f"unexpected: {p}" for p in fine]
    faults = {"no test": with_test("tests/guest/u.c"), "no paragraph": found(good[0], page=".Ss A (bc)\n"),
              "a fake machine": with_test(unit), "no fake machine": with_test(f"{READ}; tests/unit/u.c"),
              "read and shown": with_test(f"{READ}; {guest}"), "the table in itself": with_test(f"{READ}; {LOOKS_UP}"),
              "no page": found([*good[0][:2], "pm_y(7), A (b)"]), "no source": found(["hearsay", *good[0][1:]]),
              "too few": found(good[0][:2]), "a magic number": check_place("lib/a.c", "x == EXT4_SUPER_MAGIC"),
              "a release": check_place("lib/a.c", "pm_sys->uname(&name)"),
              "a wrong count": check_counts(both, f'of its 2 rows 2 say "{READ}"'), "no count": check_counts(both, "")}
    return wrong + [f"not found: {fault}" for fault, problems in faults.items() if not problems]


def main(argument):
    problems = self_test() if argument == "--self-test" else check(pathlib.Path(argument))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
