#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""promises.py finds each promise that is broken, and takes nothing else for one."""

import sys

from promises import Storage

START = "loaded 1 0 0 0 0; held 1 1 aa; whole"
FILLED = START + "; sets 3 0; set 3 0; sets 3 2; set 3 2; stored 2 3 b2; stored 3 3 b3; stored 4 3 b4"
SNAPSHOT = FILLED + "; puts 3 3 cc 1; put 3"
INSTALLED = FILLED + "; puts 9 3 cc 0"

# What a server said before it was killed, what its next start finds, and the word that a fault has, or none.
CASES = [
    (FILLED, "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; held 4 3 b4; whole", ""),
    (FILLED, "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; held 4 3 b4; held 5 3 b5; whole", ""),
    (FILLED, "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; whole", "entry 4"),
    (FILLED, "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 xx; held 4 3 b4; whole", "entry 3"),
    (FILLED, "loaded 3 2 0 0 0; held 1 1 aa; held 2 2 b2; held 3 3 b3; held 4 3 b4; whole", "entry 2"),
    (FILLED, "loaded 3 2 0 0 0; held 2 3 b2; held 3 3 b3; held 4 3 b4; whole", "entry 1"),
    (FILLED, "loaded 3 0 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; held 4 3 b4; whole", "vote"),
    (FILLED, "loaded 2 0 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; held 4 3 b4; whole", "term"),
    (FILLED + "; sets 4 0", "loaded 4 0 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; held 4 3 b4; whole", ""),
    (FILLED + "; sets 4 0", "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; held 4 3 b4; whole", ""),
    (FILLED + "; drops 3", "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; whole", ""),
    (FILLED + "; drops 3", "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; held 4 3 b4; whole", ""),
    (FILLED + "; drops 3", "loaded 3 2 0 0 0; held 1 1 aa; whole", "entry 2"),
    (FILLED + "; drops 3; stored 3 4 d3", "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; whole", "entry 3"),
    (SNAPSHOT, "loaded 3 2 3 3 cc; held 4 3 b4; whole", ""),
    (SNAPSHOT, "loaded 3 2 3 3 cc; whole", "entry 4"),
    (SNAPSHOT, "loaded 3 2 3 3 dd; held 4 3 b4; whole", "snapshot"),
    (SNAPSHOT, "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; held 4 3 b4; whole", "snapshot"),
    (INSTALLED, "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; held 4 3 b4; whole", ""),
    (INSTALLED, "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; whole", "entry 4"),
    (INSTALLED, "loaded 3 2 9 3 cc; whole", ""),
    (INSTALLED + "; put 9; stored 10 3 da", "loaded 3 2 9 3 cc; held 10 3 da; whole", ""),
    (INSTALLED + "; put 9; stored 10 3 da", "loaded 3 2 9 3 cc; whole", "entry 10"),
    (INSTALLED + "; put 9", "loaded 3 2 0 0 0; held 1 1 aa; held 2 3 b2; held 3 3 b3; held 4 3 b4; whole", "snapshot"),
    # A start that is killed while it tells what it found.
    (FILLED + "; loaded 3 2 0 0 0; held 1 1 aa", "loaded 3 2 0 0 0; held 1 1 aa; whole", "entry 2"),
]


def main():
    failed = 0
    for before, found, word in CASES:
        storage = Storage()
        for line in f"{before}; {found}".split("; "):
            assert storage.say(line.split()[0], line.split()[1:]), line
        faults = " and ".join(storage.faults)
        if (word not in faults if word else faults):
            failed += 1
            print(f"{before}; {found}: {faults or 'no fault'}, where {word or 'none'} was to be found")
    print(f"{len(CASES)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
