# SPDX-License-Identifier: BSD-3-Clause
"""libpmdirect for Python: what a mapping is, why, and durable stores. It needs the shared library alone.

    import pmdirect

    print(pmdirect.probe("/srv/db/file").explain())
    with pmdirect.Mapping("greeting.txt", flags=pmdirect.Flag.CREATE, length=4096) as mapping:
        mapping.store(0, b"hello, durable world")
        mapping.persist(0, 20)
        print(mapping.query().granularity)

Ranges are offsets in the mapping and lengths. A call that fails raises pmdirect.Error, an OSError whose strerror is
the sentence of pm_error_detail(). The manual of the C functions holds: pm(7), and a page in section 3 for each.

Not here: handlers of events (wait for event_fd(), then next_event()) and pm_guarded(), because a fault may not leave
the interpreter. An access that cannot be served is SIGBUS here; read() and write() are errors instead.
"""

import collections
import ctypes
import errno
import os

from . import _library
from ._values import (ENOTDIRECT, ENOTSYNC, EVOLATILE, Access, Advice, Copy, EventKind, Flag, Grade, Granularity,
                      Reason, Request, Row, State, Verdict)

VERSION = "0.2.0"

__all__ = ["ENOTDIRECT", "ENOTSYNC", "EVOLATILE", "Access", "Advice", "Copy", "Error", "Event", "EventKind", "Evidence",
           "Flag", "Grade", "Granularity", "Mapping", "Quirk", "Reason", "Report", "Request", "Row", "State", "VERSION",
           "Verdict", "error_detail", "probe", "set_log", "strerror", "version"]


class Error(OSError):
    """A call that failed: errno is that of errno(3), or ENOTSYNC, ENOTDIRECT or EVOLATILE."""


def version():
    """Of the library; VERSION is that of this module."""
    return _library.text(_library.version())


def strerror(code):
    """The words for an error code, with or without the minus sign."""
    return _library.text(_library.strerror(code))


def error_detail():
    """The last error of this thread in a sentence."""
    return _library.text(_library.error_detail())


def _ok(result):
    if result < 0:
        raise Error(-result, error_detail() or strerror(result))
    return result


def _sentences(explain, subject):
    buffer = ctypes.create_string_buffer(_ok(explain(ctypes.byref(subject), None, 0)) + 1)
    explain(ctypes.byref(subject), buffer, len(buffer))
    return _library.text(buffer.value)


_logging = None  # the function that the library has: kept alive


def set_log(function):
    """function(sentence) is called for each event of each mapping, in any thread; None: no more."""
    global _logging
    new = _library.log_type(lambda sentence, _: function(_library.text(sentence))) if function else _library.log_type()
    _library.set_log(new, None)
    _logging = new


# ---- What the library says ----


class Evidence:
    """One row: state, and what was seen where."""

    def __init__(self, row, raw):
        self.row, self.state, self.error, self.value = row, State(raw.state), raw.error, raw.value
        self.source, self.text = _library.text(raw.source or b""), _library.text(raw.text)

    def __repr__(self):
        return f"<{self.row}: {self.state} {self.text!r} by {self.source}>"


Quirk = collections.namedtuple("Quirk", "name effect advice")


class Report:
    """What pm_query() and pm_probe() report; evidence is a dict by Row."""

    def __init__(self, raw):
        self._raw = raw
        self.size = raw.size
        self.granularity, self.sync, self.direct = Granularity(raw.granularity), State(raw.sync), State(raw.direct)
        self.grade, self.verdict = Grade(raw.grade), Verdict(raw.verdict)
        self.reason, self.advice = Reason(raw.reason), Advice(raw.advice)
        self.sync_request, self.direct_request = Request(raw.sync_request), Request(raw.direct_request)
        self.error, self.offset, self.length = raw.error, raw.offset, raw.length
        rows = (raw.size - _library.pm_report.evidence.offset) // ctypes.sizeof(_library.pm_evidence)
        self.evidence = {row: Evidence(row, raw.evidence[row]) for row in Row if row < rows}

    def explain(self):
        """Sentences for a person, with advice."""
        return _sentences(_library.explain, self._raw)

    def quirks(self):
        """What the kernel is known to do wrong with such files: a Quirk each."""
        found = []
        while quirk := _library.quirk(ctypes.byref(self._raw), len(found)):
            found.append(Quirk(*(_library.text(getattr(quirk[0], name)) for name in Quirk._fields)))
        return found


class Event:
    """What pm_next_event() gives."""

    def __init__(self, raw):
        self._raw = raw
        self.kind, self.reason, self.error = EventKind(raw.kind), Reason(raw.reason), raw.error
        self.offset, self.length, self.where = raw.offset, raw.length, _library.text(raw.where)
        self.old_granularity, self.new_granularity = Granularity(raw.old_granularity), Granularity(raw.new_granularity)
        self.old_sync, self.old_direct = State(raw.old_sync), State(raw.old_direct)
        self.sync, self.direct = State(raw.sync), State(raw.direct)

    def explain(self):
        """A sentence or two for a person."""
        return _sentences(_library.explain_event, self._raw)


def _options(wanted):
    options = _library.pm_options(size=ctypes.sizeof(_library.pm_options))
    for name, value in wanted.items():
        if name in ("size", "on_event", "event_arg") or not hasattr(options, name):
            raise TypeError(f"there is no option '{name}'")
        setattr(options, name, value)
    return ctypes.byref(options)


def probe(where, **options):
    """What Mapping(where, **options) would get; where is a path or a descriptor. Leaves no trace."""
    raw = _library.pm_report()
    if isinstance(where, int):
        _ok(_library.probe_fd(where, _options(options), ctypes.byref(raw), ctypes.sizeof(raw)))
    else:
        _ok(_library.probe(os.fsencode(where), _options(options), ctypes.byref(raw), ctypes.sizeof(raw)))
    return Report(raw)


