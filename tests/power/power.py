#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cuts the power while logs are written, and counts what is left of them.

  power.py --program PROGRAM [--rounds N] [--copies N] [--seed N] [--backings A,B...]
           [--disks plain|cached] [--mutation NAME] [--kernel KERNEL] [--lib FILE]...

In one guest a writer for each backing appends records and tells the host of
each one that is durable. At random moments the guest is stopped and its images
are copied, which is a power cut as well (copies.py); then it is killed and
booted again from the same images. The logs are recovered, compared with what
was acknowledged, and after a kill continued, until the power is cut again.
PROGRAM writes and recovers the logs: append_log, or another that talks as
append_log_soak.h says.

A cut takes what never left the guest's memory. It does not take cache lines:
stores into an emulated NVDIMM are in its image at once. What a disk was given
and was not told to flush it takes with --disks cached only, where there is no
NVDIMM.

With --mutation the library is broken on purpose, which PROGRAM must have been
built for (mutate.c); then the test passes if records are lost on each backing
where they must be, in the copies if there are any: those of a round are looked
at before the next begins, and there is none once enough is lost.

The exit status is 0 if nothing was lost, 1 if something was, 77 where this
machine lacks a part of the lab (1 if PMDIRECT_GUEST_REQUIRED=1).
"""

import argparse
import copy
import functools
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
# pylint: disable=wrong-import-position
import copies
import lab
from copies import read

# What a prepared mapping must be.
GRANULARITY = {"ext4-dax": "cache line", "xfs-dax": "cache line",
               "ext4-disk": "page", "xfs-disk": "page"}
# By the option --disks: the row of the lab, and its backings.
MACHINES = {"plain": ("power", list(GRANULARITY)),
            "cached": ("power-cached", ["ext4-disk", "xfs-disk"])}
# Where a mutation must lose records.
MUTATIONS = {"no-writeback": (all, ("ext4-disk", "xfs-disk")),
             # Any other commit of the file system's journal makes up for it.
             "no-fsync": (any, ("ext4-disk", "xfs-disk")),
             "no-map-sync": (all, ("ext4-dax", "xfs-dax"))}
FIRST_CUT, LAST_CUT = 0.1, 3.0
LAST_COPY = 0.8            # after the one before
BOOT_TIMEOUT = 180         # the checks of the logs included
FIRST_ACK_TIMEOUT = 120

# Its arguments, $LAB_ARGUMENT and the line from the host have a LABEL=NUMBER for each backing: the log to begin with.
CHECK = r"""
for pair in "$@"; do
	label=${pair%%=*}
	./PROGRAM /mnt/$label/log soaked $label SEED ${pair#*=}
	status=$?
	[ $status -eq 0 ] || echo "$label: bad logs"
	[ $status -gt 1 ] || echo "$label.${pair#*=} looked"
done
"""
SCRIPT = r"""
exec 3<>"$LAB_ACK"
check() {
CHECK
}
check $(echo "$LAB_ARGUMENT" | tr , ' ') >&3 2>&1
echo checked >&3
read -r pairs <&3
for pair in $pairs; do
	old=
	for file in /mnt/${pair%%=*}/log.*; do
		[ "${file##*.}" = '*' ] || [ "${file##*.}" -ge ${pair#*=} ] || old="$old $file"
	done
	rm -f $old
done
for pair in $pairs; do
	label=${pair%%=*}
	./PROGRAM /mnt/$label/log soak $label SEED - ${pair#*=} >&3 2>&1 &
done
wait
"""

ACK = re.compile(r"(\d+)")
OPENED = re.compile(r"is (prepared|plain|sparse) (new|resumed): (.+)")
CHANGED = re.compile(r"now (.+)")
RECOVERED = re.compile(r"recovered (\d+) (found|made) (\d+)")


class Log:
    """One log as the host knows it."""

    def __init__(self, durable=0):
        self.base = durable   # records that an earlier round accounted for
        self.acked = durable  # everything up to this record must survive


class Account:
    """What was promised on one backing, and what came of it."""

    def __init__(self, label):
        self.label = label
        self.logs = {}        # number of a log -> Log, once its creation was acknowledged
        self.kinds = {}       # number of a log -> its kind, as the writer said before it wrote
        self.found = {}       # number of a log -> (records, "found" or "made"), after a boot
        self.looked = False   # PROGRAM came to its end: what it did not find is not there
        self.first = 0        # the log to begin with
        self.acknowledged = self.recovered = self.lost = self.unasked = 0
        self.created = 0
        self.problems = []

    def complain(self, number, text):
        self.problems.append(f"{self.label}.{number}: {text}")

    # --- While it is written ---

    def take(self, number, text):
        """Takes in what a writer said of a log; False if that makes no sense."""
        if match := ACK.fullmatch(text):
            self._take_ack(number, int(match.group(1)))
        elif match := OPENED.fullmatch(text):
            self._take_kind(number, *match.groups())
        elif match := CHANGED.fullmatch(text):
            kind = self.kinds.get(number)
            if kind == "prepared" or match.group(1) != "page":
                self.complain(number, f"the granularity of this {kind} log became {match.group(1)}")
        else:
            return False
        return True

    def _take_ack(self, number, sequence):
        if number not in self.kinds:
            self.complain(number, "acknowledged, but its granularity was not told")
        if number not in self.logs:
            self.created += 1
            if sequence:
                self.complain(number, f"a new log begins with record {sequence}")
        elif sequence != self.logs[number].acked and sequence != self.logs[number].acked + 1:
            self.complain(number, f"record {sequence} was acknowledged after "
                                  f"{self.logs[number].acked}")
        self.logs.setdefault(number, Log()).acked = sequence

    def _take_kind(self, number, kind, age, granularity):
        # A sparse log has holes, so a store could need the file system. One that was not
        # prepared grows without preparation once it is continued, and a sparse one may be full
        # by then.
        wanted = {GRANULARITY[self.label]}
        if kind == "sparse" and age == "new":
            wanted = {"page"}
        elif kind != "prepared" and age == "resumed":
            wanted.add("page")
        if granularity not in wanted:
            self.complain(number, f"a {age} {kind} log has granularity {granularity}")
        self.kinds[number] = kind

    def writing(self):
        return any(log.acked > log.base for log in self.logs.values())

    def promises(self):
        """An account of what must be found if the power fails now."""
        promised = copy.deepcopy(self)
        promised.acknowledged = promised.recovered = promised.lost = promised.unasked = 0
        promised.problems = []
        return promised

    # --- After the power came back ---

    def take_check(self, number, text):
        if text == "looked":
            self.looked = True
            return True
        match = RECOVERED.fullmatch(text)
        if not match:
            return False
        self.found[number] = (int(match.group(1)), match.group(2))
        return True

    def judge(self):
        """Compares what was found with what was promised, and begins a new balance."""
        newest = max(self.logs, default=-1)
        if not self.looked:
            self.problems.append(f"{self.label}: the check ended early")
        for number, log in self.logs.items() if self.looked else ():
            self._judge_log(number, log, number == newest)
        # There may be more than that: what was durable before its acknowledgment was written,
        # or while it was queued in the guest's port (128 writes). PROGRAM has checked that it is
        # what the writer meant to write.
        self.unasked += sum(records for number, (records, _) in self.found.items()
                            if number > newest)
        last = max(self.found, default=None)
        self.logs = {}
        if last is not None:
            # What recovery has shown is as much of a promise as an acknowledgment.
            self.logs[last] = Log(self.found[last][0])
            self.first = last
        self.found = {}
        self.kinds = {}
        self.looked = False

    def _judge_log(self, number, log, newest):
        records, origin = self.found.get(number, (0, "missing"))
        lost = max(0, log.acked - records)
        if lost or origin != "found":
            lost = max(lost, 1)  # a creation counts as one
            self.complain(number, f"LOST: acknowledged up to record {log.acked}, recovered up to "
                                  f"{records} ({origin}, {self.kinds.get(number)})")
        surplus = max(0, records - log.acked)
        if surplus and not newest:
            self.complain(number, f"{records} records, acknowledged {log.acked}")
        self.acknowledged += log.acked - log.base
        self.recovered += log.acked - log.base - lost
        self.lost += lost
        self.unasked += surplus

    def add(self, other):
        """Another cut, of which the account is the other."""
        for name in ("acknowledged", "recovered", "lost", "unasked"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems

    def summary(self):
        return (f"{self.label}: acknowledged {self.acknowledged}, recovered {self.recovered}, "
                f"lost {self.lost} ({self.created} logs created; {self.unasked} records were there "
                "without an acknowledgment)")


class Test:
    """Rounds of writing, cutting the power and counting."""

    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.accounts = {label: Account(label) for label in options.backings}
        self.files = [options.program], options.lib
        self.copies = []      # the images of each, and the accounts of what was promised by then
        self.problems = []
        self.failed = False
        self.round = 0        # rounds completed

    def run(self):
        """The exit status."""
        job = lab.Job(self._script(SCRIPT))
        lab.add_files(job, *self.files)
        status = lab.run_on_images(MACHINES[self.options.disks][0], job, self._rounds)
        self._report()
        return status

    def _script(self, text):
        mutation = self.options.mutation
        text = text.replace("CHECK", CHECK).replace("SEED", str(self.options.seed))
        return (lab.exports([f"PMDIRECT_MUTATION={mutation}"] if mutation else []) +
                text.replace("PROGRAM", os.path.basename(self.options.program)))

    def _rounds(self, guest):
        guest.seed = self.options.seed
        for self.round in range(self.options.rounds + 1):
            # A boot first checks what the round before has left, then begins the next one.
            guest.start(",".join(self._begin_with()))
            self._check(guest)
            self._report()
            if self._decided():
                break
            if self.round < self.options.rounds:
                self._write(guest)
            guest.kill9()
            for words in guest.last_words:
                print(words, flush=True)
            if self.options.mutation and self.copies:
                self._check_copies()
                if self._noticed():
                    break
        self._check_copies()
        for account in self.accounts.values():
            print(account.summary())
        return self._status()

    def _begin_with(self):
        return [f"{label}={account.first}" for label, account in self.accounts.items()]

    def _check(self, guest):
        """Reads what the boot found, and judges it."""
        while (line := read(guest, BOOT_TIMEOUT)) != "checked":
            self._dispatch(line, Account.take_check)
        for account in self.accounts.values():
            account.judge()

    def _write(self, guest):
        if self.options.mutation:
            # A log that lost its beginning cannot be continued.
            for account in self.accounts.values():
                account.first = max(account.logs, default=-1) + 1
                account.logs = {}
        guest.send_line(" ".join(self._begin_with()).encode())
        deadline = time.monotonic() + FIRST_ACK_TIMEOUT
        while not all(account.writing() for account in self.accounts.values()):
            self._dispatch(read(guest, deadline - time.monotonic()), Account.take)
        take = functools.partial(self._dispatch, take=Account.take)
        for _ in range(self.options.copies):
            copies.listen(guest, self.random.uniform(FIRST_CUT, LAST_COPY), take)
            guest.stop()
            copies.take_pending(guest, take)
            self.copies.append((guest.images.copy(), [account.promises() for account in self.accounts.values()]))
            guest.go_on()
        copies.listen(guest, self.random.uniform(FIRST_CUT, LAST_CUT), take)
        self._kill(guest, take)
        print(f"round {self.round + 1}: {self.options.copies} copies and a kill, "
              f"{' '.join(str(n) for n in self._acked())} acknowledged", flush=True)

    def _kill(self, guest, take):
        """The first time with the proof, where copies are taken, that they are what a kill leaves."""
        last = []
        if self.options.copies and self.round == 0 and not self.options.mutation:
            guest.stop()
            last = guest.images.copy()
        guest.kill9()
        copies.take_pending(guest, take)
        for one, other in zip(last, guest.images.paths):
            if not lab.is_same(one, other):
                self.problems.append(f"{os.path.basename(one)}: not what it was when it was copied")

    def _check_copies(self):
        if not self.copies:
            return
        arguments = [" ".join(f"{account.label}={account.first}" for account in accounts)
                     for _, accounts in self.copies]
        copies.look_at([images for images, _ in self.copies], "power", self.files, self._script(CHECK), arguments,
                       lambda number, line: self._dispatch(line, Account.take_check, self.copies[number][1]),
                       {"nvdimm" if label.endswith("dax") else "disk" for label in self.accounts})
        for account in sum((accounts for _, accounts in self.copies), []):
            account.judge()
            self.accounts[account.label].add(account)
        self.copies = []
        self._report()

    def _acked(self):
        return [sum(log.acked - log.base for log in account.logs.values())
                for account in self.accounts.values()]

    def _dispatch(self, line, take, accounts=None):
        match = re.fullmatch(r"([\w-]+)\.(\d+) (.+)", line)
        among = accounts or self.accounts.values()
        account = match and next((account for account in among if account.label == match.group(1)), None)
        if not account or not take(account, int(match.group(2)), match.group(3)):
            self.problems.append(line)

    # --- The verdict ---

    def _report(self):
        for account in self.accounts.values():
            self.problems += account.problems
            account.problems = []
        for problem in self.problems:
            print(f"seed {self.options.seed}, round {self.round}: {problem}", flush=True)
        self.failed = self.failed or bool(self.problems)
        self.problems = []

    def _decided(self):
        return self._noticed() if self.options.mutation else self.failed

    def _noticed(self):
        enough, labels = MUTATIONS[self.options.mutation]
        return enough(self.accounts[label].lost for label in labels if label in self.accounts)

    def _status(self):
        mutation = self.options.mutation
        if not mutation:
            return 1 if self.failed else 0
        print(f"{mutation}: {'noticed' if self._noticed() else 'NOT noticed'}")
        return 0 if self._noticed() else 1


def backings(text):
    labels = text.split(",")
    for label in labels:
        if label not in GRANULARITY:
            raise argparse.ArgumentTypeError(f"{label} is none of {', '.join(GRANULARITY)}")
    return labels


def test(options):
    has = MACHINES[options.disks][1]
    options.backings = options.backings or has
    if not set(options.backings).issubset(has):
        raise lab.LabError(f"with --disks {options.disks} there are {', '.join(has)}")
    if options.mutation and not set(options.backings).intersection(MUTATIONS[options.mutation][1]):
        raise lab.LabError(f"{options.mutation} harms none of these backings")
    return Test(options).run()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--program", "--append-log", required=True)
    parser.add_argument("--rounds", type=int, default=20, help="how often the guest is killed")
    parser.add_argument("--copies", type=int, default=0, help="cuts before each kill, of plain disks only")
    parser.add_argument("--backings", type=backings, metavar="A,B...")
    parser.add_argument("--disks", choices=MACHINES, default="plain")
    parser.add_argument("--mutation", choices=MUTATIONS)
    lab.add_seed_option(parser)
    return lab.run_test(parser, test)


if __name__ == "__main__":
    sys.exit(main())
