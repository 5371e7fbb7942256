# SPDX-License-Identifier: BSD-3-Clause
"""Draws the results of a program with gnuplot, as SVG and PNG.

Cases that differ in one number are a line each competitor over that number; other cases are groups of bars, if their
names fit below them.
"""

import collections
import os
import re
import subprocess

NUMBER = re.compile(r"\d+(?:\.\d+)?")
FEWEST_POINTS = 4
MOST_PLOTS = 2  # of one program
LONGEST_NAME = 40  # of a group of bars
TERMINALS = {"svg": "svg size 760,420 font 'sans,12' noenhanced", "png": "png size 760,420 noenhanced"}
COMMON = """set key outside below
set title {title}
set ylabel 'ns'
set logscale y
set grid y
"""


def quote(text):
    return "'" + str(text).replace("'", "''") + "'"


def series(cases):
    """{what the cases have in common: [(the number in which they differ, case)]}, longest first."""
    numbers = {what: NUMBER.findall(what) for what in cases}
    found = collections.defaultdict(list)
    for what, values in numbers.items():
        for i, value in enumerate(values):
            at = [match.span() for match in NUMBER.finditer(what)][i]
            found[what[:at[0]] + "N" + what[at[1]:]].append((float(value), what))
    lines = {common: sorted(points) for common, points in found.items() if len(points) >= FEWEST_POINTS}
    return dict(sorted(lines.items(), key=lambda line: -len(line[1])))


def data_block(name, lines):
    return "\n".join([f"${name} << EOD", *lines, "EOD", ""])


def lines_plot(common, points, cases):
    """With the quartiles as bars."""
    names = list(dict.fromkeys(c for _, what in points for c in cases[what]))
    text, parts = "set logscale x 2\n" if points[-1][0] >= 16 * max(points[0][0], 1) else "", []
    for i, name in enumerate(names):
        text += data_block(f"d{i}", [f"{x} {cases[what][name][1]} {cases[what][name][0]} {cases[what][name][2]}"
                                     for x, what in points if name in cases[what]])
        parts.append(f"$d{i} using 1:2:3:4 with yerrorlines title {quote(name)}")
    return common, text + f"set xlabel {quote('N')}\nplot " + ", ".join(parts) + "\n"


def bars_plot(question, cases):
    """None if there would be no telling which bars are whose."""
    prefix = os.path.commonprefix(list(cases)) if len(cases) > 1 else ""
    prefix = prefix[:prefix.rfind(" ") + 1]
    if max(map(len, cases)) - len(prefix) > LONGEST_NAME:
        return None
    names = list(dict.fromkeys(c for case in cases.values() for c in case))
    rows = ['"' + what[len(prefix):].replace('"', "") + '" ' +
            " ".join(str(case[name][1]) if name in case else "NaN" for name in names) for what, case in cases.items()]
    text = data_block("d", rows) + "set style data histogram\nset style fill solid 0.7\nset xtics rotate by 15 right\n"
    parts = [f"$d using {i + 2}:xtic(1) title {quote(name)}" for i, name in enumerate(names)]
    return prefix.strip(" ,") or question, text + "plot " + ", ".join(parts) + "\n"


def draw(directory, program, question, cases):
    """cases: {case: {competitor: quartiles}}. Returns the paths of the files."""
    directory.mkdir(parents=True, exist_ok=True)
    drawings = [lines_plot(common, points, cases) for common, points in series(cases).items()][:MOST_PLOTS]
    paths = []
    for i, (title, text) in enumerate(filter(None, drawings or [bars_plot(question, cases)])):
        path = directory / (program + (f"-{i + 1}" if i else ""))
        for kind, terminal in TERMINALS.items():
            paths.append(path.with_name(path.name + "." + kind))
            common = COMMON.format(title=quote(title))
            script = f"set terminal {terminal}\nset output {quote(paths[-1])}\n{common}{text}"
            subprocess.run(["gnuplot"], input=script, text=True, check=True, stderr=subprocess.DEVNULL)
    return paths
