#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The Python module has the structs, values and functions of the header.

  layout.py check HEADER WORK COMPILER...        LIBRARY is in PMDIRECT_LIBRARY, the module in PYTHONPATH
  layout.py --self-test HEADER WORK COMPILER...  a header that says otherwise is found
"""

import ctypes
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "contract"))
import header as reader  # pylint: disable=wrong-import-position
import pmdirect  # pylint: disable=wrong-import-position
from pmdirect import _library  # pylint: disable=wrong-import-position

# enum of the header, class of the module, what the names of the values begin with
ENUMS = [("pm_granularity", "Granularity", "PM_(?:GRANULARITY_)?"), ("pm_state", "State", "PM_"),
         ("pm_request", "Request", "PM_"), ("pm_access", "Access", "PM_ACCESS_"), ("pm_grade", "Grade", "PM_GRADE_"),
         ("pm_verdict", "Verdict", "PM_VERDICT_"), ("pm_reason", "Reason", "PM_REASON_"),
         ("pm_advice", "Advice", "PM_ADVICE_"), ("pm_evidence_row", "Row", "PM_EV_"),
         ("pm_event_kind", "EventKind", "PM_EVENT_")]
STRUCTS = ("pm_options", "pm_evidence", "pm_report", "pm_event", "pm_statistics", "pm_range", "pm_quirk")
# Not of Python: faults, and what is the address itself.
NOT_THERE = {"pm_guard_install", "pm_guard_remove", "pm_guarded"}


def values(text):
    """What differs in the enums and the constants."""
    plain, problems = reader.without_comments(text), []
    for name, kind, prefix in ENUMS:
        body = re.search(rf"^enum {name} \{{(.*?)\}};", plain, re.S | re.M)[1]
        theirs = {re.sub(f"^{prefix}", "", key): int(value) for key, value in re.findall(r"(PM_\w+) = (\d+)", body)}
        theirs.pop("PM_EVIDENCE_ROWS", None)
        ours = {member.name: int(member) for member in getattr(pmdirect, kind)}
        problems += [f"{name}: {key}" for key, _ in set(theirs.items()) ^ set(ours.items())]
    flags = {key: int(value, 0) for key, value in re.findall(r"^#define PM_(\w+) (0x[0-9a-f]+|\d+)u?\s*$", plain, re.M)}
    ours = {member.name: int(member) for kind in (pmdirect.Flag, pmdirect.Copy) for member in kind}
    ours |= {name: getattr(pmdirect, name) for name in ("ENOTSYNC", "ENOTDIRECT", "EVOLATILE")}
    ours |= {"EVENT_FRAMES": _library.FRAMES}
    ours |= dict(zip(("VERSION_MAJOR", "VERSION_MINOR", "VERSION_PATCH"), map(int, pmdirect.VERSION.split("."))))
    return problems + [f"PM_{key}" for key, _ in set(flags.items()) ^ set(ours.items())]


def layouts(text, work, compiler):
    """What differs in the places of members, by a program in C."""
    lines = []
    for name in STRUCTS:
        kind = getattr(_library, name)
        lines.append((f"{name}", f"sizeof(struct {name})", ctypes.sizeof(kind)))
        members = [re.findall(r"(\w+)(?:\[\w+\])?$", part)[0] for text_of in reader.structs(text)[name]
                   for part in text_of.split(",")]
        if members != [member for member, _ in kind._fields_]:
            return [f"{name}: its members are {members}"]
        for member in members:
            lines.append((f"{name}.{member}", f"offsetof(struct {name}, {member})", getattr(kind, member).offset))
            lines.append((f"{name}.{member}", f"sizeof(((struct {name} *)0)->{member})", getattr(kind, member).size))
    with tempfile.TemporaryDirectory(dir=work) as directory:
        source, program = pathlib.Path(directory, "layout.c"), pathlib.Path(directory, "layout")
        pathlib.Path(directory, "pmdirect.h").write_text(text, encoding="utf-8")
        body = "".join(f'printf("%zu\\n", {expression});' for _, expression, _ in lines)
        source.write_text(f"#include <pmdirect.h>\n#include <stdio.h>\nint main(void) {{ {body} return 0; }}\n",
                          encoding="utf-8")
        subprocess.run([*compiler, "-I", directory, "-o", program, source], check=True)
        found = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return [f"{what}: {expression} is {number}, here {ours}" for (what, expression, ours), number in zip(lines, found)
            if int(number) != ours]


def kind_of_ctype(kind):
    """As it is passed: a pointer, or a number of so many bytes with a sign or without."""
    if kind is None:
        return "void"
    if not issubclass(kind, ctypes._SimpleCData) or kind in (ctypes.c_void_p, ctypes.c_char_p):
        return "pointer"
    return f"{'-' if kind(-1).value < 0 else '+'}{ctypes.sizeof(kind)}"


def kind_of_declaration(words):
    """The same of a result or a parameter in C. An enum without negative values is passed as an int."""
    if "*" in words:
        return "pointer"
    kinds = {"void": None, "bool": ctypes.c_bool, "int": ctypes.c_int, "enum": ctypes.c_int,
             "unsigned": ctypes.c_uint, "size_t": ctypes.c_size_t, "uint64_t": ctypes.c_uint64}
    return kind_of_ctype(kinds[words.replace("const ", "").split()[0]])


def declared(prototype):
    """The kinds of the result and of each parameter."""
    result, parameters = re.match(r"(.*?)\bpm_\w+\((.*)\);$", prototype).groups()
    return tuple(kind_of_declaration(words) for words in (result, *parameters.split(", ")) if words != "void")


def functions(text):
    ours = {function.__name__: tuple(kind_of_ctype(kind) for kind in (function.restype, *function.argtypes))
            for function in [*vars(_library).values(), *_library.names.values()]
            if isinstance(function, _library.FUNCTION)}
    theirs = {function.name: declared(function.prototype)
              for function in reader.functions(text) if function.name not in NOT_THERE}
    return [f"{name}(): {', '.join(kinds)}" for name, kinds in set(theirs.items()) ^ set(ours.items())]


def check(text, work, compiler):
    return values(text) + functions(text) + layouts(text, work, compiler)


def self_test(text, work, compiler):
    problems = []
    for there, instead in (("PM_BYTE = 4", "PM_BYTE = 5"), ("PM_LEASE 0x200u", "PM_LEASE 0x400u"),
                           ("PM_REASON_LEASE_BROKEN = 25, ", ""), ("char text[56]", "char text[64]"),
                           ("size_t size; /* bytes that were filled */\n\tenum pm_granularity",
                            "size_t size;\n\tchar more;\n\tenum pm_granularity"),
                           ("uint64_t flushes, drains;", "uint64_t drains, flushes;"),
                           ("PM_API int pm_sync(", "PM_API int pm_another("),
                           ("uint64_t pm_length(", "unsigned pm_length("),
                           ("PM_API void *pm_base(", "PM_API int pm_base("),
                           ("int value, size_t length", "unsigned value, size_t length"),
                           ("pm_resize(struct pm_mapping *mapping, uint64_t", "pm_resize(struct pm_mapping *m, void *"),
                           ("int pm_drain(struct pm_mapping *mapping)", "int pm_drain(struct pm_mapping *m, int x)")):
        if there not in text:
            problems.append(f"the header has no '{there}'")
        elif not check(text.replace(there, instead), work, compiler):
            problems.append(f"not found: {instead}")
    return problems


def main(what, header, work, *compiler):
    text = pathlib.Path(header).read_text(encoding="utf-8")
    problems = (self_test if what == "--self-test" else check)(text, work, compiler)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
