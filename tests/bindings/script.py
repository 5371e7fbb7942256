#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs conformance.script by the Python interface. Usage: script.py SCRIPT, in an empty directory"""

import errno
import os
import sys

import pmdirect

mapping = None


def life(words):
    """What begins, changes and ends the mapping."""
    global mapping
    command, rest = words[0], words[1:]
    if command == "map":
        mapping = pmdirect.Mapping(rest[0], flags=int(rest[1]), length=int(rest[2]))
    elif command == "map-at":
        mapping = pmdirect.Mapping(rest[0], offset=int(rest[1]), length=int(rest[2]))
    elif command == "guarantee":
        flags = int(rest[1])
        mapping = pmdirect.Mapping(rest[0], flags=flags, sync=pmdirect.Request.GUARANTEE,
                                   length=4096 if flags & pmdirect.Flag.CREATE else 0)
    elif command == "map-fd":
        map_descriptor(*rest)
    elif command == "resize":
        mapping.resize(int(rest[0]))
    elif command == "give-up":
        mapping.give_up(int(rest[0]), int(rest[1]))
    elif command == "unmap":
        mapping.unmap()
        mapping = None
    else:
        return None
    return 0


def map_descriptor(name, flags, length):
    global mapping
    if mapping:
        raise OSError(errno.EBUSY, "the script has one mapping")
    descriptor = os.open(name, os.O_RDWR | os.O_CLOEXEC)
    try:
        mapping = pmdirect.Mapping(descriptor, flags=int(flags), length=int(length))
    finally:
        if not int(flags) & pmdirect.Flag.BORROW_FD:
            os.close(descriptor)


def durability(words):
    command, numbers = words[0], [int(word) for word in words[1:] if word.lstrip("-").isdigit()]
    calls = {"flush": "flush", "drain": "drain", "persist": "persist", "deep-persist": "deep_persist", "sync": "sync",
             "publish": "publish64", "clear-error": "clear_error", "clear-bad-blocks": "clear_bad_blocks"}
    if command == "commit":
        mapping.commit([tuple(int(part) for part in word.split(":")) for word in words[1:]])
    elif command in calls:
        getattr(mapping, calls[command])(*numbers)
    else:
        return None
    return 0


def copies(words):
    command, rest = words[0], words[1:]
    at = int(rest[0]) if rest and rest[0].isdigit() else 0
    if command == "load":
        return mapping.load(at, int(rest[1])).decode()
    if command == "word":
        return int.from_bytes(mapping.load(at, 8), sys.byteorder)
    if command == "read":
        return mapping.read(at, int(rest[1])).decode()
    if command == "store":
        mapping.store(at, rest[1].encode())
    elif command == "copy":
        mapping.copy(at, rest[1].encode(), int(rest[2]))
    elif command == "move":
        mapping.move(at, int(rest[1]), int(rest[2]), int(rest[3]))
    elif command == "fill":
        mapping.fill(at, int(rest[1]), int(rest[2]), int(rest[3]))
    elif command == "write":
        mapping.write(at, rest[1].encode())
    else:
        return None
    return 0


def field(report, name):
    if name in ("granularity", "sync", "direct", "verdict", "reason", "advice"):
        return getattr(report, name)
    if name == "explain":
        return report.explain()
    if name == "quirks":
        return " ".join(quirk.name for quirk in report.quirks()) or "none"
    return int(getattr(report, name.replace("-", "_")))


def reports(words):
    command, rest = words[0], words[1:]
    if command == "query":
        return field(mapping.query(), rest[0])
    if command == "evidence":
        return mapping.query().evidence[int(rest[0])].state
    if command == "statistics":
        return mapping.statistics()[rest[0]]
    if command == "probe":
        return field(pmdirect.probe(rest[0]), rest[1])
    if command == "probe-fd":
        descriptor = os.open(rest[0], os.O_RDWR | os.O_CLOEXEC)
        try:
            return field(pmdirect.probe(descriptor), rest[1])
        finally:
            os.close(descriptor)
    return None


KINDS = {"granularity": pmdirect.Granularity, "state": pmdirect.State, "request": pmdirect.Request,
         "access": pmdirect.Access, "grade": pmdirect.Grade, "verdict": pmdirect.Verdict, "evidence": pmdirect.Row,
         "advice": pmdirect.Advice, "event": pmdirect.EventKind, "reason": pmdirect.Reason}


def others(words):
    command, rest = words[0], words[1:]
    if command == "version":
        return "same" if pmdirect.version() == pmdirect.VERSION else "another"
    if command == "detail":
        return "named" if rest[0] in pmdirect.error_detail() else "not named"
    if command == "length":
        return len(mapping)
    if command == "granularity":
        return mapping.granularity
    if command == "find":
        return "mine" if mapping.owns(mapping.base + int(rest[0])) else "none"
    if command == "event-fd":
        return "ok" if mapping.event_fd() > 2 else "not ok"
    if command == "event":
        event = mapping.next_event()
        return event.kind if event else "none"
    if command == "truncate":
        return os.truncate(rest[0], int(rest[1])) or 0
    if command == "exists":
        return "yes" if os.path.exists(rest[0]) else "no"
    if command == "name":
        return KINDS[rest[0]](int(rest[1]))
    return pmdirect.strerror(int(rest[0])) if command == "strerror" else "?"


def answer(words):
    for part in (life, durability, copies, reports, others):
        try:
            found = part(words)
        except OSError as error:
            return -error.errno
        if found is not None:
            return found
    return "?"


def main(script):
    with open(script, encoding="utf-8") as lines:
        for line in lines:
            command, arrow, _ = line.partition(" => ")
            if arrow and not line.startswith("#"):
                print(f"{command} => {answer(command.split(' '))}")


if __name__ == "__main__":
    main(sys.argv[1])
