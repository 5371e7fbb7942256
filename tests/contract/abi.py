#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A program that was linked with a release works with this library (CONTRIBUTING.md, ABI policy).

The interface is written down, by abidw(1), and compared with that of the library, by abidiff(1). An addition that the
policy permits is written down in its commit. A change that breaks a linked program cannot be written: so what stands
there held in every version since the file was begun, releases included.

  abi.py check LIBRARY INCLUDE WRITTEN     each difference is found: a break, and what is not written down yet
  abi.py write LIBRARY INCLUDE WRITTEN     writes the interface down, unless it breaks what stands there
  abi.py --self-test HEADER MAP COMPILER   each kind of break and of addition is found; compilers make no difference

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
# In no debug information: a comment each, after the interface.
CONSTANT = re.compile(r"^<!-- (PM_\w+) = (\w+) -->$", re.MULTILINE)


def run(*command, ok=(0,)):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode not in ok:
        raise SystemExit(f"{command[0]} ends with {done.returncode}: {done.stdout}")
    return done


def constants(header):
    """Flags, error codes and lengths: what is compiled into a program but the version."""
    found = re.findall(r"^#define (PM_\w+) (\w+)\s*$", reader.without_comments(header), re.MULTILINE)
    return {name: value for name, value in found if not name.startswith("PM_VERSION_")}


def describe(library, include, path):
    leave_out = ["--drop-private-types", "--exported-interfaces-only", "--drop-undefined-syms", "--no-corpus-path",
                 "--no-comp-dir-path", "--no-show-locs", "--no-parameter-names", "--no-elf-needed"]
    run("abidw", *leave_out, "--headers-dir", include, "--type-id-style", "hash", "--out-file", path, library)
    found = constants(pathlib.Path(include, "pmdirect.h").read_text(encoding="utf-8"))
    comments = "".join(f"<!-- {name} = {value} -->\n" for name, value in found.items())
    path = pathlib.Path(path)
    path.write_text(path.read_text(encoding="utf-8") + comments, encoding="utf-8")


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


def breaks(old, new, directory):
    """The differences that the policy does not permit, in the words of abidiff."""
    rules = pathlib.Path(directory, "permitted.ini")
    rules.write_text(PERMITTED, encoding="utf-8")
    sides, values = [], []
    for name, path in (("old", old), ("new", new)):
        text = pathlib.Path(path).read_text(encoding="utf-8")
        sides.append(pathlib.Path(directory, name + "-rows.xml"))
        sides[-1].write_text(rows(text), encoding="utf-8")
        values.append(dict(CONSTANT.findall(text)))
    problems = [f"{name} was {value}, and is {values[1].get(name, 'gone')}" for name, value in values[0].items()
                if values[1].get(name) != value]
    done = run("abidiff", "--no-added-syms", "--suppr", rules, *sides, ok=(0, 4, 8, 12))
    return problems + ([done.stdout] if done.returncode else [])


def compare(old, new, directory):
    """Each difference, and whether it breaks a linked program: (problems, is a break)."""
    found = breaks(old, new, directory)
    if found:
        return ["this breaks programs that were linked with a release:", *found], True
    done = run("abidiff", "--harmless", old, new, ok=(0, 4, 8, 12))
    names = [set(CONSTANT.findall(pathlib.Path(path).read_text(encoding="utf-8"))) for path in (old, new)]
    found = [f"{name} = {value}" for name, value in sorted(names[1] - names[0])]
    found += [done.stdout] if done.returncode else []
    return ["this is not written down; abi.py write does it:", *found] if found else [], False


def described(library, include, directory):
    if platform.machine() != "x86_64":
        raise SystemExit(skip("the interface is written down on x86_64"))
    now = pathlib.Path(directory, "now.xml")
    describe(library, include, now)
    return now


def check(library, include, written):
    with tempfile.TemporaryDirectory() as directory:
        return compare(written, described(library, include, directory), directory)[0]


def write(library, include, written):
    with tempfile.TemporaryDirectory() as directory:
        now = described(library, include, directory)
        problems = breaks(written, now, directory) if pathlib.Path(written).exists() else []
        if not problems:
            shutil.copyfile(now, written)
        return problems


