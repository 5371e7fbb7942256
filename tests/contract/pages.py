#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The manual is whole and true to the header, its examples run, and it renders.

  pages.py DOC HEADER LIBRARY WORK COMPILER...   DOC has man1, man3 and man7, WORK is a directory for the examples
  pages.py --self-test WORK COMPILER...          each check fails where it must

A page is an mdoc(7) source, or a link (.so man3/OTHER.3). Its checks:

  pages      each function, callback and struct of the header has a page that names it; a page names only what exists;
             it has the sections that its kind has (sections_of)
  entries    each constant of the header is an entry (.It Dv) of some page, and no entry is a constant that is gone
  synopsis   prototypes and structs are those of the header
  links      what a page refers to (.Xr pm_...) exists, and what a link leads to names it
  examples   each program of EXAMPLES compiles without a warning and exits with 0, in an empty directory
  installed  doc/meson.build installs each page
  rendering  mandoc(1) and groff(1) do not complain, and no line is wider than 80 columns
"""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

import header as reader

SKIP = 77
COLUMNS = 80
SECONDS = 30  # for an example
SECTIONS = ("NAME", "LIBRARY", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "SEE ALSO")
STRICT = ("-std=gnu11", "-Wall", "-Wextra", "-Werror")
FILE_ARGUMENT = re.compile(r"struct pm_mapping \*|const char \*path|int fd")
UNDOCUMENTED = set()
ESCAPES = ((r"\e", "\\"), (r"\-", "-"), (r"\&", ""), (r"\(aq", "'"), (r"\(dq", '"'))
OVERSTRUCK = re.compile(".\b|\x1b\\[[0-9;]*m")


@dataclass
class Page:
    path: pathlib.Path
    lines: list
    link: str = ""  # what it is a link to
    sections: dict = field(default_factory=dict)  # heading -> lines

    @property
    def name(self):
        return self.path.stem

    def literals(self, section):
        """The literal blocks of a section, as a person sees them."""
        text = "\n".join(self.sections.get(section, []))
        for block in re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", text + "\n", re.S | re.M):
            for escape, character in ESCAPES:
                block = block.replace(escape, character)
            yield block

    def names(self):
        return [line.split()[1] for line in self.sections.get("NAME", []) if line.startswith(".Nm ")]


def read_page(path):
    page = Page(path, path.read_text(encoding="ascii").splitlines())
    if page.lines and page.lines[0].startswith(".so "):
        page.link = page.lines[0].split()[1]
    heading = ""
    for line in page.lines:
        if line.startswith(".Sh "):
            heading = line[4:].strip('"')
            page.sections[heading] = []
        elif heading:
            page.sections[heading].append(line)
    return page


def read_pages(doc):
    return [read_page(path) for path in sorted(doc.glob("man[137]/*.[137]"))]


def tokens(declaration):
    return " ".join(re.findall(r"\w+|[^\w\s]", declaration))


# ---- What the header has ----

def sections_of(page):
    """What a page of section 3 must have. Only a function that returns int can fail, and only one that is given a
    mapping or a file has to do with durability: the others give names and addresses, put words together, or install a
    handler."""
    failing = [prototype for prototype in prototypes_of(page) if prototype.startswith("int ")]
    sections = list(SECTIONS)
    sections += ["RETURN VALUES"] if prototypes_of(page) else []
    sections += ["ERRORS"] if failing else []
    return sections + (["DURABILITY"] if any(map(FILE_ARGUMENT.search, failing)) else [])


def check_pages(pages, header):
    wanted = [function.name for function in reader.functions(header)] + list(reader.function_types(header))
    wanted += [name for name in reader.structs(header) if name != "pm_evidence"]  # it is described with pm_report
    third = {page.name: page for page in pages if page.path.suffix == ".3"}
    problems = [f"{name}: no page {name}.3" for name in wanted if name not in third]
    for name, page in third.items():
        if page.link:
            continue
        problems += [f"{page.path.name}: no section {section}" for section in sections_of(page)
                     if not any(line.strip() for line in page.sections.get(section, []))]
        if not any("main(" in block for block in page.literals("EXAMPLES")):
            problems.append(f"{page.path.name}: no program in EXAMPLES")
        problems += [f"{page.path.name}: names {other}, which the header has not" for other in page.names()
                     if other not in wanted]
        if name not in page.names():
            problems.append(f"{page.path.name}: does not name {name}")
    return problems


def check_entries(pages, header, undocumented):
    words = set(reader.words(header))
    entries = {word: page for page in pages for line in page.lines if line.startswith(".It Dv ")
               for word in re.findall(r"\bPM_\w+", line)}
    problems = [f"{word}: no page has an entry for it" for word in sorted(words - set(entries) - undocumented)]
    problems += [f"{word}: an exception without need" for word in sorted(undocumented - (words - set(entries)))]
    return problems + [f"{page.path.name}: {word} is not in the header" for word, page in sorted(entries.items())
                       if word not in words]


def check_installed(pages, build_file):
    listed = set(re.findall(r"'(man[137]/[\w.-]+)'", build_file))
    there = {f"{page.path.parent.name}/{page.path.name}" for page in pages}
    return [f"{name}: not installed by doc/meson.build" for name in sorted(there - listed)]


# ---- Synopsis ----

def prototypes(page):
    """What the macros of the synopsis declare, as C."""
    kind, name, arguments = "", "", []
    for line in page.sections.get("SYNOPSIS", []):
        if not re.match(r"\.F[tnoac]\b", line):
            continue
        macro, *words = shlex.split(line[1:])
        if macro == "Ft":
            kind = " ".join(words)
        elif macro == "Fa":
            arguments += words
        else:
            name, arguments = (words[0], words[1:]) if macro != "Fc" else (name, arguments)
            if macro != "Fo":
                yield name, f"{kind} {name}({', '.join(arguments)});"


def prototypes_of(page):
    return [prototype for _, prototype in prototypes(page) if not prototype.startswith("typedef")]


def check_synopsis(pages, header):
    true = {function.name: function.prototype for function in reader.functions(header)}
    true.update(reader.function_types(header))
    problems, seen = [], set()
    for page in (page for page in pages if page.path.suffix == ".3"):
        for name, prototype in prototypes(page):
            seen.add(name)
            if tokens(prototype) != tokens(true.get(name, "")):
                problems.append(f"{page.path.name}: '{prototype}', the header says '{true.get(name, 'nothing')}'")
        for name, members in reader.structs("\n".join(page.literals("SYNOPSIS"))).items():
            seen.add(name)
            if members != reader.structs(header).get(name):
                problems.append(f"{page.path.name}: struct {name} differs from that of the header")
    missing = (set(true) | set(reader.structs(header))) - seen
    return problems + [f"{name}: in no synopsis" for name in sorted(missing)]


# ---- Links ----

def check_links(pages):
    there = {(page.name, page.path.suffix[1:]) for page in pages}
    by_place = {f"{page.path.parent.name}/{page.path.name}": page for page in pages}
    problems = []
    for page in pages:
        if page.link and page.link not in by_place:
            problems.append(f"{page.path.name}: leads to {page.link}, which does not exist")
        elif page.link and page.path.suffix == ".3" and page.name not in by_place[page.link].names():
            problems.append(f"{page.path.name}: leads to {page.link}, which does not name it")
        problems += [f"{page.path.name}: refers to {name}({section}), which does not exist"
                     for name, section in re.findall(r"\bXr (pm(?:_\w+|direct)?) (\d)", "\n".join(page.lines))
                     if (name, section) not in there]
    return problems


# ---- Examples ----

def run_example(program, where, include, library, compiler):
    """Compiles and runs it; the complaint, or nothing."""
    with tempfile.TemporaryDirectory(dir=where, prefix="example-") as directory:
        root = pathlib.Path(directory).resolve()
        (root / "empty").mkdir()
        (root / "example.c").write_text(program, encoding="ascii")
        link = [library, f"-Wl,-rpath,{pathlib.Path(library).resolve().parent}"] if library else []
        made = subprocess.run([*compiler, *STRICT, "-I", include, "-o", root / "example", root / "example.c", *link],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if made.returncode:
            return f"does not compile: {made.stdout.strip()}"
        try:
            done = subprocess.run([root / "example"], cwd=root / "empty", stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return f"does not end within {SECONDS} seconds"
        return f"exits with {done.returncode}: {done.stdout.strip()}" if done.returncode else ""


def check_examples(pages, where, include, library, compiler):
    problems, run = [], 0
    for page in pages:
        for block in page.literals("EXAMPLES"):
            if all(line.startswith("$ ") for line in block.splitlines()):
                continue  # what a person types
            run += 1
            complaint = run_example(block, where, include, library, compiler)
            problems += [f"{page.path.name}: the example {complaint}"] if complaint else []
    return problems if run else ["no page has an example"]


# ---- Rendering ----

def rendered(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return OVERSTRUCK.sub("", done.stdout.decode("utf-8")).splitlines(), done.stderr.decode("utf-8").strip()


def check_groff(page):
    # As man(1) does it on a terminal of 80 columns.
    lines, complaint = rendered("groff", "-mandoc", "-t", "-ww", "-Tutf8", "-rLL=78n", "-rLT=78n", "-P-cbou", page.path)
    problems = [f"{page.path.name}: groff: {complaint}"] if complaint else []
    return problems + too_wide(page, lines, "groff")


def check_mandoc(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page.path], stdout=subprocess.PIPE, text=True,
                          check=False)
    lines, _ = rendered("mandoc", "-T", "utf8", "-O", f"width={COLUMNS - 2}", page.path)
    problems = [f"{page.path.name}: {done.stdout.strip()}"] if done.returncode else []
    return problems + too_wide(page, lines, "mandoc")


def too_wide(page, lines, program):
    if len(lines) < 10:
        return [f"{page.path.name}: {program} renders {len(lines)} lines"]
    return [f"{page.path.name}: {program} renders a line of {len(line)} columns: {line.strip()}"
            for line in lines if len(line) > COLUMNS]


def check_rendering(pages):
    programs = {"groff": check_groff, "mandoc": check_mandoc}
    return [problem for program, check in programs.items() if shutil.which(program)
            for page in pages if not page.link for problem in check(page)]


# ---- The self-test: a manual in which everything is wrong ----

BAD_HEADER = """
#define PM_KNOWN 1
#define PM_FORGOTTEN 2
enum pm_kind { PM_ONE = 1, PM_TWO = 2 };
struct pm_shape { int a; char b[4]; };
struct pm_lost { int a; };
typedef int pm_call(void *arg);
PM_API int pm_good(const char *path, int n);
PM_API int pm_wrong(const char *path, int n);
PM_API int pm_absent(void);
"""
BAD_PAGE = r""".\" SPDX-License-Identifier: BSD-3-Clause
.Dd January 1, 2000
.Dt PM_GOOD 3
.Os
.Sh NAME
.Nm pm_good ,
.Nm pm_stranger
.Nd a page that is wrong in every way
.Sh LIBRARY
libpmdirect
.Sh SYNOPSIS
.Ft int
.Fo pm_good
.Fa "const char *path"
.Fa "int n"
.Fc
.Ft int
.Fn pm_wrong "char *path" "int n"
.Bd -literal
struct pm_shape {
        int a;
        char b[5];
};
.Ed
.Sh DESCRIPTION
See
.Xr pm_nowhere 7 .
.Bl -tag -width PM_KNOWN
.It Dv PM_KNOWN
Well.
.It Dv PM_ONE
Well.
.It Dv PM_GONE
It once was.
.El
.Bd -literal
.Ed
.Pp
.Nosuchmacro
.Bd -literal
                    a line that is far too wide for a terminal of eighty columns, whatever a person does
