#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The include rule: a file includes only headers of layers below its own, and its own header.

  layers.py ROOT         checks the tree
  layers.py --self-test  checks that each kind of violation is found, in a tree made for it
"""

import pathlib
import re
import sys
import tempfile

# From the lowest layer up, with the numbers of ARCHITECTURE.md. A part is its header and the files that implement it;
# parts that stand together do not include each other. The public header is below everything.
LAYERS = (
    {"pmdirect.h": ("include/pmdirect.h",)},
    # 0
    {"error.h": ("lib/error.[ch]", "lib/error_*.c"), "cpu.h": ("lib/cpu.h", "lib/cpu/*"), "sys.h": ("lib/sys.h",)},
    {"extents.h": ("lib/extents.[ch]",), "sysfs.h": ("lib/sysfs.[ch]",), "linux.h": ("lib/sys/*",)},
    {"providers.h": ("lib/providers.h", "lib/providers/*"), "synced.h": ("lib/synced.[ch]",),
     "identity.h": ("lib/identity.[ch]",), "kept.h": ("lib/kept.[ch]",)},
    # 1
    {"strategy.h": ("lib/strategy.h", "lib/strategy/*", "lib/medium.c"), "latch.h": ("lib/latch.[ch]",),
     "sigbus.h": ("lib/sigbus.[ch]",)},
    {"copy.h": ("lib/copy.[ch]",), "arguments.h": ("lib/arguments.[ch]",)},
    # 2
    {"evidence.h": ("lib/evidence.[ch]", "lib/evidence_*.c"), "explain.h": ("lib/explain.[ch]",)},
    # 3
    {"policy.h": ("lib/policy.[ch]",), "file.h": ("lib/file.[ch]", "lib/file_*.c", "lib/zeros.c")},
    # 4
    {"mapping.h": ("lib/mapping.[ch]", "lib/resize.c", "lib/report.c", "lib/event.c", "lib/watch.c", "lib/watch_thread.c",
                   "lib/lease.c", "lib/failure.c", "lib/guard.c", "lib/naming.c", "lib/repair.c", "lib/split.c", "lib/shape.c")},
    # 5
    {"api.h": ("lib/api.c",)},
)
# The policy is pure: it sees the facts and nothing that could do anything.
ONLY = {
    "lib/policy.c": {"policy.h"},
    "lib/policy.h": {"evidence.h", "pmdirect.h", "stdbool.h", "stddef.h", "stdint.h"},
    "include/pmdirect.h": {"stddef.h", "stdint.h"},
}
# Programs use the library as anybody does: through the public header.
PROGRAMS = ("examples",)

INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", re.MULTILINE)


def place_of(path):
    """The layer and the own header of a file, or None if the table does not know it."""
    for layer, parts in enumerate(LAYERS):
        for header, patterns in parts.items():
            if any(pathlib.PurePath(path).match(pattern) for pattern in patterns):
                return layer, header
    return None


def is_ours(header):
    return any(header == own for parts in LAYERS for own in parts)


def layer_of(header):
    return next((layer for layer, parts in enumerate(LAYERS) if header in parts), None)


def check_include(path, header, quoted):
    layer, own = place_of(path)
    if path in ONLY and header not in ONLY[path]:
        return f"{path}: may not include {header}"
    if not quoted and not is_ours(header):
        return None
    if "/" in header or layer_of(header) is None:
        return f"{path}: {header} is no header of a part"
    if header != own and layer_of(header) >= layer:
        return f"{path}: {header} is not below it"
    return None


def check_file(root, path):
    text = (root / path).read_text(encoding="utf-8")
    if place_of(path) is None:
        return [f"{path}: has no place in the table of layers"]
    found = [check_include(path, match[2], match[1] == '"') for match in INCLUDE.finditer(text)]
    return [problem for problem in found if problem]


def check_program(root, path):
    text = (root / path).read_text(encoding="utf-8")
    return [f"{path}: {match[2]} is internal to the library" for match in INCLUDE.finditer(text)
            if match[1] == '"' and not (root / path).with_name(match[2]).exists()]


def sources(root, *directories):
    return sorted(str(path.relative_to(root)) for directory in directories
                  for path in (root / directory).rglob("*.[ch]"))


def check(root):
    problems = []
    for path in sources(root, "lib", "include"):
        problems += check_file(root, path)
    for path in sources(root, *PROGRAMS):
        problems += check_program(root, path)
    return problems


VIOLATIONS = {
    "lib/strategy/cacheline.c": ('#include "mapping.h"\n', "mapping.h is not below it"),
    "lib/strategy/fence.c": ('#include "strategy/cacheline.h"\n', "is no header of a part"),
    "lib/medium.c": ('#  include "evidence.h"\n', "evidence.h is not below it"),
    "lib/cpu/none.c": ('#include "sys.h"\n', "sys.h is not below it"),
    "lib/sys/linux.c": ('#include "../cpu/none.c"\n', "is no header of a part"),
    "lib/providers/none.c": ('#include "strategy.h"\n', "strategy.h is not below it"),
    "lib/policy.c": ("#include <string.h>\n", "may not include string.h"),
    "lib/evidence_file.c": ('#include "file.h"\n', "file.h is not below it"),
    "lib/file.c": ('#include "mapping.h"\n', "mapping.h is not below it"),
    "lib/error.c": ("#include <sys.h>\n", "sys.h is not below it"),
    "lib/newcomer.c": ('#include "sys.h"\n', "has no place"),
    "include/pmdirect.h": ("#include <sys/types.h>\n", "may not include sys/types.h"),
    "examples/01_hello.c": ('#include "policy.h"\n', "policy.h is internal"),
}
# Must not be taken for violations.
INNOCENT = {
    "lib/strategy/volatile.c": '#include "strategy.h"\n#include "cpu.h"\n#include <pmdirect.h>\n',
    "lib/report.c": '#include "mapping.h"\n#include "sys.h"\n/* not "api.h" */\n#include <sys/mman.h>\n',
    "lib/policy.h": '#include "evidence.h"\n#include <stdbool.h>\n',
    "examples/log.h": "#include <pmdirect.h>\n",
    "examples/log.c": '#include "log.h"\n',
}


def self_test():
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for path, text in {**{p: v[0] for p, v in VIOLATIONS.items()}, **INNOCENT}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        problems = check(root)
    wrong = [f"not found: {path}" for path, (_, words) in VIOLATIONS.items()
             if not any(p.startswith(path + ":") and words in p for p in problems)]
    return wrong + [f"unexpected: {p}" for p in problems if p.split(":")[0] not in VIOLATIONS]


def main(argument):
    problems = self_test() if argument == "--self-test" else check(pathlib.Path(argument))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
