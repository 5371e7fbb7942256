/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How stores become durable. A strategy sees a medium, never a mapping: it is tested alone, and cannot reach up. The
 * caller has checked ranges and errors; lengths are not 0.
 */
#ifndef PM_ENGINE_H
#define PM_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/cpu.h"
#include "durability/page_set.h"
#include "durability/walk.h"
#include "kernel/kept.h"
#include "parts.h"
#include "pmdirect.h"
#include "providers/providers.h"

/*
 * What pm_statistics() tells. Each is added to by itself, in no order. Where CPU instructions alone make a range
 * durable nothing is counted: threads would share the line of the counter.
 */
struct pm_counters {
	_Atomic uint64_t flushes, drains, write_backs, bytes_asked, bytes_written, bytes_beyond, errors;
	_Atomic uint64_t demotions, promotions;
	_Atomic uint64_t waited; /* nanoseconds */
};

static inline void pm_count(_Atomic uint64_t *counter, uint64_t more)
{
	atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

struct pm_page_request;

/* What page write-back has to do, and which thread does it (leader.c). */
struct pm_writeback {
	struct pm_page_set recorded;
	_Atomic uint64_t furthest; /* the end in the mapping of what was recorded since the last drain took it */
	atomic_bool cut;           /* the file ended before something that was recorded */
	atomic_bool all;           /* every drain covers the whole mapping: pm_page_demoted() */
	unsigned char next_bit;    /* of the request that is queued next: pm_page_request.bit */
	bool is_scattered;         /* the last turn wrote several runs; the leader alone changes it */
	int error; /* of the first write-back that failed, until a recovery succeeds; the leader alone changes it */
	atomic_bool is_shared;      /* a thread has waited for another */
	bool is_led;                /* a turn is under way, or there is a candidate */
	unsigned char early_turns;  /* how often in a row a candidate led before all that were expected had come */
	unsigned char unwaited;     /* turns that wait for no request, from now on */
	_Atomic uint32_t wakeups;   /* a futex, on which those that wait sleep until they have an order */
	_Atomic uint64_t turn_took; /* nanoseconds: the last turn that wrote */
	pthread_mutex_t lock;       /* held for an instant; it guards is_led and the rest: leader.c's */
	struct pm_page_request *waiting, **last; /* the oldest first; where the next is queued unless none waits */
	struct pm_page_request *candidate;       /* of those that wait: leads unless another thread does first */
	unsigned waiting_count;
	unsigned expected; /* requests: those of the last turn, and those that waited at its end */
};

/* Whether an fsync or msync of the file writes its inode (kernel/trusted_sync.h). */
enum pm_fsync {
	PM_FSYNC_COMPLETE = 0,
	PM_FSYNC_NEEDS_SYNCFS = 1,
	PM_FSYNC_COMPLETE_WHILE_WRITTEN = 2, /* as long as every block of the range is written */
};

#define PM_FOLIOS_LOOKED 8

struct pm_medium {
	char *map;                     /* page-aligned */
	_Atomic size_t map_length;     /* whole pages */
	uint64_t offset;               /* of map in the file */
	int fd;                        /* the library's own description; -1 for anonymous memory */
	uint32_t file_system;          /* its f_type; 0: not known for sure */
	struct pm_kept_file *identity; /* of fd; NULL without */
	_Atomic uint64_t reach;        /* in the file: the end of the mapping */
	_Atomic uint64_t end;          /* of the file, where it was seen before reach; else UINT64_MAX */
	_Atomic uint64_t reported;     /* the least such end that the caller knows; else UINT64_MAX */
	_Atomic unsigned resized;      /* how often reach was set */
	struct pm_walks walks;
	pthread_mutex_t end_lock;      /* of a change of reach, end, reported and resized */
	struct pm_parts parts;         /* of the mapping that were not given up */
	bool read_only;
	bool is_device; /* a device node: the file system of the node is not that of the data */
	bool device_dax;
	/* A direct medium whose CPU caches msync does not, or may at some time not, write back. */
	bool flush_caches_before_msync;
	unsigned device_major, device_minor;    /* of the file system */
	unsigned region;                        /* of a device-dax: number of its nd region, ~0u if unknown */
	_Atomic unsigned char can_write_ranges; /* enum pm_state: what pm_can_write_ranges() found */
	_Atomic unsigned char fsync;            /* enum pm_fsync */
	bool fsync_skips_flush;                 /* pm_fsync_skips_flush() */
	atomic_bool has_gap;                    /* the program unmapped a part: found by pm_write_back() */
	_Atomic unsigned char unwritten_part;   /* of 256 of the mapping: where a block was last found not written */
	bool is_of_single_pages;                /* large folios are possible, and kept out of the page cache */
	/* Of folios.c; the thread that leads a write-back changes these. */
	bool dirty_is_unknown;                     /* cachestat(2) fails */
	unsigned char next_looked;
	uint32_t folios_looked[PM_FOLIOS_LOOKED]; /* pieces of the file: the number and one */
	const struct pm_cpu *cpu;
	const struct pm_libpmem *libpmem; /* NULL: not loaded, native code serves */
	struct pm_writeback writeback;
	struct pm_counters counters;
};

struct pm_strategy {
	enum pm_granularity granularity;
	int (*flush)(struct pm_medium *, const void *address, size_t length);
	int (*drain)(struct pm_medium *);
	int (*persist)(struct pm_medium *, const void *address, size_t length);
	/* These ranges alone; the empty ones do not count. */
	int (*commit)(struct pm_medium *, const struct pm_range *, size_t count);
	/* After a successful persist of the range: beyond the persistence domain. */
	int (*deepen)(struct pm_medium *, const void *address, size_t length);
	int (*sync)(struct pm_medium *);
};

/* PM_NONE: nothing makes the stores durable, so nothing is done. */
extern const struct pm_strategy pm_strategy_volatile;

/*
 * The least end ever seen holds. resized: its value before the file was asked. false: the mapping was resized since,
 * and the answer may be older; ask again.
 */
bool pm_medium_note_end(struct pm_medium *, uint64_t end, unsigned resized);
/* A drain took what was recorded up to there. */
void pm_medium_note_taken(struct pm_medium *, uint64_t end);
static inline bool pm_medium_is_cut(const struct pm_medium *m)
{
	return atomic_load_explicit(&m->end, memory_order_relaxed) < m->reach;
}
/* An error, a report or an event gives that end to the caller. Returns it. */
uint64_t pm_medium_report_end(struct pm_medium *);
/* Whether the file was seen to end before that offset, and the caller does not know. */
static inline bool pm_medium_is_unreported(const struct pm_medium *m, uint64_t offset)
{
	uint64_t end = atomic_load(&m->end);
	return end < offset && end < atomic_load(&m->reported);
}
void pm_medium_init(struct pm_medium *);
void pm_medium_destroy(struct pm_medium *);
/*
 * The mapping ends there by now, and the file not before. is_acknowledged: what was truncated until now does not count,
 * unless the caller does not know of it.
 */
void pm_medium_set_reach(struct pm_medium *, uint64_t reach, bool is_acknowledged);

/* Reads the file at that offset with the kernel's copy, which turns a bad block into -EIO; -ENODATA: the file ends. */
int pm_medium_read(const struct pm_medium *, void *destination, uint64_t offset, size_t length);
/* Writes it. After an error the file holds the new bytes up to an unknown point. Nothing is durable yet. */
int pm_medium_write(const struct pm_medium *, const void *source, uint64_t offset, size_t length);

#endif
