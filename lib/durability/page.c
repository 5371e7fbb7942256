/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A drain makes the fewest calls that make the recorded pages durable. One run of pages is one msync. Distant runs are
 * each written by sync_file_range and committed together by the msync of the last, where that is known to work
 * (writeback_calls.c): every msync costs a flush of the device's cache, and one msync over all would write what other
 * threads stored in between. Elsewhere one msync spans all runs: skipping clean pages is cheap (mm/filemap.c
 * filemap_fdatawrite_wbc).
 *
 * Drains of several threads write at the same time, which the kernel does better than a queue of the library
 * (tickets.h). The kernel reports an error once per file description, whichever pages failed (mm/filemap.c
 * file_check_and_advance_wb_err): of two msyncs at once one may return the error of the other, and the other success.
 * So on XFS a drain that ends while later ones write reads the errors of a second description, error_fd, by which
 * nothing is written; it does so with the lock held, and latches what it reads. Without error_fd, or where there was
 * none when the drain began, a drain waits for all that write when it ends: what failed meanwhile is latched by then.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "durability/direct.h"
#include "durability/page.h"
#include "durability/writeback_calls.h"
#include "sys/sys.h"

enum { UNTRIED = -1, NONE = -2 }; /* error_fd */

void pm_page_init(struct pm_writeback *w)
{
	*w = (struct pm_writeback){.error_fd = UNTRIED};
	pm_tickets_init(&w->tickets);
}

void pm_page_destroy(struct pm_writeback *w)
{
	pm_kept_close(&w->kept_error_fd);
	pm_tickets_destroy(&w->tickets);
	pm_page_set_free(&w->recorded);
}

/*
 * Where msync leaves CPU caches alone the recording thread writes them back itself, before it holds anything: an access
 * that faults leaves nothing behind.
 */
static void write_lines(struct pm_medium *m, const void *address, size_t length)
{
	if (m->flush_caches_before_msync)
		m->cpu->persist(address, length);
}

static void reach_to(struct pm_writeback *w, uint64_t end)
{
	uint64_t known = atomic_load(&w->furthest);
	while (known < end && !atomic_compare_exchange_weak(&w->furthest, &known, end))
		;
}

/*
 * The pages come first: a drain takes them before it takes how far they reach. What a drain does not take of the latter
 * is left to the drain that this thread calls next, which asks for the file's end even if it finds no page.
 */
void pm_page_record(struct pm_medium *m, const void *address, size_t length)
{
	size_t at = (size_t)((uintptr_t)address - (uintptr_t)m->map);
	pm_page_set_add(&m->writeback.recorded, at, length);
	reach_to(&m->writeback, at + length);
}

/* A large mapping is walked only where the kernel does not write lines. The caller asks again afterwards. */
static bool leaves_lines_to_kernel(struct pm_medium *m)
{
	bool leaves =
		m->flush_caches_before_msync && m->map_length >= PM_KERNEL_KNOWS_FROM && pm_kernel_writes_lines(m);
	if (!leaves)
		write_lines(m, m->map, m->map_length);
	return leaves;
}

void pm_page_demoted(struct pm_writeback *w)
{
	atomic_store(&w->all, true);
}

void pm_page_promoted(struct pm_writeback *w)
{
	atomic_store(&w->all, false);
}

/*
 * msync on a mapping of a read-only descriptor returns 0 and does nothing (mm/mmap.c clears VM_SHARED), so there the
 * file is synced instead, which works on any descriptor. A file system without fsync (EINVAL, fsync(2)) has nothing to
 * write back.
 */
static int write_back(struct pm_medium *m, struct pm_page_run run)
{
	if (m->read_only) {
		int rc = pm_write_back_file(m);
		return rc == -EINVAL ? 0 : rc;
	}
	unsigned shift = m->writeback.recorded.shift;
	return pm_write_back(m, (uintptr_t)m->map + (run.first << shift), (uintptr_t)m->map + (run.end << shift));
}

