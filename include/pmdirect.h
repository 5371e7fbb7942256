/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmdirect.h - durable memory-mapped files that tell the truth
 *
 * A program calls pm_map(), stores into memory and calls pm_persist(). If the kernel grants MAP_SYNC and the evidence
 * supports it, durability is a cache-line write-back and a fence, with no system call. Everywhere else the kernel's
 * write-back (msync) does it. The report says which, and why. None of these three follows from another: granularity
 * (what a store still needs to survive a power failure), sync (whether user space may commit alone) and direct (whether
 * there is no page cache between the CPU and the medium).
 *
 * Each function has a page in section 3 of the manual, with its errors, costs and an example. Start with pm(7) and
 * pm_durability(7). Conventions that hold unless a comment says otherwise:
 *
 *   Errors   A function returning int returns 0, or a negative errno (errno(3)) or PM_E code. pm_strerror() names it;
 *            pm_error_detail() is a sentence with call, path and reason. A failing call undoes all but what it stored.
 *   Units    Lengths and offsets are bytes. A range that leaves the mapping is -ERANGE. Length 0 does nothing and
 *            returns 0. A NULL mapping or result is -EINVAL, as is a size that the struct never had.
 *   End      If another process truncates the file inside the mapping, calls on a range beyond the end, and drains of
 *            one, return -ERANGE once the library sees it and until pm_resize(): pm_file(7).
 *   Numbers  No descriptor of the library is 0, 1 or 2. If the program closes or reuses that of the file, calls return
 *            -EBADF once they see it; pm_persist() on PM_CACHE_LINE needs none and stays durable. Others: pm_file(7).
 *   Threads  All functions are thread-safe, except that pm_unmap() must not run concurrently with any other call on the
 *            same mapping, nor with loads and stores in it; nor must pm_resize() without options->reserve. PM_WATCH and
 *            PM_LEASE have threads, which block all signals. On PM_PAGE pm_persist(), pm_drain(), pm_commit(),
 *            pm_publish64() and pm_sync() are not cancellation points. Cancelling a thread in any other call, or on
 *            another granularity, may leave a lock held.
 *   Signals  EINTR is handled inside. No function is async-signal-safe. No function prints, aborts, installs a handler
 *            (pm_guard_install() alone does), changes the working directory or writes the environment.
 *   Forks    A child must not use its parent's mappings. With PM_WATCH or PM_LEASE, or if another thread was in a call
 *            at fork(2), the child must not call the library before execve(2).
 *
 * What a power failure may take (never half of an aligned 8-byte store; on PM_PAGE if the device writes sectors whole):
 *
 *   after           PM_NONE      PM_PAGE                        PM_CACHE_LINE            PM_BYTE
 *   a store         everything   all since the page's last      any subset of the lines  what no fence has
 *                                write-back, in any order,      not drained, torn at     ordered yet
 *                                torn at 512 B or 4 KiB         8 B
 *   pm_flush() = 0  everything   as above                       as above                 as above
 *   pm_drain() = 0  everything   nothing                        nothing                  nothing
 */
#ifndef PMDIRECT_H
#define PMDIRECT_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define PM_API __attribute__((visibility("default")))
#define PM_VERSION_MAJOR 0 /* of the header; pm_version() is that of the library */
#define PM_VERSION_MINOR 2
#define PM_VERSION_PATCH 0

/* What a store still needs to become durable. Ordered: a larger value promises more. */
enum pm_granularity {
	PM_GRANULARITY_UNKNOWN = 0, /* pm_probe() could not determine it, or there was none: before pm_map() */
	PM_NONE = 1,                /* nothing is known to help */
	PM_PAGE = 2,                /* kernel write-back of whole pages */
	PM_CACHE_LINE = 3,          /* CPU write-back of cache lines and a fence */
	PM_BYTE = 4                 /* a fence: the CPU caches are in the persistence domain (eADR) */
};

/* A three-state fact. Unknown is never rounded up: only a yes raises a promise. */
enum pm_state { PM_UNKNOWN = 0, PM_NO = 1, PM_YES = 2 };

/* How the caller asks for sync or direct: use it if possible, and say so if not; fail without it; do not use it. */
enum pm_request { PM_HINT = 0, PM_GUARANTEE = 1, PM_AVOID = 2 };

/* How the mapping is read through the page cache, and so how much a small commit writes: pm_durability(7). */
enum pm_access { PM_ACCESS_UNSET = 0, PM_ACCESS_RANDOM = 1, PM_ACCESS_SEQUENTIAL = 2 };

