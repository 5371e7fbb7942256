/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/mman.h>

#include "durability/folios.h"
#include "sys/sys.h"

#define PIECE_PAGES 8u /* are looked at as one: a run of half as many is small */

/* Not the one that was looked at last of those with the same place. */
static bool is_new(struct pm_writeback *w, uint64_t piece)
{
	uint32_t *place = &w->looked[piece % PM_PIECES_LOOKED], number = (uint32_t)piece + 1;
	bool found = *place != number;
	*place = number;
	return found;
}

/* Bytes of the dirty pages in a part of the file; 0 where the kernel does not tell, as before Linux 6.5. */
static uint64_t dirty_bytes(const struct pm_medium *m, uint64_t offset, uint64_t length)
{
	struct pm_cachestat stat;
	int rc = PM_RETRY(pm_sys->cachestat(m->fd, offset, length, &stat));
	return rc ? 0 : stat.dirty << m->writeback.recorded.shift;
}

static uint64_t asked_bytes(const struct pm_medium *m, const struct pm_page_walk *walk, uint64_t from, uint64_t to)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < walk->count; i++) {
		uint64_t first = m->offset + ((uint64_t)walk->run[i].first << m->writeback.recorded.shift);
		uint64_t end = m->offset + ((uint64_t)walk->run[i].end << m->writeback.recorded.shift);
		first = first > from ? first : from;
		end = end < to ? end : to;
		bytes += first < end ? end - first : 0;
	}
	return bytes;
}

/* A folio begins at a multiple of its size. The largest one that can be there: all of its pages are dirty. */
static uint64_t largest_around(const struct pm_medium *m, uint64_t offset)
{
	uint64_t size = (uint64_t)PIECE_PAGES << m->writeback.recorded.shift, largest = 0;
	for (; size <= PM_LARGEST_FOLIO && dirty_bytes(m, offset - offset % size, size) == size; size *= 2)
		largest = size;
	return largest;
}

void pm_folios_look(struct pm_medium *m, const struct pm_page_walk *walk, struct pm_folios_found *found)
{
	unsigned shift = m->writeback.recorded.shift;
	size_t most = sizeof(found->folio) / sizeof(found->folio[0]);
	/* syncfs writes all pages of the file in any case. */
	bool looks = m->is_of_single_pages && atomic_load(&m->fsync) != PM_FSYNC_NEEDS_SYNCFS;
	found->count = 0;
	for (size_t i = 0; looks && i < walk->count && found->count < most; i++) {
		uint64_t offset = m->offset + ((uint64_t)walk->run[i].first << shift);
		bool is_small = walk->run[i].end - walk->run[i].first <= PIECE_PAGES / 2;
		if (!is_small || !is_new(&m->writeback, offset / PIECE_PAGES >> shift))
			continue;
		uint64_t length = largest_around(m, offset), start = length ? offset - offset % length : 0;
		uint64_t asked = asked_bytes(m, walk, start, start + length);
		if (!length || asked > length / 2)
			continue;
		found->folio[found->count].offset = start;
		found->folio[found->count].length = length;
		found->folio[found->count++].asked = asked;
	}
}

/* A page that is mapped is not dropped. */
static void unmap_pages(struct pm_medium *m, uint64_t offset, uint64_t length)
{
	uint64_t first = offset > m->offset ? offset - m->offset : 0, end = offset + length - m->offset;
	end = end < m->map_length ? end : m->map_length;
	PM_RETRY(pm_sys->madvise(m->map + first, (size_t)(end - first), MADV_DONTNEED));
}

/* Pages that another thread made dirty one by one are dirty still. */
void pm_folios_drop(struct pm_medium *m, const struct pm_folios_found *found)
{
	for (unsigned i = 0; i < found->count; i++) {
		uint64_t offset = found->folio[i].offset, length = found->folio[i].length;
		if (dirty_bytes(m, offset, length) > length / 2)
			continue;
		pm_count(&m->counters.bytes_written, length - found->folio[i].asked);
		unmap_pages(m, offset, length);
		PM_RETRY(pm_sys->fadvise_dontneed(m->fd, offset, length));
	}
}