static void keep_first(int *error, int rc)
{
	*error = *error ? *error : rc;
}

static int write_ranges(struct pm_medium *m, const struct pm_page_run *run, size_t count, unsigned flags)
{
	unsigned shift = m->writeback.recorded.shift;
	int error = 0;
	for (size_t i = 0; i < count; i++)
		keep_first(&error,
			   PM_RETRY(pm_sys->sync_file_range(m->fd, m->offset + ((uint64_t)run[i].first << shift),
							    (uint64_t)(run[i].end - run[i].first) << shift, flags)));
	return error;
}

/*
 * With the lock held: one walk at a time. So what was recorded before and is not found was taken by an earlier drain.
 * Of two walks at once the later one could enter a block that was recorded anew, and take from it what the other has
 * yet to reach; a third drain that finds neither the block nor its pages would then wait for the other walk alone.
 */
static void take(struct pm_writeback *w, struct pm_drain_ticket *self, struct pm_page_walk *walk)
{
	pm_page_set_take(&w->recorded, walk);
	pm_tickets_follow(&w->tickets, self);
}

static bool take_more(struct pm_writeback *w, struct pm_drain_ticket *self, struct pm_page_walk *walk)
{
	if (!walk->more)
		return false;
	pthread_mutex_lock(&w->tickets.lock);
	take(w, self, walk);
	pthread_mutex_unlock(&w->tickets.lock);
	return walk->count > 0;
}

/* Starts several writes before it waits for the first. A failure ends nothing: what can be written is written. */
static int write_runs(struct pm_medium *m, struct pm_drain_ticket *self, struct pm_page_walk *walk)
{
	struct pm_page_run last;
	int error = 0;
	do {
		last = walk->run[walk->count - 1];
		keep_first(&error, write_ranges(m, walk->run, walk->count, SYNC_FILE_RANGE_WRITE));
		keep_first(&error,
		           write_ranges(m, walk->run, walk->count - !walk->more, SYNC_FILE_RANGE_WRITE_AND_WAIT));
	} while (take_more(&m->writeback, self, walk));
	keep_first(&error, write_back(m, last));
	return error;
}

/* Writes what was taken, and what else is recorded. */
static int write_taken(struct pm_medium *m, struct pm_drain_ticket *self, struct pm_page_walk *walk, bool whole)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_page_run all = {.end = m->map_length >> w->recorded.shift};
	if (!whole && (walk->count > 1 || walk->more) && pm_can_write_ranges(m))
		return write_runs(m, self, walk);
	if (!whole)
		all = (struct pm_page_run){walk->run[0].first, walk->run[walk->count - 1].end};
	while (take_more(w, self, walk))
		all.end = whole ? all.end : walk->run[walk->count - 1].end;
	return write_back(m, all);
}

/*
 * Each drain checks the file once: whether the descriptor leads to it, and where it ends. The check comes after the
 * msync where that is all there is, so that 0 means pages that the file had until then. What is written through the
 * descriptor needs the check before. A truncation in between is harmless there: ranges are written only on ext4 and
 * XFS, where the msync that follows commits the new size too, if pages went before they were written (ext4
 * i_datasync_tid, the XFS log item of the inode); and what was on the medium by then, and went with the truncation, was
 * durable when the call began to return.
 */
static int write_recorded(struct pm_medium *m, struct pm_drain_ticket *self, struct pm_page_walk *walk, bool whole)
{
	bool nothing = !whole && !walk->count, many = !whole && (walk->count > 1 || walk->more);
	bool checks_first = many || m->read_only || nothing;
	int seen = checks_first ? pm_medium_check(m) : 0;
	if (seen || nothing)
		return seen;
	int rc = write_taken(m, self, walk, whole);
	if (!checks_first)
		seen = pm_medium_check(m);
	return seen == -EBADF ? seen : rc ? rc : seen;
}

/*
 * The lock is held. What failed before error_fd was open may have been reported by other calls already: then the
 * mapping's own description still has the error, or a drain that began earlier knows it.
 */
