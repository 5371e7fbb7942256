# SPDX-License-Identifier: BSD-3-Clause
"""The structs and functions of pmdirect.h, as ctypes sees them. tests/bindings/layout.py compares them.

Not by cffi, which needs a compiled backend for each version of Python: here an operator's script needs Python and the
library alone. What cffi would save are these lists, and the test compares each struct, value and prototype of them with
the header.
"""

import ctypes
import os

ROWS = 44  # PM_EVIDENCE_ROWS
FRAMES = 16  # PM_EVENT_FRAMES

_library = ctypes.CDLL(os.environ.get("PMDIRECT_LIBRARY", "libpmdirect.so.0"))
FUNCTION = type(_library.pm_version)


def _struct(name, members):
    return type(name, (ctypes.Structure,), {"_fields_": members, "__doc__": f"struct {name}"})


_int, _unsigned, _u64, _size = ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_size_t
_pointer = ctypes.c_void_p

pm_options = _struct("pm_options", [
    ("size", _size), ("sync", _int), ("direct", _int), ("flags", _unsigned), ("mode", _unsigned), ("offset", _u64),
    ("length", _u64), ("on_event", _pointer), ("event_arg", _pointer), ("reserve", _u64), ("access", _int),
    ("map_flags", _int), ("address", _pointer)])
pm_evidence = _struct("pm_evidence", [
    ("state", _int), ("error", _int), ("value", _u64), ("source", ctypes.c_char_p), ("text", ctypes.c_char * 56)])
pm_report = _struct("pm_report", [
    ("size", _size), ("granularity", _int), ("sync", _int), ("direct", _int), ("grade", _int), ("verdict", _int),
    ("reason", _int), ("advice", _int), ("sync_request", _int), ("direct_request", _int), ("error", _int),
    ("offset", _u64), ("length", _u64), ("evidence", pm_evidence * ROWS)])
pm_event = _struct("pm_event", [
    ("size", _size), ("kind", _int), ("reason", _int), ("error", _int), ("offset", _u64), ("length", _u64),
    ("old_granularity", _int), ("new_granularity", _int), ("old_sync", _int), ("old_direct", _int), ("sync", _int),
    ("direct", _int), ("frames", _unsigned), ("frame", _pointer * FRAMES), ("where", ctypes.c_char * 128)])
pm_statistics = _struct("pm_statistics", [("size", _size)] + [(name, _u64) for name in (
    "flushes", "drains", "write_backs", "errors", "bytes_asked", "bytes_written", "demotions", "promotions",
    "nanoseconds_waited", "bytes_beyond")])
pm_range = _struct("pm_range", [("address", _pointer), ("length", _size)])
pm_quirk = _struct("pm_quirk", [(name, ctypes.c_char_p) for name in ("name", "effect", "advice")])


# ---- The functions of the header ----

log_type = ctypes.CFUNCTYPE(None, ctypes.c_char_p, _pointer)


def _function(name, result, *parameters):
    function = getattr(_library, name)
    function.restype, function.argtypes = result, parameters
    return function


def text(words):
    return words.decode(errors="replace")


map = _function("pm_map", _int, ctypes.c_char_p, _pointer, _pointer)
map_fd = _function("pm_map_fd", _int, _int, _pointer, _pointer)
unmap = _function("pm_unmap", _int, _pointer)
resize = _function("pm_resize", _int, _pointer, _u64)
give_up = _function("pm_give_up", _int, _pointer, _pointer, _size)
base = _function("pm_base", _pointer, _pointer)
length = _function("pm_length", _u64, _pointer)
find = _function("pm_find", _pointer, _pointer)
granularity_of = _function("pm_granularity_of", _int, _pointer)
flush = _function("pm_flush", _int, _pointer, _pointer, _size)
drain = _function("pm_drain", _int, _pointer)
persist = _function("pm_persist", _int, _pointer, _pointer, _size)
commit = _function("pm_commit", _int, _pointer, _pointer, _size)
publish64 = _function("pm_publish64", _int, _pointer, _pointer, _u64)
deep_persist = _function("pm_deep_persist", _int, _pointer, _pointer, _size)
sync = _function("pm_sync", _int, _pointer)
memcpy = _function("pm_memcpy", _int, _pointer, _pointer, _pointer, _size, _unsigned)
memmove = _function("pm_memmove", _int, _pointer, _pointer, _pointer, _size, _unsigned)
memset = _function("pm_memset", _int, _pointer, _pointer, _int, _size, _unsigned)
read = _function("pm_read", _int, _pointer, _pointer, _pointer, _size)
write = _function("pm_write", _int, _pointer, _pointer, _pointer, _size)
clear_bad_blocks = _function("pm_clear_bad_blocks", _int, _pointer, _pointer, _size)
clear_error = _function("pm_clear_error", _int, _pointer)
query = _function("pm_query", _int, _pointer, _pointer, _size)
probe = _function("pm_probe", _int, ctypes.c_char_p, _pointer, _pointer, _size)
probe_fd = _function("pm_probe_fd", _int, _int, _pointer, _pointer, _size)
statistics = _function("pm_statistics", _int, _pointer, _pointer, _size)
event_fd = _function("pm_event_fd", _int, _pointer)
next_event = _function("pm_next_event", _int, _pointer, _pointer, _size)
explain = _function("pm_explain", _int, _pointer, ctypes.c_char_p, _size)
explain_event = _function("pm_explain_event", _int, _pointer, ctypes.c_char_p, _size)
quirk = _function("pm_quirk", ctypes.POINTER(pm_quirk), _pointer, _size)
set_log = _function("pm_set_log", None, log_type, _pointer)
strerror = _function("pm_strerror", ctypes.c_char_p, _int)
error_detail = _function("pm_error_detail", ctypes.c_char_p)
version = _function("pm_version", ctypes.c_char_p)
names = {kind: _function(f"pm_{kind}_name", ctypes.c_char_p, _int) for kind in (
    "granularity", "state", "request", "access", "grade", "verdict", "reason", "advice", "evidence", "event")}