.Ed
.Sh EXAMPLES
.Bd -literal
int main(void)
{
        int unused;
        return 0;
}
.Ed
.Bd -literal
int main(void)
{
        return 3;
}
.Ed
.Bd -literal
#include <dirent.h>
int main(void)
{
        DIR *here = opendir(".");
        while (readdir(here)->d_name[0] == '.')
                ;
        return 0;
}
.Ed
"""
EXPECTED = ("pm_absent: no page", "pm_call: no page", "pm_lost: no page", "no section SEE ALSO",
            "pm_good.3: no section RETURN VALUES", "pm_good.3: no section ERRORS", "pm_good.3: no section DURABILITY",
            "pm_shape.3: no section EXAMPLES", "pm_shape.3: no program", "names pm_stranger",
            "man3/pm_dead.3: not installed",
            "PM_FORGOTTEN: no page has", "PM_TWO: no page has", "PM_GONE is not in the header",
            "PM_OLD: an exception without need",
            "'int pm_wrong(char *path, int n);', the header says 'int pm_wrong(const char *path, int n);'",
            "struct pm_shape differs", "pm_absent: in no synopsis", "pm_lost: in no synopsis",
            "pm_call: in no synopsis", "refers to pm_nowhere(7)", "pm_dead.3: leads to man3/pm_gone.3",
            "pm_wrong.3: leads to man3/pm_good.3", "does not compile: ", "unused variable", "exits with 3",
            "exits with -11", "no page has an example")
WRONG = re.compile(r"PM_KNOWN|PM_ONE\b|int pm_good\(|pm_good.3: not installed")  # what is right there
EXPECTED_OF = {"groff": ("groff: ", "groff renders a line of", "groff renders 0 lines"),
               "mandoc": ("mandoc: ", "mandoc renders a line of")}


def self_test(where, *compiler):
    with tempfile.TemporaryDirectory() as directory:
        doc = pathlib.Path(directory)
        for folder in ("man3", "man7"):
            (doc / folder).mkdir()
        shape = BAD_PAGE.replace("pm_good ,", "pm_shape ,").partition(".Sh EXAMPLES")[0]
        for name, text in (("pm_good", BAD_PAGE), ("pm_shape", shape),
                           ("pm_dead", ".so man3/pm_gone.3\n"), ("pm_wrong", ".so man3/pm_good.3\n")):
            (doc / "man3" / f"{name}.3").write_text(text, encoding="ascii")
        pages = read_pages(doc)
        found = check_pages(pages, BAD_HEADER) + check_entries(pages, BAD_HEADER, {"PM_OLD"})
        found += check_synopsis(pages, BAD_HEADER)
        found += check_installed(pages, "'man3/pm_good.3'") + check_links(pages)
        found += check_examples(pages[1:2], where, directory, None, compiler)
        found += check_examples(pages[:1], where, directory, None, compiler) + check_rendering(pages)
        found += too_wide(pages[0], [], "groff") if shutil.which("groff") else []
    expected = list(EXPECTED)
    for program, words in EXPECTED_OF.items():
        expected += words if shutil.which(program) else []
    return [f"not found: {words}" for words in expected if not any(words in problem for problem in found)] + [
        f"wrongly found: {problem}" for problem in found if WRONG.search(problem)]


def check_all(doc, header_path, library, where, *compiler):
    pages, header = read_pages(pathlib.Path(doc)), pathlib.Path(header_path).read_text(encoding="utf-8")
    problems = check_pages(pages, header) + check_entries(pages, header, UNDOCUMENTED) + check_synopsis(pages, header)
    problems += check_installed(pages, pathlib.Path(doc, "meson.build").read_text(encoding="utf-8"))
    problems += check_links(pages) + check_rendering(pages)
    return problems + check_examples(pages, where, pathlib.Path(header_path).parent, library, compiler)


def main(first, *rest):
    problems = self_test(*rest) if first == "--self-test" else check_all(first, *rest)
    for problem in problems:
        print(problem)
    missing = [program for program in ("groff", "mandoc") if not shutil.which(program)]
    if not problems and missing:
        print(f"skipped in part: {' and '.join(missing)} not installed")
        return SKIP
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