/* How well cache-line or byte granularity is founded. */
enum pm_grade {
	PM_GRADE_NONE = 0,     /* the kernel did not accept MAP_SYNC, or it was not asked for */
	PM_GRADE_ACCEPTED = 1, /* accepted, but a fact that the promise stands on is missing or unknown */
	PM_GRADE_TRUSTED = 2,  /* accepted and taken at its word (PM_TRUST_KERNEL): trusted, not proven */
	PM_GRADE_PROMISED = 3, /* all facts hold, but the region states no domain, or an NVDIMM not its state */
	PM_GRADE_PROVEN = 4    /* all facts hold, the domain is stated and the NVDIMMs are armed */
};

/* Met: both requests are. Demoted: a hint is not, and the kernel's write-back serves, if anything does. Refused: a
 * guarantee is not. Unknown: pm_probe() of a missing file where the file system has no unnamed files. */
enum pm_verdict { PM_VERDICT_UNKNOWN = 0, PM_VERDICT_MET = 1, PM_VERDICT_DEMOTED = 2, PM_VERDICT_REFUSED = 3 };

/* The first fact that stands in the way: pm_evidence(7) explains each. */
enum pm_reason {
	PM_REASON_NONE = 0,
	/* What the backing is: it keeps nothing, or what lies below leaves out syncs or flushes. */
	PM_REASON_PRIVATE = 1, PM_REASON_ANONYMOUS = 2, PM_REASON_VOLATILE = 3, PM_REASON_NOT_ARMED = 44,
	PM_REASON_SYNC_IGNORED = 41, PM_REASON_NO_DEVICE_FLUSH = 42,
	/* What was chosen: PM_AVOID, PMDIRECT_GRANULARITY in the environment, PM_TRUST_KERNEL. */
	PM_REASON_AVOIDED = 4, PM_REASON_ENV_OVERRIDE = 5, PM_REASON_TRUSTED = 20,
	/* What the kernel grants: MAP_SYNC that is not honoured, no DAX, no answer, no MAP_SYNC on DAX. */
	PM_REASON_MAP_SYNC_IGNORED = 6, PM_REASON_PAGE_CACHE = 7, PM_REASON_DIRECT_UNKNOWN = 8,
	PM_REASON_SYNC_REFUSED = 9,
	/* The CPU and the region of memory. */
	PM_REASON_CPU = 10, PM_REASON_EMULATED_PMEM = 11, PM_REASON_REGION_UNKNOWN = 12, PM_REASON_FLUSH_COMMAND = 13,
	PM_REASON_NO_DOMAIN = 19, PM_REASON_NO_WRITE_BACK = 21,
	/* The extents of the range, and what the file system can do to them. */
	PM_REASON_EXTENTS_UNKNOWN = 14, PM_REASON_HOLE = 15, PM_REASON_UNWRITTEN = 16, PM_REASON_SHARED = 17,
	PM_REASON_SHAREABLE = 18, PM_REASON_LEASE_REFUSED = 24, PM_REASON_FSYNC_INCOMPLETE = 36,
	PM_REASON_FAST_COMMIT = 43,
	/* What became of the file system, the file and the mapping. */
	PM_REASON_READ_ONLY = 32, PM_REASON_SHUT_DOWN = 33, PM_REASON_DEVICE_GONE = 34, PM_REASON_TRUNCATED = 27,
	PM_REASON_UNLINKED = 37, PM_REASON_MOVED = 38, PM_REASON_UNNAMED = 39, PM_REASON_COPIED_UP = 40,
	PM_REASON_MOUNTED_OVER = 46, PM_REASON_IMMUTABLE = 45, PM_REASON_WRITE_BACK_FAILED = 22,
	PM_REASON_NOT_PROMOTED = 23, PM_REASON_DESCRIPTOR_LOST = 47,
	/* Events only. */
	PM_REASON_LEASE_BROKEN = 25, PM_REASON_LEASE_FORCED = 26, PM_REASON_DAX_FLAG = 28, PM_REASON_MODIFIED = 29,
	PM_REASON_OPENED_WRITING = 30, PM_REASON_OPENED_DIRECT = 31, PM_REASON_BAD_BLOCKS = 35
};

/* What a person can do about the reason: pm_evidence(7) explains each. */
enum pm_advice {
	PM_ADVICE_NONE = 0, PM_ADVICE_PREPARE = 1, PM_ADVICE_MOUNT_DAX = 2, PM_ADVICE_LEASE = 3,
	PM_ADVICE_REAL_MEDIUM = 4, PM_ADVICE_STATE_DOMAIN = 5, PM_ADVICE_UNSET_ENV = 6, PM_ADVICE_LEAVE_SANDBOX = 7,
	PM_ADVICE_OTHER_CPU = 8, PM_ADVICE_USE_FSDAX = 9, PM_ADVICE_REWRITE = 11, PM_ADVICE_CLEAR_ERROR = 12,
	PM_ADVICE_MAP_AGAIN = 13, PM_ADVICE_CLOSE_OTHER_OPENS = 14, PM_ADVICE_JOURNAL = 15, PM_ADVICE_BARRIER = 16,
	PM_ADVICE_NAME = 17, PM_ADVICE_REMOUNT = 18, PM_ADVICE_MUTABLE = 19, PM_ADVICE_RANDOM_ACCESS = 20
};

