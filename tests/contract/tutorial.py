#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The documents in doc/: the commands of the tutorial give what it shows; links and pictures are there.

  tutorial.py run DOC WORK LIBRARY COMMAND  runs doc/tutorial.md in a directory under WORK, as if they were installed
  tutorial.py links DOC                     each link leads to a file, and to a heading of it; pictures are whole
  tutorial.py --self-test                   each kind of fault is found
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

FENCE = re.compile(r"^```(\S*) ?(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def steps(text):
    """("file", name, content) and ("command", command, expected output), in order."""
    for match in FENCE.finditer(text):
        language, name, body = match.groups()
        if name:
            yield "file", name, body
        elif language == "console":
            for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
                command, _, output = part.partition("\n")
                yield "command", command, output


def as_pattern(output):
    """"..." is any text in a line; a line of its own is any lines."""
    lines = [r"(?:.*\n)*" if line == "..." else "".join(
        ".*" if part == "..." else re.escape(part) for part in re.split(r"(\.\.\.)", line)) + r"\n"
        for line in output.splitlines()]
    return re.compile("".join(lines))


def run(text, work):
    problems, commands = [], 0
    with tempfile.TemporaryDirectory(dir=work) as directory:
        for kind, what, content in steps(text):
            if kind == "file":
                pathlib.Path(directory, what).write_text(content, encoding="utf-8")
                continue
            commands += 1
            done = subprocess.run(["sh", "-ec", what], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=120, check=False)
            said = done.stdout if done.stdout.endswith("\n") or not done.stdout else done.stdout + "\n"
            if not as_pattern(content).fullmatch(said):
                problems.append(f"$ {what}\nsays:\n{said}not:\n{content}")
            # A command whose failure is shown prints it, or handles it by "||".
            if done.returncode and "||" not in what:
                problems.append(f"$ {what}\nends with {done.returncode}")
    return problems if commands else ["no command"]


def as_installed(doc, work, library, command):
    """What a program finds: the header, the library, the command, the Python module."""
    root, directory = pathlib.Path(doc).parent, pathlib.Path(library).parent
    place = pathlib.Path(work, "tutorial-pkgconfig")
    place.mkdir(exist_ok=True)
    (place / "pmdirect.pc").write_text(f"Name: pmdirect\nDescription: not installed\nVersion: 0\n"
                                       f"Cflags: -I{root / 'include'}\nLibs: -L{directory} -lpmdirect\n")
    os.environ.update(PKG_CONFIG_PATH=str(place), LD_LIBRARY_PATH=str(directory), PYTHONDONTWRITEBYTECODE="1",
                      PYTHONPATH=str(root / "bindings/python"),
                      PATH=f"{pathlib.Path(command).parent}:{os.environ['PATH']}")


def anchors(text):
    """As GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(doc):
    doc, problems, count = pathlib.Path(doc), [], 0
    for page in sorted(doc.glob("*.md")):
        for link in LINK.finditer(page.read_text(encoding="utf-8")):
            target, _, anchor = (link[1] or link[2]).partition("#")
            if "://" in target:
                continue
            count += 1
            path = page.parent / target if target else page
            if not path.exists():
                problems.append(f"{page.name}: {target} does not exist")
            elif anchor and anchor not in anchors(path.read_text(encoding="utf-8")):
                problems.append(f"{page.name}: {target or page.name} has no heading #{anchor}")
    return problems + pictures(doc) if count else ["no link"]


def pictures(doc):
    """Each picture is XML, has a title to be read aloud, stays within its frame, and is shown by a document."""
    problems = []
    shown = "".join(page.read_text(encoding="utf-8") for page in doc.glob("*.md"))
    for picture in sorted(doc.glob("pictures/*")):
        try:
            root = xml.etree.ElementTree.parse(picture).getroot()
        except xml.etree.ElementTree.ParseError as error:
            problems.append(f"{picture.name}: {error}")
            continue
        if root.find("{http://www.w3.org/2000/svg}title") is None:
            problems.append(f"{picture.name}: no title")
        if f"pictures/{picture.name}" not in shown:
            problems.append(f"{picture.name}: no document shows it")
        _, _, width, height = map(float, root.get("viewBox", "0 0 0 0").split())
        for element in root.iter():
            if not 0 <= float(element.get("x") or 0) <= width or not 0 <= float(element.get("y") or 0) <= height:
                problems.append(f"{picture.name}: {element.tag} {element.text} lies outside")
    return problems


def self_test():
    problems = []
    good = "```c a.txt\nhello\n```\n```console\n$ cat a.txt\nhel...\n$ false || echo no\n...\nno\n```\n"
    with tempfile.TemporaryDirectory() as work:
        for name, text, words in (("good", good, ""), ("no command", "text", "no command"),
                                  ("other output", good.replace("hel...", "bye"), "says:\nhello"),
                                  ("more output", good.replace("hel...", "h"), "says:\nhello"),
                                  ("failure", good.replace("false || echo no", "false"), "ends with 1")):
            found = run(text, work)
            if bool(found) != bool(words) or (words and not any(words in problem for problem in found)):
                problems.append(f"{name}: {found}")
        doc = pathlib.Path(work)
        (doc / "pictures").mkdir()
        (doc / "a.md").write_text("# One Two\n[x](#one-two) [y](b.md) [z](#three) ![p](pictures/p.svg)\n")
        svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">{}</svg>'
        for name, content in (("p", "<title>t</title>"), ("q", ""), ("s", "<"),
                              ("r", '<title>t</title><text x="20">o</text>')):
            (doc / f"pictures/{name}.svg").write_text(svg.format(content))
        found = links(doc)
        wanted = ["b.md does not exist", "no heading #three", "q.svg: no title", "q.svg: no document", "lies outside",
                  "r.svg: no document", "s.svg: not well"]
        problems += [f"not found: {words}" for words in wanted if not any(words in problem for problem in found)]
        if len(found) != len(wanted):
            problems.append(f"links: {found}")
    return problems


def main(what, *arguments):
    if what == "run":
        as_installed(*arguments)
        problems = run((pathlib.Path(arguments[0]) / "tutorial.md").read_text(encoding="utf-8"), arguments[1])
    else:
        problems = links(arguments[0]) if what == "links" else self_test()
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    sys.exit(main(*sys.argv[1:]))
