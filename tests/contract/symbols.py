#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the library shows of itself, and what it asks of others.

  symbols.py exports LIBRARY HEADER MAP   the header, the version script and the library agree; nothing else is seen
  symbols.py calls LIBRARY                no function a library must not call
  symbols.py loading LIBRARY              libc alone is needed; nothing runs when the library is loaded
  symbols.py pure ARCHIVE                 the policy calls nothing
  symbols.py system ARCHIVE               system calls are made by the table of them alone, where tests see it
  symbols.py --self-test CC               each of them fails where it must
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import header as reader

# They print, end the process or change its state behind the caller's back.
FORBIDDEN = re.compile(r"""^_*(?:
    v?[fd]?printf|perror|f?puts|f?putc|putchar|fwrite|fflush|psignal|error|errx?|v?warnx?
  | v?syslog|openlog|closelog
  | abort|_?exit|_Exit|quick_exit|at_quick_exit|atexit|assert_fail\w*|fork|vfork|exec\w+|posix_spawnp?|system|popen
  | f?chdir|chroot|umask|set[ug]id|sete[ug]id|setre[sg]?[ug]id|prctl|sync
  | (?:un|put|set|clear)env
  | signal|sigaction|sigprocmask|pthread_sigmask|sigaltstack|raise|kill|alarm|setitimer
  | setlocale|pthread_atfork|register_atfork
  )(?:_chk|64)?$""", re.VERBOSE)
# Only for a program that asks for a guard: the unit tests' fake machine sees to that.
TABLED = {"sigaction", "pthread_sigmask"}
# Functions of the C library that compute, or allocate, or belong to threads and to the loader.
COMPUTES = re.compile(r"""^_*(?:
    (?:mem|str)\w+ | (?:v?s|vas|as)n?printf | (?:isoc\d+_)?sscanf | malloc | calloc | realloc | free | sysconf | environ
  | (?:pthread|sem)_\w+ | sig(?:empty|fill|add|del|is)\w+ | siglongjmp | sigsetjmp | dl(?:sym|addr|_iterate_phdr)
  | errno_location | tls_get_addr | GLOBAL_OFFSET_TABLE_ | stack_chk_fail | [autl]b?san_\w+
  )(?:_chk|64)?$""", re.VERBOSE)
NEEDED = re.compile(r"^(?:libc\.so\.\d+|ld-linux[\w.-]*)$")
# What a compiler may make of an assignment or a loop, and of the instrumentation of a special build.
IMPLIED = re.compile(r"^(?:mem(?:set|cpy|move|cmp)|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail|__[aut]b?san_\w+)$")


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def undefined(library):
    return [line.split()[-1].split("@")[0] for line in run("nm", "-D", "--undefined-only", library).splitlines()]


def exports(library, header, version_script):
    lines = [line.split() for line in run("nm", "-D", "--defined-only", library).splitlines()]
    # The version itself is an absolute symbol.
    seen = {name.split("@")[0] for _, kind, name in lines if kind != "A"}
    declared = {function.name for function in reader.functions(pathlib.Path(header).read_text(encoding="utf-8"))}
    listed = set(reader.listed(pathlib.Path(version_script).read_text(encoding="utf-8")))
    problems = [f"{name}: exported, not in the header" for name in seen - declared]
    problems += [f"{name}: in the header, not exported" for name in declared - seen]
    problems += [f"{name}: in the version script, not in the header" for name in listed - declared]
    problems += [f"{name}: in the header, not in the version script" for name in declared - listed]
    return problems + [f"{name[2]}: exported without a version" for name in lines
                       if name[1] != "A" and "@@" not in name[2]]


def calls(library):
    return [f"{name}: a library must not call it" for name in undefined(library)
            if FORBIDDEN.match(name) and name not in TABLED]


