#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The order of the files: each uses only what stands above it in the list, by its includes and by its symbols.

  layers.py ROOT OBJECTS   checks the tree, and the objects that were compiled from it
  layers.py --self-test    checks that each kind of violation is found

A file is a header and the source of the same name. Because the list is an order, no two files can use each other.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

# From the lowest up, one file a line. Files on one line are variants, of which a build has one.
ORDER = """
include/pmdirect
include/pmdirect_libpmem
lib/cpu/cpu
lib/cpu/x86_64 lib/cpu/aarch64 lib/cpu/ppc64 lib/cpu/riscv64 lib/cpu/none
lib/sys/errno_text
lib/sys/trace
lib/sys/errno_text_gnu lib/sys/errno_text_posix
lib/error
lib/parts
lib/sys/sys
lib/sys/calls
lib/sys/wrong_sync
lib/sys/descriptors
lib/sys/statmount
lib/sys/writing
lib/sys/linux
lib/sys/thread_gnu lib/sys/thread_posix
lib/providers/providers
lib/providers/libpmem lib/providers/none

lib/kernel/magic
lib/kernel/quirks
lib/kernel/populate
lib/kernel/sysfs
lib/kernel/limits
lib/kernel/fiemap
lib/kernel/identity
lib/kernel/kept
lib/kernel/attribute
lib/providers/unwind_pipe
lib/providers/libunwind
lib/kernel/sigbus
lib/kernel/trusted_sync
lib/shared_file
lib/places

lib/durability/page_set
lib/durability/walk
lib/durability/engine
lib/durability/writeback_calls
lib/durability/deep
lib/durability/direct
lib/durability/leader
lib/durability/folios
lib/durability/page
lib/durability/alone
lib/durability/lines_after_pages
lib/durability/copy

lib/facts/evidence
lib/facts/policy
lib/facts/text
lib/facts/enum_names
lib/facts/quirk_words
lib/facts/explain
lib/facts/explain_event
lib/facts/subject
lib/facts/armed
lib/facts/device
lib/facts/extents
lib/facts/mount
lib/facts/name
lib/facts/filesystem
lib/facts/descent
lib/facts/disk
lib/facts/members
lib/facts/below
lib/facts/region
lib/facts/health
lib/facts/liveness
lib/facts/fast_commit
lib/facts/gather

lib/file/file
lib/file/forbidden
lib/file/beside
lib/file/claim
lib/file/sync
lib/file/copies
lib/file/undo
lib/file/close
lib/file/open
lib/file/no_block
lib/file/zero_fill
lib/file/from_medium
lib/file/grow

lib/observe/turns
lib/observe/log
lib/observe/events
lib/observe/notifier
lib/observe/sources
lib/observe/openers
lib/observe/lease
lib/observe/changes
lib/observe/assess
lib/observe/transition
lib/observe/observed
lib/observe/retake
lib/observe/publish
lib/observe/observe
lib/observe/watcher

lib/mapping/area
lib/mapping/listener
lib/mapping/mapping
lib/mapping/calls
lib/mapping/naming
lib/mapping/gate
lib/mapping/watch
lib/mapping/shape
lib/mapping/split
lib/mapping/open
lib/mapping/report
lib/mapping/probe
lib/mapping/fault
lib/mapping/repair
lib/mapping/give_up
lib/mapping/resize

lib/arguments
lib/persist
lib/api
"""

# The policy is pure: it sees the facts and nothing that could do anything.
ONLY = {
    "lib/facts/policy.c": {"facts/policy.h"},
    "lib/facts/policy.h": {"facts/evidence.h", "pmdirect.h", "stdbool.h", "stddef.h", "stdint.h"},
    "include/pmdirect.h": {"stddef.h", "stdint.h"},
}
# Only the last step of a look makes events. The other steps, and all else in lib/, return values: no other file calls
# the function that adds an event to the queue, and none names a kind of event but for its text.
ONLY_USER = {"pm_events_add": "lib/observe/publish"}
NAME_KINDS = {"include/pmdirect", "lib/facts/enum_names", "lib/facts/explain_event", "lib/observe/publish"}
KIND = re.compile(r"\bPM_EVENT_(?!FRAMES\b)\w+|\benum\s+pm_event_kind\b")
# Programs use the library as any program does: through the public header.
PROGRAMS = ("examples", "adapters", "tools")
NOT_CODE = {"meson.build", "libpmdirect.map"}

INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", re.MULTILINE)
ANY_INCLUDE = re.compile(r"^\s*#\s*include(?:_next)?\b(.*)$", re.MULTILINE)
RANK = {name: rank for rank, line in enumerate(ORDER.split("\n")) for name in line.split()}


