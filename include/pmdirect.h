/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmdirect.h - durable memory-mapped files that tell the truth
 *
 * A program calls pm_map(), stores into memory, calls pm_persist(). Where the kernel grants MAP_SYNC
 * and the facts bear it out, durability is a cache-line write-back and a fence, with no system call;
 * everywhere else the kernel's own write-back (msync) does it. The report says which, and why.
 *
 * Three properties are kept apart, because none follows from another:
 *
 *   granularity  what must still happen after a store before it survives a power failure
 *   sync         whether user space may commit alone (the file system's metadata is already durable)
 *   direct       whether there is no page cache between the CPU and the medium
 *
 * Conventions that hold for every function below, unless its comment says otherwise:
 *
 *   Errors   A function returning int returns 0 on success, else a negative errno (errno(3)) or a
 *            negative PM_E code. pm_strerror() names it; pm_error_detail() gives, in the same thread, a
 *            sentence with the call, the path and the reason. The error of a call that made something
 *            undoes what it made.
 *   Units    Lengths and offsets are bytes. Addresses lie inside the mapping: a range that leaves it is
 *            refused with -ERANGE. Length 0 does nothing, successfully, with no system call. A NULL mapping, or a NULL
 *            where a result goes, is -EINVAL; pm_unmap(NULL) is 0, and pm_base(), pm_length() and pm_granularity_of()
 *            return NULL, 0 and PM_GRANULARITY_UNKNOWN. The size of a struct is one that it has had, so it ends where a
 *            field does; any other is -EINVAL, and options of more than 4096 bytes are -E2BIG.
 *   End      Where another process cuts the file off inside the mapping, 0 is never of bytes that the file lost: once
 *            that is seen, every call on a range behind the end returns -ERANGE, pm_drain() too where something of the
 *            kind was flushed. It is seen by each drain on PM_PAGE, by pm_sync(), pm_deep_persist() and pm_write(), and by
 *            a look (pm_event_fd()); on PM_CACHE_LINE and PM_BYTE a pm_persist() of bytes behind the end in the file's
 *            last page returns 0 until then. What lies before the end keeps its promises, and nothing is poisoned.
 *            pm_resize() to what is left, or to what has grown again, ends it.
 *   Numbers  No descriptor of the library is 0, 1 or 2. Where the program closes one behind the library's back, or another
 *            file gets its number, every durability call returns -EBADF from the first that sees it on, and nothing is
 *            written, resized, leased or closed through the number. pm_persist() on PM_CACHE_LINE asks for none, and is
 *            durable until a look sees it.
 *   Threads  Any function may be called on any mapping from any thread at any time. pm_unmap() and
 *            pm_resize() need all other calls on that mapping to have finished. Only a mapping made with PM_WATCH or
 *            PM_LEASE has a thread of the library, and one more for its event handler; every signal is blocked in them.
 *            pm_persist(), pm_drain() and pm_sync() are no cancellation points on PM_PAGE; a thread that is cancelled
 *            in another call leaves its locks held (pthread_setcancelstate(3)).
 *   Signals  EINTR is handled inside. No function is async-signal-safe. No function prints, aborts,
 *            installs a handler (pm_guard_install() alone does), changes the working directory or writes
 *            the environment.
 *   Forks    A child must not use a mapping made by its parent: map again. One that was forked while another thread
 *            was in this library (PM_WATCH and PM_LEASE have threads of their own) must not call it at all before
 *            execve(2): a lock may be held for ever. A lease that its holder leaves behind without pm_unmap() lasts
 *            until the last forked child has closed its copy of the descriptor.
 *
 * What a power failure may take, by granularity (the ladder every "Crash:" note below refers to):
 *
 *   after           PM_NONE      PM_PAGE                        PM_CACHE_LINE            PM_BYTE
 *   a store         everything   all since the page's last      any subset of the lines  what no fence has
 *                                write-back, in any order,      not drained, torn at     ordered yet
 *                                torn at 512 B or 4 KiB         8 B
 *   pm_flush() = 0  everything   as above                       as above                 as above
 *   pm_drain() = 0  everything   nothing                        nothing                  nothing
 *
 * On no granularity is an aligned word of 8 bytes torn that was stored by one instruction: it is old or new. (On PM_PAGE
 * as long as the device writes a sector whole.)
 */
#ifndef PMDIRECT_H
#define PMDIRECT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PM_API __attribute__((visibility("default")))

/* ---- Words ------------------------------------------------------------------------------------ */

/* What a store still needs to become durable. Ordered: a larger value promises more. */
enum pm_granularity {
	PM_GRANULARITY_UNKNOWN = 0, /* only in a report of pm_probe(): it could not be found out */
	PM_NONE = 1,                /* nothing helps: the backing is volatile */
	PM_PAGE = 2,                /* kernel write-back of whole pages */
	PM_CACHE_LINE = 3,          /* CPU write-back of cache lines and a fence */
	PM_BYTE = 4                 /* a fence: the CPU caches are in the persistence domain (eADR) */
};

/* A three-state fact. Unknown is never rounded up: only a yes lifts a promise. */
enum pm_state {
	PM_UNKNOWN = 0,
	PM_NO = 1,
	PM_YES = 2
};

/* How the caller asks for a property. */
enum pm_request {
	PM_HINT = 0,      /* used where it can be had, else the mapping falls back and says so */
	PM_GUARANTEE = 1, /* pm_map() fails where it cannot be had, and leaves nothing behind */
	PM_AVOID = 2      /* not used on purpose */
};

/* How well cache-line or byte granularity is founded. */
enum pm_grade {
	PM_GRADE_NONE = 0,     /* the kernel did not accept MAP_SYNC, or it was not asked for */
	PM_GRADE_ACCEPTED = 1, /* accepted, but a fact the promise stands on is missing or unknown */
	PM_GRADE_TRUSTED = 2,  /* accepted and taken at its word (PM_TRUST_KERNEL): trusted, not proven */
	PM_GRADE_PROMISED = 3, /* all facts hold, except that the platform states no persistence domain */
	PM_GRADE_PROVEN = 4    /* all facts hold and the region states its persistence domain */
};

enum pm_verdict {
	PM_VERDICT_UNKNOWN = 0,
	PM_VERDICT_MET = 1,       /* both requests are met */
	PM_VERDICT_DEMOTED = 2, /* a hint is not met; the mapping is durable through the kernel, if at all */
	PM_VERDICT_REFUSED = 3    /* a guarantee cannot be met */
};

/* The first fact that stood in the way. */
enum pm_reason {
	PM_REASON_NONE = 0,              /* nothing stood in the way */
	PM_REASON_PRIVATE = 1,           /* a private copy never reaches the file */
	PM_REASON_ANONYMOUS = 2,         /* there is no file */
	PM_REASON_VOLATILE = 3,          /* the file system or region keeps its data in volatile memory */
	PM_REASON_AVOIDED = 4,           /* the caller asked for the kernel's write-back */
	PM_REASON_ENV_OVERRIDE = 5,            /* PMDIRECT_GRANULARITY in the environment lowers the promise */
	PM_REASON_MAP_SYNC_IGNORED = 6,         /* somebody accepted MAP_SYNC without knowing it: sandbox or shim */
	PM_REASON_PAGE_CACHE = 7,        /* the file is not DAX: a page cache stands in between */
	PM_REASON_DIRECT_UNKNOWN = 8,    /* the kernel does not say whether the file is DAX */
	PM_REASON_SYNC_REFUSED = 9,      /* the file is direct, yet the kernel refuses MAP_SYNC */
	PM_REASON_CPU = 10,              /* this CPU cannot write lines back to the medium, or may not */
	PM_REASON_EMULATED_PMEM = 11,         /* ordinary DRAM presented as persistent memory */
	PM_REASON_REGION_UNKNOWN = 12,   /* the device behind the file was not identified */
	PM_REASON_FLUSH_COMMAND = 13,     /* the device needs a flush command (virtio-pmem) */
	PM_REASON_EXTENTS_UNKNOWN = 14,  /* the file system does not tell the file's extents */
	PM_REASON_HOLE = 15,             /* part of the range is not allocated */
	PM_REASON_UNWRITTEN = 16,        /* part of the range is allocated, not yet written */
	PM_REASON_SHARED = 17,           /* part of the range is shared with another file */
	PM_REASON_SHAREABLE = 18,        /* the file system can share extents and no lease is held */
	PM_REASON_NO_DOMAIN = 19,        /* the region does not state a persistence domain */
	PM_REASON_TRUSTED = 20,          /* the kernel's word was taken because the caller asked for it */
	PM_REASON_NO_WRITE_BACK = 21,    /* device-dax has no kernel write-back to fall back to */
	PM_REASON_WRITE_BACK_FAILED = 22, /* a write-back failed: the mapping is poisoned until pm_clear_error() */
	PM_REASON_NOT_PROMOTED = 23,     /* the facts bear more now; the mapping was made, or demoted, without them */
	PM_REASON_LEASE_REFUSED = 24,    /* extents can be shared, and the lease asked for is not to be had now */
	PM_REASON_LEASE_BROKEN = 25,     /* events only: somebody opens the file; he waits until the mapping is ready */
	PM_REASON_LEASE_FORCED = 26,     /* events only: as above, but the kernel did not wait; not told of a reader */
	PM_REASON_TRUNCATED = 27,        /* the file ends inside the range */
	PM_REASON_DAX_FLAG = 28,         /* events only: the inode's DAX flag was changed; it counts when next loaded */
	PM_REASON_MODIFIED = 29,          /* events only: the file was changed by other means than a mapping */
	PM_REASON_OPENED_WRITING = 30,   /* events only: another process has the file open for writing */
	PM_REASON_OPENED_DIRECT = 31,    /* events only: likewise, with O_DIRECT */
	PM_REASON_READ_ONLY = 32,        /* the file system is read-only now */
	PM_REASON_SHUT_DOWN = 33,        /* the file system answers with EIO: it was shut down */
	PM_REASON_DEVICE_GONE = 34,      /* the device under the file system is gone */
	PM_REASON_BAD_BLOCKS = 35,       /* events only: the medium has bad blocks in the range */
	PM_REASON_FSYNC_INCOMPLETE = 36,       /* it is not known that a sync writes the inode: ext4 without a journal */
	PM_REASON_UNLINKED = 37,         /* the file has lost its name: it was unlinked, or another file replaced it */
	PM_REASON_MOVED = 38,            /* the file has another path than when it was mapped */
	PM_REASON_UNNAMED = 39,          /* the file never had a name (O_TMPFILE, memfd_create(2)) */
	PM_REASON_COPIED_UP = 40,        /* the overlay copied the file up: the path leads to another file now */
	PM_REASON_SYNC_IGNORED = 41,     /* a sync that must fail succeeded: a filter or shim ignores syncs */
	PM_REASON_NO_DEVICE_FLUSH = 42,  /* the mount or the queue sends no flush to the device's volatile cache */
	PM_REASON_FAST_COMMIT = 43,      /* ext4 with fast_commit, or not known to be without, and no lease is held */
	PM_REASON_NOT_ARMED = 44,        /* an NVDIMM of the region is not armed, or the region is read-only */
	PM_REASON_IMMUTABLE = 45         /* the file was made immutable or append-only */
};

/* What a person can do about the reason. */
enum pm_advice {
	PM_ADVICE_NONE = 0,
	PM_ADVICE_PREPARE = 1,        /* map with PM_PREPARE */
	PM_ADVICE_MOUNT_DAX = 2,      /* put the file on a DAX mount of persistent memory */
	PM_ADVICE_LEASE = 3,          /* map with PM_LEASE, or use a file system that cannot share extents */
	PM_ADVICE_REAL_MEDIUM = 4,    /* use a real persistent medium */
	PM_ADVICE_STATE_DOMAIN = 5,   /* let the platform's firmware state the persistence domain */
	PM_ADVICE_UNSET_ENV = 6,      /* unset PMDIRECT_GRANULARITY */
	PM_ADVICE_LEAVE_SANDBOX = 7,  /* run without the shim or sandbox, or do not ask for a guarantee */
	PM_ADVICE_OTHER_CPU = 8,      /* run on a CPU whose cache write-back reaches the medium */
	PM_ADVICE_USE_FSDAX = 9,      /* use a file on a DAX file system instead of device-dax */
	PM_ADVICE_REWRITE = 10,       /* give the file its own extents: copy it, and map the copy */
	PM_ADVICE_CLEAR_ERROR = 11,   /* find out what was lost, then pm_clear_error() */
	PM_ADVICE_MAP_AGAIN = 12,     /* unmap and map again */
	PM_ADVICE_CLOSE_OTHER_OPENS = 13,         /* let nobody else have the file open, and map it as its owner */
	PM_ADVICE_JOURNAL = 14,       /* give the file system a journal */
	PM_ADVICE_BARRIER = 15,       /* mount with barriers, and let the queue send flushes */
	PM_ADVICE_NAME = 16,          /* give the file a name, or map the file that has it now */
	PM_ADVICE_REMOUNT = 17,       /* repair and mount the file system again, then map again */
	PM_ADVICE_MUTABLE = 18        /* take the attribute off the file (chattr -ia) */
};

/* The rows of evidence. New rows are added at the end. */
enum pm_evidence_row {
	PM_EV_MAP_SYNC = 0,       /* MAP_SHARED_VALIDATE|MAP_SYNC was accepted; error: the errno of the refusal */
	PM_EV_MAP_SYNC_IGNORED = 1,      /* the acceptance contradicts other facts */
	PM_EV_DAX = 2,            /* STATX_ATTR_DAX, counted only where the mask carries it */
	PM_EV_DEVICE_DAX = 3,     /* the file is a device-dax node */
	PM_EV_FILE_SYSTEM = 4,    /* identified; text: its name; value: f_type */
	PM_EV_MOUNT = 5,          /* text: mount options that concern DAX and write-back */
	PM_EV_VOLATILE = 6,       /* the backing, or what it stands on, forgets at power-off; text: what was found below */
	PM_EV_ALLOCATED = 7,      /* no hole in the range; value when no: file offset of the first */
	PM_EV_EXTENTS_WRITTEN = 8,        /* no unwritten extent in the range; value as above */
	PM_EV_UNSHARED = 9,       /* no extent shared with another file; value as above */
	PM_EV_SHAREABLE = 10,     /* the file system can share extents (reflink, dedupe) */
	PM_EV_REGION = 11,        /* the memory region behind the file was found; text: its name */
	PM_EV_PROVIDER = 12,      /* it is real memory of a known kind, not an impostor; text: bus provider */
	PM_EV_CPU_FLUSH_SUFFICES = 13,   /* CPU write-back alone reaches the medium (no flush command needed) */
	PM_EV_DOMAIN = 14,        /* the region states a persistence domain; text: which */
	PM_EV_CPU_CACHE = 15,     /* that domain includes the CPU caches (eADR) */
	PM_EV_DEEP_FLUSH = 16,    /* the region has flush hints beyond the persistence domain */
	PM_EV_WRITE_CACHE = 17,   /* the kernel writes CPU caches back on fsync; text: dax/write_cache */
	PM_EV_CPU = 18,           /* CPU write-back reaches the medium; text: the instruction */
	PM_EV_RESIDENT = 19,      /* pages of the range are in the page cache; value when yes: file offset of the first */
	PM_EV_LEASE_POSSIBLE = 20, /* a write lease could be taken; error: why not */
	PM_EV_LEASE_HELD = 21,    /* a write lease is held: nobody else has the file open */
	PM_EV_KERNEL = 22,        /* text: kernel release */
	PM_EV_ENV_OVERRIDE = 23,        /* the environment lowered the promise ("tainted"); text: the setting; EINVAL: no known word */
	PM_EV_OWN_DESCRIPTION = 24,  /* the library has an open file description of its own */
	PM_EV_LIBPMEM = 25,       /* libpmem is in use as provider */
	PM_EV_LIBUNWIND = 26,     /* libunwind is in use as provider */
	PM_EV_WRITABLE = 27,      /* the file system is not read-only, by mount or by emergency, nor (EPERM) the file immutable */
	PM_EV_FS_ONLINE = 28,         /* the file system answers, and its device is there; error: EIO or ENODEV */
	PM_EV_DAX_FLAG = 29,      /* the inode's DAX flag: a wish for when it is next loaded, not the state */
	PM_EV_BAD_BLOCKS = 30,    /* the range has bad blocks; value: file offset of the first; text: how many */
	PM_EV_UNSAFE_SHUTDOWNS = 31, /* power was lost before the DIMMs' own flush ended; value: how often, of all DIMMs */
	PM_EV_DEVICE_ID = 32,     /* text: name of the DIMM, or the cookie of the region's set of DIMMs */
	PM_EV_NUMA_NODE = 33,     /* value: the node that the region is near to */
	PM_EV_PAGE_SIZE = 34,     /* value: size of the smallest page the range is mapped with by now; device-dax, DAX */
	PM_EV_WATCHED = 35,       /* inotify(7) announces what others do to the file; no: error, text: what is missed then */
	PM_EV_FSYNC_COMPLETE = 36,  /* a sync, and a fault under MAP_SYNC, writes the inode; no: ext4 without a journal */
	PM_EV_NAMED = 37,         /* a path leads to the file; value: its links; text: its path, or what became of it; error:
	                             ENOENT unlinked, EEXIST replaced, EREMCHG moved, ENOLINK unnamed, ESTALE copied up */
	PM_EV_SYNC_IGNORED = 38,  /* a sync that must fail succeeded: syncs are ignored */
	PM_EV_DEVICE_FLUSH = 39,  /* a sync ends in a flush of the device's volatile cache, if it has one: pm_below(7) */
	PM_EV_FAST_COMMIT = 40,   /* ext4 commits by fast_commit */
	PM_EV_ARMED = 41,         /* the region is writable and its NVDIMMs save their data; value when no: 1 if one cannot */
	PM_EV_IN_FILE = 42,       /* the whole range lies in the file; value when no: where the file ends */
	PM_EVIDENCE_ROWS = 43
};

/* One row: what is known, from where. */
struct pm_evidence {
	enum pm_state state;
	int error;          /* when no or unknown: the positive errno seen, else 0 */
	uint64_t value;     /* see the row */
	const char *source; /* who said so: a system call or a file; static text, never NULL */
	char text[56];      /* the value seen, as text; may be empty */
};

/* ---- Errors of our own ------------------------------------------------------------------------- */

#define PM_ENOTSYNC 5001   /* a sync guarantee cannot be met */
#define PM_ENOTDIRECT 5002 /* a direct guarantee cannot be met */
#define PM_EVOLATILE 5003  /* a guarantee was asked for on a volatile backing */

/* ---- Options, report, event -------------------------------------------------------------------- */

#define PM_CREATE 0x1u       /* create the file if absent; grow it if too short */
#define PM_EXCLUSIVE 0x2u    /* with PM_CREATE: fail with -EEXIST if the file exists */
#define PM_READ_ONLY 0x4u    /* PROT_READ; the file is opened O_RDONLY */
#define PM_PRIVATE 0x8u      /* copy on write: stores stay in this process and are never durable */
#define PM_ANONYMOUS 0x10u   /* no file at all: path is NULL, volatile memory, PM_NONE; PM_PRIVATE may be added */
#define PM_SPARSE 0x20u      /* with PM_CREATE: allocate nothing, not even on a direct medium */
#define PM_PREPARE 0x40u     /* allocate, write, sync and populate now: see pm_map() */
#define PM_TRUST_KERNEL 0x80u /* accepted means usable; works under PM_HINT only, and the report says so */
#define PM_WATCH 0x100u      /* a thread of the library watches the file: see pm_event_fd() */
#define PM_LEASE 0x200u      /* hold a write lease on the file: see pm_map() */
#define PM_NO_THREAD 0x400u  /* with PM_LEASE: no thread; every durability call asks for the lease */
#define PM_FROM_MEDIUM 0x1000u /* drop the file's cached pages first: map what the medium holds; see pm_map() */
#define PM_FAIL_ON_DEMOTION 0x800u /* a guarantee lost later fails every durability call until pm_clear_error() */

struct pm_mapping;
struct pm_event;

/*
 * An event handler runs in the thread whose call met the event, or in a thread of the library that does nothing else, of
 * a mapping made with PM_WATCH or PM_LEASE; with no lock held. It may take its time, and call any function on the mapping
 * but pm_unmap() and pm_resize(). With PM_LEASE and PM_NO_THREAD it must neither block nor open the file: nobody else
 * answers whoever breaks the lease, and the kernel takes it by force in the end (PM_REASON_LEASE_FORCED). Events that
 * wait for the thread of the library and are of one kind and reason are one.
 */
typedef void pm_event_fn(struct pm_mapping *mapping, const struct pm_event *event, void *arg);

/* Zero it, set size to sizeof(struct pm_options), set what is wanted. All zero is a good default. */
struct pm_options {
	size_t size;            /* sizeof(struct pm_options) */
	enum pm_request sync;   /* hint, guarantee or avoid */
	enum pm_request direct; /* likewise */
	unsigned flags;         /* PM_CREATE ... */
	unsigned mode;          /* permission bits of a created file, under the umask; 0 means 0666 */
	uint64_t offset;        /* where in the file the mapping begins; any value */
	uint64_t length;        /* bytes to map; 0 means to the end of the file */
	pm_event_fn *on_event;  /* NULL: no events */
	void *event_arg;
};

struct pm_report {
	size_t size; /* bytes that were filled in */
	enum pm_granularity granularity;
	enum pm_state sync;
	enum pm_state direct;
	enum pm_grade grade;
	enum pm_verdict verdict;
	enum pm_reason reason;
	enum pm_advice advice;
	enum pm_request sync_request;
	enum pm_request direct_request;
	int error; /* the error a write-back latched (negative), 0 if none */
	uint64_t offset;
	uint64_t length;
	struct pm_evidence evidence[PM_EVIDENCE_ROWS]; /* last, so that rows can be added */
};

enum pm_event_kind {
	PM_EVENT_DEMOTED = 1,         /* what was asked for is not met, or no longer: the kernel's write-back serves */
	PM_EVENT_WRITE_BACK_FAILED = 2, /* a write-back failed: the mapping is poisoned */
	PM_EVENT_PROMOTED = 3,          /* user space may commit alone again */
	PM_EVENT_LEASE_BROKEN = 4,      /* somebody opens the file: the mapping fell back first, if it had to */
	PM_EVENT_SHARED = 5,            /* extents of the range are shared with another file now (reflink, dedupe) */
	PM_EVENT_TRUNCATED = 6,         /* the file ends inside the range: a store beyond its end is a SIGBUS */
	PM_EVENT_HOLE = 7,              /* blocks of the range were taken away (punched, collapsed) */
	PM_EVENT_PAGE_CACHE = 8,        /* the file is not DAX any more: a page cache stands in front of it */
	PM_EVENT_DAX_FLAG = 9,          /* the inode's DAX flag was changed; advisory */
	PM_EVENT_OPENED = 10,           /* another process opened the file for writing */
	PM_EVENT_MODIFIED = 11,          /* the file was written or changed otherwise than through a mapping */
	PM_EVENT_READ_ONLY = 12,        /* the file system went read-only */
	PM_EVENT_FS_OFFLINE = 13,             /* the file system was shut down, or its device is gone */
	PM_EVENT_BAD_BLOCKS = 14,       /* bad blocks in the range of a direct mapping: an access may be a SIGBUS */
	PM_EVENT_NAME_LOST = 15         /* the file was unlinked, replaced, moved or copied up: see the reason */
};

#define PM_EVENT_FRAMES 16

struct pm_event {
	size_t size; /* sizeof(struct pm_event) of the library */
	enum pm_event_kind kind;
	enum pm_reason reason;
	int error;       /* negative, 0 if none */
	uint64_t offset; /* the range of the file concerned */
	uint64_t length;
	enum pm_granularity old_granularity;
	enum pm_granularity new_granularity;
	enum pm_state old_sync;
	enum pm_state old_direct;
	enum pm_state sync;
	enum pm_state direct;
	unsigned frames;              /* valid entries of frame[], 0 where the call site is not known */
	void *frame[PM_EVENT_FRAMES]; /* return addresses, the application's call first */
	char where[128];              /* the same first frame as text: "function+0x1f (object)" */
};

/* ---- Life of a mapping ------------------------------------------------------------------------- */

/**
 * pm_map - map a file for durable stores
 *
 * Maps length bytes of the file at path, from offset, and stores the handle in *ret_mapping, which is
 * written only on success. path may name a regular file, a block device or a device-dax node; a
 * symbolic link is followed. options may be NULL: an existing file, whole, read-write, hints.
 *
 * A mapping never reaches beyond the end of the file. With PM_CREATE a missing file is created and a
 * short one grown; without it such a range is refused with -ERANGE. With PM_CREATE the file's size, its
 * allocation and its directory entry are durable when pm_map() returns. A file created on a direct
 * medium is prepared as by PM_PREPARE, unless PM_SPARSE is given.
 *
 * Several processes may create and grow one file at once. A new file gets its name when it is complete, and durable soon
 * after; where another process was first, its file is mapped. A failing call takes back only what no other process can
 * have: a file or a length that another process may rely on stays, see pm_file(7). While a file
 * is grown or named, pm_map() and pm_resize() hold a write lease if they can get it: an open(2) of the file waits meanwhile, and
 * fails with EWOULDBLOCK under O_NONBLOCK.
 *
 * Where the mapping is PM_CACHE_LINE or PM_BYTE the data, the size, the blocks and the directory entry that the file has
 * by then are made durable first, whichever process wrote them, also by pm_map_fd() and for a read-only mapping. What
 * other processes do to the file later: see pm_sync().
 *
 * PM_PREPARE leaves no file-system work for a later store: every block of the range is allocated and
 * written (existing data is kept), metadata is synced once, the address is aligned to 2 MiB where the
 * length allows and the page tables are populated for writing. It needs Linux 5.14 (MADV_POPULATE_WRITE,
 * madvise(2): MAP_POPULATE only read-faults shared mappings). Blocks that it allocated inside an existing file stay
 * allocated if it then fails.
 *
 * PM_LEASE takes a write lease on the file: as long as it is held nobody else has the file open, so that nobody
 * can share its extents, and a file system that can share them (XFS with reflink) bears a sync guarantee.
 * Somebody who opens the file waits until the mapping has fallen back to PM_PAGE, written everything back and
 * released the lease: an acknowledged store is safe before he can do anything, as long as the process is not kept from
 * running (SIGSTOP, the freezer of a cgroup, starvation) for /proc/sys/fs/lease-break-time, 45 s by default: then the
 * kernel lets him in, and what is stored by cache lines until the library has noticed may be lost. When the last
 * intruder has closed the file, the library takes the lease again, takes shared extents apart, syncs once and promotes the mapping; what
 * stands in the way then (want of space, a failed write-back) is tried again at later looks. The
 * break is received by a thread of the library, without touching the application's signals; with PM_NO_THREAD no
 * thread is started: every durability call asks for the lease (one system call each), the application must make
 * one, or pm_next_event(), within /proc/sys/fs/lease-break-time (45 s) of any break, and only pm_next_event()
 * and pm_query() promote again. A lease allows one open file description only: a second mapping of the file, or pm_probe() of its
 * path, is an intruder as well. It needs the file's owner or CAP_LEASE. Under a sync guarantee a lease
 * that cannot be had is refused, under a hint the mapping does without and tries again while it lives.
 *
 * Each mapping that has a thread of the library takes one of the user's inotify(7) instances, of which there are 128
 * by default (/proc/sys/fs/inotify/max_user_instances). Where none is to be had, or the file cannot be watched by it,
 * pm_map() goes on without, whatever the error: the thread looks once a second, PM_EVENT_MODIFIED and PM_EVENT_OPENED
 * are not told as long as the mapping lives, and PM_EV_WATCHED says so. A lease needs no inotify: its break is
 * signalled all the same, and once it is lost every look asks for it again.
 *
 * PM_FROM_MEDIUM is for a program that starts again after a write-back failed, which only the process that met it knows: the
 * page cache may then show what the medium does not hold. The call syncs the file, drops its cached pages, and shows that none
 * of the range is cached; the mapping begins with what the medium, or the server, holds. A private or read-only mapping may
 * ask for it as well. Every other mapping of the file must have ended, in any process. On a direct medium there is nothing to
 * drop. See pm_durability(7), After a restart.
 *
 * Record locks that the process holds on the file (fcntl(2) F_SETLK) are gone when any descriptor of it is closed, the
 * library's too: at pm_unmap(), after pm_probe() and where pm_map() fails. Those of open file
 * descriptions (F_OFD_SETLK) and of flock(2) stay.
 *
 * The kernel's path of the file is remembered. A guarantee is refused where no path leads to the file (PM_REASON_UNNAMED,
 * PM_REASON_UNLINKED), and is lost when none does any more, or another one does: see PM_EVENT_NAME_LOST. Stores reach the
 * blocks of the file all the same. It is lost as well where the file system is shut down or made read-only, its device
 * is gone, or the file is cut off inside the range; the mapping then falls back to PM_PAGE, where the kernel says what a
 * sync is worth.
 *
 * With PM_FAIL_ON_DEMOTION a guarantee that is lost while the mapping lives makes every durability call return
 * -PM_ENOTSYNC or -PM_ENOTDIRECT until pm_clear_error(); without it the calls go on, durable through the kernel. Where
 * nothing makes stores durable any more (PM_NONE) they return -PM_EVOLATILE until pm_clear_error(), with it and without.
 *
 * Returns: 0; -PM_ENOTSYNC, -PM_ENOTDIRECT, -PM_EVOLATILE where a guarantee cannot be met (the file, if
 * it had to be created or grown, is as before, with the exceptions above); -EINVAL for an option that makes no sense, an empty file
 * without a length or a device-dax range off its alignment; -E2BIG for an option struct newer than the
 * library with something set in its tail; -EOVERFLOW where offset + length overflows; -ERANGE beyond
 * the end of the file; -EISDIR, -ENODEV for a directory, a FIFO, a socket or another character device; -ENODEV where the
 * file has no shared mappings (sysfs, FUSE with direct_io, 9p without a cache);
 * with PM_FROM_MEDIUM -EBUSY where another mapping holds cached pages, -EOPNOTSUPP where the backing is volatile, -EACCES
 * where the caller may not know what is cached, or the error of a write-back that no process was told yet, after which the
 * next call succeeds; -ENOSPC; -EFBIG beyond RLIMIT_FSIZE (no SIGXFSZ is raised); -EMFILE, -ENFILE, -ENOMEM under a sync
 * guarantee where the evidence could not be gathered for want of them; -EOPNOTSUPP where PM_PREPARE is not
 * possible; before Linux 6.2 -EBUSY where PM_PREPARE would show what deleted files held (see pm_durability(7), Holes of
 * a cloned file); under a sync guarantee with PM_LEASE -EAGAIN where somebody else has the file open, -EACCES for who is
 * neither owner nor has CAP_LEASE, -EINVAL where the file system or device has no leases; with PM_WATCH or PM_LEASE
 * -EMFILE, -ENFILE, -ENOMEM, -EAGAIN for want of descriptors or of a thread for the library; any error of open(2),
 * statx(2), fallocate(2), mmap(2), madvise(2), fsync(2).
 * Threads: safe.
 * Crash: with PM_CREATE a power failure before the return leaves the file absent, or present with any
 * size up to the one asked for and zeroes where it is new. After the return nothing is lost.
 * Source: mmap(2) MAP_SYNC; fsync(2) on directory entries; Linux fs/ext4/file.c ext4_file_mmap,
 * fs/xfs/xfs_file.c xfs_file_mmap; fcntl(2) F_SETLEASE; Linux fs/locks.c check_conflicting_open.
 */
PM_API int pm_map(const char *path, const struct pm_options *options, struct pm_mapping **ret_mapping);

/**
 * pm_map_fd - map an open file for durable stores
 *
 * As pm_map(), for a descriptor. The descriptor stays the caller's: the library opens the same file again
 * through /proc, because an error of write-back is reported once for each open file description, and
 * somebody else's fsync on a shared one would take it. Its other flags do not matter: O_DIRECT neither makes the
 * mapping direct nor harms it (pm_durability(7), Mixing). PM_CREATE only grows the file here; its directory
 * entry stays the caller's business. With PM_LEASE there can be no second description: on success the descriptor
 * belongs to the library, which closes it at pm_unmap(), and the caller must not use it, nor any duplicate, again; it
 * keeps its number.
 *
 * Returns: as pm_map(); -EBADF for a descriptor that is not open; -EACCES or another error of open(2)
 * where the file cannot be opened again with the access the mapping needs; -ENOENT without /proc; -EBUSY with PM_LEASE
 * where the descriptor has a lease already. After an error it is as before, also whom it signals (F_SETOWN, F_SETSIG).
 * Threads: safe.
 * Crash: as pm_map().
 * Source: open(2); Linux mm/filemap.c file_check_and_advance_wb_err.
 */
PM_API int pm_map_fd(int fd, const struct pm_options *options, struct pm_mapping **ret_mapping);

/**
 * pm_unmap - end a mapping
 *
 * Drains what was flushed and not drained, then unmaps, closes and frees, whatever the drain returned.
 * NULL does nothing. A mapping of a DAX file that can be written moves the file's modification time: pm_lines(7).
 *
 * Returns: 0, or the error that the last write-back met or the mapping was poisoned with: data flushed
 * and not acknowledged before may be lost; -PM_ENOTSYNC, -PM_ENOTDIRECT where a guarantee of a mapping made with
 * PM_FAIL_ON_DEMOTION was lost and not acknowledged: what was flushed is durable all the same, through the kernel.
 * Threads: every other call on this mapping must have finished. It waits for an event handler that is running in the
 * library's thread, which therefore must not wait for the caller.
 * Crash: stores that were never flushed may be lost.
 * Source: munmap(2).
 */
PM_API int pm_unmap(struct pm_mapping *mapping);

/**
 * pm_resize - change the length of a mapping
 *
 * Drains first. Growing beyond the end of the file grows the file (allocated, and prepared if the mapping
 * was). Shrinking a mapping that ends at the end of the file truncates the file, unless another mapping in
 * this process reaches into the part that would go; a mapping that ends before the end of the file only
 * gives up addresses. pm_base() may change: read it again. The facts are gathered and judged anew; a
 * guarantee that the grown range cannot meet fails the call, with everything as before. A mapping that madvise(2) on a part
 * has split is mapped anew with the same advice; one that mprotect(2) or mlock(2) has split is refused.
 * Of a file that was cut off inside the mapping only what is left can be mapped on, by a length that ends there or before;
 * of one that has grown again since the same length will do, and what was cut off is zeros.
 *
 * Returns: 0; -EINVAL for length 0, an anonymous or private mapping, a device, a mapping with a part that is protected or
 * locked apart; -EACCES for a read-only mapping;
 * -EBUSY where another mapping of the file, or of what may be the same file, would lose its pages, or as pm_map() with
 * PM_PREPARE; -EOVERFLOW; -ENOSPC; -PM_ENOTSYNC, -PM_ENOTDIRECT;
 * -ERANGE for a length beyond the end of a file cut off inside the mapping; -EFBIG; -EMFILE, -ENFILE, -ENOMEM where the facts could not be gathered
 * for want of them; any error of fallocate(2), ftruncate(2), fsync(2), mremap(2). After an error length and file are as
 * before, except that a file already truncated stays so if its fsync(2) fails, and that a longer file stays so where another
 * open file description exists (see pm_map()). A failed sync poisons the mapping as a
 * failed drain does.
 * Threads: every other call on this mapping must have finished.
 * Crash: the new size is durable when it returns; before that the file has the old size, the new one or,
 * when growing, one between.
 * Source: mremap(2), ftruncate(2).
 */
PM_API int pm_resize(struct pm_mapping *mapping, uint64_t length);

/**
 * pm_base - first mapped byte
 *
 * Returns: the address of the byte at the mapping's offset in the file; not aligned unless the offset is.
 * Threads: safe. Crash: nothing to lose. Source: none.
 */
PM_API void *pm_base(const struct pm_mapping *mapping);

/**
 * pm_length - mapped bytes
 *
 * Returns: the length asked for, or the one found at the end of the file, in bytes.
 * Threads: safe. Crash: nothing to lose. Source: none.
 */
PM_API uint64_t pm_length(const struct pm_mapping *mapping);

/**
 * pm_granularity_of - the granularity in force
 *
 * Cheap: reads one word, makes no system call. pm_query() looks again.
 *
 * Returns: PM_NONE, PM_PAGE, PM_CACHE_LINE or PM_BYTE.
 * Threads: safe. Crash: nothing to lose. Source: none.
 */
PM_API enum pm_granularity pm_granularity_of(const struct pm_mapping *mapping);

/* ---- Durability -------------------------------------------------------------------------------- */

/**
 * pm_flush - begin to make a range durable
 *
 * On PM_CACHE_LINE writes the lines of [address, address + length) back without waiting; on PM_PAGE only
 * remembers the range; on PM_BYTE and PM_NONE does nothing. It never blocks on I/O. pm_drain() completes it.
 *
 * Returns: 0; -ERANGE, also behind the end of a file that was cut off; -EBADF; the error of an earlier write-back while
 * the mapping is poisoned.
 * Threads: safe. The drain must follow in the same thread: on PM_CACHE_LINE a fence orders only its own
 * CPU's write-backs.
 * Crash: see the ladder; a flush is not ordered against other flushes.
 * Source: Intel SDM vol. 2 CLWB; Arm ARM DC CVAP.
 */
PM_API int pm_flush(struct pm_mapping *mapping, const void *address, size_t length);

/**
 * pm_drain - wait until everything flushed is durable
 *
 * Completes every pm_flush() and PM_NODRAIN copy that this thread made on this mapping before. On
 * PM_CACHE_LINE and PM_BYTE it is a fence. On PM_PAGE it is one write-back of the pages that any
 * thread recorded; with nothing recorded it makes no call. Pages that lie
 * within 64 KiB of each other are one msync(2). Others are on ext4 and XFS each written by sync_file_range(2), and all
 * made durable by the msync(2) of the last: what others stored in between is not waited for. Elsewhere, and before
 * Linux 5.2, it is one msync(2) from the first to the last. Where blocks that were written before are overwritten, it
 * ends in one flush of the device's volatile cache; where blocks are new, in a commit of the journal, which is two on a
 * device without FUA. On an ext4 without a journal syncfs(2) comes before it until every block of the range is written:
 * pm_lines(7). It is believed only while the file system can be written to. What write(2) put into the file is
 * covered where its range was flushed, not otherwise.
 *
 * A failed write-back poisons this mapping and every other mapping of the same file in the process: the
 * kernel reports the error once, then marks the pages clean, so that trying again would lie. From then on
 * every durability call returns the same error until pm_clear_error().
 *
 * Returns: 0: everything flushed before is durable (on PM_NONE: there is nothing durability could mean);
 * -EIO, -ENOSPC or another error of msync(2); -ERANGE where something flushed lay behind the end of a file that was cut
 * off; -EBADF for a descriptor that was taken away: nothing is poisoned then; -EROFS where the file system was made read-only meanwhile, and
 * msync(2) may have returned 0 for nothing.
 * Threads: safe. On PM_PAGE drains of several threads write at the same time; each waits for those that began before it,
 * which may write what was flushed for it: a small drain for a large one that another thread has begun. Make large
 * amounts durable in pieces. The kernel tells of a failure once to an open file description, be it of another thread's
 * pages. So on XFS, from Linux 5.2 on, the file is opened once more, read-only and until pm_unmap(), when the first two
 * drains meet, and that description is asked as well before a drain returns 0 while later ones write: it fails if
 * another's pages did. Elsewhere, with PM_LEASE or PM_READ_ONLY, and where the file cannot be opened then, each drain waits
 * for all that write when its own ends, and fails if one of them did.
 * Crash: after 0 nothing that was flushed before is lost, except on PM_NONE.
 * Source: Intel SDM vol. 2 SFENCE; Arm ARM DSB; msync(2), sync_file_range(2); Linux mm/msync.c, mm/filemap.c
 * file_check_and_advance_wb_err, fs/ext4/fsync.c ext4_sync_file, fs/xfs/xfs_file.c xfs_file_fsync.
 */
PM_API int pm_drain(struct pm_mapping *mapping);

/**
 * pm_persist - make a range durable
 *
 * pm_flush() and pm_drain() in one call. Length 0 does nothing: it drains nothing either. On PM_CACHE_LINE and PM_BYTE it
 * covers stores, not what write(2) or fallocate(2) of any process put into the range since pm_map(): see pm_sync().
 *
 * Returns: as those two, but -ERANGE of its own range alone: of what was flushed before pm_drain() tells.
 * Threads: safe. Crash: after 0 nothing in the range, nor of what this thread
 * flushed before and the file still has, is lost, except on PM_NONE. Source: as pm_flush() and pm_drain().
 */
PM_API int pm_persist(struct pm_mapping *mapping, const void *address, size_t length);

/**
 * pm_deep_persist - make a range durable beyond the persistence domain
 *
 * As pm_persist(), then into the medium itself: on a DAX file through msync(2), which makes the kernel
 * flush the region's write-pending queues where it has flush hints; on device-dax through the region's
 * deep_flush attribute, which needs the right to write it; on PM_PAGE the write-back already flushes
 * the device's volatile cache. What any process put into the range by other means than a store is covered as by pm_sync(),
 * except on device-dax. It guards against a failure of the platform's own power-fail flush.
 *
 * Returns: as pm_persist(); -EOPNOTSUPP on device-dax whose region has no deep_flush or says that it has
 * no flush hints; -EACCES where it may not be written.
 * Threads: safe. Crash: as pm_persist(), platform power-fail flush included.
 * Source: Linux drivers/nvdimm/region_devs.c nvdimm_flush, Documentation/ABI/testing/sysfs-bus-nvdimm.
 */
PM_API int pm_deep_persist(struct pm_mapping *mapping, const void *address, size_t length);

/**
 * pm_sync - make everything stored in the mapping durable
 *
 * Needs no pm_flush() before. Covers every store to the mapping, and what any process put into the mapped range by write(2),
 * O_DIRECT, fallocate(2) or truncate(2) before the call; not what lies outside the range, and so neither what write(2)
 * appended nor the size it gave the file: that needs fsync(2). On PM_CACHE_LINE and PM_BYTE it is the call for what other
 * processes wrote: pm_persist() and pm_drain() cover stores only there. With PM_WATCH, PM_LEASE or pm_event_fd() every
 * look (see pm_event_fd()) does the same for what was written before it.
 *
 * Cost: on PM_PAGE one msync(2) of the whole mapping. On PM_BYTE a fence, and an msync(2) of the last page, which commits the
 * file's metadata. On PM_CACHE_LINE the same after a write-back of every line; of a mapping of 16 MiB or more that is
 * not read-only, one msync(2) of the whole instead, and the next store to each page that was stored to since the last one
 * faults. Flushing known ranges is cheaper. On PM_CACHE_LINE and PM_BYTE it also moves the file's modification time, which
 * stores there do not: pm_lines(7), What a backup must look at.
 *
 * Returns: as pm_drain().
 * Threads: safe. Covers stores of other threads that happened before the call; on PM_CACHE_LINE it does
 * not complete their pm_flush(), on PM_BYTE not their store buffers: each thread drains its own.
 * Crash: after 0 no store of this thread made before the call is lost, except on PM_NONE.
 * Source: msync(2); Linux fs/dax.c dax_insert_pfn_mkwrite, dax_writeback_one.
 */
PM_API int pm_sync(struct pm_mapping *mapping);

#define PM_NODRAIN 0x1u     /* flush only: a later pm_drain() of this thread completes it */
#define PM_NOFLUSH 0x2u     /* a plain copy: neither flush nor drain */
#define PM_TEMPORAL 0x4u    /* through the cache at any size: the destination will be read soon */
#define PM_NONTEMPORAL 0x8u /* stream past the cache where the CPU can, from 128 bytes on */

/**
 * pm_memcpy - copy into a mapping and make it durable
 *
 * Copies length bytes from source to destination, which lies in the mapping, and persists them. flags
 * is 0 or PM_NODRAIN, PM_NOFLUSH, PM_TEMPORAL, PM_NONTEMPORAL. On PM_CACHE_LINE and PM_BYTE an aligned
 * 8-byte word of the destination is stored whole, so that after a power failure it is old or new, never a
 * mix; the order of words is open. Where the CPU can, the whole cache lines of 256 bytes and more are streamed past the
 * cache there, unless a flag says otherwise; by 512-bit instructions, which slow some CPUs down for a while, only those
 * of some 32 KiB to 2 MiB. On PM_PAGE and PM_NONE it is a plain memcpy(3). source may lie anywhere; it must not overlap the
 * destination.
 *
 * Returns: as pm_persist() (the copy is made unless the error is -ERANGE, -EINVAL, -EACCES or the mapping is
 * poisoned); -EINVAL for an unknown flag or both temporal ones; -EACCES on a read-only mapping.
 * Threads: safe. Crash: before the return any subset of the range's words may be new. After 0 none is lost,
 * except on PM_NONE or with a flag that leaves the work out.
 * Source: Intel SDM vol. 3 8.1.1 (atomicity of aligned 8-byte stores); Arm ARM B2.2.
 */
PM_API int pm_memcpy(struct pm_mapping *mapping, void *destination, const void *source, size_t length,
                     unsigned flags);

/**
 * pm_memmove - copy into a mapping and make it durable, with overlap
 *
 * As pm_memcpy(); source and destination may overlap.
 *
 * Returns: as pm_memcpy(). Threads: safe. Crash: as pm_memcpy(); where they overlap the source is lost too.
 * Source: as pm_memcpy().
 */
PM_API int pm_memmove(struct pm_mapping *mapping, void *destination, const void *source, size_t length,
                      unsigned flags);

/**
 * pm_memset - fill part of a mapping and make it durable
 *
 * As pm_memcpy(), storing the byte value (converted to unsigned char).
 *
 * Returns: as pm_memcpy(). Threads: safe. Crash: as pm_memcpy(). Source: as pm_memcpy().
 */
PM_API int pm_memset(struct pm_mapping *mapping, void *destination, int value, size_t length,
                     unsigned flags);

/**
 * pm_read - read part of a mapping without the risk of a load
 *
 * Copies length bytes from source, which lies in the mapping, to destination, which does not. A load from a bad
 * block of the medium ends the process with SIGBUS; this call reads the file with pread(2), whose copy in the kernel
 * survives it, and returns the error. It sees what was stored, through this mapping or any other, as a load does.
 *
 * Returns: 0; -ESTALE where an overlay has copied the file up since it was mapped read-only: the mapping shows the file of
 * the lower layer, read(2) the copy, and destination holds bytes of the copy; -EIO where the medium is bad, with destination written up to an open point; -ERANGE, also where the
 * file has been cut off inside the range; -EOPNOTSUPP on a private or anonymous mapping, whose memory is not the
 * file's, and on device-dax, which has no read(2); any other error of pread(2). It neither poisons the mapping nor
 * minds the poison.
 * Threads: safe. Crash: nothing to lose.
 * Source: pread(2); Linux drivers/dax/super.c dax_copy_to_iter, drivers/nvdimm/pmem.c pmem_dax_direct_access.
 */
PM_API int pm_read(struct pm_mapping *mapping, void *destination, const void *source, size_t length);

/**
 * pm_write - write part of a mapping without the risk of a store
 *
 * The counterpart of pm_read(): copies length bytes from source, which does not lie in the mapping, to destination,
 * which does, by pwrite(2), and makes them durable by the kernel's write-back of that range, whatever the granularity;
 * no byte of the mapping is accessed, not even to write its line back. It is coherent with stores, and slower than
 * pm_memcpy(): some six system calls. What was flushed elsewhere is not drained.
 *
 * On a DAX file a page that has a bad block is written whole or not at all: a write that covers it clears its bad
 * blocks where the platform can (Linux 5.19), so that a good copy is put back in one call; any other is -EIO, also
 * where only another part of that page is bad. Through a page cache a page that is not cached behaves likewise, and a block
 * that cannot be cleared is a failed write-back. The file keeps its size, unless somebody cuts it off inside the range
 * at that very moment. The mapping is told of no PM_EVENT_MODIFIED, others of the file are; what another process writes
 * during the call may then go unannounced.
 *
 * Returns: 0; -EIO where the medium is bad; -EACCES on a read-only mapping; -ERANGE, also where the file ends inside the
 * range, and nothing is written; -EOPNOTSUPP on a private or anonymous mapping and on device-dax, which has no write(2);
 * -EBUSY on a DAX file where extents of the range are shared with another file (see pm_durability(7), Promises that
 * kernels break); -EFBIG beyond RLIMIT_FSIZE (no SIGXFSZ is raised); -EINVAL where the descriptor handed over with
 * PM_LEASE was opened with O_APPEND or O_DIRECT; -EFAULT for a source that cannot be read; any other error of pwrite(2).
 * After those from pwrite(2) the range is new up to an open point, and nothing is poisoned. The error of the write-back,
 * which poisons the mapping, as pm_drain(); the error of an earlier one while it is poisoned, and nothing is written.
 * Threads: safe; bytes that another thread stores to the range meanwhile may be either's.
 * Crash: before the return any of the range's bytes may be new, in any order, torn anywhere on a DAX file, elsewhere at
 * 512 bytes or 4 KiB. After 0 none is lost, except on PM_NONE. What lies beside the range keeps its promises.
 * Source: pwrite(2); Linux fs/dax.c dax_iomap_iter, drivers/dax/super.c dax_copy_from_iter, drivers/nvdimm/pmem.c
 * pmem_recovery_write; Intel SDM vol. 2 CLWB (it faults as a load does).
 */
PM_API int pm_write(struct pm_mapping *mapping, void *destination, const void *source, size_t length);

/**
 * pm_clear_bad_blocks - put zeros where the medium is bad, and make it usable again
 *
 * Looks for bad blocks of [address, address + length) on the kernel's list, writes the pages that hold them by
 * pwrite(2), durably, and looks at the list again. What pread(2) still gives is kept: all that a page cache holds, and
 * what lies in good sectors that can be read alone. The rest becomes zeros; on a DAX file, where the kernel lets no part
 * of such a page be read, that is the whole page, as far as pm_guarded() loads have not saved it before. Other pages are
 * not touched, nor anything outside the range: it should begin and end with pages, since a DAX page is cleared only
 * whole, also at the end of a file. pm_write() of the pages clears them as well, with the right content at once.
 *
 * Nothing is called cleared that the list does not confirm: a driver or platform that cannot clear is an error.
 *
 * Returns: 0: by the kernel's list the range has no bad block, maybe had none; -EIO where a block cannot be written, or
 * still is on the list, with its offset in the sentence; pages before it are cleared and what they held is lost.
 * -EOPNOTSUPP where nobody tells which blocks are bad: device-dax, a private or anonymous mapping, a file system that is
 * not known, no list (/sys/dev/block/M:m/badblocks), no extents, a real-time file of an XFS; -EOVERFLOW where the list is
 * longer than sysfs shows and what it shows is outside of the range; -ENOMEM; otherwise as pm_write().
 * Threads: safe, but what other threads store to the pages with bad blocks meanwhile may be lost.
 * Crash: before the return a page with bad blocks may hold what it held, be bad, or hold zeros where it was bad. After 0
 * the zeros are durable, and so is what was kept.
 * Source: Linux block/badblocks.c, drivers/nvdimm/pmem.c pmem_recovery_write, pmem_do_write, Documentation/ABI/stable/
 * sysfs-block.
 */
PM_API int pm_clear_bad_blocks(struct pm_mapping *mapping, void *address, size_t length);

/**
 * pm_clear_error - make a poisoned mapping whole again
 *
 * Call it when the cause is gone and the application knows what it must write anew. It makes
 * every cached page of the mapping dirty again (by a write fault, which keeps its content and concurrent
 * stores), writes the whole mapping back and, only if that succeeds, lifts the poison of this mapping.
 * Other mappings of the file stay poisoned until each is cleared, and one made later starts poisoned, as
 * long as any mapping of the file has lived since the failure.
 *
 * A lost guarantee of a mapping made with PM_FAIL_ON_DEMOTION is acknowledged: its calls work again, through the kernel.
 * Where the file was moved (PM_REASON_MOVED), its new path counts as its name from then on, and a guarantee holds again.
 *
 * Returns: 0: what the mapping shows is durable, which need not be what was stored before the error: the
 * kernel may have dropped failed pages and read old ones again. Else the error met, and the mapping stays
 * poisoned. 0 also where nothing was latched; -EACCES on a poisoned read-only mapping.
 * Threads: safe. What other threads flushed before the failure and had not drained shares the loss, and a drain of theirs
 * that they call after the clearing does not say so: who clears must tell them.
 * Crash: after 0 nothing that the mapping showed at the call is lost.
 * Source: fsync(2) "After an error"; Linux Documentation/core-api/errseq.rst.
 */
PM_API int pm_clear_error(struct pm_mapping *mapping);

/* ---- Truth ------------------------------------------------------------------------------------- */

/**
 * pm_query - what a mapping is now
 *
 * Looks again: every row of evidence is gathered at the call, not remembered from pm_map(). If the
 * facts no longer bear the granularity in force, the mapping is demoted to the kernel's write-back first,
 * with one PM_EVENT_DEMOTED; it is not promoted again (PM_REASON_NOT_PROMOTED) unless it has PM_LEASE. What else
 * has changed since the last look becomes an event too, see pm_event_fd(). report_size is
 * sizeof(struct pm_report); a smaller one gets the part it has room for, and report->size says how much was
 * filled. With offsetof(struct pm_report, evidence), which leaves the rows out, only what the verdict and the events
 * take is gathered.
 *
 * The number of system calls does not grow with the range or with what is cached of it: some 30 for a file of the page
 * cache on a disk; more for devices on top of devices, for a file of many extents, and where the first cached page is not
 * the first of the file. On a direct medium sysfs is read for the region as well, and for the list of bad blocks of a disk
 * that has one. Before Linux 6.11 the table of mounts is read, and before 6.5 mincore(2) looks at page after page up to the
 * first that is cached. A part that a device was found to lack (a list of bad blocks, a region) is not looked for again as
 * long as it is the same device.
 *
 * Returns: 0; -EINVAL for a report_size that does not hold the fields before the evidence, or ends inside a row; -EMFILE,
 * -ENFILE, -ENOMEM where the facts could not be gathered for want of them: the mapping stays as it is.
 * Threads: safe. Crash: nothing to lose; after a demotion every drain writes back all that is dirty in the mapping.
 * Source: statx(2), ioctl_fiemap, statmount(2), cachestat(2), mincore(2),
 * Linux Documentation/ABI/testing/sysfs-bus-nvdimm.
 */
PM_API int pm_query(struct pm_mapping *mapping, struct pm_report *report, size_t report_size);

/**
 * pm_probe - what pm_map() would get
 *
 * Fills the report that a mapping of path with these options would have, and leaves no trace on the file
 * system: nothing is created, grown or read. (Of a DAX file that is not the caller's, the access time may change:
 * only the owner can ask the kernel not to note it.) The evidence is what is found now; where the options ask
 * for preparation or a lease the verdict takes it as done. For a missing file with PM_CREATE the directory answers,
 * through an unnamed temporary file; where the file system has none, the report says unknown.
 * The file is mapped for an instant, as pm_map() would map it, and no page of it is touched. What would leave a trace is not
 * tried: growth (want of space, quotas), preparation, syncs and the lease.
 *
 * Returns: 0, also when the verdict is PM_VERDICT_REFUSED; otherwise as pm_map(), as -ENODEV where the file has no shared
 * mappings, -EPERM for a memory file sealed against writing, -ETXTBSY for swap space in use.
 * Threads: safe. Crash: nothing to lose. Source: open(2) O_TMPFILE, O_NOATIME.
 */
PM_API int pm_probe(const char *path, const struct pm_options *options, struct pm_report *report,
                    size_t report_size);

/**
 * pm_event_fd - a descriptor that becomes readable when there may be events
 *
 * For poll(2), select(2) or epoll(7); then call pm_next_event() until it says -EAGAIN. From the first call on
 * (with PM_WATCH or PM_LEASE: from pm_map() on) the file is watched by inotify(7), and the table of mounts. The
 * descriptor is the mapping's: never read or close it; it ends with pm_unmap(). It may become readable for
 * nothing. What is noticed, and how fast ("look": the next pm_query() or pm_next_event(); with PM_WATCH or PM_LEASE a
 * thread looks as soon as something below is announced, and once a second):
 *
 *   PM_EVENT_LEASE_BROKEN   before it happens: the kernel signals the lease (a thread; else the next call)
 *   PM_EVENT_MODIFIED        at once, by inotify: write(2), fallocate(2), truncate(2), a clone into the file
 *   PM_EVENT_TRUNCATED      at once, by inotify; a look otherwise
 *   PM_EVENT_HOLE           at once, by inotify; a look otherwise
 *   PM_EVENT_OPENED         by inotify, at once or a second after the last search of /proc, if that and kcmp(2) show who
 *                           it is: not of another user's processes, not of this process, not who has closed it again by
 *                           then, and no second one before a search has found none; with O_DIRECT it says so
 *   PM_EVENT_SHARED         a look: cloning from a file is announced by nobody, only its opening is
 *   PM_EVENT_PAGE_CACHE     a look
 *   PM_EVENT_DAX_FLAG       a look
 *   PM_EVENT_READ_ONLY      at once for remounts by mount(2) in this mount namespace, by the table of mounts; a look for
 *                           others (fsconfig(2), which newer mount(8) use) and for emergencies; for an error of an ext4
 *                           from Linux 6.15 on, pm_query() with all evidence
 *   PM_EVENT_FS_OFFLINE           a look
 *   PM_EVENT_NAME_LOST      at once, by inotify: unlink(2), a rename(2) of the file or over it; a look: a rename of a
 *                           directory above it, an overlay's copy-up
 *   PM_EVENT_BAD_BLOCKS     a look, as soon as the kernel's list of them has one
 *   PM_EVENT_DEMOTED      with whatever takes the promise away
 *   PM_EVENT_WRITE_BACK_FAILED, PM_EVENT_PROMOTED   at once
 *
 * The range of PM_EVENT_HOLE and PM_EVENT_SHARED is that of the first hole or shared part. inotify tells no range:
 * PM_EVENT_MODIFIED covers the whole range of the mapping, but of a file that grew or shrank behind the range since the last
 * look it covers what was added or cut off there, and a write into the range between the same two looks is not told.
 * PM_EVENT_READ_ONLY has PM_REASON_IMMUTABLE where the file itself takes no writes any more.
 *
 * Stores of another process through a mapping of its own are announced by nobody and harm no promise. While a hole, a
 * shared extent or a bad block is in the range a second one is not told as such; a second hole as PM_EVENT_MODIFIED.
 *
 * A search of /proc looks at every open file of every process. The thread of the library makes it, at most once a
 * second; on a mapping without one pm_next_event(), in the calling thread. Nobody else waits for it: pm_query() never
 * searches. Who has the file open already is searched for once by pm_map() where there will be a thread, else by the
 * first pm_event_fd(). While a lease is held nobody else has it open, and nothing is searched.
 *
 * Where inotify is not to be had (PM_EV_WATCHED is no then) a mapping that has a thread of the library is told of no
 * PM_EVENT_MODIFIED and no PM_EVENT_OPENED, and of PM_EVENT_TRUNCATED and PM_EVENT_HOLE by a look; on another, which
 * would wait in vain, this call fails.
 *
 * Returns: the descriptor, at least 0; -EOPNOTSUPP for anonymous memory; on a mapping without a thread of the library
 * -EMFILE, -ENFILE, -ENOMEM; -ENOSPC where the user has too many inotify watches; -ENOENT without /proc.
 * Threads: safe; every call returns the same descriptor. Crash: nothing to lose.
 * Source: inotify(7), epoll(7), proc(5) mountinfo.
 */
PM_API int pm_event_fd(struct pm_mapping *mapping);

/**
 * pm_next_event - take the oldest event
 *
 * Fills *event with the oldest event not taken yet. Events of one kind and reason that were not taken yet are
 * one, which covers the range of all. Without PM_WATCH and PM_LEASE a call that finds none looks
 * first, as pm_query() does, and searches /proc for who has opened the file, at most once a second. event_size is
 * sizeof(struct pm_event); a smaller one gets the part it has room for.
 *
 * Returns: 0; -EAGAIN: there is none; -EINVAL for an event_size without room for the reason, or that ends inside a field;
 * otherwise as pm_query().
 * Threads: safe; each event is taken once. Crash: nothing to lose. Source: as pm_event_fd().
 */
PM_API int pm_next_event(struct pm_mapping *mapping, struct pm_event *event, size_t event_size);

/**
 * pm_explain - a report in words
 *
 * Writes sentences for a person: what is lost, the worst first, with the remedy; what the mapping is, why, and what to do
 * about it. What is lost is not promised in another sentence. The text is cut to
 * buffer_size, always with a terminating 0 where buffer_size is not 0.
 *
 * Returns: the length of the whole text without the 0, as snprintf(3); -EINVAL for a report it cannot read.
 * Threads: safe. Crash: nothing to lose. Source: none.
 */
PM_API int pm_explain(const struct pm_report *report, char *buffer, size_t buffer_size);

/**
 * pm_granularity_name - the word for a granularity
 *
 * Returns: static text such as "cache line"; "unknown" for a value outside the enum.
 * Threads: safe. Crash: nothing to lose. Source: none.
 */
PM_API const char *pm_granularity_name(enum pm_granularity granularity);

/**
 * pm_state_name - the word for a three-state fact
 *
 * Returns: "unknown", "no" or "yes". Threads: safe. Crash: nothing to lose. Source: none.
 */
PM_API const char *pm_state_name(enum pm_state state);

/**
 * pm_evidence_name - the word for a row of evidence
 *
 * Returns: static text such as "MAP_SYNC accepted"; "unknown" for a value outside the enum.
 * Threads: safe. Crash: nothing to lose. Source: none.
 */
PM_API const char *pm_evidence_name(enum pm_evidence_row row);

/**
 * pm_reason_name - the word for a reason
 *
 * Returns: static text such as "page-cache"; "unknown" for a value outside the enum.
 * Threads: safe. Crash: nothing to lose. Source: none.
 */
PM_API const char *pm_reason_name(enum pm_reason reason);

/**
 * pm_strerror - the words for an error code
 *
 * error is what a function of this library returned, with or without the minus sign.
 *
 * Returns: text that stays valid, in the C locale's English for PM_E codes; "unknown error" otherwise.
 * Threads: safe. Crash: nothing to lose. Source: strerrordesc_np(3).
 */
PM_API const char *pm_strerror(int error);

/**
 * pm_error_detail - the last error of this thread in a sentence
 *
 * Names the call, the path and the reason.
 *
 * Returns: text valid until the thread's next failing call into this library; "" if none failed yet.
 * Threads: each thread has its own. Crash: nothing to lose. Source: none.
 */
PM_API const char *pm_error_detail(void);

/* ---- Faults ------------------------------------------------------------------------------------ */

/* A load or store that could not be served. */
struct pm_fault {
	size_t size;     /* bytes that were filled in */
	int error;       /* negative; 0 where no fault was met, and the rest is 0 then */
	int code;        /* si_code of the signal: BUS_ADRERR, BUS_OBJERR, BUS_MCEERR_AR, BUS_MCEERR_AO */
	uint64_t offset; /* in the file, of the byte that was accessed */
	uint64_t length; /* bytes that cannot be had, a power of two: the aligned unit around the address */
	void *address;
};

typedef int pm_guarded_fn(void *arg);

/**
 * pm_guard_install - let the library handle SIGBUS
 *
 * Installs a handler for the whole process, which pm_guarded() needs; further calls only count. What happens in
 * no guard of the thread is passed on to the handler that was there before, with the signal mask, the stack and the
 * flags that it was installed with: faults elsewhere in memory, faults outside of pm_guarded(), misaligned
 * accesses, and signals that somebody sent. Where there was none the process dies as without the library, of the
 * same signal with the same siginfo. A handler that is installed later must in turn pass on what is not its own,
 * else it takes the faults.
 *
 * Returns: 0; -EBUSY where pm_guard_remove() had to leave the handler behind, and another still lies over it.
 * Threads: safe. Crash: nothing to lose. Source: sigaction(2), Linux kernel/signal.c force_sig_info_to_task.
 */
PM_API int pm_guard_install(void);

/**
 * pm_guard_remove - undo one pm_guard_install()
 *
 * The last one puts back what was there before. If somebody has installed a handler over the library's since,
 * that cannot be done: the library's stays, only passes on, and dlclose(3) of the library would be fatal.
 *
 * Returns: 0; -EINVAL where nothing is installed; -EBUSY for the handler that stays.
 * Threads: safe; at the last one no thread may be in pm_guarded(). Crash: nothing to lose. Source: sigaction(2).
 */
PM_API int pm_guard_remove(void);

/**
 * pm_guarded - run a function that survives faults in a mapping
 *
 * Calls function(arg). A load or store of this thread in the mapping that cannot be served meanwhile ends the
 * function there, as longjmp(3) would, and its error is returned. fault, if not NULL, receives what it was;
 * fault_size is sizeof(struct pm_fault). It costs one system call.
 *
 * Guards nest, on the same mapping or on others: the innermost whose mapping holds the address returns, and what it
 * called, other guards included, is left. The signal mask is as before then. SIGBUS is not blocked in the
 * function.
 *
 * The function must bear to be left at any access to the mapping: there it holds no lock (that of a stdio stream
 * is one) and nothing that only it could release; destructors of C++ objects do not run. It may call this library,
 * which holds no lock and owes nothing while it accesses the mapping, but not pm_unmap(), pm_resize() or
 * pm_clear_error() on a guarded mapping. It ends by returning, never by an exception, longjmp(3) or
 * pthread_exit(3) across pm_guarded().
 *
 * Memory that is known to be lost before anybody accesses it (BUS_MCEERR_AO, prctl(2) PR_MCE_KILL) does not end the
 * function: when it has returned, the error takes the place of its value.
 *
 * Returns: what function returned; or, with the sentence, -EIO: the file was cut off before that byte, or the
 * medium failed; -ENOSPC, -EDQUOT: the byte has no block, and none is to be had; -EPERM: the file was made immutable or
 * append-only; -EHWPOISON: a memory error;
 * -EINVAL without pm_guard_install(), without a function or for a fault_size that does not reach the offset or ends inside
 * a field, and nothing was called.
 * Threads: safe; a guard is its thread's own. A handler of another signal that accesses the mapping is left too.
 * Crash: what the function stored before the fault is in memory and no more durable than any store: see the ladder.
 * The store that faulted is not made, a copy is made in part. -ENOSPC and -EDQUOT take nothing that was
 * acknowledged. -EHWPOISON takes what was in the unit around the address, and a file cut off takes all behind its
 * end, acknowledged or not: durability calls for that return -ERANGE. The mapping is not poisoned: the
 * rest of it keeps its promises.
 * Source: Linux mm/memory.c do_fault, mm/memory-failure.c; sigaction(2); madvise(2) MADV_HWPOISON; a want of space
 * is told from other failures by ioctl_fiemap and by fallocate(2) FALLOC_FL_KEEP_SIZE.
 */
PM_API int pm_guarded(struct pm_mapping *mapping, pm_guarded_fn *function, void *arg, struct pm_fault *fault,
                      size_t fault_size);

#ifdef __cplusplus
}
#endif

#endif
