/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page granularity: the kernel writes dirty pages back. A drain makes the fewest calls that make the recorded pages
 * durable. One run of them is one msync. Runs far apart are written each by itself and made durable by the msync of
 * the last, where that is known to do it: every msync costs a flush of the device's cache, and one over all would
 * write what others stored in between and nobody asked for. Elsewhere it is one msync over all: clean pages in between
 * cost the kernel a look-up of tags (mm/filemap.c filemap_fdatawrite_wbc).
 *
 * Threads that drain at once each write for themselves: the kernel does that better than a queue of ours. But one may
 * write what the other recorded: so a drain waits for those that began before it had taken all. And the kernel reports a
 * failure once to an open file description, be it of other pages than the call's (mm/filemap.c
 * file_check_and_advance_wb_err): of two calls at once one may be told of the other's, and the other of success. So on XFS
 * whoever ends while later ones write asks another description, the observer, by which nobody writes; it is asked with
 * the lock held, and what it tells is latched. Where there is no observer, or was none when a drain began, that waits for
 * all who write when it ends: what failed meanwhile is latched by then.
 *
 * After a failure the kernel has reported the error and marked the pages clean (Documentation/core-api/
 * errseq.rst), so a second msync would return 0 with the data not on the medium. The error is latched here.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "durability/strategy.h"
#include "sys/sys.h"

enum { UNTRIED = -1, NONE = -2 }; /* for a descriptor */

void pm_writeback_init(struct pm_writeback *w)
{
	*w = (struct pm_writeback){.observer = UNTRIED};
	pthread_mutex_init(&w->lock, NULL);
}

void pm_writeback_destroy(struct pm_writeback *w)
{
	pm_kept_close(&w->kept);
	pthread_mutex_destroy(&w->lock);
	pm_ranges_free(&w->recorded);
}

/*
 * Such a medium's caches are written back here, by the thread that records and before anybody waits for it: an access
 * that faults leaves nothing behind.
 */
static void write_lines(struct pm_medium *m, const void *address, size_t length)
{
	if (m->lines_first)
		m->cpu->persist(address, length);
}

static void reach_to(struct pm_writeback *w, uint64_t end)
{
	uint64_t known = atomic_load(&w->furthest);
	while (known < end && !atomic_compare_exchange_weak(&w->furthest, &known, end))
		;
}

/*
 * The pages first: a drain takes them before it takes how far they reach. So what it does not take of the latter is left
 * to the drain that the recorder calls next, which asks for the file's end even if it finds no page.
 */
void pm_writeback_add(struct pm_medium *m, const void *address, size_t length)
{
	size_t at = (size_t)((uintptr_t)address - (uintptr_t)m->map);
	pm_ranges_add(&m->writeback.recorded, at, length);
	reach_to(&m->writeback, at + length);
}

/* A large mapping is walked over only where the kernel does not do it: whether it did is to be asked once more then. */
static bool leaves_lines_to_kernel(struct pm_medium *m)
{
	bool leaves = m->lines_first && m->map_length >= PM_KERNEL_KNOWS_FROM && pm_medium_kernel_writes_lines(m);
	if (!leaves)
		write_lines(m, m->map, m->map_length);
	return leaves;
}

void pm_writeback_demoted(struct pm_writeback *w)
{
	atomic_store(&w->all, true);
}

void pm_writeback_promoted(struct pm_writeback *w)
{
	atomic_store(&w->all, false);
}

/*
 * msync on a mapping of a read-only descriptor returns 0 and does nothing (mm/mmap.c clears VM_SHARED), so there
 * the file is asked instead, which works on any descriptor. A file system without fsync (EINVAL, fsync(2)) has
 * nothing that could be written back.
 */
static int write_back(struct pm_medium *m, struct pm_run run)
{
	if (m->read_only) {
		int rc = pm_medium_fdatasync(m);
		return rc == -EINVAL ? 0 : rc;
	}
	unsigned shift = m->writeback.recorded.shift;
	return pm_medium_msync(m, (uintptr_t)m->map + (run.first << shift), (uintptr_t)m->map + (run.end << shift));
}

static void keep_first(int *error, int rc)
{
	*error = *error ? *error : rc;
}

static int write_apart(struct pm_medium *m, const struct pm_run *run, size_t count, unsigned flags)
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
 * With the lock held: a walk at a time. So what was recorded before, and is not found, was taken by who began before. Of
 * two walks at once the later one could enter a block that was recorded anew, and take from it what the other has yet to
 * come to; and who found neither the block nor what was in it would wait for the other alone.
 */
static void take(struct pm_writeback *w, struct pm_drain *self, struct pm_walk *walk)
{
	pm_ranges_take(&w->recorded, walk);
	self->last = w->started;
}