static void open_error_fd(struct pm_medium *m, struct pm_drain_ticket *self)
{
	struct pm_writeback *w = &m->writeback;
	if (w->tickets.writing && w->error_fd == UNTRIED) {
		int fd = pm_medium_check(m) ? NONE : pm_keep(&w->kept_error_fd, pm_open_error_fd(m));
		w->error_fd = fd >= 0 ? fd : NONE;
		if (fd >= 0)
			pm_tickets_latch(&w->tickets, pm_read_error(m->fd));
	}
	self->covered = w->error_fd >= 0;
}

/* The lock is held. Where the program has closed error_fd behind the library's back, all wait for each other again. */
static int read_error_fd(struct pm_writeback *w, struct pm_drain_ticket *self)
{
	if (pm_is_kept(&w->kept_error_fd))
		return pm_read_error(w->error_fd);
	w->error_fd = NONE;
	self->covered = false;
	return 0;
}

/* Writes all that is recorded. The lock is held at call and return, not meanwhile. */
static int write_as(struct pm_medium *m, struct pm_drain_ticket *self)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_page_walk walk;
	bool whole = atomic_exchange(&w->whole, false);
	walk.block = 0;
	take(w, self, &walk);
	uint64_t furthest = atomic_exchange(&w->furthest, 0);
	if (!whole && !walk.count && !furthest)
		return 0;
	open_error_fd(m, self);
	pm_tickets_begin(&w->tickets, self);
	pthread_mutex_unlock(&w->tickets.lock);
	int rc = write_recorded(m, self, &walk, whole);
	if (m->offset + furthest > atomic_load(&m->end))
		atomic_store(&w->cut, true);
	pthread_mutex_lock(&w->tickets.lock);
	/* A drain waits for those that began before it. */
	if (w->error_fd >= 0 && self->next)
		rc = rc ? rc : read_error_fd(w, self);
	pm_tickets_end(&w->tickets, self, rc);
	return rc;
}

/* What this thread flushed is recorded, or a drain that has a ticket took it, or it is written. */
static int complete(struct pm_medium *m)
{
	struct pm_tickets *t = &m->writeback.tickets;
	struct pm_drain_ticket self;
	pm_tickets_lock(t, &self);
	pm_tickets_call(t, &self);
	write_as(m, &self);
	pm_tickets_wait(t, &self);
	int rc = pm_tickets_result(t, &self);
	pm_tickets_unlock(t, &self);
	return rc;
}

/* All that was stored, whether it is in memory or in the CPU's caches. */
static int complete_all(struct pm_medium *m)
{
	bool left = leaves_lines_to_kernel(m);
	reach_to(&m->writeback, m->reach - m->offset);
	atomic_store(&m->writeback.whole, true);
	int rc = complete(m);
	/* Switched off meanwhile, the kernel may have skipped some lines, and has marked their pages clean. */
	if (!rc && left && !pm_kernel_writes_lines(m))
		write_lines(m, m->map, m->map_length);
	return rc;
}

int pm_page_write_range(struct pm_medium *m, const void *address, size_t length)
{
	pm_page_record(m, address, length);
	return complete(m);
}

/* ---- After a failure ---- */

/*
 * Takes a write fault on each page, which makes it dirty and keeps what other threads store meanwhile. Before
 * Linux 5.14 an atomic "or 0" does; there a page beyond the end of the file is a SIGBUS.
 */
static int dirty_again(char *at, size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int rc = PM_RETRY(pm_sys->madvise(at, length, MADV_POPULATE_WRITE));
	if (rc != -EINVAL)
		return rc == -EFAULT ? -EIO : rc;
	for (size_t done = 0; done < length; done += page)
		__atomic_fetch_or(&at[done], 0, __ATOMIC_RELAXED);
	return 0;
}

