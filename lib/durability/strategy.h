/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How stores become durable. A strategy sees a small medium, never a mapping, so that it can be tested alone
 * and cannot reach up. The caller has checked ranges and poison; lengths are not 0.
 */
#ifndef PM_STRATEGY_H
#define PM_STRATEGY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/cpu.h"
#include "kernel/kept.h"
#include "pmdirect.h"
#include "providers/providers.h"

/* The pages of a mapping that wait to be written: page_set.c. */
struct pm_ranges {
	_Atomic uint64_t *pages;  /* a bit each; NULL: none yet */
	_Atomic uint64_t *blocks; /* a bit for each block of words that may have one set */
	size_t words;             /* of pages: whole blocks */
	unsigned shift;           /* log2 of the page size */
};

/* Pages [first, end) of the mapping. */
struct pm_run {
	size_t first, end;
};

/* What a walk takes at a time: at least what there can be in a block. */
#define PM_RUNS 256

struct pm_walk {
	size_t block; /* to go on with; begins as 0 */
	bool more;    /* there is something from there on */
	size_t count;
	struct pm_run run[PM_RUNS];
};

/* Who writes or waits, on its own stack. */
struct pm_drain {
	uint64_t number; /* in the order in which they start */
	uint64_t last;   /* waits for those up to this number */
	pthread_cond_t woken_cond;
	bool woken, observed;
	struct pm_drain *next;
};

/* What page write-back has to do. A drain takes all that is recorded, whoever recorded it. */
struct pm_writeback {
	struct pm_ranges recorded; /* without the lock */
	atomic_bool whole;         /* likewise: the whole mapping is */
	_Atomic uint64_t furthest; /* likewise: the end in the mapping of what was recorded since the last drain took it */
	atomic_bool cut;           /* the file ended before something that was recorded */
	atomic_bool all;           /* every drain covers the whole mapping: see pm_writeback_demoted() */
	bool recovering;           /* no drain may start */
	struct pm_kept kept;       /* the observer: */
	int observer;              /* a description of the file that nobody writes by, once several drain at once */
	pthread_mutex_t lock;
	struct pm_drain *writing; /* the oldest first, in all lists */
	struct pm_drain *waiting; /* for some who write */
	struct pm_drain *blocked; /* until the recovery is over */
	uint64_t started;         /* number of the last drain */
	uint64_t called;          /* likewise of its call, which a recovery keeps from starting */
	int error;                /* latched until pm_writeback_recover() */
	int failure;              /* how the last failed that did, for those who waited for it while the latch was lifted: */
	uint64_t failed;          /* calls up to this one */
};

struct pm_medium {
	char *map;         /* page-aligned */
	size_t map_length; /* whole pages */
	uint64_t offset;   /* of map in the file */
	int fd;            /* the library's own description; -1 for anonymous memory */
	uint32_t file_system; /* its f_type; 0: not known for sure */
	struct pm_kept_file *identity; /* of fd; NULL without */
	uint64_t reach;               /* in the file: the end of the mapping */
	_Atomic uint64_t end;         /* of the file, where it was seen before reach; else UINT64_MAX */
	bool read_only;
	bool leased; /* to be opened by nobody else, this library included */
	bool node; /* of a device: where it lies says nothing of what it stands for */
	bool device_dax;
	bool lines_first; /* a direct medium whose CPU caches msync may leave alone, now or from some moment on */
	unsigned device_major, device_minor; /* of the file system */
	unsigned region; /* of a device-dax: number of its nd region, ~0u if unknown */
	/* enum pm_state: what pm_medium_writes_apart() found; whether a sync writes the inode (synced.h), or need not now */
	_Atomic unsigned char apart, syncs_inodes;
	const struct pm_cpu *cpu;
	const struct pm_libpmem *libpmem; /* NULL: not loaded, native code serves */
	struct pm_writeback writeback;
};

struct pm_strategy {
	enum pm_granularity granularity;
	int (*flush)(struct pm_medium *, const void *address, size_t length);
	int (*drain)(struct pm_medium *);
	int (*persist)(struct pm_medium *, const void *address, size_t length);
	/* Called after a successful persist of the range. */
	int (*deepen)(struct pm_medium *, const void *address, size_t length);
	int (*sync)(struct pm_medium *);
};

extern const struct pm_strategy pm_strategy_volatile;
extern const struct pm_strategy pm_strategy_writeback;
extern const struct pm_strategy pm_strategy_cacheline;
extern const struct pm_strategy pm_strategy_fence;
/* Lines again, after the kernel's write-back has served for a while. */
extern const struct pm_strategy pm_strategy_promoted;

