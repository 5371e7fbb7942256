#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The disk of lab_disk.py itself, without a guest: what it keeps and what it loses when its client goes away.

  test_disk.py [--seed N]
"""

import argparse
import os
import random
import struct
import sys
import tempfile

import lab_disk
from lab_disk import SECTOR, Disks

SECTORS = 256
REQUEST, REPLY = lab_disk._REQUEST, lab_disk._SIMPLE_REPLY  # pylint: disable=protected-access
READ, WRITE, DISCONNECT, FLUSH = range(4)
FUA = 1
REQUEST_MAGIC = 0x25609513


class Client:
    """As QEMU talks to it."""

    def __init__(self, image, seed):
        self.disk = Disks([(image, seed)])
        self.channel = self.disk.theirs[0]
        assert self.receive(18)[:16] == b"NBDMAGICIHAVEOPT"
        self.channel.sendall(struct.pack(">I", 3))
        assert self.option(8)[0] == 0x80000001  # structured replies
        kind, info = self.option(7, struct.pack(">IH", 0, 0))
        assert kind == 3 and struct.unpack(">HQH", info) == (0, SECTORS * SECTOR, 13)
        assert self.reply_to_option()[0] == 1

    def receive(self, length):
        data = b""
        while len(data) < length:
            part = self.channel.recv(length - len(data))
            assert part, "the disk hung up"
            data += part
        return data

    def option(self, number, data=b""):
        self.channel.sendall(struct.pack(">8sII", b"IHAVEOPT", number, len(data)) + data)
        return self.reply_to_option()

    def reply_to_option(self):
        _, _, kind, length = struct.unpack(">QIII", self.receive(20))
        return kind, self.receive(length)

    def ask(self, command, sector=0, data=b"", length=0, flags=0):
        self.channel.sendall(REQUEST.pack(REQUEST_MAGIC, flags, command, b"a cookie", sector * SECTOR,
                                          length or len(data)) + data)
        if command == DISCONNECT:
            return b""
        magic, error, cookie = REPLY.unpack(self.receive(REPLY.size))
        assert (magic, error, cookie) == (0x67446698, 0, b"a cookie")
        return self.receive(length) if command == READ else b""


class Model:
    """Of each sector what may be there after a cut: what was flushed last, and all that was written since."""

    def __init__(self):
        self.flushed = [b"\0" * SECTOR] * SECTORS
        self.since = [[] for _ in range(SECTORS)]

    def write(self, sector, data, through):
        for at in range(0, len(data), SECTOR):
            place = sector + at // SECTOR
            if through:
                self.flushed[place], self.since[place] = data[at:at + SECTOR], []
            else:
                self.since[place].append(data[at:at + SECTOR])

    def flush(self):
        for place, written in enumerate(self.since):
            if written:
                self.flushed[place], self.since[place] = written[-1], []

    def newest(self, place):
        return self.since[place][-1] if self.since[place] else self.flushed[place]


def drive(client, chooser, model):
    for _ in range(chooser.randrange(200)):
        sector = chooser.randrange(SECTORS - 8)
        data = chooser.randbytes(chooser.randrange(1, 9) * SECTOR)
        action = chooser.random()
        if action < 0.1:
            client.ask(FLUSH)
            model.flush()
        elif action < 0.8:
            through = chooser.random() < 0.3
            client.ask(WRITE, sector, data, flags=FUA if through else 0)
            model.write(sector, data, through)
        else:
            got = client.ask(READ, sector, length=len(data))
            wanted = b"".join(model.newest(sector + i) for i in range(len(data) // SECTOR))
            assert got == wanted, "what was written is not read"


def check(path, chooser, farewell):
    """Returns how many sectors lost something."""
    with open(path, "wb") as stream:
        stream.truncate(SECTORS * SECTOR)
    client, model = Client(path, chooser.random()), Model()
    drive(client, chooser, model)
    if farewell:
        client.ask(DISCONNECT)
        model.flush()
    words, = client.disk.lose_power()
    with open(path, "rb") as stream:
        found = [stream.read(SECTOR) for _ in range(SECTORS)]
    for place, data in enumerate(found):
        allowed = [model.flushed[place]] + model.since[place]
        assert data in allowed, f"sector {place} has what it cannot have; {words}"
    return sum(data != model.newest(place) for place, data in enumerate(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    seed = parser.parse_args().seed
    print(f"seed {seed}", flush=True)
    chooser = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="pmdirect-disk-") as directory:
        path = os.path.join(directory, "image")
        lost = [check(path, chooser, False) for _ in range(20)]
        assert not sum(check(path, chooser, True) for _ in range(5)), "lost at a farewell"
    print(f"lost at each cut: {lost}")
    assert sum(lost), "nothing was ever lost"
    return 0


if __name__ == "__main__":
    sys.exit(main())
