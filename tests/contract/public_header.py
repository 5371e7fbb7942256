#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The public header serves every program, and its comments are complete.

  public_header.py compile HEADER WORK STANDARD... -- COMPILER...   a program of each standard includes it first
  public_header.py libpmem HEADER WORK STANDARD... -- COMPILER...   so does a program of libpmem
  public_header.py comments HEADER                  each function has a comment that names its page; lines fit
  public_header.py version HEADER VERSION LIBRARY   the header and the library have the version of the project
  public_header.py --self-test VERSION LIBRARY      the last two fail where they must
"""

import ctypes
import pathlib
import subprocess
import sys
import tempfile

import header as reader

PROGRAM = """#include <pmdirect.h>
#include <pmdirect.h>
int main(void)
{
	struct pm_report report;
	struct pm_mapping *mapping = 0;
	report.granularity = PM_BYTE;
	return pm_explain(&report, 0, sizeof(report)) + pm_unmap(mapping);
}
"""
LIBPMEM_PROGRAM = """#include <pmdirect_libpmem.h>
int main(void)
{
	size_t length;
	void *bytes = pmem_map_file(".", 4096, PMEM_FILE_TMPFILE | PMEM_FILE_EXCL, 0600, &length, NULL);
	return bytes ? pmem_unmap(bytes, length) : puts(pmem_errormsg());
}
"""
COLUMNS = 120
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only")


def compile_with(header, work, *rest, program=PROGRAM):
    standards, compiler = rest[:rest.index("--")], rest[rest.index("--") + 1:]
    problems = []
    for standard in standards:
        source = pathlib.Path(work) / (pathlib.Path(header).stem + "-user.c" + "c" * ("++" in standard))
        source.write_text(program, encoding="utf-8")
        done = subprocess.run([*compiler, "-std=" + standard, *STRICT, "-I", pathlib.Path(header).parent, source],
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            problems.append(f"{standard}: {done.stderr.strip()}")
    return problems


def compile_libpmem(*arguments):
    return compile_with(*arguments, program=LIBPMEM_PROGRAM)


def comments(header):
    """Each function has a comment, which names its page; no line is longer than an editor shows."""
    text = pathlib.Path(header).read_text(encoding="utf-8")
    problems = [f"line {number}: more than {COLUMNS} columns" for number, line in enumerate(text.splitlines(), 1)
                if len(line.expandtabs(8)) > COLUMNS]
    functions = reader.functions(text)
    for function in functions:
        if f"{function.name}(3)" not in function.comment:
            problems.append(f"{function.name}: no comment names its page")
    return problems if functions else ["no function: is this the header?"]


def version(header, project, library):
    """meson.build, the header, the library and its file say the same."""
    text = pathlib.Path(header).read_text(encoding="utf-8")
    loaded = ctypes.CDLL(library)
    loaded.pm_version.restype = ctypes.c_char_p
    seen = {"the header": reader.version(text), "pm_version()": loaded.pm_version().decode(),
            "the library's file": pathlib.Path(library).resolve().name.partition(".so.")[2]}
    return [f"{place} says {said}, meson.build {project}" for place, said in seen.items() if said != project]


def self_test(project, library):
    with tempfile.TemporaryDirectory() as directory:
        header = pathlib.Path(directory, "bad.h")
        header.write_text("/* pm_one(3): x */\nPM_API int pm_one(void);\nPM_API int pm_two(void);\n" + "/" * 121 + "\n"
                          "#define PM_VERSION_MAJOR 9\n#define PM_VERSION_MINOR 8\n#define PM_VERSION_PATCH 7\n",
                          encoding="utf-8")
        found = comments(header) + version(header, project, library) + version(header, "9.8.7", library)
        header.write_text("int x;\n", encoding="utf-8")
        found += comments(header)
    expected = ["pm_two: no comment", "line 4: more", "the header says 9.8.7", "pm_version() says", "file says",
                "no function"]
    return [f"not found: {words}" for words in expected if not any(words in problem for problem in found)] + [
        f"wrongly found: {problem}" for problem in found if "pm_one" in problem]


def main(check, *arguments):
    checks = {"compile": compile_with, "libpmem": compile_libpmem, "comments": comments, "version": version,
              "--self-test": self_test}
    problems = checks[check](*arguments)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
