#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cuts the power while databases are written through the VFS, and looks at what is left of them.

  power.py --lab DIRECTORY --work PROGRAM --extension FILE [--times N] [--seed N] [--kernel KERNEL] [--lib FILE]...

DIRECTORY is tests of this project. In one guest four file systems (ext4 and XFS, on persistent memory with DAX and on
a disk) have four databases each:

  wal     one process appends to the log by this VFS
  delete  one process writes with a rollback journal under synchronous=EXTRA: under FULL a power cut may bring back the
          journal of the last commit, with any VFS
  mixed   one process by this VFS, whose commits are promised, and one by SQLite's own VFS under synchronous=NORMAL,
          which leaves frames in the log that only a later sync makes durable
  control synchronous=OFF: on a disk some of what was committed must be lost, else the cuts show nothing. Only shown for
          DAX, where write(2) leaves little behind but the size of the file

At N random moments the guest is stopped and its images are copied, which is a power cut of four backings
(tests/power/copies.py). Afterwards each database is opened, by both VFSes in turn: PRAGMA integrity_check must say ok,
and each commit that was acknowledged before the cut must be there.

The exit status is 0 if so, 1 if not, 77 where this machine lacks a part of the lab.
"""

import argparse
import os
import random
import sys
import time

FIRST_ACK_TIMEOUT = 240
LABELS = ("ext4-dax", "xfs-dax", "ext4-disk", "xfs-disk")
DATABASES = ("wal", "delete", "mixed", "control")

COMMON = """
W=/t/WORK
E=$(readlink -f /t/EXTENSION)
"""
SCRIPT = r"""
exec 3<>"$LAB_ACK"
for l in LABELS; do
	case $l in *-dax) loser=unix ;; *) loser=pmdirect ;; esac
	$W $E write pmdirect /mnt/$l/wal.db wal full 0 $l.wal >&3 2>&3 &
	$W $E write pmdirect /mnt/$l/delete.db delete extra 0 $l.delete >&3 2>&3 &
	$W $E write pmdirect /mnt/$l/mixed.db wal full 0 $l.mixed >&3 2>&3 &
	$W $E write unix /mnt/$l/mixed.db wal normal 0 >&3 2>&3 &
	$W $E write $loser /mnt/$l/control.db wal off 0 $l.control >&3 2>&3 &
done
wait
"""
# $1: by which VFS. WORK ends with 1 where it says what is wrong.
CHECK = r"""
for l in LABELS; do
	for d in DATABASES; do
		if [ -e /mnt/$l/$d.db ]; then
			$W $E check $1 /mnt/$l/$d.db >/tmp/said 2>&1
			status=$?
		else
			echo "there is no database" >/tmp/said
			status=1
		fi
		case $status in
		0) echo "sound $l.$d" ;;
		1) echo "unsound $l.$d" ;;
		esac
		sed "s/^/$l.$d: /" /tmp/said
	done
done
"""


def filled(text, options):
    for name, value in (("WORK", os.path.basename(options.work)), ("EXTENSION", os.path.basename(options.extension)),
                        ("LABELS", " ".join(LABELS)), ("DATABASES", " ".join(DATABASES))):
        text = text.replace(name, value)
    return text


class Cut:
    """What was promised at a cut, and what was found after it."""

    def __init__(self, images, acked):
        self.images = images
        self.acked = dict(acked)
        self.found = {}
        self.unsound = {}
        self.words = []

    def take(self, line):
        words = line.split()
        if words[0] == "unsound":
            self.unsound[words[1]] = True
        elif words[0] == "sound":
            self.unsound[words[1]] = False
        elif len(words) == 4 and words[1] == "found":
            self.found[words[2]] = int(words[3])
        else:
            self.words.append(line)

    def unseen(self):
        """Names of databases of which nothing is known: their check did not come to its end."""
        return [name for name in self.acked if name not in self.unsound]

    def losses(self):
        """Names of databases that are not what was promised, and why."""
        for name, number in self.acked.items():
            if name not in self.unsound:
                continue
            if self.unsound[name]:
                yield name, f"not sound: {[word for word in self.words if word.startswith(name)]}"
            elif self.found.get(name, 0) < number:
                yield name, f"acknowledged {number}, found {self.found.get(name, 0)}"


class Test:
    def __init__(self, options, lab, copies):
        self.options, self.lab, self.copies = options, lab, copies
        self.random = random.Random(options.seed)
        self.files = [options.work, options.extension], options.lib
        self.acked, self.problems = {}, []

    def run(self):
        job = self.lab.Job(self.lab.exports([]) + filled(COMMON + SCRIPT, self.options))
        self.lab.add_files(job, *self.files)
        return self.lab.run_on_images("power", job, self.cut)

    def take(self, line):
        words = line.split()
        if len(words) == 2 and words[0].split(".")[0] in LABELS and words[1].isdigit():
            self.acked[words[0]] = int(words[1])
        else:
            self.problems.append(line)

    def cut(self, guest):
        guest.start()
        deadline = time.monotonic() + FIRST_ACK_TIMEOUT
        while len(self.acked) < len(LABELS) * len(DATABASES) and not self.problems:
            self.take(self.copies.read(guest, deadline - time.monotonic()))
        cuts = []
        while len(cuts) < self.options.times and not self.problems:
            self.copies.listen(guest, self.random.uniform(0.1, 1.2), self.take)
            guest.stop()
            self.copies.take_pending(guest, self.take)
            cuts.append(Cut(guest.images.copy(), self.acked))
            guest.go_on()
        guest.kill9()
        arguments = [("pmdirect", "unix")[number % 2] for number in range(len(cuts))]
        self.copies.look_at([one.images for one in cuts], "power", self.files, filled(COMMON + CHECK, self.options),
                            arguments, lambda number, line: cuts[number].take(line))
        return self.judge(cuts)

    def judge(self, cuts):
        lost = dict.fromkeys(LABELS, 0)
        for number, one in enumerate(cuts):
            self.problems += [f"cut {number}: {name}: was not looked for" for name in one.unseen()]
            for name, why in one.losses():
                label, database = name.split(".")
                if database == "control":
                    lost[label] += 1
                else:
                    self.problems.append(f"LOST: cut {number}: {name}: {why}")
        for problem in self.problems:
            print(f"seed {self.options.seed}: {problem}")
        for label in LABELS:
            promised = sum(number for name, number in self.acked.items()
                           if name.startswith(label + ".") and not name.endswith("control"))
            print(f"{label}: {len(cuts)} cuts of {len(DATABASES) - 1} databases, {promised} commits acknowledged; "
                  f"the control lost in {lost[label]}")
        return 1 if self.problems or not all(lost[label] for label in LABELS if label.endswith("disk")) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lab", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--extension", required=True)
    parser.add_argument("--times", type=int, default=5, help="cuts of each backing")
    tests = sys.argv[sys.argv.index("--lab") + 1] if "--lab" in sys.argv[:-1] else "."
    sys.path[:0] = [os.path.join(tests, "guest"), os.path.join(tests, "power")]
    # pylint: disable=import-outside-toplevel,import-error
    import copies
    import lab
    lab.add_seed_option(parser)
    return lab.run_test(parser, lambda options: Test(options, lab, copies).run())


if __name__ == "__main__":
    sys.exit(main())
