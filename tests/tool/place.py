# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the command have in common."""

import json
import mmap
import os
import pathlib
import subprocess


class Skip(Exception):
    """A test that cannot run here, and why."""


class Place:
    """The command and a directory of the test's own."""

    def __init__(self, command, directory, manual):
        self.command, self.directory, self.manual = command, pathlib.Path(directory), manual

    def run(self, *arguments, status=0, **options):
        done = subprocess.run([*self.command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              **options)
        assert status is None or done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments, **options):
        done = self.run(arguments[0], "--json", *arguments[1:], **options)
        # The parser of python's own tool, and strictly: UTF-8, no control characters, no second key of a name.
        return json.loads(done.stdout.decode("utf-8"), object_pairs_hook=without_doubles)

    def own(self, *arguments, **options):
        """The rows of ps for this process, by address."""
        rows = self.json("ps", "-p", str(os.getpid()), *arguments, **options)["rows"]
        return {row["start"]: row for row in rows}

    def has_companion(self):
        """None is built for another C library, and under a sanitizer, which must be loaded first."""
        stderr = self.run("run", "--", "true", status=None).stderr
        return not any(words in stderr for words in (b"of another C library", b"libpmdirect-preload.so is neither",
                                                     b"ASan runtime does not come first"))

    def file(self, name, size=8192):
        path = os.path.join(os.fsencode(self.directory), os.fsencode(name))
        with open(path, "wb") as stream:
            stream.write(b"x" * size)
        return path


def without_doubles(pairs):
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


def mapped(path, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE, length=8192):
    fd = os.open(path, os.O_RDWR)
    try:
        return mmap.mmap(fd, length, flags, prot)
    finally:
        os.close(fd)


def bytes_of(row, name="path"):
    return bytes.fromhex(row[name + "_hex"]) if name + "_hex" in row else row[name].encode()