/* The rows of evidence: pm_evidence(7) says of each what yes, error, value and text mean. */
enum pm_evidence_row {
	/* What the kernel granted. */
	PM_EV_MAP_SYNC = 0, PM_EV_MAP_SYNC_IGNORED = 1,
	/* The file: what it is, what caches it, its name and its end. */
	PM_EV_DAX = 2, PM_EV_DEVICE_DAX = 3, PM_EV_DAX_FLAG = 29, PM_EV_RESIDENT = 19, PM_EV_LARGE_FOLIOS = 43,
	PM_EV_OWN_DESCRIPTION = 24, PM_EV_NAMED = 37, PM_EV_IN_FILE = 42,
	/* The file system, and what a sync does there. */
	PM_EV_FILE_SYSTEM = 4, PM_EV_MOUNT = 5, PM_EV_VOLATILE = 6, PM_EV_SHAREABLE = 10, PM_EV_WRITABLE = 27,
	PM_EV_FS_ONLINE = 28, PM_EV_FSYNC_COMPLETE = 36, PM_EV_FAST_COMMIT = 40, PM_EV_SYNC_IGNORED = 38,
	PM_EV_DEVICE_FLUSH = 39,
	/* Other processes. */
	PM_EV_LEASE_POSSIBLE = 20, PM_EV_LEASE_HELD = 21, PM_EV_WATCHED = 35,
	/* The extents of the range. Value when no: the file offset of the first hole, unwritten or shared part. */
	PM_EV_ALLOCATED = 7, PM_EV_EXTENTS_WRITTEN = 8, PM_EV_UNSHARED = 9,
	/* The region of memory behind the file. */
	PM_EV_REGION = 11, PM_EV_PROVIDER = 12, PM_EV_CPU_FLUSH_SUFFICES = 13, PM_EV_ARMED = 41, PM_EV_DOMAIN = 14,
	PM_EV_CPU_CACHE = 15, PM_EV_DEEP_FLUSH = 16, PM_EV_WRITE_CACHE = 17,
	/* The medium. Value of PM_EV_BAD_BLOCKS when yes: the file offset of the first. No decision uses these. */
	PM_EV_BAD_BLOCKS = 30, PM_EV_UNSAFE_SHUTDOWNS = 31, PM_EV_DEVICE_ID = 32, PM_EV_NUMA_NODE = 33,
	PM_EV_PAGE_SIZE = 34,
	/* The machine and the process. */
	PM_EV_CPU = 18, PM_EV_KERNEL = 22, PM_EV_ENV_OVERRIDE = 23, PM_EV_LIBPMEM = 25, PM_EV_LIBUNWIND = 26,
	PM_EVIDENCE_ROWS = 44
};

/* One row: what is known, from where. */
struct pm_evidence {
	enum pm_state state;
	int error;          /* when no or unknown: the positive errno seen, else 0 */
	uint64_t value;     /* its meaning: pm_evidence(7) */
	const char *source; /* the system call or file that answered; static text, never NULL */
	char text[56];      /* the value seen, as text; may be empty */
};

#define PM_ENOTSYNC 5001   /* a sync guarantee cannot be met */
#define PM_ENOTDIRECT 5002 /* a direct guarantee cannot be met */
#define PM_EVOLATILE 5003  /* nothing is known to make stores durable, and a guarantee needs it */

/* ---- Options, report, event, fault -------------------------------------------------------------- */