def stem(path):
    return str(pathlib.PurePosixPath(path).with_suffix(""))


def header_file(header):
    """The file of ours that an include means, or None."""
    return next((name for name in (f"lib/{stem(header)}", f"include/{stem(header)}") if name in RANK), None)


def is_below(used, user):
    return RANK[used] < RANK[user]


def check_include(path, header, quoted):
    user, used = stem(path), header_file(header)
    if path in ONLY and header not in ONLY[path]:
        return f"{path}: may not include {header}"
    if used is None:
        ours = quoted or ".." in header or not header.endswith(".h")
        return f"{path}: {header} is no header of a file in the list" if ours else None
    if not header.endswith(".h"):
        return f"{path}: {header} is no header"
    if used != user and not is_below(used, user):
        return f"{path}: {header} does not stand above it in the list"
    return None


def check_file(root, path):
    if stem(path) not in RANK:
        return [f"{path}: is not in the list"]
    text = (root / path).read_text(encoding="utf-8")
    found = [check_include(path, match[2], match[1] == '"') for match in INCLUDE.finditer(text)]
    found += [f"{path}: an include that names no file:{match[1]}" for match in ANY_INCLUDE.finditer(text)
              if not INCLUDE.match(match[0])]
    if stem(path) not in NAME_KINDS:
        found += [f"{path}: {match[0]} is for lib/observe/publish.c to name" for match in KIND.finditer(text)]
    return [problem for problem in found if problem]


def check_program(root, path):
    text = (root / path).read_text(encoding="utf-8")
    return [f"{path}: {match[2]} is internal to the library" for match in INCLUDE.finditer(text)
            if match[1] == '"' and not is_of_programs(root, (root / path).parent / match[2])]


def is_of_programs(root, header):
    return header.exists() and any((root / programs).resolve() in header.resolve().parents for programs in PROGRAMS)


def sources(root, *directories):
    return sorted(path.relative_to(root).as_posix() for directory in directories
                  for path in (root / directory).rglob("*.[ch]"))


def symbols(directory):
    """Of the objects in a directory: which file defines a symbol, and which symbols each file uses."""
    defined, used = {}, collections.defaultdict(set)
    for path in sorted(pathlib.Path(directory).rglob("*.o")):
        owner = next((name for name in RANK if path.name.endswith(name.replace("/", "_") + ".c.o")), None)
        if owner is None:
            continue
        listing = subprocess.run(["nm", "-P", path], check=True, capture_output=True, text=True).stdout
        for name, kind in (line.split()[:2] for line in listing.splitlines()):
            if kind in "Uwv":
                used[owner].add(name)
            elif kind.isupper():
                defined[name] = owner
    return defined, used


def check_symbols(defined, used):
    others = [(user, name) for user in sorted(used) for name in sorted(used[user])
              if name in defined and defined[name] != user]
    return ([f"{user}.c: {name} of {defined[name]}.c does not stand above it in the list"
             for user, name in others if not is_below(defined[name], user)]
            + [f"{user}.c: {name} is for {ONLY_USER[name]}.c to call"
               for user, name in others if ONLY_USER.get(name, user) != user]
            + [f"{name}: no file has it, and no other may call it" for name in ONLY_USER if name not in defined])


def check_files(root, objects):
    """That lib/ holds nothing that the includes and symbols would not show."""
    strange = [f"{path.relative_to(root).as_posix()}: is neither a header nor a source"
               for path in (root / "lib").rglob("*")
               if path.is_file() and path.suffix not in (".c", ".h") and path.name not in NOT_CODE]
    there = {path.name for path in pathlib.Path(objects).rglob("*.o")}
    variants = [line.split() for line in ORDER.split("\n") if line]
    missing = [f"{objects}: no object of {' or '.join(names)}" for names in variants
               if any((root / f"{name}.c").exists() for name in names)
               and not any(object_of(name) in there for name in names)]
    return strange + missing


def object_of(name):
    return name.replace("/", "_") + ".c.o"


def check(root, objects):
    problems = []
    for path in sources(root, "lib", "include"):
        problems += check_file(root, path)
    for path in sources(root, *PROGRAMS):
        problems += check_program(root, path)
    defined, used = symbols(objects)
    problems += check_files(root, objects)
    return problems + check_symbols(defined, used)


