#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Neither a preloaded shim nor the environment can raise a promise.

  shim.py WORK SHIM GUARANTEE WHY

GUARANTEE and WHY are the examples; WORK is a directory on storage that is no persistent memory.
"""

import itertools
import os
import pathlib
import re
import subprocess
import sys
import tempfile

VARIABLES = {
    "PMDIRECT_GRANULARITY": (None, "page", "cache_line", "byte", "garbage"),
    "PMEM_IS_PMEM_FORCE": (None, "1"),
    "PMEM2_FORCE_GRANULARITY": (None, "CACHE_LINE", "BYTE"),
    "PMEM_NO_FLUSH": (None, "1"),
}
LOWERS = ("page", "cache_line")


def run(program, settings, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PM", "LD_PRELOAD"))}
    environment.update(settings)
    return subprocess.run([program, *arguments], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)


def row(report, name):
    match = re.search(rf"^  {re.escape(name)}\s+(\w+)\s+(.*)$", report, re.MULTILINE)
    return (match[1], match[2]) if match else ("missing", "")


def check_refusal(program, settings, directory):
    path = directory / "refused"
    done = run(program, settings, path)
    if done.returncode != 3:
        yield f"the guarantee was not refused: exit {done.returncode}: {done.stdout}"
    if path.exists():
        yield "the refused file was left behind"
        path.unlink()


def check_report(program, settings, directory):
    done = run(program, settings, "-c", "8192", directory / "reported")
    report = done.stdout
    if done.returncode:
        yield f"no report: exit {done.returncode}: {report}"
    # A memory file system would be "none".
    match = re.match(r"granularity (page|none), sync no, direct no, reason ([\w-]+)\n", report)
    if not match:
        yield f"too much is promised: {report.splitlines()[0] if report else 'nothing'}"
        return
    if "LD_PRELOAD" in settings:
        if row(report, "MAP_SYNC ignored")[0] != "yes" or (match[1] == "page" and match[2] != "map-sync-ignored"):
            yield f"the ignored flag was not noticed: reason {match[2]}"
    elif match[2] == "map-sync-ignored":
        yield "flag ignored, without a shim"
    wish = settings.get("PMDIRECT_GRANULARITY")
    state, value = row(report, "environment override")
    if state != ("yes" if wish in LOWERS else "no") or (wish and wish not in value):
        yield f"PMDIRECT_GRANULARITY={wish} is reported as {state} {value}"
    # The page cache takes the promise, whatever the variable says.
    if re.search("PMDIRECT_GRANULARITY.*lowers", report):
        yield f"PMDIRECT_GRANULARITY={wish}: it lowers nothing here, and the words say that it does"


def main(work, shim, guarantee, why):
    problems, count = [], 0
    with tempfile.TemporaryDirectory(dir=work) as directory:
        for values in itertools.product((None, shim), *VARIABLES.values()):
            names = ("LD_PRELOAD", *VARIABLES)
            settings = {name: value for name, value in zip(names, values) if value}
            shown = " ".join(f"{name}={value}" for name, value in settings.items()) or "nothing set"
            for check, program in ((check_refusal, guarantee), (check_report, why)):
                problems += [f"{shown}: {p}" for p in check(program, settings, pathlib.Path(directory))]
            count += 1
    for problem in problems[:20]:
        print(problem)
    print(f"{count} combinations, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