#define PM_CREATE 0x1u             /* create the file if absent; grow it if too short */
#define PM_EXCLUSIVE 0x2u          /* with PM_CREATE: fail with -EEXIST if the file exists */
#define PM_READ_ONLY 0x4u          /* PROT_READ; the file is opened O_RDONLY */
#define PM_PRIVATE 0x8u            /* copy on write: stores stay in this process and are never durable */
#define PM_ANONYMOUS 0x10u         /* no file: path is NULL, the memory volatile; only PM_PRIVATE may be added */
#define PM_SPARSE 0x20u            /* with PM_CREATE: allocate nothing, not even on a direct medium */
#define PM_PREPARE 0x40u           /* allocate, write, sync, populate now: then direct stores need no file system */
#define PM_TRUST_KERNEL 0x80u      /* accepted means usable; works under PM_HINT only, and the report says so */
#define PM_WATCH 0x100u            /* the watcher thread watches the file: pm_events(7) */
#define PM_LEASE 0x200u            /* hold a write lease: lets XFS with reflink be PM_CACHE_LINE; see pm_lease(7) */
#define PM_FAIL_ON_DEMOTION 0x800u /* a guarantee lost later fails every durability call until pm_clear_error() */
#define PM_FROM_MEDIUM 0x1000u     /* drop the file's cached pages first: map what the medium holds */
#define PM_BORROW_FD 0x2000u       /* pm_map_fd(): fd itself serves, until pm_unmap(); record locks stay */
#define PM_AT_LEAST 0x4000u        /* length is the least: a longer file is mapped to its end */

struct pm_mapping;
struct pm_event;
/* pm_event_fn(3): an event handler. It runs with no lock held, in the thread whose call met the event or in the
 * notifier thread (pm_events(7)). It may call any function on the mapping, except pm_unmap() and pm_resize(). */
typedef void pm_event_fn(struct pm_mapping *mapping, const struct pm_event *event, void *arg);

/* pm_options(3): zero it, set size, set what is wanted. All zero is a good default. */
struct pm_options {
	size_t size;           /* sizeof(struct pm_options) */
	enum pm_request sync, direct;
	unsigned flags, mode;  /* PM_CREATE ...; permission bits of a created file, under the umask, 0 means 0666 */
	uint64_t offset, length; /* of the mapping in the file, any value; length 0 means to the end of the file */
	pm_event_fn *on_event; /* NULL: no handler */
	void *event_arg;
	uint64_t reserve;      /* bytes of addresses to keep: within them pm_resize() moves nothing; 0: none */
	enum pm_access access; /* of the page cache */
	int map_flags;         /* MAP_FIXED, _FIXED_NOREPLACE, _POPULATE, _NONBLOCK, _LOCKED, _NORESERVE of mmap(2) */
	void *address;         /* a hint; with MAP_FIXED or MAP_FIXED_NOREPLACE the place of the first page */
};

/* pm_report(3): filled by pm_query() and pm_probe(). */
struct pm_report {
	size_t size; /* bytes that were filled */
	enum pm_granularity granularity;
	enum pm_state sync, direct;
	enum pm_grade grade;
	enum pm_verdict verdict;
	enum pm_reason reason;
	enum pm_advice advice;
	enum pm_request sync_request, direct_request;
	int error; /* negative: what durability calls return until pm_clear_error() (-EBADF: for good); 0 if none */
	uint64_t offset, length;
	struct pm_evidence evidence[PM_EVIDENCE_ROWS]; /* last, so that rows can be added */
};

/* How fast, and by what, each is noticed: pm_events(7). */
enum pm_event_kind {
	PM_EVENT_DEMOTED = 1,           /* what was asked for is not met: the kernel's write-back serves */
	PM_EVENT_WRITE_BACK_FAILED = 2, /* a write-back failed: the mapping is poisoned until pm_clear_error() */
	PM_EVENT_PROMOTED = 3,          /* user space may commit alone again */
	PM_EVENT_LEASE_BROKEN = 4,      /* the file is opened elsewhere; the mapping was demoted first */
	PM_EVENT_SHARED = 5,            /* extents of the range are shared with another file now (reflink, dedupe) */
	PM_EVENT_TRUNCATED = 6,         /* the file ends inside the range: a store beyond its end is a SIGBUS */
	PM_EVENT_HOLE = 7,              /* blocks of the range were taken away (punched, collapsed) */
	PM_EVENT_PAGE_CACHE = 8,        /* the file is not DAX any more: a page cache lies in front of it */
	PM_EVENT_DAX_FLAG = 9,          /* the inode's DAX flag changed; advisory */
	PM_EVENT_OPENED = 10,           /* another process opened the file for writing */
	PM_EVENT_MODIFIED = 11,         /* the file was written or changed otherwise than through a mapping */
	PM_EVENT_READ_ONLY = 12,        /* the file system, or the file, takes no writes any more */
	PM_EVENT_FS_OFFLINE = 13,       /* the file system was shut down, or its device is gone */
	PM_EVENT_BAD_BLOCKS = 14,       /* bad blocks in the range of a direct mapping: an access may be a SIGBUS */
	PM_EVENT_NAME_LOST = 15         /* the file was unlinked, replaced, moved or copied up: see the reason */
};