/* Only what memory holds can differ from the medium; to a page that is not cached nothing can have happened. */
static int dirty_cached_pages(struct pm_medium *m)
{
	unsigned char cached[1024];
	size_t page = (size_t)sysconf(_SC_PAGESIZE), step = sizeof(cached) * page;
	for (size_t at = 0; at < m->map_length; at += step) {
		size_t pages = (m->map_length - at < step ? m->map_length - at : step) / page;
		int rc = PM_RETRY(pm_sys->mincore(m->map + at, pages * page, cached));
		for (size_t i = 0; i < pages && !rc; i++) {
			size_t run = 0;
			while (i + run < pages && cached[i + run] & 1)
				run++;
			if (run)
				rc = dirty_again(m->map + at + i * page, run * page);
			i += run;
		}
		if (rc)
			return rc;
	}
	return 0;
}

int pm_page_recover(struct pm_medium *m)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_tickets *t = &w->tickets;
	struct pm_drain_ticket self;
	if (m->read_only)
		return -EACCES;
	int rc = pm_medium_check(m);
	if (rc)
		return rc;
	write_lines(m, m->map, m->map_length);
	pm_tickets_lock(t, &self);
	/* A write-back under way may yet fail, and clean pages that were made dirty before it did. */
	pm_tickets_begin_recovery(t, &self);
	/* What the descriptions still have to report is made good by what follows. */
	if (!m->is_device)
		pm_read_error(m->fd);
	if (w->error_fd >= 0)
		read_error_fd(w, &self);
	pthread_mutex_unlock(&t->lock);
	pm_forget_complete_fsync(m);
	rc = dirty_cached_pages(m);
	pthread_mutex_lock(&t->lock);
	if (!rc) {
		atomic_store(&w->whole, true);
		pm_tickets_number(t, &self);
		rc = write_as(m, &self);
		t->error = rc;
	}
	pm_tickets_end_recovery(t);
	pm_tickets_unlock(t, &self);
	return rc;
}

/* ---- The strategy ---- */

static int flush(struct pm_medium *m, const void *address, size_t length)
{
	write_lines(m, address, length);
	pm_page_record(m, address, length);
	return 0;
}

static int drain(struct pm_medium *m)
{
	return atomic_load(&m->writeback.all) ? complete_all(m) : complete(m);
}

static int persist(struct pm_medium *m, const void *address, size_t length)
{
	flush(m, address, length);
	return drain(m);
}

/* msync ends in a flush of the device's volatile cache (fs/sync.c, ext4_sync_file, xfs_file_fsync). */
static int deepen(struct pm_medium *m, const void *address, size_t length)
{
	(void)m;
	(void)address;
	(void)length;
	return 0;
}

const struct pm_strategy pm_strategy_writeback = {
	.granularity = PM_PAGE,
	.flush = flush,
	.drain = drain,
	.persist = persist,
	.deepen = deepen,
	.sync = complete_all,
};

/*
 * ---- Lines after pages ----
 *
 * What a thread flushed while pages served was recorded, and a flush may be under way while the strategy changes: its
 * drain comes here. So every drain completes what is recorded and waits for what is being written, which after the
 * first few is nothing.
 */

static int drain_both(struct pm_medium *m)
{
	m->cpu->fence();
	return drain(m);
}

static int persist_both(struct pm_medium *m, const void *address, size_t length)
{
	pm_strategy_cacheline.flush(m, address, length);
	return drain_both(m);
}

static int sync_both(struct pm_medium *m)
{
	int rc = pm_sync_lines(m), drained = drain(m);
	return rc ? rc : drained;
}

static int flush_line(struct pm_medium *m, const void *address, size_t length)
{
	return pm_strategy_cacheline.flush(m, address, length);
}

static int deepen_line(struct pm_medium *m, const void *address, size_t length)
{
	return pm_strategy_cacheline.deepen(m, address, length);
}

const struct pm_strategy pm_strategy_line_after_page = {
	.granularity = PM_CACHE_LINE,
	.flush = flush_line,
	.drain = drain_both,
	.persist = persist_both,
	.deepen = deepen_line,
	.sync = sync_both,
};
