#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A program that was linked with the last release works with this library (CONTRIBUTING.md, ABI policy).

  abi.py check LIBRARY INCLUDE BASELINE    compares with the interface of the release, by abidiff(1)
  abi.py write LIBRARY INCLUDE BASELINE    writes the interface down: once, when a release is tagged
  abi.py --self-test HEADER MAP COMPILER   each kind of break is found, and what the policy permits is not one

The exit code 77 says that the comparison cannot be made here.
"""

import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

import header as reader

# What the policy permits: a struct with its size first grows at the end, the report by rows of evidence, which are
# last; an enum gets values, and the count of rows grows.
PERMITTED = """
[suppress_type]
	type_kind = struct
	name_regexp = ^pm_(options|event|fault|statistics)$
	has_data_member_inserted_at = end

[suppress_type]
	type_kind = enum
	name = pm_evidence_row
	changed_enumerators = PM_EVIDENCE_ROWS
"""
GROWS = "PM_EVIDENCE_ROWS"


def run(*command, ok=(0,)):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode not in ok:
        raise SystemExit(f"{command[0]} ends with {done.returncode}: {done.stdout}")
    return done


def write(library, include, baseline):
    run("abidw", "--headers-dir", include, "--drop-private-types", "--no-corpus-path", "--no-comp-dir-path",
        "--no-show-locs", "--type-id-style", "hash", "--out-file", baseline, library)
    return []


def rows(text):
    """The interface with any number of rows of evidence: their array is the last member of the report."""
    count = re.search(rf"name='{GROWS}' value='(\d+)'", text)[1]
    row = int(re.search(r"class-decl name='pm_evidence' size-in-bits='(\d+)'", text)[1])
    length = int(count) * row
    report = int(re.search(r"class-decl name='pm_report' size-in-bits='(\d+)'", text)[1])
    offset = int(re.findall(r"layout-offset-in-bits='(\d+)'",
                            re.search(r"class-decl name='pm_report'.*?</class-decl>", text, re.S)[0])[-1])
    if offset + length != report:
        return text  # not last any more: abidiff says what became of it
    text = text.replace(f"name='{GROWS}' value='{count}'", f"name='{GROWS}' value='1'")
    text = text.replace(f"class-decl name='pm_report' size-in-bits='{report}'",
                        f"class-decl name='pm_report' size-in-bits='{offset + row}'")
    text = re.sub(rf"(<array-type-def [^>]*size-in-bits=)'{length}'", rf"\1'{row}'", text)
    return re.sub(rf"subrange length='{count}'", "subrange length='1'", text)


def compare(old, new, directory):
    """The differences that the policy does not permit, in the words of abidiff."""
    rules = pathlib.Path(directory, "permitted.ini")
    rules.write_text(PERMITTED, encoding="utf-8")
    sides = []
    for name, path in (("old", old), ("new", new)):
        sides.append(pathlib.Path(directory, name + "-rows.xml"))
        sides[-1].write_text(rows(pathlib.Path(path).read_text(encoding="utf-8")), encoding="utf-8")
    done = run("abidiff", "--no-added-syms", "--suppr", rules, *sides, ok=(0, 4, 8, 12))
    return [done.stdout] if done.returncode else []


def check(library, include, baseline):
    if platform.machine() != "x86_64":
        raise SystemExit(skip("the interface was written down on x86_64"))
    with tempfile.TemporaryDirectory() as directory:
        now = pathlib.Path(directory, "now.xml")
        write(library, include, now)
        return compare(baseline, now, directory)


# name, what the header has, what it has instead, whether that is a break
CHANGES = [
    ("nothing", "", "", False),
    ("a value more", "PM_AVOID = 2 }", "PM_AVOID = 2, PM_MORE = 3 }", False),
    ("a member more at the end", "void *address;         /* a hint;", "void *address; int more[2]; /* a hint;", False),
    ("a function more", "PM_API const char *pm_version(void);",
     "PM_API const char *pm_version(void); \nPM_API int pm_more(int x);", False),
    ("a row more", "PM_EVIDENCE_ROWS = 44", "PM_EV_MORE = 44, PM_EVIDENCE_ROWS = 45", False),
    ("a row that moved", "PM_EV_IN_FILE = 42", "PM_EV_IN_FILE = 46", True),
    ("a value that moved", "PM_BYTE = 4", "PM_BYTE = 5", True),
    ("a value that went", ", PM_REASON_LEASE_FORCED = 26", "", True),
    ("a member in the middle", "uint64_t offset, length; /* of the mapping",
     "int more; uint64_t offset, length; /* of the mapping", True),
    ("a member behind the rows", "struct pm_evidence evidence[PM_EVIDENCE_ROWS];",
     "struct pm_evidence evidence[PM_EVIDENCE_ROWS]; int more;", True),
    ("a member of another size", "uint64_t flushes, drains;", "uint32_t flushes, drains;", True),
    ("a row that grew", "char text[56];", "char text[64];", True),
    ("a range that grew", "size_t length; };", "size_t length; int more; };", True),
    ("a function that went", "PM_API struct pm_mapping *pm_find(const void *address);", "", True),
    ("a parameter more", "pm_sync(struct pm_mapping *mapping)", "pm_sync(struct pm_mapping *mapping, int x)", True),
    ("another result", "PM_API uint64_t pm_length", "PM_API uint32_t pm_length", True),
]


def build(text, version_script, directory, compiler):
    """A library that has the functions of the header, and does nothing."""
    root = pathlib.Path(directory)
    (root / "pmdirect.h").write_text(text, encoding="utf-8")
    bodies = "\n".join(function.prototype[:-1] + " { __builtin_trap(); }" for function in reader.functions(text))
    (root / "stub.c").write_text(f"#include <pmdirect.h>\n{bodies}\n", encoding="utf-8")
    library, described = root / "stub.so", root / "stub.xml"
    run(*compiler, "-g", "-O0", "-fPIC", "-shared", "-I", root, "-o", library, root / "stub.c",
        f"-Wl,--version-script={version_script}", "-Wl,-soname,libpmdirect.so.0")
    write(library, root, described)
    return described


def self_test(header, version_script, *compiler):
    text = pathlib.Path(header).read_text(encoding="utf-8")
    problems = []
    with tempfile.TemporaryDirectory() as directory:
        old = pathlib.Path(directory, "old")
        old.mkdir()
        before = build(text, version_script, old, compiler)
        for name, there, instead, breaks in CHANGES:
            changed = pathlib.Path(directory, name.replace(" ", "-"))
            changed.mkdir()
            if there and there not in text:
                problems.append(f"{name}: the header has no '{there}'")
                continue
            found = compare(before, build(text.replace(there, instead, 1) if there else text, version_script, changed,
                                          compiler), changed)
            if bool(found) != breaks:
                problems.append(f"{name}: found {found}")
    return problems


def skip(why):
    print("skipped:", why)
    return 77


def main(what, *arguments):
    if not shutil.which("abidiff"):
        return skip("abidiff is not there (abigail-tools)")
    problems = {"check": check, "write": write, "--self-test": self_test}[what](*arguments)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