#define PM_EVENT_FRAMES 16 /* of pm_event(3) */
struct pm_event {
	size_t size; /* bytes that were filled */
	enum pm_event_kind kind;
	enum pm_reason reason;
	int error;               /* negative, 0 if none */
	uint64_t offset, length; /* the range of the file concerned */
	enum pm_granularity old_granularity, new_granularity;
	enum pm_state old_sync, old_direct, sync, direct;
	unsigned frames;              /* valid entries of frame[], 0 if the call site is not known */
	void *frame[PM_EVENT_FRAMES]; /* return addresses, the application's call first */
	char where[128];              /* the first frame as text: "function+0x1f (object)" */
};

/* pm_fault(3): a load or store that could not be served. */
struct pm_fault {
	size_t size;     /* bytes that were filled */
	int error;       /* negative; 0 if there was no fault, and the rest is 0 then */
	int code;        /* si_code of the signal: BUS_ADRERR, BUS_OBJERR, BUS_MCEERR_AR, BUS_MCEERR_AO */
	uint64_t offset; /* in the file, of the byte that was accessed */
	uint64_t length; /* bytes that are lost, a power of two: the aligned unit around the address */
	void *address;
};

/* pm_statistics(3): counts since pm_map(). What CPU instructions alone make durable is not counted. */
struct pm_statistics {
	size_t size;                         /* bytes that were filled */
	uint64_t flushes, drains;            /* ranges recorded, and calls that wanted pages written */
	uint64_t write_backs, errors;        /* msync(2) and fdatasync(2), and system calls of these that failed */
	uint64_t bytes_asked, bytes_written; /* of the ranges, and of the pages that the system calls covered */
	uint64_t demotions, promotions, nanoseconds_waited; /* of all threads, for write-backs */
	uint64_t bytes_beyond;               /* of large folios, beyond those pages, as far as it is known */
};

/* ---- Life of a mapping ------------------------------------------------------------------------- */

/* pm_map(3): maps length bytes of a file, block device or device-dax node, from offset; NULL options: all of an
 * existing file, read-write, hints. *ret_mapping is written only on success.
 * Returns: 0; -PM_ENOTSYNC, -PM_ENOTDIRECT, -PM_EVOLATILE: a guarantee cannot be met; -ERANGE: beyond the end of the
 * file without PM_CREATE; -EINVAL; -E2BIG; -EOVERFLOW; -EEXIST; -EBUSY; -EAGAIN; -EOPNOTSUPP; -ENODEV; any of open(2),
 * fallocate(2), mmap(2), fsync(2).
 * Crash: with PM_CREATE, before the return the file is absent, or has any size up to the one asked for and zeros where
 * it is new. After 0 its size, blocks and directory entry are durable. */
PM_API int pm_map(const char *path, const struct pm_options *options, struct pm_mapping **ret_mapping);

/* pm_map_fd(3): as pm_map(), for an open file. fd stays the caller's, but with PM_LEASE becomes the library's. With
 * PM_BORROW_FD the library uses fd itself: close nothing of it before pm_unmap(), and take the errors of fsync(2) on it
 * as lost data, since the kernel tells them once.
 * Returns: as pm_map(); -EBADF; -EACCES: the file cannot be opened again; -ENOENT: no /proc; -EBUSY: fd has a lease.
 * Crash: as pm_map(), but the directory entry is the caller's. */
PM_API int pm_map_fd(int fd, const struct pm_options *options, struct pm_mapping **ret_mapping);

/* pm_unmap(3): drains what was flushed and ends the mapping, whatever the drain returned. Waits for an event handler.
 * Returns: 0, also of NULL, or an error of pm_drain(), now or before; -ERANGE: the file ends before something flushed.
 * Crash: stores that were never flushed may be lost. */
PM_API int pm_unmap(struct pm_mapping *mapping);

/* pm_give_up(3): drains, then gives up the pages of a range, whatever the drain returned: they are the program's. Calls
 * on a range with such a page return -ERANGE, pm_resize() -EINVAL.
 * Returns: as pm_unmap(); with nothing given up -EINVAL: address is no page's; -ERANGE: outside the mapping; -ENOMEM.
 * Threads: no other call on a range with these pages may run concurrently. */
PM_API int pm_give_up(struct pm_mapping *mapping, void *address, size_t length);

/* pm_resize(3): drains, then makes the mapping, and the file if needed, length bytes long. Without options->reserve
 * pm_base() may change; with it a load or store behind a shorter length is a SIGSEGV.
 * Returns: 0; -EINVAL; -EACCES: read-only; -ENOMEM: the reserve ends; -EBUSY: another mapping would lose its pages;
 * -ERANGE; -EOVERFLOW; -ENOSPC; -EFBIG; -PM_ENOTSYNC, -PM_ENOTDIRECT; any of fallocate(2), ftruncate(2), fsync(2),
 * mremap(2); or as pm_query().
 * Crash: before the return the file has the old size, the new one or one between. After 0 the new size is durable. */
