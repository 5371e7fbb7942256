#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The manual is whole: a page for each function, no word without an explanation, nothing that troff warns of.

  pages.py HEADER PAGES_DIRECTORY PAGE...   the generated pages are in the directory, the others are named
"""

import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "doc"))
import header as reader  # noqa: E402

SECTIONS = ("NAME", "LIBRARY", "SYNOPSIS", "DESCRIPTION", "RETURN VALUE", "THREADS", "CRASH", "SEE ALSO")
SKIP = 77


def check_generated(header, texts):
    problems = []
    for function in reader.functions(header):
        text = texts.get(function.name + ".3")
        if text is None:
            problems.append(f"{function.name}: no page")
            continue
        problems += [f"{function.name}(3): no section {section}" for section in SECTIONS
                     if f"\n.SH {section}\n" not in text]
    return problems


def check_words(header, texts):
    comments = " ".join(re.findall(r"/\*.*?\*/", header, flags=re.DOTALL))
    known = set(re.findall(r"\bPM_\w+", comments + " ".join(texts.values())))
    return [f"{word}: explained nowhere" for word in reader.words(header) if word not in known]


def check_references(texts):
    pages = {name.replace(".", "(") + ")" for name in texts}
    problems = []
    for name, text in texts.items():
        plain = re.sub(r"\\f[BIPR]|\\&", "", text)
        for match in re.finditer(r"\b(pm_?\w*) ?\(([37])\)", plain):
            if f"{match[1]}({match[2]})" not in pages:
                problems.append(f"{name}: refers to {match[1]}({match[2]}), which does not exist")
    return problems


def check_troff(paths):
    problems = []
    for path in paths:
        done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-z", path], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode or done.stdout:
            problems.append(f"{path}: {done.stdout.strip() or done.returncode}")
    return problems


def main(header_path, directory, *named):
    header = pathlib.Path(header_path).read_text(encoding="utf-8")
    paths = sorted(pathlib.Path(directory).glob("*.3")) + [pathlib.Path(path) for path in named]
    texts = {path.name: path.read_text(encoding="ascii") for path in paths}
    problems = check_generated(header, texts) + check_words(header, texts) + check_references(texts)
    troff = shutil.which("groff") is not None
    problems += check_troff(paths) if troff else []
    for problem in problems:
        print(problem)
    if not problems and not troff:
        print("skipped in part: groff is not installed, so that nobody looked for its warnings")
        return SKIP
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