def initialisers(library):
    """Names of the functions that run at loading; the compiler's own registration is expected."""
    dynamic = run("readelf", "-dW", library)
    size = re.search(r"\(INIT_ARRAYSZ\)\s+(\d+)", dynamic)
    if not size:
        return []
    first = int(re.search(r"\(INIT_ARRAY\)\s+0x([0-9a-f]+)", dynamic)[1], 16)
    slots = range(first, first + int(size[1]))
    targets = re.findall(r"^([0-9a-f]+)\s+[0-9a-f]+\s+R_\w+_RELATIVE\s+([0-9a-f]+)",
                         run("readelf", "-rW", library), re.M)
    names = {int(line.split()[0], 16): line.split()[2] for line in run("nm", library).splitlines()
             if len(line.split()) == 3 and line.split()[1] in "tT"}
    return [names.get(int(target, 16), "unknown") for slot, target in targets if int(slot, 16) in slots]


def loading(library):
    dynamic = run("readelf", "-dW", library)
    problems = [f"{name}: needed" for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic) if not NEEDED.match(name)]
    problems += [f"{name}: runs when the library is loaded" for name in initialisers(library) if name != "frame_dummy"]
    soname = re.search(r"\(SONAME\).*\[(.*)\]", dynamic)
    if not soname or soname[1] != "libpmdirect.so.0":
        problems.append(f"SONAME is {soname and soname[1]}")
    if "TEXTREL" in dynamic:
        problems.append("relocations in the code")
    return problems


def pure(archive):
    member, problems, seen = "", [], False
    for line in run("nm", archive).splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif line and "policy" in member:
            seen = True
            *_, kind, name = line.split()
            if kind in "bBdDC":
                problems.append(f"{name}: the policy has state")
            if kind == "U" and not IMPLIED.match(name):
                problems.append(f"{name}: the policy calls it")
    return problems if seen else ["no policy in the archive"]


def system(archive):
    member, defined, called = "", set(), []
    for line in run("nm", archive).splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif line:
            *_, kind, name = line.split()
            (called.append((name, member)) if kind == "U" else defined.add(name))
    problems = [f"{name}: called by {member}" for name, member in called
                if name not in defined and not re.search(r"(?:^|_)(?:sys|cpu)_\w+\.c\.o$", member)
                and (name in TABLED or not COMPUTES.match(name))]
    is_library = any(name in TABLED for name, _ in called)
    return problems if is_library else ["no object touches signals: is this the library?"]


BAD_HEADER = "PM_API int pm_there(void);\n/**\n * pm_gone - x\n */\nPM_API int pm_gone(void);\n"
BAD_SOURCE = """
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
int pm_there(void) { printf("%f", sqrt(atof(getenv("X")))); return 0; }
int pm_leak(void) { abort(); }
__attribute__((constructor)) static void early(void) { puts("early"); }
"""
BAD_POLICY = """
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
static int count;
int pm_decide(void) { return rand() + unshare(0) + sigaction(SIGBUS, NULL, NULL) + count++; }
"""


def self_test(compiler):
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for name, text in (("bad.c", BAD_SOURCE), ("bad.h", BAD_HEADER), ("policy.c", BAD_POLICY),
                           ("bad.map", "V {\nglobal:\n\tpm_there;\n\tpm_stale;\nlocal:\n\t*;\n};\n")):
            (root / name).write_text(text, encoding="utf-8")
        library, archive = str(root / "bad.so"), str(root / "bad.a")
        run(*compiler, "-O0", "-fPIC", "-shared", "-o", library, str(root / "bad.c"), "-lm")
        run(*compiler, "-c", "-o", str(root / "policy.o"), str(root / "policy.c"))
        run("ar", "rc", archive, str(root / "policy.o"))
        found = exports(library, root / "bad.h", root / "bad.map") + calls(library) + loading(library) + pure(archive)
        found += system(archive)
    expected = ["pm_leak: exported, not", "pm_gone: in the header, not exported", "pm_there: exported without",
                "pm_stale: in the version", "pm_gone: in the header, not in the version", "printf: a library",
                "abort: a library", "puts: a library", "libm.so.6: needed", "early: runs", "SONAME is None",
                "rand: the policy calls", "count: the policy has state", "sigaction: called by policy.o",
                "unshare: called by policy.o"]
    return [f"not found: {words}" for words in expected if not any(words in problem for problem in found)]


def main(check, *arguments):
    checks = {"exports": exports, "calls": calls, "loading": loading, "pure": pure, "system": system}
    problems = self_test(arguments) if check == "--self-test" else checks[check](*arguments)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
