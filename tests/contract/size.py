#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""No function above 70 lines, no file above 500, no line of C or Python above 120 columns.

  size.py ROOT         checks the tree
  size.py --self-test  checks that the counting is right
"""

import pathlib
import re
import sys

FUNCTION_LINES = 70
FILE_LINES = 500
COLUMNS = 120 # a tab ends at the next multiple of 8
DIRECTORIES = ("lib", "include", "examples", "tests", "bench", "doc", "scripts")
# Written by a program.
LONG_FILES = {"bench/RESULTS.md"}
DRAWINGS = {".png", ".svg"}
# A page of the manual is as long as the list of what it explains, one macro a line.
PAGES = {".3", ".7"}

NOT_CODE = re.compile(r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
                          | ^[ \t]*\#(?:\\\n|[^\n])*""", re.VERBOSE | re.DOTALL | re.MULTILINE)
ATTRIBUTE = re.compile(r"__attribute__\s*\(\(.*?\)\)\)?", re.DOTALL)


def strip(text):
    """The code alone; what is left out leaves its line ends, so that lines keep their numbers."""
    return NOT_CODE.sub(lambda match: "\n" * match[0].count("\n"), text)


def functions(text):
    """(name, first line, lines) of each function defined, from its name to its closing brace."""
    code = strip(text)
    depth, begin, found = 0, 0, []
    for at, character in enumerate(code):
        if character == "{":
            if depth == 0:
                head = ATTRIBUTE.sub(lambda match: " " * len(match[0]), code[begin:at])
                match = re.search(r"(\w+)\s*\([^;{}=]*\)[\w\s()]*$", head)
                opened = (match[1], begin + match.start()) if match else None
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                if opened:
                    first = code.count("\n", 0, opened[1]) + 1
                    found.append((opened[0], first, code.count("\n", 0, at) + 2 - first))
                begin = at + 1
        elif character == ";" and depth == 0:
            begin = at + 1
    return found


def wide_lines(text):
    """(line number, columns) of each line that is too wide."""
    widths = enumerate((len(line.expandtabs(8)) for line in text.splitlines()), 1)
    return [(number, columns) for number, columns in widths if columns > COLUMNS]


def check(root):
    problems = []
    for directory in DIRECTORIES:
        for path in sorted((root / directory).rglob("*")):
            name = str(path.relative_to(root))
            if not path.is_file() or "__pycache__" in name or path.suffix in DRAWINGS | PAGES:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            lines = len(text.splitlines())
            if lines > FILE_LINES and name not in LONG_FILES:
                problems.append(f"{name}: {lines} lines, at most {FILE_LINES}")
            if path.suffix in (".c", ".h", ".py"):
                problems += [f"{name}:{number}: {columns} columns, at most {COLUMNS}"
                             for number, columns in wide_lines(text)]
            if path.suffix in (".c", ".h"):
                problems += [f"{name}:{first}: {function}() has {count} lines, at most {FUNCTION_LINES}"
                             for function, first, count in functions(text) if count > FUNCTION_LINES]
    return problems


SAMPLE = r'''
struct pair { int a, b; };
static const int table[] = { 1, 2 };
typedef struct { int (*call)(int); } ops;
static struct pair make(int a,
                        int b)
{
	/* } not the end { */
	const char *text = "}\"{";
	if (a == '{') {
		b = (struct pair){a, b}.a;
	}
#define ODD }
	return (struct pair){a, b};
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
}
enum after { ONE };
START_TEST(table_test)
{
	for (;;) { }
}
int last(void) { return 0; }
'''
EXPECTED = [("make", 5, 11), ("say", 17, 3), ("START_TEST", 21, 4), ("last", 25, 1)]


def self_test():
    problems = []
    if functions(SAMPLE) != EXPECTED:
        problems.append(f"counted {functions(SAMPLE)}, expected {EXPECTED}")
    long = "int f(void)\n{\n" + "\tg();\n" * FUNCTION_LINES + "}\n"
    if functions(long) != [("f", 1, FUNCTION_LINES + 3)]:
        problems.append("a long function was not counted")
    lines = "x" * COLUMNS + "\n" + "x" * COLUMNS + "x\n" + "\t" * (COLUMNS // 8) + "\n1234567\t" + "x" * COLUMNS + "\n"
    if wide_lines(lines) != [(2, COLUMNS + 1), (4, COLUMNS + 8)]:
        problems.append(f"wide lines: {wide_lines(lines)}")
    return problems


def main(argument):
    problems = self_test() if argument == "--self-test" else check(pathlib.Path(argument))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
