#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The path of a drain in ARCHITECTURE.md: the files that are read to follow pm_drain(), and what they rely on.

  drain_path.py ROOT         checks the path against the sources
  drain_path.py --self-test  checks that each kind of fault is found

The name of a function stands in one file of the library (size.py), so a name in a body says which function is called.
"""

import pathlib
import re
import sys
import tempfile

HEADING = "## A drain, followed"
BEGIN = "pm_drain"
# The only call through a table of the library: the strategy of PM_PAGE serves.
BY_TABLE = {"drain": "pm_page_drain"}
MOST_FILES = 4
# What a failure runs sends events. The functions of the gate that each drain runs are gone into.
FAILURE = {"pm_gate_enter", "report_lost_descriptor"}
FORBIDDEN = "lib/observe/"

FUNCTION = re.compile(r"^(?:[A-Za-z_].*?)??\b(\w+)\((?:[^;{}]*)\)\n\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
MACRO = re.compile(r"^#define (\w+)\([^)]*\)((?:.*\\\n)*.*)", re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/|__attribute__\(\([^()]*\)\)\s?", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
CALL = re.compile(r"(->|\.)?\b(\w+)\(")
STEP = re.compile(r"^\d+\. `([^`]+)`:(.*?)(?=^\d+\. |^$)", re.MULTILINE | re.DOTALL)
RELIED = re.compile(r"^\| `([^`]+\.h)` \|(.*)\|$", re.MULTILINE)
NAMED = re.compile(r"`(\w+)\(?\)?`")


def calls(body):
    found = set()
    for match in CALL.finditer(STRING.sub("", body)):
        found.add(BY_TABLE.get(match[2]) if match[1] else match[2])
    return found - {None}


def library(root):
    """name: (file, names it calls), of each function and macro of lib/."""
    found = {}
    for path in sorted((root / "lib").rglob("*.[ch]")):
        text = COMMENT.sub("", path.read_text(encoding="utf-8"))
        name = path.relative_to(root).as_posix()
        for match in [*MACRO.finditer(text), *FUNCTION.finditer(text)]:
            found[match[1]] = (name, calls(match[2]))
    return found


def reached(functions, begin, goes_into):
    """What is called from begin on, through the functions that goes_into(name) allows."""
    seen, waiting = set(), [begin]
    while waiting:
        name = waiting.pop()
        if name in functions and name not in seen:
            seen.add(name)
            waiting += functions[name][1] if goes_into(name) else []
    return seen


def owner(functions, name):
    return functions[name][0]


def header_of(path):
    return str(pathlib.PurePosixPath(path).with_suffix(".h"))


def section(text):
    _, _, rest = text.partition(HEADING + "\n")
    return rest.partition("\n## ")[0] + "\n"


def check_steps(functions, steps, files, inside):
    problems = [] if steps else [f"ARCHITECTURE.md: no steps below {HEADING}"]
    if len(files) > MOST_FILES:
        problems.append(f"{len(files)} files, more than {MOST_FILES}")
    return problems + [f"{path}: {name}() is not called there" for path, names in steps for name in names
                       if name not in inside or owner(functions, name) != path]


def check_relied(functions, table, others):
    """The table has what the files call outside of themselves, each at the header of its part."""
    named = {name for _, name in table}
    problems = [f"{owner(functions, name)}: {name}() is called, and not in the table"
                for name in sorted(others - named)]
    return problems + [f"{header}: {name}() is in the table, and not called" for header, name in sorted(table)
                       if name not in others or header_of(owner(functions, name)) != header]


def check(root):
    functions = library(root)
    text = section((root / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    steps = [(match[1], NAMED.findall(match[2])) for match in STEP.finditer(text)]
    table = {(f"lib/{header}", name) for header, names in RELIED.findall(text) for name in NAMED.findall(names)}
    files = {path for path, _ in steps}
    inside = reached(functions, BEGIN, lambda name: owner(functions, name) in files)
    others = {name for name in inside if owner(functions, name) not in files}
    problems = check_steps(functions, steps, files, inside) + check_relied(functions, table, others)
    succeeding = reached(functions, BEGIN, lambda name: name not in FAILURE)
    return problems + [f"{owner(functions, name)}: {name}() is reached without a failure"
                       for name in sorted(succeeding) if owner(functions, name).startswith(FORBIDDEN)]


SOURCES = {
    "lib/persist.c": "int pm_drain(int m)\n{\n\treturn with_care(m->drain(m), \"elsewhere(\");\n}\n\n"
                     "__attribute__((noinline)) static int with_care(int m,\n\tint n)\n"
                     "{\n\tif (m)\n\t\tpm_gate_enter(m);\n\treturn pm_gate_leave(m);\n}\n",
    "lib/page.c": "int pm_page_drain(int m)\n{\n\t/* not_called( */\n\treturn PM_TAKE(m);\n}\n",
    "lib/set.h": "#define PM_TAKE(m) \\\n\tpm_set_take(m)\n",
    "lib/set.c": "int pm_set_take(int m)\n{\n\treturn m;\n}\n",
    "lib/gate.c": "int pm_gate_enter(int m)\n{\n\treturn pm_lease(m);\n}\n\n"
                  "int pm_gate_leave(int m)\n{\n\treturn m ? pm_gate_enter(m) : 0;\n}\n",
    "lib/observe/lease.c": "int pm_lease(int m)\n{\n\treturn m;\n}\n",
    "lib/elsewhere.c": "int elsewhere(int m)\n{\n\treturn m;\n}\n\nint not_called(int m)\n{\n\treturn m;\n}\n",
    "ARCHITECTURE.md": f"# A\n\n{HEADING}\n\n1. `lib/persist.c`: `pm_drain()`,\n   `with_care()`\n"
                       "2. `lib/page.c`: `pm_page_drain()`.\n\n"
                       "| `set.h` | `PM_TAKE()` |\n| `gate.h` | `pm_gate_enter()`, `pm_gate_leave()` |\n\n"
                       "## B\n\n3. `lib/x.c`: `y()`\n",
}
# What is replaced in a source, by what, and a word of the problem that must be found.
FAULTS = [
    ("ARCHITECTURE.md", "`set.h`", "`gate.h`", "PM_TAKE() is in the table, and not called"),
    ("ARCHITECTURE.md", "`with_care()`", "`elsewhere()`", "elsewhere() is not called there"),
    ("ARCHITECTURE.md", "`lib/page.c`", "`lib/persist.c`", "pm_page_drain() is not called there"),
    ("ARCHITECTURE.md", "| `set.h` | `PM_TAKE()` |\n", "", "PM_TAKE() is called, and not in the table"),
    ("ARCHITECTURE.md", "`PM_TAKE()`", "`PM_TAKE()`, `elsewhere()`", "elsewhere() is in the table, and not called"),
    ("ARCHITECTURE.md", HEADING, "## C", "no steps"),
    ("lib/set.c", "return m", "return pm_lease(m)", "pm_lease() is reached without a failure"),
    ("lib/gate.c", ": 0", ": pm_lease(m)", "pm_lease() is reached without a failure"),
    ("lib/page.c", "PM_TAKE(m)", "pm_set_take(m)", "pm_set_take() is called, and not in the table"),
    ("lib/page.c", "return PM", "m->drain(m), elsewhere(m); return PM", "elsewhere() is called"),
    ("ARCHITECTURE.md", "2. `lib", "".join(f"2. `{f}`: x\n" for f in "abc") + "2. `lib", "5 files, more than 4"),
]


def check_sources(changed):
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for path, text in {**SOURCES, **changed}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return check(root)


def self_test():
    problems = [f"unexpected: {problem}" for problem in check_sources({})]
    for path, old, new, words in FAULTS:
        assert old in SOURCES[path], old
        found = check_sources({path: SOURCES[path].replace(old, new, 1)})
        if not any(words in problem for problem in found):
            problems.append(f"not found: {words}: {found}")
    return problems


def main(arguments):
    problems = self_test() if arguments == ["--self-test"] else check(pathlib.Path(arguments[0]))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