/* The kernel's write-back of the pages of a range, believed only where it can be. */
int pm_medium_msync(struct pm_medium *, uintptr_t low, uintptr_t high);
/* The whole file, of which there is a read-only descriptor. */
int pm_medium_fdatasync(struct pm_medium *);
/*
 * Whether ranges can be written by sync_file_range(2) each, and made durable by one msync of any other part of the
 * file that follows: see medium.c.
 */
bool pm_medium_writes_apart(struct pm_medium *);
/*
 * Another description of the file, with an account of its own of what failed, which tells of each failure of the file
 * that any call meets from now on; or a negative value: there is none, or it would not tell of all.
 */
int pm_medium_observer(struct pm_medium *);
/* What failed since the last sync by that description, or the last such question. Writes nothing, waits for nothing. */
int pm_medium_failed_since(int fd);
/*
 * Whether msync writes the CPU caches of a direct medium back by now: drivers/dax/super.c dax_flush does where
 * dax/write_cache is 1, which root may switch at any time.
 */
bool pm_medium_kernel_writes_lines(const struct pm_medium *);
/* From so many bytes on it costs less to ask than to walk over all lines. */
#define PM_KERNEL_KNOWS_FROM ((size_t)16 << 20)
/* All that was stored, on a medium of cache lines, and what any process did to the file by other means. */
int pm_medium_sync_lines(struct pm_medium *);
/* Moves the modification time of a file that can be written, by a descriptor that was just shown to lead to it. */
void pm_medium_touch(struct pm_medium *);
/* The latter, on a direct medium: the metadata of the whole file. */
int pm_medium_commit(struct pm_medium *);
/* Reads the file at that offset with the kernel's copy, which turns a bad block into -EIO; -ENODATA: the file ends. */
int pm_medium_read(const struct pm_medium *, void *destination, uint64_t offset, size_t length);
/* The other way; after an error the file holds the new bytes up to an open point. Nothing is durable yet. */
int pm_medium_write(const struct pm_medium *, const void *source, uint64_t offset, size_t length);

/*
 * Whether the descriptor is still the file's, and where that ends: 0, -EBADF, or why the file does not answer. Before
 * anything is written through the descriptor, and after what is to be believed.
 */
int pm_medium_look(struct pm_medium *);
/* The least end ever seen holds. */
void pm_medium_note_end(struct pm_medium *, uint64_t end);
static inline bool pm_medium_is_cut(const struct pm_medium *m)
{
	return atomic_load_explicit(&m->end, memory_order_relaxed) < m->reach;
}
/* The mapping ends there by now, and the file not before. */
void pm_medium_set_reach(struct pm_medium *, uint64_t reach);

/* The range was made longer, or a sync failed: what let an msync do alone does not hold any more. */
void pm_medium_unsettle(struct pm_medium *);

/* Beyond the persistence domain; shared by the two direct strategies. */
int pm_medium_deepen(struct pm_medium *, const void *address, size_t length);

/*
 * Zeroed memory, for free(3); NULL: there is none. What is small comes from the thread's own cache, which calloc(3)
 * passes by (glibc); of what is large the kernel gives zeros, and nobody need store them.
 */
void *pm_zeros(size_t size);

/* Makes room for a mapping of so many bytes; what is recorded is forgotten where there was less. 0 or -ENOMEM. */
int pm_ranges_reserve(struct pm_ranges *, size_t length);
void pm_ranges_free(struct pm_ranges *);
/* Records pages for a drain. */
void pm_writeback_add(struct pm_medium *, const void *address, size_t length);
/* Records the pages of a range that is not empty. Any number of threads, also while one takes. */
void pm_ranges_add(struct pm_ranges *, size_t offset, size_t length);
/*
 * Takes the next runs, in ascending order, all of what lies in each block that it comes to. One walk at a time: when it
 * has come to the end, what was recorded before is taken, if not by this one then by one before.
 */
void pm_ranges_take(struct pm_ranges *, struct pm_walk *);

void pm_writeback_init(struct pm_writeback *);
void pm_writeback_destroy(struct pm_writeback *);
/*
 * Makes what write(2) put into a range durable, under any strategy. No byte of the range is touched, not even to write
 * its line back: on a page with a bad block that would fault.
 */
int pm_writeback_range(struct pm_medium *, const void *address, size_t length);
/*
 * The mapping was another strategy's until now. A flush that is still under way there was not recorded here, so
 * from now on every drain covers the whole mapping; the kernel knows which of its pages are dirty.
 */
void pm_writeback_demoted(struct pm_writeback *);
/* The other way round: from now on only what was recorded is left to write. */
void pm_writeback_promoted(struct pm_writeback *);
/* Makes every cached page dirty again, keeping its content, writes all back and lifts the latch on success. */
int pm_writeback_recover(struct pm_medium *);

#endif
