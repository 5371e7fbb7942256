#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Plain English: the tells of sentences without a subject stay rare (CODING_STYLE.md, Prose).

  prose.py ROOT         counts them in each part of the tree; at 0.5 or more per 1,000 words a part fails
  prose.py ROOT PART    shows each place in that part
  prose.py --self-test  checks the counting

The words are those of documents and manual pages, and of comments and string literals in code.
"""

import io
import pathlib
import re
import sys
import tokenize

MOST = 0.5  # in 1,000 words
TELLS = re.compile(r"\b(?:who|whom|whoever|whomever|somebody|nobody|anybody|someone|anyone|he|him|his|likewise|"
                   r"to\s+be\s+had|(?:is|are|was|were)\s+told\s+of)\b", re.IGNORECASE)
# Names, not words: code in a document, a path.
NAMES = re.compile(r"`[^`\n]*`|/[\w./-]*|\w+\.(?:c|h|py|sh|md)\b|%\w+")
WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")

# Name, and what belongs to it: files or directories.
PARTS = {
    "header": ("include",),
    "manual": ("doc",),
    "README": ("README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"),
    "ARCHITECTURE": ("ARCHITECTURE.md",),
    "CODING_STYLE": ("CODING_STYLE.md",),
    "lib": ("lib",),
    "examples": ("examples",),
    "adapters": ("adapters",),
    "tools": ("tools",),
    "bench": ("bench",),
    "bindings": ("bindings",),
    "tests": ("tests",),
    "scripts": ("scripts",),
    "packaging": ("meson.build", "meson_options.txt", "cmake", "debian"),
}
# Written by a program from what stands elsewhere.
GENERATED = {"doc/backings.md"}
# The rules quote what they forbid, and so does this file.
QUOTES = {"tests/contract/prose.py"}

C_TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
C_SKIP = re.compile(r"^[ \t]*#[ \t]*include[^\n]*", re.MULTILINE)
HASH_TEXT = re.compile(r"(?:^|[ \t])#[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'", re.MULTILINE)
MACRO = re.compile(r"^\.\\\"[^\n]*|^'\\\"[^\n]*|^\.(?:Xr|Er|Pa|Dt|Dd|Os|In|Va|Vt|Fn|BR|TH)\b[^\n]*|^\.[A-Za-z]+ ?",
                   re.MULTILINE)
CODE_BLOCK = re.compile(r"^```.*?^```|^\.Bd -literal.*?^\.Ed|^\.EX.*?^\.EE", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r"\*[^*\n]+\*|\"[^\"]*\"")


def of_c(text):
    found = []
    for match in C_TEXT.finditer(C_SKIP.sub(blank, text)):
        # The escapes and the stars at the side are not in the sentence.
        found.append((match.start(), re.sub(r"\\[nt]|^[ \t]*\*+|/\*+|\*+/", blank, match[0], flags=re.MULTILINE)))
    return found


def of_python(text):
    starts, found = [0], []
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    kinds = {tokenize.COMMENT, tokenize.STRING}
    kinds |= {getattr(tokenize, "FSTRING_MIDDLE")} if hasattr(tokenize, "FSTRING_MIDDLE") else set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            found.append((starts[token.start[0] - 1] + token.start[1], token.string))
    return found


def of_hash(text):
    return [(m.start(), m[0]) for m in HASH_TEXT.finditer(text)]


def of_document(text):
    plain = CODE_BLOCK.sub(blank, text)
    return [(0, MACRO.sub(blank, plain))]


READERS = {".c": of_c, ".h": of_c, ".cc": of_c, ".py": of_python, ".sh": of_hash, ".build": of_hash, ".txt": of_hash,
           ".map": of_c, ".md": of_document, ".1": of_document, ".3": of_document, ".7": of_document, "": of_hash}


def blank(match):
    return re.sub(r"[^\n]", " ", match[0])


def strip(text, style):
    """What is no word of ours; in the rules also what they quote."""
    text = NAMES.sub(blank, text)
    return QUOTED.sub(blank, text) if style else text


def read(path, name):
    """(words, [(line, tell)]) of one file."""
    reader = READERS.get(path.suffix)
    if not reader or name in GENERATED | QUOTES:
        return 0, []
    text = path.read_text(encoding="utf-8", errors="replace")
    if not path.suffix and not text.startswith("#!"):
        return 0, []
    words, tells = 0, []
    for at, piece in reader(text):
        piece = strip(piece, name == "CODING_STYLE.md")
        words += len(WORD.findall(piece))
        tells += [(text.count("\n", 0, at) + piece.count("\n", 0, m.start()) + 1, " ".join(m[0].split()))
                  for m in TELLS.finditer(piece)]
    return words, tells


def files(root, places):
    for place in places:
        path = root / place
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (p for p in found if p.is_file() and "__pycache__" not in p.parts)


def count(root, part):
    words, places = 0, []
    for path in files(root, PARTS[part]):
        name = str(path.relative_to(root))
        more, tells = read(path, name)
        words += more
        places += [f"{name}:{line}: {tell}" for line, tell in tells]
    return words, places


def check(root):
    failed = False
    for part in PARTS:
        words, places = count(root, part)
        rate = len(places) * 1000 / words if words else 0
        bad = not words or rate >= MOST
        print(f"{part:13} {words:7} words  {len(places):4} tells  {rate:5.2f} per 1,000"
              f"{'  FAILED' if bad else ''}")
        failed |= bad
    if failed:
        print(f"a part is empty, or at {MOST} or more per 1,000 words: prose.py ROOT PART shows the places")
    return 1 if failed else 0


def show(root, part):
    for place in count(root, part)[1]:
        print(place)
    return 0


def self_test():
    cases = (
        (of_c, 'int who; /* who opens it */ char *s = "somebody";\n#include "nobody.h"\n', 2),
        (of_c, "/* The lease is not to\n * be had. */ // Likewise, to be had\n", 3),
        (of_c, "/* the process is told of it, he waits; whose size, others */", 2),
        (of_c, "/* history, this, the, whole, chose; tests/nobody.sh, `who` */", 0),
        (of_python, "nobody = 1  # anybody\nx = 'whoever'\n", 2),
        (of_hash, "somebody=1 # he\necho \"his\"\n", 2),
        (of_document, ".Xr who 1\nThe caller.\n.Em Somebody\n```\nhe\n```\n", 1),
    )
    problems = []
    for reader, text, wanted in cases:
        found = sum(len(TELLS.findall(strip(piece, False))) for _, piece in reader(text))
        if found != wanted:
            problems.append(f"{text!r}: {found} tells, not {wanted}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        sys.exit(self_test())
    top = pathlib.Path(sys.argv[1])
    sys.exit(show(top, sys.argv[2]) if len(sys.argv) > 2 else check(top))