PM_API int pm_resize(struct pm_mapping *mapping, uint64_t length);

/* pm_base(3): address of the byte at the mapping's offset in the file, aligned only if the offset is; NULL for NULL. */
PM_API void *pm_base(const struct pm_mapping *mapping);
/* pm_length(3): mapped bytes, as asked for or as found at the end of the file; 0 for NULL. */
PM_API uint64_t pm_length(const struct pm_mapping *mapping);
/* pm_find(3): the mapping of this process that the address lies in, without a lock; NULL: none. */
PM_API struct pm_mapping *pm_find(const void *address);
/* pm_granularity_of(3): the granularity in force, without a system call; PM_GRANULARITY_UNKNOWN for NULL. */
PM_API enum pm_granularity pm_granularity_of(const struct pm_mapping *mapping);

/* ---- Durability -------------------------------------------------------------------------------- */

/* pm_flush(3): begins to make a range durable: writes its lines back or records its pages. Never blocks on I/O.
 * Returns: 0; -ERANGE; -EBADF; an error of pm_drain() known already. Threads: pm_drain() follows in the same thread. */
PM_API int pm_flush(struct pm_mapping *mapping, const void *address, size_t length);

/* pm_drain(3): makes durable everything that this thread passed to pm_flush(), or copied with PM_NODRAIN, on this
 * mapping. On PM_CACHE_LINE and PM_BYTE this is a fence. On PM_PAGE it writes back the pages recorded by any thread; if
 * none were, it makes no system call. A failure poisons all mappings of the file until pm_clear_error().
 * Returns: 0; -EIO, -ENOSPC or another error of msync(2); -EROFS: the file system was made read-only; -ERANGE: the file
 * ends before something flushed; -EBADF; -PM_ENOTSYNC, -PM_ENOTDIRECT, -PM_EVOLATILE: a guarantee was lost.
 * Threads: on PM_PAGE one thread writes for all that wait: a small drain may wait for a large one and get its error. */
PM_API int pm_drain(struct pm_mapping *mapping);

/* pm_persist(3): pm_flush() and pm_drain() in one call. On PM_CACHE_LINE and PM_BYTE it covers stores, not what
 * write(2) or fallocate(2) put into the range: see pm_sync().
 * Returns: as those two, but -ERANGE of its own range alone. */
PM_API int pm_persist(struct pm_mapping *mapping, const void *address, size_t length);

/* pm_range(3): bytes in a mapping. */
struct pm_range { const void *address; size_t length; };
/* pm_commit(3): makes exactly these ranges durable; they may overlap. On PM_PAGE no page that was only flushed is
 * written, except for what pm_commit(3) names, and calls of several threads share a write-back.
 * Returns: as pm_persist(). */
PM_API int pm_commit(struct pm_mapping *mapping, const struct pm_range *ranges, size_t count);

/* pm_publish64(3): drains, then stores value, untorn, which can raise SIGBUS as any store, then makes it durable.
 * Returns: as pm_drain(), the word unchanged; as pm_commit(); -EINVAL: not aligned to 8 bytes; -EACCES: read-only. */
PM_API int pm_publish64(struct pm_mapping *mapping, uint64_t *address, uint64_t value);

/* pm_deep_persist(3): as pm_persist(), then into the medium itself, past the buffers that power-fail flushing covers.
 * Returns: as pm_persist(); on device-dax -EOPNOTSUPP: no flush hints; -EACCES: deep_flush may not be written. */
PM_API int pm_deep_persist(struct pm_mapping *mapping, const void *address, size_t length);

/* pm_sync(3): makes every store to the mapping durable, flushed or not, including data written to the range by write(2)
 * or O_DIRECT. Not data or a file size outside the range: that needs fsync(2). Flushing known ranges is cheaper.
 * Returns: as pm_drain().
 * Threads: covers earlier stores of other threads, but not their pm_flush() (PM_CACHE_LINE) or store buffers (PM_BYTE).
 * Crash: after 0 no store of this thread made before the call is lost, except on PM_NONE. */
PM_API int pm_sync(struct pm_mapping *mapping);

#define PM_NODRAIN 0x1u     /* flush only: a later pm_drain() of this thread completes it */
#define PM_NOFLUSH 0x2u     /* a plain copy: neither flush nor drain */
#define PM_TEMPORAL 0x4u    /* through the cache at any size: the destination will be read soon */
#define PM_NONTEMPORAL 0x8u /* stream past the cache if the CPU can, from two lines on */