BREAK, ADDITION, NOTHING = "a break", "an addition", "nothing"
# name, what the header has, what it has instead, what that is
CHANGES = [
    ("nothing", "", "", NOTHING),
    ("a value more", "PM_AVOID = 2 }", "PM_AVOID = 2, PM_MORE = 3 }", ADDITION),
    ("a constant more", "#define PM_NODRAIN 0x1u", "#define PM_MORE 0x10u\n#define PM_NODRAIN 0x1u", ADDITION),
    ("a flag that moved", "#define PM_CREATE 0x1u", "#define PM_CREATE 0x8000u", BREAK),
    ("an error that went", "#define PM_ENOTSYNC 5001", "", BREAK),
    ("a member more at the end", "void *address;         /* a hint;", "void *address; int more[2]; /* a hint;",
     ADDITION),
    ("a function more", "PM_API const char *pm_version(void);",
     "PM_API const char *pm_version(void); \nPM_API int pm_more(int x);", ADDITION),
    ("a row more", "PM_EVIDENCE_ROWS = 44", "PM_EV_MORE = 44, PM_EVIDENCE_ROWS = 45", ADDITION),
    ("a row that moved", "PM_EV_IN_FILE = 42", "PM_EV_IN_FILE = 46", BREAK),
    ("a value that moved", "PM_BYTE = 4", "PM_BYTE = 5", BREAK),
    ("a value that went", ", PM_REASON_LEASE_FORCED = 26", "", BREAK),
    ("a member in the middle", "uint64_t offset, length; /* of the mapping",
     "int more; uint64_t offset, length; /* of the mapping", BREAK),
    ("a member behind the rows", "struct pm_evidence evidence[PM_EVIDENCE_ROWS];",
     "struct pm_evidence evidence[PM_EVIDENCE_ROWS]; int more;", BREAK),
    ("a member of another size", "uint64_t flushes, drains;", "uint32_t flushes, drains;", BREAK),
    ("a row that grew", "char text[56];", "char text[64];", BREAK),
    ("a range that grew", "size_t length; };", "size_t length; int more; };", BREAK),
    ("a function that went", "PM_API struct pm_mapping *pm_find(const void *address);", "", BREAK),
    ("a parameter more", "pm_sync(struct pm_mapping *mapping)", "pm_sync(struct pm_mapping *mapping, int x)", BREAK),
    ("another result", "PM_API uint64_t pm_length", "PM_API uint32_t pm_length", BREAK),
]


def build(text, version_script, directory, compiler, optimization="-O0"):
    """A library that has the functions of the header, and does nothing."""
    root = pathlib.Path(directory)
    (root / "pmdirect.h").write_text(text, encoding="utf-8")
    # Bodies that differ: a compiler makes one function of those that are the same.
    bodies = "\n".join(f"{function.prototype[:-1]} {{ called = {number}; __builtin_trap(); }}"
                       for number, function in enumerate(reader.functions(text)))
    source = f"#include <pmdirect.h>\nstatic volatile int called;\n{bodies}\n"
    (root / "stub.c").write_text(source, encoding="utf-8")
    exports = pathlib.Path(version_script).read_text(encoding="utf-8")
    (root / "stub.map").write_text(exports.replace("pm_find;", "pm_find; pm_more;", 1), encoding="utf-8")
    library, described = root / "stub.so", root / "stub.xml"
    run(*compiler, "-g", optimization, "-fPIC", "-shared", "-I", root, "-o", library, root / "stub.c",
        f"-Wl,--version-script={root / 'stub.map'}", "-Wl,-soname,libpmdirect.so.0")
    describe(library, root, described)
    return described


def kind_of(old, new, directory):
    found, is_break = compare(old, new, directory)
    return BREAK if is_break else ADDITION if found else NOTHING


def self_test(header, version_script, *compiler):
    text = pathlib.Path(header).read_text(encoding="utf-8")
    problems = []
    with tempfile.TemporaryDirectory() as directory:
        def built(name, *arguments):
            place = pathlib.Path(directory, name.replace(" ", "-"))
            place.mkdir()
            return build(*arguments[:1], version_script, place, *arguments[1:]), place
        before, _ = built("old", text, compiler)
        for name, there, instead, wanted in CHANGES:
            if there and there not in text:
                problems.append(f"{name}: the header has no '{there}'")
                continue
            found = kind_of(before, *built(name, text.replace(there, instead, 1) if there else text, compiler))
            if found != wanted:
                problems.append(f"{name}: taken for {found}")
        others = [compiler] + [[name] for name in ("gcc", "clang") if shutil.which(name)]
        for number, other in enumerate(others):
            for optimization in ("-O1", "-O2", "-Os"):
                found = kind_of(before, *built(f"{number}{optimization}", text, other, optimization))
                if found != NOTHING:
                    problems.append(f"{other} {optimization}: taken for {found}")
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
