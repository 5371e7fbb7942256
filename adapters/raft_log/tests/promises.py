# SPDX-License-Identifier: BSD-3-Clause
"""What the storage of one server promised, and whether its next start found it. demo/promises.h has the lines."""


class Storage:
    def __init__(self):
        self.entries = {}  # index: (term, hash), of appends that returned 0
        self.snapshot = 0  # index of the newest that returned 0
        self.snapshots = {0: ("0", "0")}  # all that were begun
        self.installing = None  # index of a snapshot that makes all entries void, until it has returned
        self.votes = [("0", "0")]  # the promised (term, vote) first, then what was begun since
        self.starts = self.checked = 0
        self.faults = []
        self.loading = None

    def say(self, verb, words):
        """One line of the server; true if it is one of these."""
        handler = getattr(self, f"on_{verb}", None)
        if handler:
            handler(*words)
        return bool(handler)

    def on_stored(self, index, term, digest):
        self.entries[int(index)] = (term, digest)

    def on_drops(self, index):
        for later in [one for one in self.entries if one >= int(index)]:
            del self.entries[later]

    def on_puts(self, index, term, digest, trailing):
        self.snapshots[int(index)] = (term, digest)
        if trailing == "0":
            self.installing = int(index)

    def on_put(self, index):
        self.snapshot = int(index)
        if self.installing == int(index):
            self.entries = {}
            self.installing = None

    def on_sets(self, term, vote):
        self.votes.append((term, vote))

    def on_set(self, term, vote):
        self.votes = [(term, vote)]

    def on_loaded(self, *words):
        self.loading = (words, {})

    def on_held(self, index, term, digest):
        self.loading[1][int(index)] = (term, digest)

    def on_whole(self):
        (term, vote, index, *snapshot), held = self.loading
        self.check(int(index), tuple(snapshot), held)
        # What raft_bootstrap() made is not told.
        if self.starts and (term, vote) not in self.votes:
            self.faults.append(f"term and vote {term} {vote}, where {self.votes} was promised or begun")
        self.starts += 1
        self.entries, self.snapshot, self.installing = held, int(index), None
        self.snapshots = {self.snapshot: tuple(snapshot)}
        self.votes = [(term, vote)]

    def check(self, index, snapshot, held):
        if index < self.snapshot or self.snapshots.get(index) != snapshot:
            self.faults.append(f"snapshot {index} {snapshot}, where {self.snapshot} was promised and "
                               f"{self.snapshots} were begun")
        if index and index == self.installing:
            return
        for promised, entry in self.entries.items():
            if promised <= index:
                continue
            self.checked += 1
            if held.get(promised) != entry:
                self.faults.append(f"entry {promised} {entry} is {held.get(promised, 'lost')}")