/* pm_memcpy(3): copies length bytes to destination, which lies in the mapping, and persists them. source lies anywhere
 * and does not overlap. flags is 0 or any of the four above. By lines and bytes aligned 8-byte words are stored whole.
 * Returns: as pm_persist(); -EINVAL: unknown flag or both temporal ones; -EACCES: read-only.
 * Crash: until the return any of its words may be new. After 0 none is lost, except on PM_NONE or as the flags say. */
PM_API int pm_memcpy(struct pm_mapping *mapping, void *destination, const void *source, size_t length, unsigned flags);
/* pm_memmove(3): as pm_memcpy(); source and destination may overlap. Crash: in the overlap the source is lost too. */
PM_API int pm_memmove(struct pm_mapping *mapping, void *destination, const void *source, size_t length, unsigned flags);
/* pm_memset(3): as pm_memcpy(), storing the byte value. */
PM_API int pm_memset(struct pm_mapping *mapping, void *destination, int value, size_t length, unsigned flags);

/* pm_read(3): copies from the mapping by pread(2), so that a bad block is an error and no SIGBUS.
 * Returns: 0; -EIO: the medium is bad; -ERANGE; -ESTALE: an overlay copied the file up; -EOPNOTSUPP: private, anonymous
 * or device-dax; any of pread(2). After an error a part of destination may be written. */
PM_API int pm_read(struct pm_mapping *mapping, void *destination, const void *source, size_t length);

/* pm_write(3): copies into the mapping by pwrite(2) and makes the range durable by the kernel's write-back. Covering
 * whole pages, it clears their bad blocks if the platform can.
 * Returns: 0; -EIO: the medium is bad; -EACCES: read-only; -EBUSY: DAX with shared extents; -ERANGE; -EOPNOTSUPP; any
 * of pwrite(2), or of pm_drain().
 * Threads: a byte that another thread stores to the range during the call may have either value.
 * Crash: before the return any byte of the range may be new, in any order. After 0 none is lost, except on PM_NONE. */
PM_API int pm_write(struct pm_mapping *mapping, void *destination, const void *source, size_t length);

/* pm_clear_bad_blocks(3): replaces what is lost in bad blocks by durable zeros, by whole pages on DAX.
 * Returns: 0: the kernel's list has no bad block in the range; -EIO: a block cannot be cleared; -EOPNOTSUPP: no list;
 * -EOVERFLOW; -ENOMEM; otherwise as pm_write(). Threads: what others store to the bad pages meanwhile may be lost. */
PM_API int pm_clear_bad_blocks(struct pm_mapping *mapping, void *address, size_t length);

/* pm_clear_error(3): recovers a mapping that a failed write-back poisoned: writes every cached page again and, if
 * that succeeds, clears the error for this mapping only. Acknowledges a lost guarantee. Store lost data anew first.
 * Returns: 0, also if there was no error; else the error met: it stays poisoned; -EACCES: poisoned and read-only.
 * Threads: other threads get no notice: a drain of theirs returns 0 after the clear, although its data may be gone.
 * Crash: once it cleared a failed write-back, nothing that the mapping showed at the call is lost. */
PM_API int pm_clear_error(struct pm_mapping *mapping);

/* ---- Truth ------------------------------------------------------------------------------------- */

/* pm_query(3): gathers all evidence anew and reports what the mapping is now; demotes it if the evidence no longer
 * supports its granularity. A smaller report gets the part it has room for.
 * Returns: 0; -EINVAL: report_size; -EMFILE, -ENFILE, -ENOMEM: the evidence could not be gathered. */
PM_API int pm_query(struct pm_mapping *mapping, struct pm_report *report, size_t report_size);

/* pm_probe(3): reports what pm_map() would get, and leaves no trace on the file system.
 * Returns: 0, also if the verdict is PM_VERDICT_REFUSED; otherwise as pm_map(). */
PM_API int pm_probe(const char *path, const struct pm_options *options, struct pm_report *report, size_t report_size);
/* pm_probe_fd(3): as pm_probe(), for what pm_map_fd() would get. Opens and closes nothing of the file. */
PM_API int pm_probe_fd(int fd, const struct pm_options *options, struct pm_report *report, size_t report_size);
/* pm_statistics(3): a smaller struct gets the part it has room for. Returns: 0; -EINVAL: statistics_size. */
PM_API int pm_statistics(struct pm_mapping *mapping, struct pm_statistics *statistics, size_t statistics_size);

