#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The public header serves every program, and its comments are complete.

  public_header.py compile HEADER WORK STANDARD... -- COMPILER...   a program of each standard includes it first
  public_header.py comments HEADER                                  each function has its contract
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "doc"))
import header as reader  # noqa: E402

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
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only")


def compile_with(header, work, *rest):
    standards, compiler = rest[:rest.index("--")], rest[rest.index("--") + 1:]
    problems = []
    for standard in standards:
        source = pathlib.Path(work) / ("header-user.cc" if "++" in standard else "header-user.c")
        source.write_text(PROGRAM, encoding="utf-8")
        done = subprocess.run([*compiler, "-std=" + standard, *STRICT, "-I", pathlib.Path(header).parent, source],
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            problems.append(f"{standard}: {done.stderr.strip()}")
    return problems


def comments(header):
    problems = []
    for function in reader.functions(pathlib.Path(header).read_text(encoding="utf-8")):
        lacking = [label for label in reader.LABELS if not function.sections.get(label)]
        if not function.summary:
            problems.append(f"{function.name}: no comment")
        elif lacking:
            problems.append(f"{function.name}: the comment lacks {', '.join(lacking)}")
    return problems


def main(check, *arguments):
    problems = {"compile": compile_with, "comments": comments}[check](*arguments)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
