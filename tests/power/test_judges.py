#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How the power cuts judge what a check says, without a guest: one that ends early shows no loss, and hides none."""

import contextlib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
# pylint: disable=wrong-import-position
import cut
import power
from clone import PAGE, SLOTS, Found

ACKED = dict.fromkeys(range(SLOTS), 5)


def said(values, risky=(), end=(f"size {SLOTS * PAGE}",)):
    return [f"slot {slot} {value}" for slot, value in values.items()] + [f"risk {slot}" for slot in risky] + list(end)


def until(count, value=5):
    return dict.fromkeys(range(count), value)


# What a check of clone.py says, how many problems that is, and which slots are lost.
CASES = {
    "as acknowledged": (said(until(SLOTS)), 0, []),
    "later than acknowledged": (said(until(SLOTS, 6)), 0, []),
    "older": (said({**until(SLOTS), 9: 4}), 0, [9]),
    "older, about to be wiped": (said({**until(SLOTS), 9: 4}, [9]), 0, [9]),
    "zero": (said({**until(SLOTS), 9: 0}), 0, [9]),
    "wiped": (said({**until(SLOTS), 9: 0}, [9]), 0, []),
    "short": (said(until(1), end=[f"size {PAGE}"]), 0, list(range(1, SLOTS))),
    "cut off": (said(until(1), range(1, SLOTS), [f"size {PAGE}"]), 0, []),
    "cut off from the first slot": (said({}, range(SLOTS), ["size 0"]), 0, []),
    "cut off too early": (said(until(1), range(2, SLOTS), [f"size {PAGE}"]), 0, [1]),
    "ended with the first slot": (said(until(1), end=[]), 1, []),
    "ended before its last line": (said(until(SLOTS), end=[]), 1, []),
    "ended, about to be wiped": (said(until(1), range(1, SLOTS), []), 1, []),
    "a line went missing": (said({slot: 5 for slot in range(SLOTS) if slot != 9}), 1, []),
    "a line went missing of a wiped slot": (said({slot: 5 for slot in range(SLOTS) if slot != 9}, [9]), 1, []),
    "failed": (["failed /mnt/d/file.0: No such file or directory"], 2, []),
    "not mounted": (["cannot mount /dev/pmem3"] + said(until(SLOTS)), 1, []),
}


# What the lines of a script are to cut.py: the problems. Nothing is one where a promise is kept and a control lost.
TOLD = ["promise kept/a 1", "control gone/a 1"]
SCRIPTS = {
    "all": (["found kept/a 1", "looked gone/a"], []),
    "another content": (["found kept/a 1", "found gone/a 2"], []),
    "looked for by a prefix": (["found kept/a 1", "looked gone"], []),
    "lost": (["looked kept/a", "looked gone"], ["LOST: kept/a: not found, promised 1"]),
    "not lost": (["found kept/a 1", "found gone/a 1"], ["gone: nothing was lost, so the cut shows nothing"]),
    "a control that was not looked for": (["found kept/a 1"],
        ["gone/a: was not looked for", "gone: nothing was lost, so the cut shows nothing"]),
    "a promise that was not looked for": (["looked gone"], ["kept/a: was not looked for"]),
    "another name that begins alike": (["found kept/a 1", "looked gon", "looked gone/ab", "looked gone/a/b"],
        ["gone/a: was not looked for", "gone: nothing was lost, so the cut shows nothing"]),
}

# What the program says of ten records to power.py, and how many are lost; None: nothing is known.
LOGS = {
    "all": (["recovered 10 found 0", "looked"], 0),
    "some": (["recovered 7 found 0", "looked"], 3),
    "no log": (["looked"], 10),
    "ended early": (["recovered 7 found 0"], None),
    "did not begin": ([], None),
}


def judge_clone(lines):
    found = Found()
    for line in lines:
        found.take(line)
    problems, losses = found.judge(ACKED)
    return len(problems), [int(loss.split()[1].rstrip(":")) for loss in losses]


def judge_cut(lines):
    account = cut.Account()
    with contextlib.redirect_stdout(None):
        for line in TOLD + lines:
            account.take(line)
        account.judge()
    return account.problems


def judge_power(lines):
    account = power.Account("xfs-dax")
    account.take(0, "is prepared new: cache line")
    for sequence in range(11):
        account.take(0, str(sequence))
    for line in lines:
        account.take_check(0, line)
    account.judge()
    return None if account.problems == ["xfs-dax: the check ended early"] and not account.lost else account.lost


def main():
    cases = [(name, judge_clone(lines), (problems, lost)) for name, (lines, problems, lost) in CASES.items()]
    cases += [(name, judge_cut(lines), problems) for name, (lines, problems) in SCRIPTS.items()]
    cases += [(name, judge_power(lines), lost) for name, (lines, lost) in LOGS.items()]
    wrong = [(name, result, wanted) for name, result, wanted in cases if result != wanted]
    for name, result, wanted in wrong:
        print(f"{name}: {result}, not {wanted}")
    print(f"{len(cases)} cases, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
