/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "durability/alone.h"
#include "durability/leader.h"
#include "durability/page.h"
#include "durability/writeback_calls.h"
#include "sys/sys.h"

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

#define STEP 1024u /* pages */

static int dirty_cached_of(char *at, size_t pages)
{
	unsigned char cached[STEP];
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int rc = PM_RETRY(pm_sys->mincore(at, pages * page, cached));
	for (size_t i = 0; i < pages && !rc; i++) {
		size_t run = 0;
		while (i + run < pages && cached[i + run] & 1)
			run++;
		if (run)
			rc = dirty_again(at + i * page, run * page);
		i += run;
	}
	return rc;
}

/* Where the program unmapped a part: by addresses of the library's own. */
static int dirty_cached_beside(struct pm_medium *m, size_t at, size_t pages)
{
	size_t length = pages * (size_t)sysconf(_SC_PAGESIZE);
	void *map = NULL;
	int rc = PM_RETRY(pm_sys->mmap(&map, length, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, m->offset + at));
	if (rc)
		return rc;
	rc = dirty_cached_of(map, pages);
	PM_RETRY(pm_sys->munmap(map, length));
	return rc;
}

static int dirty_cached_parts(struct pm_medium *m, size_t at, size_t pages)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int rc = 0;
	PM_EACH_PART(part, &m->parts, (uintptr_t)m->map + at, (uintptr_t)m->map + at + pages * page)
		rc = rc ? rc : dirty_cached_of((char *)part.low, (part.high - part.low) / page);
	return rc;
}

/* Only what memory holds can differ from the medium; to a page that is not cached nothing can have happened. */
static int dirty_cached_pages(struct pm_medium *m)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), step = STEP * page, length = m->map_length;
	int rc = 0;
	for (size_t at = 0; at < length && !rc; at += step) {
		size_t pages = (length - at < step ? length - at : step) / page;
		rc = atomic_load(&m->has_gap) ? dirty_cached_beside(m, at, pages)
		                              : dirty_cached_parts(m, at, pages);
	}
	return rc;
}

/* Returns rc. */
static int end_alone(struct pm_writeback *w, struct pm_page_request *self, int rc)
{
	pm_leader_end_turn(w, self, rc);
	return pm_leader_leave(self);
}

static int write_all_again(struct pm_medium *m)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_page_request self = {.wanted = PM_WANTED_ALONE};
	pm_page_write_lines(m, m->map, m->map_length);
	/* A write-back under way may yet fail, and clean pages that were made dirty before it did. */
	pm_leader_ask(w, &self);
	/* What the description still has to report is made good by what follows. */
	if (!m->is_device)
		pm_read_error(m->fd);
	pm_forget_complete_fsync(m);
	int rc = dirty_cached_pages(m);
	if (!rc)
		rc = pm_page_write_all(m);
	if (!rc)
		w->error = 0;
	return end_alone(w, &self, rc);
}

int pm_page_recover(struct pm_medium *m)
{
	int rc = m->read_only ? -EACCES : pm_medium_check(m);
	/* The lines of what is not mapped any more are out of reach. */
	if (!rc && atomic_load(&m->has_gap) && m->flush_caches_before_msync)
		rc = -ENOMEM;
	if (rc)
		return rc;
	pm_walk_begin(&m->walks);
	rc = write_all_again(m);
	pm_walk_end(&m->walks);
	return rc;
}

void pm_page_give_up(struct pm_medium *m, struct pm_gaps *room, uintptr_t low, uintptr_t high)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_page_request self = {.wanted = PM_WANTED_ALONE};
	pm_leader_ask(w, &self);
	pm_parts_cut(&m->parts, room, low, high);
	end_alone(w, &self, 0);
}

int pm_page_sync_file(struct pm_medium *m, int (*sync)(void *), void *arg)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_page_request self = {.wanted = PM_WANTED_ALONE};
	pm_leader_ask(w, &self);
	return end_alone(w, &self, w->error ? w->error : sync(arg));
}
