#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""No function above 70 lines, no file above 500, no line of C or Python above 120 columns. No stray file at the top.

In the library the limit of a function is 40 lines, and 99 of 100 have at most 30. There the name of a function stands
in one file only, so that a backtrace or a profile says which one it met.

  size.py ROOT         checks the tree
  size.py --self-test  checks that the counting is right
"""

import pathlib
import re
import shutil
import subprocess
import sys

FUNCTION_LINES = 70
LIBRARY_FUNCTION_LINES = 40
LIBRARY_P99_LINES = 30
FILE_LINES = 500
COLUMNS = 120 # a tab ends at the next multiple of 8
DIRECTORIES = ("lib", "include", "examples", "adapters", "tests", "tools", "bench", "doc", "scripts", "bindings",
               "cmake", "debian")
# Git may track no other file at the top: a log or a crash that a test left there is soon committed with the rest.
TOP = {".clang-format", ".editorconfig", ".gitignore", "ARCHITECTURE.md", "CHANGELOG.md", "CODING_STYLE.md",
       "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "meson.build", "meson_options.txt"}
# Of these meson builds one or the other, or both say what they are.
ALTERNATIVES = ("lib/cpu/", "lib/sys/", "lib/providers/")
# Written by a program.
LONG_FILES = {"bench/RESULTS.md"}
WRITTEN = {".csv", ".abi"}
# A page of the manual is as long as the list of what it explains, one macro a line.
PAGES = {".1", ".3", ".7"}

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
                # A use of a macro that defines functions has no semicolon; an empty line ends it.
                begin += code[begin:at].rstrip().rfind("\n\n") + 1
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


def p99(counts):
    """What 99 of 100 do not exceed."""
    return sorted(counts)[-(len(counts) // 100) - 1] if counts else 0


def check_library(found):
    """found: (path, name, first line, lines) of each function of the library."""
    problems = [f"{path}:{first}: {name}() has {count} lines, at most {LIBRARY_FUNCTION_LINES} in the library"
                for path, name, first, count in found if count > LIBRARY_FUNCTION_LINES]
    most = p99([count for _, _, _, count in found])
    if most > LIBRARY_P99_LINES:
        longest = sorted(((count, name) for _, name, _, count in found), reverse=True)[:len(found) // 100 + 1]
        problems.append(f"1 of 100 functions of the library has {most} lines or more, at most {LIBRARY_P99_LINES}: "
                        + ", ".join(f"{name} {count}" for count, name in longest))
    places = {}
    for path, name, _, _ in found:
        if not path.startswith(ALTERNATIVES):
            places.setdefault(name, set()).add(path)
    return problems + [f"{name}(): the name stands in {', '.join(sorted(paths))}"
                       for name, paths in sorted(places.items()) if len(paths) > 1]


def stray(tracked):
    """Of the files that git tracks, those at the top that do not belong there."""
    return sorted(name for name in tracked if "/" not in name and name not in TOP)


def tracked_files(root):
    """Empty where the tree is no clone, an unpacked archive for instance, or git is missing."""
    if not shutil.which("git"):
        return []
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=False, text=True)
    return listed.stdout.split("\0")[:-1] if listed.returncode == 0 else []


def check(root):
    library = []
    problems = [f"{name}: does not belong at the top" for name in stray(tracked_files(root))]
    for directory in DIRECTORIES:
        for path in sorted((root / directory).rglob("*")):
            name = str(path.relative_to(root))
            if not path.is_file() or "__pycache__" in name or path.suffix in WRITTEN | PAGES:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            lines = len(text.splitlines())
            if lines > FILE_LINES and name not in LONG_FILES:
                problems.append(f"{name}: {lines} lines, at most {FILE_LINES}")
            if path.suffix in (".c", ".h", ".cc", ".hpp", ".py"):
                problems += [f"{name}:{number}: {columns} columns, at most {COLUMNS}"
                             for number, columns in wide_lines(text)]
            if path.suffix in (".c", ".h"):
                problems += [f"{name}:{first}: {function}() has {count} lines, at most {FUNCTION_LINES}"
                             for function, first, count in functions(text) if count > FUNCTION_LINES]
                if directory == "lib":
                    library += [(name, *function) for function in functions(text)]
    return problems + check_library(library)


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

DEFINE_ONE(one)
DEFINE_ONE(two)

static int after_macros(void)
{
	return 1;
}
'''
EXPECTED = [("make", 5, 11), ("say", 17, 3), ("START_TEST", 21, 4), ("last", 25, 1), ("after_macros", 30, 4)]
# 99 short functions and two long ones; one too long; one name in two files, and once more where that is fine.
LIBRARY = [("lib/a.c", f"short{i}", 1, 5) for i in range(99)] + [("lib/a.c", "two", 1, 31), ("lib/b.c", "three", 1, 31)]
WRONG_LIBRARIES = (
    (LIBRARY[:-1], []),
    (LIBRARY, ["1 of 100 functions"]),
    ([("lib/a.c", "long", 7, 41)], ["lib/a.c:7: long() has 41 lines", "1 of 100 functions"]),
    ([("lib/a.c", "find", 1, 5), ("lib/b.c", "find", 1, 5), ("lib/cpu/c.c", "find", 1, 5)], ["find(): the name"]),
)


def self_test():
    problems = []
    if functions(SAMPLE) != EXPECTED:
        problems.append(f"counted {functions(SAMPLE)}, expected {EXPECTED}")
    long = "int f(void)\n{\n" + "\tg();\n" * FUNCTION_LINES + "}\n"
    if functions(long) != [("f", 1, FUNCTION_LINES + 3)]:
        problems.append("a long function was not counted")
    for library, expected in WRONG_LIBRARIES:
        found = check_library(library)
        if len(found) != len(expected) or not all(map(str.startswith, found, expected)):
            problems.append(f"of a library: {found}, expected {expected}")
    lines = "x" * COLUMNS + "\n" + "x" * COLUMNS + "x\n" + "\t" * (COLUMNS // 8) + "\n1234567\t" + "x" * COLUMNS + "\n"
    if wide_lines(lines) != [(2, COLUMNS + 1), (4, COLUMNS + 8)]:
        problems.append(f"wide lines: {wide_lines(lines)}")
    if stray(["README.md", "closed.1", "lib/closed.1"]) != ["closed.1"]:
        problems.append("a stray file was not found")
    return problems


def main(argument):
    problems = self_test() if argument == "--self-test" else check(pathlib.Path(argument))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
