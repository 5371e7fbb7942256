#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A disk with a volatile cache: what it was given and not told to flush is at stake when its power is cut.

  lab_disk.py IMAGE SOCKET SEED

An NBD server (github.com/NetworkBlockDevice/nbd, doc/proto.md: fixed newstyle, simple replies) for one client, at the
other end of the socket whose descriptor is SOCKET. A write is acknowledged when it is in memory. FLUSH, and FUA for one
write, put it into the image. When the client goes away without a farewell, as a killed machine does, a random choice of
the sectors that are still in memory reaches the image, or none does; the last line of the output says how many.
"""

import mmap
import random
import socket
import struct
import subprocess
import sys

from lab_share import die_with_parent

SECTOR = 512  # what a disk writes as one
_NBDMAGIC, _IHAVEOPT, _REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_OPT_ABORT, _OPT_INFO, _OPT_GO = 2, 6, 7
_REP_ACK, _REP_INFO, _REP_ERR_UNSUP = 1, 3, 0x80000001
_HAS_FLAGS, _SEND_FLUSH, _SEND_FUA = 1, 4, 8
_READ, _WRITE, _DISC, _FLUSH = range(4)
_FUA = 1
_REQUEST, _SIMPLE_REPLY = struct.Struct(">IHH8sQI"), struct.Struct(">II8s")
_SIMPLE_REPLY_MAGIC, _EINVAL = 0x67446698, 22


class Medium:
    """The image, and the cache above it."""

    def __init__(self, image):
        self.image = image
        self.image.seek(0, 2)
        self.size = self.image.tell()
        # What the client sees: written to, it leaves the image alone.
        self.view = mmap.mmap(image.fileno(), self.size, access=mmap.ACCESS_COPY)
        self.cached = []   # (offset, data) in the order in which they were written

    def read(self, offset, length):
        return self.view[offset:offset + length]

    def write(self, offset, data, through):
        self.view[offset:offset + len(data)] = data
        if through:
            # It says nothing of other writes; of older ones to its place nothing may come back.
            end = offset + len(data)
            self.cached = [part for write in self.cached for part in _outside(write, offset, end)]
            self._put(offset, data)
        else:
            self.cached.append((offset, data))

    def flush(self):
        for offset, data in self.cached:
            self._put(offset, data)
        self.cached.clear()

    def cut(self, chooser):
        """Returns how many sectors were in the cache, and how many of them are lost."""
        kept_share = chooser.choice((0, chooser.uniform(0, 1)))
        stuck = {}  # whether nothing of a sector gets out, however often it was written
        total = lost = 0
        for offset, data in self.cached:
            for at in range(0, len(data), SECTOR):
                total += 1
                keeps = not stuck.setdefault(offset + at, chooser.random() < 0.5)
                if keeps and chooser.random() < kept_share:
                    self._put(offset + at, data[at:at + SECTOR])
                else:
                    lost += 1
        return total, lost

    def _put(self, offset, data):
        self.image.seek(offset)
        self.image.write(data)


def _outside(write, start, end):
    """What of a write lies before start or behind end."""
    offset, data = write
    before, behind = data[:max(0, start - offset)], data[max(0, end - offset):]
    return [(at, part) for at, part in ((offset, before), (offset + len(data) - len(behind), behind)) if part]


class Server:
    """One connection; EOFError when the client is gone."""

    def __init__(self, channel, medium):
        self.channel = channel
        self.medium = medium

    def serve(self):
        if self._agree():
            while self._answer():
                pass

    def _receive(self, length):
        data = bytearray()
        while len(data) < length:
            part = self.channel.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _agree(self):
        """The handshake; False if the client wants no transmission."""
        self.channel.sendall(_NBDMAGIC + _IHAVEOPT + struct.pack(">H", _FIXED_NEWSTYLE | _NO_ZEROES))
        self._receive(4)
        while True:
            option, length = struct.unpack(">8xII", self._receive(16))
            self._receive(length)
            if option in (_OPT_INFO, _OPT_GO):
                flags = _HAS_FLAGS | _SEND_FLUSH | _SEND_FUA
                self._reply_option(option, _REP_INFO, struct.pack(">HQH", 0, self.medium.size, flags))
            known = option in (_OPT_INFO, _OPT_GO, _OPT_ABORT)
            self._reply_option(option, _REP_ACK if known else _REP_ERR_UNSUP)
            if option in (_OPT_GO, _OPT_ABORT):
                return option == _OPT_GO

    def _reply_option(self, option, kind, data=b""):
        self.channel.sendall(struct.pack(">QIII", _REPLY_MAGIC, option, kind, len(data)) + data)

    def _answer(self):
        """One request; False if it is the farewell."""
        _, flags, command, cookie, offset, length = _REQUEST.unpack(self._receive(_REQUEST.size))
        data, error = b"", 0
        if command == _DISC:
            self.medium.flush()
            return False
        if command == _READ:
            data = self.medium.read(offset, length)
        elif command == _WRITE:
            self.medium.write(offset, self._receive(length), flags & _FUA)
        elif command == _FLUSH:
            self.medium.flush()
        else:
            error = _EINVAL
        self.channel.sendall(_SIMPLE_REPLY.pack(_SIMPLE_REPLY_MAGIC, error, cookie) + data)
        return True


class Disk:
    """The server as a process of its own, for one boot of a guest."""

    def __init__(self, image, seed):
        self.theirs, ours = socket.socketpair()  # theirs: for QEMU
        with ours:
            self._process = subprocess.Popen(
                [sys.executable, __file__, image, str(ours.fileno()), str(seed)], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, pass_fds=[ours.fileno()], preexec_fn=die_with_parent)

    def lose_power(self):
        """Once QEMU is gone; the image is as the cut left it when this returns. Returns the last words."""
        self.theirs.close()
        words, _ = self._process.communicate()
        return words.decode().strip()


def main(path, descriptor, seed):
    with open(path, "r+b", buffering=0) as image, socket.socket(fileno=int(descriptor)) as channel:
        medium = Medium(image)
        try:
            Server(channel, medium).serve()
        except (EOFError, ConnectionError):
            pass
        total, lost = medium.cut(random.Random(seed))
        print(f"{lost} of {total} unflushed sectors lost")


if __name__ == "__main__":
    main(*sys.argv[1:])
