#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks with volatile caches: what they were given and not told to flush is at stake when their power is cut.

  lab_disk.py IMAGE SOCKET SEED [IMAGE SOCKET SEED...]

An NBD server (github.com/NetworkBlockDevice/nbd, doc/proto.md: fixed newstyle, simple replies) with one client for each
image, at the other end of the socket whose descriptor is SOCKET. A write is acknowledged when it is in memory. FLUSH,
and FUA for one write, put it into the image. When the client goes away without a farewell, as a killed machine does, a
random choice of the sectors that are still in memory reaches the image, or none does; a line of the output for each
image says how many.
"""

import mmap
import os
import random
import selectors
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
        self.image = image  # a descriptor
        self.size = os.fstat(image).st_size
        # What the client sees: written to, it leaves the image alone.
        self.view = mmap.mmap(image, self.size, access=mmap.ACCESS_COPY)
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
        os.pwrite(self.image, data, offset)


def _outside(write, start, end):
    """What of a write lies before start or behind end."""
    offset, data = write
    before, behind = data[:max(0, start - offset)], data[max(0, end - offset):]
    return [(at, part) for at, part in ((offset, before), (offset + len(data) - len(behind), behind)) if part]


class Server:
    """One connection."""

    def __init__(self, channel, medium):
        self.channel = channel
        self.medium = medium
        self._agreed = False
        self.channel.sendall(_NBDMAGIC + _IHAVEOPT + struct.pack(">H", _FIXED_NEWSTYLE | _NO_ZEROES))

    def serve(self):
        """What the client has begun to say, to its end. False if it is gone."""
        try:
            if self._agreed:
                return self._answer()
            self._agreed = self._agree()
            return self._agreed
        except (EOFError, ConnectionError):
            return False

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


class Disks:
    """The server as a process of its own, for one boot of a guest."""

    def __init__(self, disks):
        """disks: (image, seed) of each; theirs: the sockets for QEMU."""
        pairs = [socket.socketpair() for _ in disks]
        self.theirs = [theirs for theirs, _ in pairs]
        words = [word for (image, seed), (_, ours) in zip(disks, pairs)
                 for word in (image, str(ours.fileno()), str(seed))]
        self._process = subprocess.Popen(
            [sys.executable, __file__] + words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            pass_fds=[ours.fileno() for _, ours in pairs], preexec_fn=die_with_parent)
        for _, ours in pairs:
            ours.close()

    def lose_power(self):
        """Once QEMU is gone; the images are as the cut left them when this returns. Returns the last words of each."""
        for theirs in self.theirs:
            theirs.close()
        words, _ = self._process.communicate()
        return words.decode().splitlines()


def main(words):
    servers, choosers = [], []
    with selectors.DefaultSelector() as selector:
        for image, descriptor, seed in zip(*[iter(words)] * 3):
            channel = socket.socket(fileno=int(descriptor))
            servers.append(Server(channel, Medium(os.open(image, os.O_RDWR))))
            choosers.append(random.Random(seed))
            selector.register(channel, selectors.EVENT_READ, servers[-1])
        while selector.get_map():
            for key, _ in selector.select():
                if not key.data.serve():
                    selector.unregister(key.fileobj)
    for server, chooser in zip(servers, choosers):
        total, lost = server.medium.cut(chooser)
        print(f"{lost} of {total} unflushed sectors lost")


if __name__ == "__main__":
    main(sys.argv[1:])
