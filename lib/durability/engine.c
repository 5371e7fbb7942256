/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "durability/engine.h"
#include "sys/sys.h"

void pm_medium_init(struct pm_medium *m)
{
	pthread_mutex_init(&m->end_lock, NULL);
	atomic_store(&m->end, UINT64_MAX);
	atomic_store(&m->reported, UINT64_MAX);
}

void pm_medium_destroy(struct pm_medium *m)
{
	pthread_mutex_destroy(&m->end_lock);
	pm_parts_free(&m->parts);
}

bool pm_medium_note_end(struct pm_medium *m, uint64_t end, unsigned resized)
{
	if (end >= atomic_load(&m->reach) || end >= atomic_load(&m->end))
		return true;
	pthread_mutex_lock(&m->end_lock);
	bool is_current = atomic_load(&m->resized) == resized;
	if (is_current && end < atomic_load(&m->end))
		atomic_store(&m->end, end);
	pthread_mutex_unlock(&m->end_lock);
	return is_current;
}

void pm_medium_note_taken(struct pm_medium *m, uint64_t end)
{
	if (end <= atomic_load(&m->end))
		return;
	pthread_mutex_lock(&m->end_lock);
	if (end > atomic_load(&m->end))
		atomic_store(&m->writeback.cut, true);
	pthread_mutex_unlock(&m->end_lock);
}

uint64_t pm_medium_report_end(struct pm_medium *m)
{
	pthread_mutex_lock(&m->end_lock);
	uint64_t end = atomic_load(&m->end);
	if (end < atomic_load(&m->reported))
		atomic_store(&m->reported, end);
	pthread_mutex_unlock(&m->end_lock);
	return end;
}

/* What was recorded stays so: another thread may have recorded it after the drain of pm_resize(). */
void pm_medium_set_reach(struct pm_medium *m, uint64_t reach, bool is_acknowledged)
{
	pthread_mutex_lock(&m->end_lock);
	atomic_fetch_add(&m->resized, 1);
	atomic_store(&m->reach, reach);
	if (is_acknowledged && !pm_medium_is_unreported(m, reach)) {
		atomic_store(&m->end, UINT64_MAX);
		atomic_store(&m->reported, UINT64_MAX);
		atomic_store(&m->writeback.cut, false);
	}
	pthread_mutex_unlock(&m->end_lock);
}

#define READ_STEP ((size_t)64 << 10) /* less than the kernel reads for one MADV_WILLNEED */

/*
 * By pread(2) alone the kernel would read ahead, and cache what it reads in large folios: each later commit of a byte
 * would write a whole one. MADV_WILLNEED reads single pages (mm/readahead.c force_page_cache_ra), which pread(2) finds.
 */
static size_t cache_single_pages(const struct pm_medium *m, uint64_t offset, size_t length)
{
	uint64_t at = offset - m->offset, start = at - at % (uint64_t)sysconf(_SC_PAGESIZE);
	if (!m->is_of_single_pages)
		return length;
	length = length < READ_STEP ? length : READ_STEP;
	PM_RETRY(pm_sys->madvise(m->map + start, (size_t)(at + length - start), MADV_WILLNEED));
	return length;
}

int pm_medium_read(const struct pm_medium *m, void *destination, uint64_t offset, size_t length)
{
	for (size_t done = 0; done < length;) {
		size_t step = cache_single_pages(m, offset + done, length - done);
		ssize_t got = PM_RETRY(pm_sys->pread(m->fd, (char *)destination + done, step, offset + done));
		if (got <= 0)
			return got ? (int)got : -ENODATA;
		done += (size_t)got;
	}
	return 0;
}

int pm_medium_write(const struct pm_medium *m, const void *source, uint64_t offset, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t put =
			PM_RETRY(pm_sys->pwrite(m->fd, (const char *)source + done, length - done, offset + done));
		if (put <= 0)
			return put ? (int)put : -EIO;
		done += (size_t)put;
	}
	return 0;
}

/* ---- PM_NONE ---- */

static int nothing_range(struct pm_medium *m, const void *address, size_t length)
{
	(void)m;
	(void)address;
	(void)length;
	return 0;
}

static int nothing_ranges(struct pm_medium *m, const struct pm_range *ranges, size_t count)
{
	(void)m;
	(void)ranges;
	(void)count;
	return 0;
}

static int nothing(struct pm_medium *m)
{
	(void)m;
	return 0;
}

const struct pm_strategy pm_strategy_volatile = {
	.granularity = PM_NONE,
	.flush = nothing_range,
	.drain = nothing,
	.persist = nothing_range,
	.commit = nothing_ranges,
	.deepen = nothing_range,
	.sync = nothing,
};
