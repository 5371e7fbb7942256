#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The lists of debian/ are those of the build: to build the packages (scripts/package) takes too long for each change.

  packages.py ROOT BUILD    each file that is installed is in one package, each pattern stands for a file, and each
                            symbol of a library is in its list of symbols
  packages.py --self-test   each kind of fault is found
"""

import fnmatch
import json
import pathlib
import re
import subprocess
import sys

LIBRARIES = {"libpmdirect0": "libpmdirect.so.0", "libpmdirect-raft0": "libpmdirect_raft.so.0"}


def installed(build):
    """Path in a package, by path in the build."""
    text = subprocess.run(["meson", "introspect", "--installed", build], check=True, stdout=subprocess.PIPE).stdout
    paths = {}
    for source, path in json.loads(text).items():
        where = re.sub(r"^/usr/(local/)?", "usr/", path)
        paths[re.sub(r"^usr/lib(64)?/(?=(lib|pmdirect|pkgconfig|cmake))", "usr/lib/ARCH/", where)] = source
    return paths


def patterns(lists):
    """(package, pattern) of what meson installs; a line with two words takes a file of the source."""
    return [(package, line.strip()) for package, text in sorted(lists.items()) for line in text.splitlines()
            if line.strip() and " " not in line.strip() and not line.startswith("#")]


def matches(path, pattern):
    """A directory stands for all in it."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) >= len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def check_files(paths, lists):
    problems, wanted = [], patterns(lists)
    for path in sorted(paths):
        packages = {package for package, pattern in wanted if matches(path, pattern)}
        if len(packages) != 1:
            problems.append(f"{path}: in {', '.join(sorted(packages)) or 'no package'}")
    for package, pattern in wanted:
        # Only a build of Debian has static libraries.
        if not pattern.endswith(".a") and not any(matches(path, pattern) for path in paths):
            problems.append(f"{package}: {pattern} is not installed")
    return problems


def check_symbols(package, text, exported):
    listed = set(re.findall(r"^ (\w+)@", text, re.MULTILINE))
    problems = [f"{package}.symbols: {name} is missing" for name in sorted(exported - listed)]
    return problems + [f"{package}.symbols: there is no {name}" for name in sorted(listed - exported)]


def exports(library):
    text = subprocess.run(["nm", "-D", "--defined-only", library], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {line.split()[2].split("@")[0] for line in text.splitlines() if line.split()[1] in "TW"}


def check(root, build):
    debian = root / "debian"
    paths = installed(build)
    lists = {path.stem: path.read_text(encoding="utf-8") for path in debian.glob("*.install")}
    problems = check_files(paths, lists)
    for package, name in LIBRARIES.items():
        library = next((source for path, source in paths.items() if path.startswith(f"usr/lib/ARCH/{name}.")
                        or re.sub(r"/x86_64-linux-gnu/", "/ARCH/", path).startswith(f"usr/lib/ARCH/{name}.")), None)
        if library:
            text = (debian / f"{package}.symbols").read_text(encoding="utf-8")
            problems += check_symbols(package, text, exports(library))
    return problems


def self_test():
    problems = []
    good = {"one": "usr/bin/x\n",
            "two": "usr/lib/*/liby.so.*\nusr/lib/*/liby.a\nusr/share/man/man3\nscript usr/share\n"}
    paths = dict.fromkeys(("usr/bin/x", "usr/lib/ARCH/liby.so.0", "usr/share/man/man3/y.3"))
    for files, lists, words in (
            (paths, good, ""), (paths | {"usr/bin/z": ""}, good, "usr/bin/z: in no package"),
            (paths, good | {"three": "usr/bin/*\n"}, "usr/bin/x: in one, three"),
            (paths, good | {"three": "usr/bin/gone\n"}, "three: usr/bin/gone is not")):
        found = check_files(files, lists)
        if bool(found) != bool(words) or (words and not any(words in problem for problem in found)):
            problems.append(f"{words or 'good'}: {found}")
    if check_symbols("p", " pm_a@V 1\n pm_b@V 1\n", {"pm_a", "pm_b"}):
        problems.append("the right symbols")
    for text, exported in ((" pm_a@V 1\n", {"pm_a", "pm_b"}), (" pm_a@V 1\n pm_c@V 1\n", {"pm_a"})):
        if len(check_symbols("p", text, exported)) != 1:
            problems.append(f"symbols: {text!r}")
    return problems


def main(*arguments):
    problems = self_test() if arguments[0] == "--self-test" else check(pathlib.Path(arguments[0]), arguments[1])
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