# ---- The mapping ----


class Mapping:
    """A mapping of a file (a path, a descriptor, or None with Flag.ANONYMOUS). Options are those of struct pm_options.

    A with statement ends it, and raises the error of a last write-back that failed.
    """

    def __init__(self, where, **options):
        self._handle = ctypes.c_void_p()
        if isinstance(where, int):
            _ok(_library.map_fd(where, _options(options), ctypes.byref(self._handle)))
        else:
            path = None if where is None else os.fsencode(where)
            _ok(_library.map(path, _options(options), ctypes.byref(self._handle)))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.unmap()
        elif self._handle:
            _library.unmap(self._take())

    def __del__(self):
        if getattr(self, "_handle", None):
            _library.unmap(self._take())

    def _take(self):
        handle, self._handle = self._handle, ctypes.c_void_p()
        return handle

    def unmap(self):
        """Drains and ends the mapping, whatever the result. A second call does nothing."""
        if self._handle:
            _ok(_library.unmap(self._take()))

    # ---- Where it is ----

    def __len__(self):
        return _library.length(self._handle)

    @property
    def base(self):
        """The address of the first byte."""
        return _library.base(self._handle) or 0

    @property
    def granularity(self):
        return Granularity(_library.granularity_of(self._handle))

    def _at(self, offset):
        return ctypes.c_void_p((_library.base(self._handle) or 0) + offset)

    def _inside(self, offset, length):
        if offset < 0 or length < 0 or offset + length > len(self):
            raise Error(errno.ERANGE, f"{length} bytes at {offset} leave the mapping of {len(self)} bytes")

    def owns(self, address):
        """Whether pm_find() says that the address lies in this mapping."""
        return bool(self._handle) and _library.find(address) == self._handle.value

    # ---- Loads and stores ----

    def load(self, offset, length):
        """The bytes of a range, as the mapping shows them."""
        self._inside(offset, length)
        return ctypes.string_at(self._at(offset).value, length) if length else b""

    def store(self, offset, data):
        """Stores bytes; they are not durable before flush() and drain(), persist() or sync()."""
        data = bytes(data)
        self._inside(offset, len(data))
        ctypes.memmove(self._at(offset), data, len(data))

    def view(self):
        """A memoryview of the mapping. It is a bare address: it must not be used after unmap() and resize()."""
        return memoryview((ctypes.c_char * len(self)).from_address(self.base)).cast("B")

    # ---- Durability: each as the C function of its name ----

    def flush(self, offset, length):
        _ok(_library.flush(self._handle, self._at(offset), length))

    def drain(self):
        _ok(_library.drain(self._handle))

    def persist(self, offset, length):
        _ok(_library.persist(self._handle, self._at(offset), length))

    def commit(self, ranges):
        """ranges: pairs of offset and length."""
        raw = [_library.pm_range(self._at(offset), length) for offset, length in ranges]
        _ok(_library.commit(self._handle, (_library.pm_range * len(raw))(*raw), len(raw)))

    def publish64(self, offset, value):
        _ok(_library.publish64(self._handle, self._at(offset), value))

    def deep_persist(self, offset, length):
        _ok(_library.deep_persist(self._handle, self._at(offset), length))

    def sync(self):
        _ok(_library.sync(self._handle))

    def copy(self, offset, data, flags=0):
        data = bytes(data)
        _ok(_library.memcpy(self._handle, self._at(offset), data, len(data), flags))

    def move(self, to, source, length, flags=0):
        """Within the mapping."""
        self._inside(source, length)
        _ok(_library.memmove(self._handle, self._at(to), self._at(source), length, flags))

    def fill(self, offset, value, length, flags=0):
        _ok(_library.memset(self._handle, self._at(offset), value, length, flags))

    def read(self, offset, length):
        buffer = ctypes.create_string_buffer(max(length, 1))
        _ok(_library.read(self._handle, buffer, self._at(offset), length))
        return buffer.raw[:length]

    def write(self, offset, data):
        data = bytes(data)
        _ok(_library.write(self._handle, self._at(offset), data, len(data)))

    def resize(self, length):
        _ok(_library.resize(self._handle, length))

    def give_up(self, offset, length):
        """Lets go of whole pages, which stay mapped: no call touches them any more, and they are never unmapped."""
        _ok(_library.give_up(self._handle, self._at(offset), length))

    def clear_bad_blocks(self, offset, length):
        _ok(_library.clear_bad_blocks(self._handle, self._at(offset), length))

    def clear_error(self):
        _ok(_library.clear_error(self._handle))

    # ---- Truth ----

    def query(self):
        """A Report of what the mapping is now."""
        raw = _library.pm_report()
        _ok(_library.query(self._handle, ctypes.byref(raw), ctypes.sizeof(raw)))
        return Report(raw)

    def statistics(self):
        """A dict of counts since the mapping was made."""
        raw = _library.pm_statistics()
        _ok(_library.statistics(self._handle, ctypes.byref(raw), ctypes.sizeof(raw)))
        return {name: getattr(raw, name) for name, _ in _library.pm_statistics._fields_}

    def event_fd(self):
        """A descriptor for select; never read or close it."""
        return _ok(_library.event_fd(self._handle))

    def next_event(self):
        """The oldest Event, or None."""
        raw = _library.pm_event()
        result = _library.next_event(self._handle, ctypes.byref(raw), ctypes.sizeof(raw))
        return None if result == -errno.EAGAIN else Event(_ok(result) or raw)
