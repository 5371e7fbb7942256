#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""No two files of a program or a module use each other, not even by way of others: by the symbols of their objects.

  circles.py DIRECTORY...  checks the objects in each directory, which are one program's
  circles.py --self-test   checks that a circle is found, and only a circle

layers.py checks the library, whose files have an order.
"""

import collections
import graphlib
import pathlib
import subprocess
import sys


def symbols(directory):
    """Which object defines a symbol, and which symbols each object uses."""
    defined, used = {}, collections.defaultdict(set)
    for path in sorted(pathlib.Path(directory).glob("*.o")):
        listing = subprocess.run(["nm", "-P", path], check=True, capture_output=True, text=True).stdout
        for name, kind in (line.split()[:2] for line in listing.splitlines()):
            if kind in "Uwv":
                used[path.name].add(name)
            elif kind.isupper():
                defined[name] = path.name
    return defined, used


def circle(defined, used):
    """The objects of a circle, each with a symbol of the next; [] if there is none."""
    uses = {user: {defined[name] for name in names if defined.get(name, user) != user} for user, names in used.items()}
    try:
        graphlib.TopologicalSorter(uses).prepare()
    except graphlib.CycleError as error:
        # Each is used by the one after it.
        path = error.args[1][::-1]
        return [f"{user} uses {min(name for name in used[user] if defined.get(name) == of)} of {of}"
                for user, of in zip(path, path[1:])]
    return []


def check(directory):
    defined, used = symbols(directory)
    if not used:
        return [f"{directory}: no objects"]
    return [f"{directory}: {line}" for line in circle(defined, used)]


def self_test():
    three = circle({"a": "a.o", "b": "b.o", "c": "c.o"}, {"a.o": {"b", "malloc"}, "b.o": {"c"}, "c.o": {"a"}})
    none = circle({"a": "a.o", "b": "b.o", "c": "c.o"},
                  {"a.o": {"a", "b", "c"}, "b.o": {"c", "malloc"}, "c.o": {"free"}})
    problems = [] if sorted(three) == ["a.o uses b of b.o", "b.o uses c of c.o", "c.o uses a of a.o"] else [
        f"not found: the circle of three ({three})"]
    return problems + [f"unexpected: {line}" for line in none]


def main(arguments):
    problems = self_test() if arguments == ["--self-test"] else [
        problem for directory in arguments for problem in check(directory)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
