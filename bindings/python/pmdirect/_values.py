# SPDX-License-Identifier: BSD-3-Clause
"""The enums and flags of pmdirect.h. tests/bindings/layout.py compares them with the header."""

import enum

from . import _library

ENOTSYNC, ENOTDIRECT, EVOLATILE = 5001, 5002, 5003


class _Named(enum.IntEnum):
    """A value that this module does not know, of a newer library, is a value all the same."""

    @classmethod
    def _missing_(cls, value):
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = f"VALUE_{value}", value
        return member

    def __str__(self):
        return _library.text(_library.names[self._kind()](self))

    @classmethod
    def _kind(cls):
        """The word in the name of the function that names the value: pm_granularity_name()."""
        return {"Row": "evidence", "EventKind": "event"}.get(cls.__name__, cls.__name__.lower())


class Granularity(_Named):
    """enum pm_granularity"""

    UNKNOWN = 0
    NONE = 1
    PAGE = 2
    CACHE_LINE = 3
    BYTE = 4


class State(_Named):
    """enum pm_state"""

    UNKNOWN = 0
    NO = 1
    YES = 2


class Request(_Named):
    """enum pm_request"""

    HINT = 0
    GUARANTEE = 1
    AVOID = 2


class Access(_Named):
    """enum pm_access"""

    UNSET = 0
    RANDOM = 1
    SEQUENTIAL = 2


class Grade(_Named):
    """enum pm_grade"""

    NONE = 0
    ACCEPTED = 1
    TRUSTED = 2
    PROMISED = 3
    PROVEN = 4


class Verdict(_Named):
    """enum pm_verdict"""

    UNKNOWN = 0
    MET = 1
    DEMOTED = 2
    REFUSED = 3


class Reason(_Named):
    """enum pm_reason"""

    NONE = 0
    PRIVATE = 1
    ANONYMOUS = 2
    VOLATILE = 3
    AVOIDED = 4
    ENV_OVERRIDE = 5
    MAP_SYNC_IGNORED = 6
    PAGE_CACHE = 7
    DIRECT_UNKNOWN = 8
    SYNC_REFUSED = 9
    CPU = 10
    EMULATED_PMEM = 11
    REGION_UNKNOWN = 12
    FLUSH_COMMAND = 13
    EXTENTS_UNKNOWN = 14
    HOLE = 15
    UNWRITTEN = 16
    SHARED = 17
    SHAREABLE = 18
    NO_DOMAIN = 19
    TRUSTED = 20
    NO_WRITE_BACK = 21
    WRITE_BACK_FAILED = 22
    NOT_PROMOTED = 23
    LEASE_REFUSED = 24
    LEASE_BROKEN = 25
    LEASE_FORCED = 26
    TRUNCATED = 27
    DAX_FLAG = 28
    MODIFIED = 29
    OPENED_WRITING = 30
    OPENED_DIRECT = 31
    READ_ONLY = 32
    SHUT_DOWN = 33
    DEVICE_GONE = 34
    BAD_BLOCKS = 35
    FSYNC_INCOMPLETE = 36
    UNLINKED = 37
    MOVED = 38
    UNNAMED = 39
    COPIED_UP = 40
    SYNC_IGNORED = 41
    NO_DEVICE_FLUSH = 42
    FAST_COMMIT = 43
    NOT_ARMED = 44
    IMMUTABLE = 45
    MOUNTED_OVER = 46
    DESCRIPTOR_LOST = 47


class Advice(_Named):
    """enum pm_advice"""

    NONE = 0
    PREPARE = 1
    MOUNT_DAX = 2
    LEASE = 3
    REAL_MEDIUM = 4
    STATE_DOMAIN = 5
    UNSET_ENV = 6
    LEAVE_SANDBOX = 7
    OTHER_CPU = 8
    USE_FSDAX = 9
    REWRITE = 11
    CLEAR_ERROR = 12
    MAP_AGAIN = 13
    CLOSE_OTHER_OPENS = 14
    JOURNAL = 15
    BARRIER = 16
    NAME = 17
    REMOUNT = 18
    MUTABLE = 19
    RANDOM_ACCESS = 20


class Row(_Named):
    """enum pm_evidence_row"""

    MAP_SYNC = 0
    MAP_SYNC_IGNORED = 1
    DAX = 2
    DEVICE_DAX = 3
    FILE_SYSTEM = 4
    MOUNT = 5
    VOLATILE = 6
    ALLOCATED = 7
    EXTENTS_WRITTEN = 8
    UNSHARED = 9
    SHAREABLE = 10
    REGION = 11
    PROVIDER = 12
    CPU_FLUSH_SUFFICES = 13
    DOMAIN = 14
    CPU_CACHE = 15
    DEEP_FLUSH = 16
    WRITE_CACHE = 17
    CPU = 18
    RESIDENT = 19
    LEASE_POSSIBLE = 20
    LEASE_HELD = 21
    KERNEL = 22
    ENV_OVERRIDE = 23
    OWN_DESCRIPTION = 24
    LIBPMEM = 25
    LIBUNWIND = 26
    WRITABLE = 27
    FS_ONLINE = 28
    DAX_FLAG = 29
    BAD_BLOCKS = 30
    UNSAFE_SHUTDOWNS = 31
    DEVICE_ID = 32
    NUMA_NODE = 33
    PAGE_SIZE = 34
    WATCHED = 35
    FSYNC_COMPLETE = 36
    NAMED = 37
    SYNC_IGNORED = 38
    DEVICE_FLUSH = 39
    FAST_COMMIT = 40
    ARMED = 41
    IN_FILE = 42
    LARGE_FOLIOS = 43


class EventKind(_Named):
    """enum pm_event_kind"""

    DEMOTED = 1
    WRITE_BACK_FAILED = 2
    PROMOTED = 3
    LEASE_BROKEN = 4
    SHARED = 5
    TRUNCATED = 6
    HOLE = 7
    PAGE_CACHE = 8
    DAX_FLAG = 9
    OPENED = 10
    MODIFIED = 11
    READ_ONLY = 12
    FS_OFFLINE = 13
    BAD_BLOCKS = 14
    NAME_LOST = 15


class Flag(enum.IntFlag):
    """Of options: PM_CREATE and the others."""

    CREATE = 0x1
    EXCLUSIVE = 0x2
    READ_ONLY = 0x4
    PRIVATE = 0x8
    ANONYMOUS = 0x10
    SPARSE = 0x20
    PREPARE = 0x40
    TRUST_KERNEL = 0x80
    WATCH = 0x100
    LEASE = 0x200
    FAIL_ON_DEMOTION = 0x800
    FROM_MEDIUM = 0x1000
    BORROW_FD = 0x2000
    AT_LEAST = 0x4000


class Copy(enum.IntFlag):
    """Of copies: PM_NODRAIN and the others."""

    NODRAIN = 0x1
    NOFLUSH = 0x2
    TEMPORAL = 0x4
    NONTEMPORAL = 0x8
