/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page granularity: the kernel writes dirty pages back. A drain makes one call over the hull of all
 * recorded ranges: clean pages in between cost the kernel a tag look-up (mm/filemap.c
 * filemap_fdatawrite_wbc), while every further call costs a flush of the device's cache.
 *
 * After a failure the kernel has reported the error and marked the pages clean (Documentation/core-api/
 * errseq.rst), so a second msync would return 0 with the data not on the medium. The error is latched here.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "strategy.h"
#include "sys.h"

void pm_writeback_init(struct pm_writeback *w)
{
	*w = (struct pm_writeback){.low = UINTPTR_MAX, .filling = 1};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->done_cond, NULL);
}

void pm_writeback_destroy(struct pm_writeback *w)
{
	pthread_cond_destroy(&w->done_cond);
	pthread_mutex_destroy(&w->lock);
}

static void record(struct pm_writeback *w, uintptr_t low, uintptr_t high)
{
	pthread_mutex_lock(&w->lock);
	if (low < w->low)
		w->low = low;
	if (high > w->high)
		w->high = high;
	pthread_mutex_unlock(&w->lock);
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

static void record_all(struct pm_medium *m)
{
	write_lines(m, m->map, m->map_length);
	record(&m->writeback, (uintptr_t)m->map, (uintptr_t)m->map + m->map_length);
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
static int write_back(struct pm_medium *m, uintptr_t low, uintptr_t high)
{
	if (m->read_only) {
		int rc = PM_RETRY(pm_sys->fdatasync(m->fd));
		return rc == -EINVAL ? 0 : rc;
	}
	return pm_medium_msync(m, low, high);
}

/* Takes the batch being filled and writes it. The lock is held at call and return, not meanwhile. */
static void write_batch(struct pm_medium *m)
{
	struct pm_writeback *w = &m->writeback;
	uintptr_t low = w->low, high = w->high;
	uint64_t batch = w->filling++;
	w->low = UINTPTR_MAX;
	w->high = 0;
	w->busy = true;
	pthread_mutex_unlock(&w->lock);
	int rc = write_back(m, low, high);
	pthread_mutex_lock(&w->lock);
	w->busy = false;
	w->done = batch;
	if (rc) {
		w->error = w->error ? w->error : rc;
		w->failed = batch;
		w->failure = rc;
	}
	pthread_cond_broadcast(&w->done_cond);
}

static int flush(struct pm_medium *m, const void *address, size_t length)
{
	write_lines(m, address, length);
	record(&m->writeback, (uintptr_t)address, (uintptr_t)address + length);
	return 0;
}

/* Alone or by who is at it: of two msync at once one takes the error of both (errseq.rst). */
static int complete(struct pm_medium *m)
{
	struct pm_writeback *w = &m->writeback;
	pthread_mutex_lock(&w->lock);
	/* What this thread flushed is in the batch being filled or in an earlier one. */
	uint64_t ticket = w->low < w->high ? w->filling : w->filling - 1;
	while (w->done < ticket) {
		if (w->busy)
			pthread_cond_wait(&w->done_cond, &w->lock);
		else
			write_batch(m);
	}
	int rc = w->error ? w->error : w->failed >= ticket ? w->failure : 0;
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static int drain(struct pm_medium *m)
{
	if (atomic_load(&m->writeback.all))
		record_all(m);
	return complete(m);
}

int pm_writeback_range(struct pm_medium *m, const void *address, size_t length)
{
	record(&m->writeback, (uintptr_t)address, (uintptr_t)address + length);
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
	record_all(m);
	return drain(m);
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
		int rc = pm_sys->mincore(m->map + at, pages * page, cached);
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
	if (m->read_only)
		return -EACCES;
	write_lines(m, m->map, m->map_length);
	/* A write-back under way may yet fail, and clean pages that were made dirty before it did. */
	pthread_mutex_lock(&w->lock);
	while (w->busy)
		pthread_cond_wait(&w->done_cond, &w->lock);
	w->busy = true;
	pthread_mutex_unlock(&w->lock);
	int rc = dirty_cached_pages(m);
	pthread_mutex_lock(&w->lock);
	w->busy = false;
	if (!rc) {
		w->error = 0;
		w->low = (uintptr_t)m->map;
		w->high = w->low + m->map_length;
		write_batch(m);
		rc = w->error;
	}
	pthread_cond_broadcast(&w->done_cond);
	pthread_mutex_unlock(&w->lock);
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