static bool take_more(struct pm_writeback *w, struct pm_drain *self, struct pm_walk *walk)
{
	if (!walk->more)
		return false;
	pthread_mutex_lock(&w->lock);
	take(w, self, walk);
	pthread_mutex_unlock(&w->lock);
	return walk->count > 0;
}

/* Starts some before it waits for the first of them. A failure ends nothing: what can be written is. */
static int write_runs(struct pm_medium *m, struct pm_drain *self, struct pm_walk *walk)
{
	struct pm_run last;
	int error = 0;
	do {
		last = walk->run[walk->count - 1];
		keep_first(&error, write_apart(m, walk->run, walk->count, SYNC_FILE_RANGE_WRITE));
		keep_first(&error, write_apart(m, walk->run, walk->count - !walk->more, SYNC_FILE_RANGE_WRITE_AND_WAIT));
	} while (take_more(&m->writeback, self, walk));
	keep_first(&error, write_back(m, last));
	return error;
}

/* Writes what was taken, and what else is recorded. */
static int write_taken(struct pm_medium *m, struct pm_drain *self, struct pm_walk *walk, bool whole)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_run all = {.end = m->map_length >> w->recorded.shift};
	if (!whole && (walk->count > 1 || walk->more) && pm_medium_writes_apart(m))
		return write_runs(m, self, walk);
	if (!whole)
		all = (struct pm_run){walk->run[0].first, walk->run[walk->count - 1].end};
	while (take_more(w, self, walk))
		all.end = whole ? all.end : walk->run[walk->count - 1].end;
	return write_back(m, all);
}

/*
 * One look at the file for each drain: that the descriptor is the file's, and where the file ends. It comes after the
 * msync, as long as that is all there is, so that 0 is of pages which the file had until then. What is written through the
 * descriptor needs it before. A cut in between is harmless there: apart is only written on ext4 and XFS, where the msync
 * that follows commits the new size too, if pages went before they were written (ext4 i_datasync_tid, the XFS log item of
 * the inode); and what was on the medium by then, and went with the cut, was durable when the call began to return.
 */
static int write_recorded(struct pm_medium *m, struct pm_drain *self, struct pm_walk *walk, bool whole)
{
	bool nothing = !whole && !walk->count, many = !whole && (walk->count > 1 || walk->more);
	bool look_first = many || m->read_only || nothing;
	int seen = look_first ? pm_medium_look(m) : 0;
	if (seen || nothing)
		return seen;
	int rc = write_taken(m, self, walk, whole);
	if (!look_first)
		seen = pm_medium_look(m);
	return seen == -EBADF ? seen : rc ? rc : seen;
}

/* The lock is held. */
static void latch(struct pm_writeback *w, int rc)
{
	if (!rc)
		return;
	w->error = w->error ? w->error : rc;
	w->failed = w->called;
	w->failure = rc;
}

static void append(struct pm_drain **at, struct pm_drain *self)
{
	while (*at)
		at = &(*at)->next;
	self->next = NULL;
	*at = self;
}

static void sleep_in(struct pm_drain **list, struct pm_writeback *w, struct pm_drain *self)
{
	self->woken = false;
	append(list, self);
	while (!self->woken)
		pthread_cond_wait(&self->woken_cond, &w->lock);
}

static void wake(struct pm_drain **at)
{
	struct pm_drain *sleeper = *at;
	*at = sleeper->next;
	sleeper->woken = true;
	pthread_cond_signal(&sleeper->woken_cond);
}

/* Wakes those for whom the last one to wait for has ended: a crowd woken for nothing costs more than the calls. */
static void end(struct pm_writeback *w, struct pm_drain *self)
{
	struct pm_drain **at = &w->writing;
	while (*at != self)
		at = &(*at)->next;
	*at = self->next;
	for (at = &w->waiting; *at;) {
		if (!w->writing || w->writing->number > (*at)->last)
			wake(at);
		else
			at = &(*at)->next;
	}
}

/* Until those have ended that are to be waited for. The lock is held at call and return, not meanwhile. */
static void wait_for_others(struct pm_writeback *w, struct pm_drain *self)
{
	if (!self->observed)
		self->last = w->started;
	if (w->writing && w->writing->number <= self->last)
		sleep_in(&w->waiting, w, self);
}

static void wait_for_recovery(struct pm_writeback *w, struct pm_drain *self)
{
	while (w->recovering)
		sleep_in(&w->blocked, w, self);
}

/*
 * The lock is held. What failed before there was an observer may have been told to others already: then the mapping's own
 * description still has it, or one of those who began before this knows it.
 */