VIOLATIONS = {
    "lib/durability/direct.c": ('#include "mapping/mapping.h"\n', "mapping.h does not stand above it"),
    "lib/durability/engine.c": ('#include "durability/page.h"\n', "page.h does not stand above it"),
    "lib/durability/deep.c": ('#  include "facts/evidence.h"\n', "evidence.h does not stand above it"),
    "lib/cpu/none.c": ('#include "sys/sys.h"\n', "sys.h does not stand above it"),
    "lib/sys/linux.c": ('#include "../cpu/none.c"\n', "is no header of a file in the list"),
    "lib/facts/policy.c": ("#include <string.h>\n", "may not include string.h"),
    "lib/facts/name.c": ('#include "file/file.h"\n', "file.h does not stand above it"),
    "lib/file/grow.c": ('#include "mapping/mapping.h"\n', "mapping.h does not stand above it"),
    "lib/error.c": ("#include <sys/sys.h>\n", "sys.h does not stand above it"),
    "lib/kernel/kept.c": ('#define UP "mapping/mapping.h"\n#include UP\n', "names no file"),
    "lib/kernel/sysfs.c": ("#include <../lib/mapping/mapping.h>\n", "is no header of a file in the list"),
    "lib/kernel/fiemap.c": ('#include "kernel/fiemap.inc"\n', "is no header"),
    "lib/observe/retake.c": ("return PM_EVENT_LEASE_BROKEN;\n", "PM_EVENT_LEASE_BROKEN is for lib/observe/publish.c"),
    "lib/observe/transition.h": ("enum pm_event_kind pm_terms_adopt();\n", "enum pm_event_kind is for lib/observe"),
    "lib/facts/newcomer.c": ('#include "sys/sys.h"\n', "is not in the list"),
    "include/pmdirect.h": ("#include <sys/types.h>\n", "may not include sys/types.h"),
    "examples/01_hello.c": ('#include "policy.h"\n', "policy.h is internal"),
    "examples/02_up.c": ('#include "../lib/cpu/none.c"\n', "none.c is internal"),
}
# Must not be taken for violations.
INNOCENT = {
    "lib/durability/page.c": '#include "durability/engine.h"\n#include "cpu/cpu.h"\n#include <pmdirect.h>\n',
    "lib/api.c": '#include "mapping/mapping.h"\n#include "sys/sys.h"\n/* not "api.h" */\n#include <sys/mman.h>\n',
    "lib/observe/events.c": "void *frame[PM_EVENT_FRAMES];\n",
    "lib/observe/publish.c": "[PM_REASON_HOLE] = PM_EVENT_HOLE,\n",
    "lib/facts/policy.h": '#include "facts/evidence.h"\n#include <stdbool.h>\n',
    "examples/log.h": "#include <pmdirect.h>\n",
    "examples/log.c": '#include "log.h"\n',
    "tools/preload/ledger.h": "#include <stdint.h>\n",
    "tools/pmdirect/run.c": '#include "../preload/ledger.h"\n',
}


def test_includes():
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for path, text in {**{p: v[0] for p, v in VIOLATIONS.items()}, **INNOCENT}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        problems = [problem for path in sources(root, "lib", "include") for problem in check_file(root, path)]
        problems += [problem for path in sources(root, *PROGRAMS) for problem in check_program(root, path)]
    wrong = [f"not found: {path}" for path, (_, words) in VIOLATIONS.items()
             if not any(p.startswith(path + ":") and words in p for p in problems)]
    return wrong + [f"unexpected: {p}" for p in problems if p.split(":")[0] not in VIOLATIONS]


def test_symbols():
    """A circle of two files: whatever their order, one of the two uses is found. A call that is for another file."""
    queue = {"pm_events_add": "lib/observe/events"}
    circle = check_symbols({"pm_low": "lib/error", "pm_high": "lib/api", **queue},
                           {"lib/error": {"pm_high"}, "lib/api": {"pm_low"}})
    own = check_symbols({"pm_low": "lib/error", **queue},
                        {"lib/error": {"pm_low"}, "lib/api": {"pm_low", "malloc"},
                         "lib/observe/publish": {"pm_events_add"}})
    taken = check_symbols(queue, {"lib/mapping/report": {"pm_events_add"}})
    gone = check_symbols({}, {})
    found = [(circle, "pm_high of lib/api.c"), (taken, "report.c: pm_events_add is for"), (gone, "no file has it")]
    return [f"not found: {words} ({problems})" for problems, words in found
            if len(problems) != 1 or words not in problems[0]] + [f"unexpected: {problem}" for problem in own]


def main(arguments):
    if arguments == ["--self-test"]:
        problems = test_includes() + test_symbols()
    else:
        problems = check(pathlib.Path(arguments[0]), arguments[1])
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