/* pm_event_fd(3): a descriptor for poll(2) that is readable when there may be events. Never read or close it.
 * Returns: the descriptor; -EOPNOTSUPP: anonymous; -EBADF; -EMFILE, -ENFILE, -ENOMEM, -ENOSPC; -ENOENT: no /proc. */
PM_API int pm_event_fd(struct pm_mapping *mapping);
/* pm_next_event(3): takes the oldest event. Without PM_WATCH and PM_LEASE it looks at the file if there is none.
 * Returns: 0; -EAGAIN: none; -EINVAL: event_size; -ENOMEM: events found no memory and are lost; or as pm_query(). */
PM_API int pm_next_event(struct pm_mapping *mapping, struct pm_event *event, size_t event_size);

/* pm_explain(3): writes sentences for a person: what is lost, what the mapping is, why, and what to do about it.
 * Returns: the length of the whole text, as snprintf(3); -EINVAL: not a report. */
PM_API int pm_explain(const struct pm_report *report, char *buffer, size_t buffer_size);
/* pm_explain_event(3): the same for an event, in a sentence or two. */
PM_API int pm_explain_event(const struct pm_event *event, char *buffer, size_t buffer_size);

struct pm_quirk { const char *name, *effect, *advice; };
/* pm_quirk(3): what the reported kernel is known to do wrong with files as the reported one; NULL: no index-th one. */
PM_API const struct pm_quirk *pm_quirk(const struct pm_report *report, size_t index);

/* pm_log_fn(3): receives a sentence, valid during the call; it calls nothing of the library. */
typedef void pm_log_fn(const char *sentence, void *arg);
/* pm_set_log(3): from now on function gets path and sentence of each event of each mapping; NULL: none, as at first.
 * Threads: after the return the function before is not running and is not called again. */
PM_API void pm_set_log(pm_log_fn *function, void *arg);

/* pm_granularity_name(3), pm_state_name(3), pm_request_name(3), pm_access_name(3), pm_grade_name(3),
 * pm_verdict_name(3), pm_evidence_name(3), pm_advice_name(3), pm_event_name(3), pm_reason_name(3): static text such as
 * "cache line", "yes", "MAP_SYNC accepted", "page-cache"; "unknown" for a value outside the enum. */
PM_API const char *pm_granularity_name(enum pm_granularity granularity);
PM_API const char *pm_state_name(enum pm_state state);
PM_API const char *pm_request_name(enum pm_request request);
PM_API const char *pm_access_name(enum pm_access access);
PM_API const char *pm_grade_name(enum pm_grade grade);
PM_API const char *pm_verdict_name(enum pm_verdict verdict);
PM_API const char *pm_evidence_name(enum pm_evidence_row row);
PM_API const char *pm_advice_name(enum pm_advice advice);
PM_API const char *pm_event_name(enum pm_event_kind kind);
PM_API const char *pm_reason_name(enum pm_reason reason);

/* pm_strerror(3): the words for an error code, with or without the minus sign; "unknown error" otherwise. */
PM_API const char *pm_strerror(int error);
/* pm_error_detail(3): the last error of this thread in a sentence, valid until the next; "" if none failed yet. */
PM_API const char *pm_error_detail(void);
/* pm_version(3): the version of the library, "0.2.0"; static text. */
PM_API const char *pm_version(void);

/* ---- Faults ------------------------------------------------------------------------------------ */

/* pm_guard_install(3): installs a SIGBUS handler, which pm_guarded() needs and which passes on all other signals.
 * Returns: 0; -EBUSY: the library's handler was left behind and is covered by another. */
PM_API int pm_guard_install(void);
/* pm_guard_remove(3): undoes one pm_guard_install(). The last one puts back what was there before.
 * Returns: 0; -EINVAL: nothing is installed; -EBUSY: covered by another handler, so it stays and only passes on.
 * Threads: at the last one no thread may be in pm_guarded(). */
PM_API int pm_guard_remove(void);

/* pm_guarded_fn(3): may be left at any access to the mapping: holds no lock and nothing that only it can release. */
typedef int pm_guarded_fn(void *arg);

/* pm_guarded(3): calls function(arg); a load or store in the mapping that cannot be served ends it there. Guards nest.
 * Returns: what function returned; -EIO: truncated, or a bad medium; -ENOSPC, -EDQUOT: no block; -EAGAIN: access again;
 * -EPERM: immutable; -EHWPOISON: a memory error; -EINVAL: no pm_guard_install(), no function, or fault_size.
 * Crash: what the function stored is no more durable than any store. The mapping is not poisoned. */
PM_API int pm_guarded(struct pm_mapping *mapping, pm_guarded_fn *function, void *arg, struct pm_fault *fault,
                      size_t fault_size);

#ifdef __cplusplus
}
#endif
#endif
