#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every benchmark runs, and what it writes can be read; no time is looked at.

  bench.py RESULTS_PY BUILD|- PROGRAM...   BUILD: where the command and the companion are, for outside.py; -: nowhere
"""

import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile

SKIP = 77
MOST_LINES = 60  # of the page, for one CPU
MEMORY = "/dev/shm"  # where nothing waits for a disk


def problems_of(lines):
    """The machine comes first; each case has competitors, and each of them took some time."""
    entries = [json.loads(line) for line in lines]
    if not entries or "machine" not in entries[0]:
        return ["it does not say what the machine is"]
    results = [entry for entry in entries if "case" in entry]
    bad = [entry["competitor"] for entry in results if not 0 < entry["ns"][0] <= entry["ns"][1] <= entry["ns"][2]]
    firsts = sum(entry["ratio"][1] == 1 for entry in results)
    cases = len({entry["case"] for entry in results})
    out = [f"no time for {name}" for name in bad]
    if not cases or firsts < cases or len(results) < 2 * cases:
        out.append(f"{len(results)} results of {cases} cases")
    return out


def run(program, directory):
    output = directory / "lines"
    output.unlink(missing_ok=True)
    done = subprocess.run([program, "--quick", "--json", str(output), str(directory)], capture_output=True, text=True)
    if done.returncode == SKIP:
        return [], []
    if done.returncode:
        return [], [f"status {done.returncode}: {done.stderr.strip()}"]
    lines = output.read_text(encoding="utf-8").splitlines()
    left = [path.name for path in directory.iterdir() if path != output]
    return lines, problems_of(lines) + [f"it left {name} behind" for name in left]


def outside(results, build, directory):
    output = directory / "outside"
    done = subprocess.run([sys.executable, "-B", os.path.join(os.path.dirname(results), "outside.py"), "--quick", build,
                           str(directory), str(output)], capture_output=True, text=True)
    left = [path.name for path in directory.iterdir() if path != output]
    problems = [f"outside.py: {done.stderr.strip()}"] * (done.returncode != 0) + [f"it left {name}" for name in left]
    lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
    output.unlink(missing_ok=True)
    return lines, problems


def check(results, build, programs, directory):
    lines, problems = outside(results, build, directory) if build != "-" else ([], [])
    shown = [json.loads(line)["case"] for line in lines]
    if build != "-" and (len(shown) < 10 or not any(case.startswith("ps of") for case in shown)):
        problems.append(f"outside.py has {shown}")
    for program in programs:
        written, found = run(program, directory)
        problems += [f"{os.path.basename(program)}: {problem}" for problem in found]
        lines += written
    (directory / "lines").write_text("\n".join(lines), encoding="utf-8")
    subprocess.run([sys.executable, "-B", results, str(directory / "lines"), str(directory)], check=True)
    page = (directory / "RESULTS.md").read_text(encoding="utf-8").splitlines()
    problems += [f"the page does not have {case}" for case in shown if not any(f"| {case} |" in row for row in page)]
    if len(page) > MOST_LINES:
        problems.append(f"the page has {len(page)} lines, at most {MOST_LINES}")
    kept = {(path.stem, row[0], row[1]) for path in (directory / "data").glob("*/*.csv")
            for row in csv.reader(path.read_text(encoding="utf-8").splitlines()) if len(row) > 1}
    for line in lines:
        entry = json.loads(line)
        if "case" in entry and (entry["program"], entry["case"], entry["competitor"]) not in kept:
            problems.append(f"no file has {entry['case']}, {entry['competitor']}")
    return problems


def main(results, build, *programs):
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as directory:
        problems = check(results, build, programs, pathlib.Path(directory))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