static void observe(struct pm_medium *m, struct pm_drain *self)
{
	struct pm_writeback *w = &m->writeback;
	if (w->writing && w->observer == UNTRIED) {
		int fd = pm_medium_look(m) ? NONE : pm_keep(&w->kept, pm_medium_observer(m));
		w->observer = fd >= 0 ? fd : NONE;
		if (fd >= 0)
			latch(w, pm_medium_failed_since(m->fd));
	}
	self->observed = w->observer >= 0;
}

/* The lock is held. Where the program has closed the observer behind the library's back all wait for each other again. */
static int ask_observer(struct pm_writeback *w, struct pm_drain *self)
{
	if (pm_is_kept(&w->kept))
		return pm_medium_failed_since(w->observer);
	w->observer = NONE;
	self->observed = false;
	return 0;
}

/* Writes all that is recorded. The lock is held at call and return, not meanwhile. */
static int write_as(struct pm_medium *m, struct pm_drain *self)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_walk walk;
	bool whole = atomic_exchange(&w->whole, false);
	walk.block = 0;
	take(w, self, &walk);
	uint64_t furthest = atomic_exchange(&w->furthest, 0);
	if (!whole && !walk.count && !furthest)
		return 0;
	observe(m, self);
	append(&w->writing, self);
	pthread_mutex_unlock(&w->lock);
	int rc = write_recorded(m, self, &walk, whole);
	if (m->offset + furthest > atomic_load(&m->end))
		atomic_store(&w->cut, true);
	pthread_mutex_lock(&w->lock);
	/* Those that began before it waits for. */
	if (w->observer >= 0 && self->next)
		rc = rc ? rc : ask_observer(w, self);
	latch(w, rc);
	end(w, self);
	return rc;
}

static int flush(struct pm_medium *m, const void *address, size_t length)
{
	write_lines(m, address, length);
	pm_writeback_add(m, address, length);
	return 0;
}

/* What this thread flushed is recorded, or taken by a drain that is in the list, or written. */
static int complete(struct pm_medium *m)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_drain self = {.woken_cond = PTHREAD_COND_INITIALIZER};
	int cancelled;
	/* The others know of it while it writes or waits. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelled);
	pthread_mutex_lock(&w->lock);
	uint64_t call = ++w->called;
	wait_for_recovery(w, &self);
	self.number = ++w->started;
	write_as(m, &self);
	wait_for_others(w, &self);
	int rc = w->error ? w->error : w->failed >= call ? w->failure : 0;
	pthread_mutex_unlock(&w->lock);
	pthread_setcancelstate(cancelled, NULL);
	return rc;
}

/* All that was stored, whether it is in memory or in the CPU's caches. */
static int complete_all(struct pm_medium *m)
{
	bool left = leaves_lines_to_kernel(m);
	reach_to(&m->writeback, m->reach - m->offset);
	atomic_store(&m->writeback.whole, true);
	int rc = complete(m);
	/* Switched off meanwhile: the kernel may have left some out, and has marked their pages clean. */
	if (!rc && left && !pm_medium_kernel_writes_lines(m))
		write_lines(m, m->map, m->map_length);
	return rc;
}

static int drain(struct pm_medium *m)
{
	return atomic_load(&m->writeback.all) ? complete_all(m) : complete(m);
}

int pm_writeback_range(struct pm_medium *m, const void *address, size_t length)
{
	pm_writeback_add(m, address, length);
	return complete(m);
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

static int sync_all(struct pm_medium *m)
{
	return complete_all(m);
}

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

int pm_writeback_recover(struct pm_medium *m)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_drain self = {.woken_cond = PTHREAD_COND_INITIALIZER};
	int cancelled;
	if (m->read_only)
		return -EACCES;
	int rc = pm_medium_look(m);
	if (rc)
		return rc;
	write_lines(m, m->map, m->map_length);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelled);
	pthread_mutex_lock(&w->lock);
	wait_for_recovery(w, &self);
	w->recovering = true;
	/* A write-back under way may yet fail, and clean pages that were made dirty before it did. */
	wait_for_others(w, &self);
	/* What is still to be told is made good by what follows. */
	if (!m->node)
		pm_medium_failed_since(m->fd);
	if (w->observer >= 0)
		ask_observer(w, &self);
	pthread_mutex_unlock(&w->lock);
	pm_medium_unsettle(m);
	rc = dirty_cached_pages(m);
	pthread_mutex_lock(&w->lock);
	if (!rc) {
		atomic_store(&w->whole, true);
		self.number = ++w->started;
		w->error = rc = write_as(m, &self);
	}
	w->recovering = false;
	while (w->blocked)
		wake(&w->blocked);
	pthread_mutex_unlock(&w->lock);
	pthread_setcancelstate(cancelled, NULL);
	return rc;
}

const struct pm_strategy pm_strategy_writeback = {
	.granularity = PM_PAGE,
	.flush = flush,
	.drain = drain,
	.persist = persist,
	.deepen = deepen,
	.sync = sync_all,
};
