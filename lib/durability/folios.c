/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "durability/folios.h"
#include "durability/writeback_calls.h"
#include "sys/sys.h"

/* In pages. A folio begins at a multiple of its size, so one that is larger than SMALL holds a whole PIECE. */
#define SMALL 4u
#define PIECE (2 * SMALL)
#define LARGEST 512u

static uint64_t one_page(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

/* ---- What is cached already ---- */

#define STEP 4096u /* pages that are split as one */

/* While little is cached, more and more is asked for at once: the kernel spends time on every folio. */
static int count_cached(int fd, const struct pm_folios_part *part, uint64_t most, struct pm_cachestat *all)
{
	uint64_t step = STEP * one_page(), longest = 64 * step, stop = part->offset + part->length;
	*all = (struct pm_cachestat){.cached = 0};
	for (uint64_t at = part->offset; at < stop && all->cached <= most; at += step, step *= step < longest ? 2 : 1) {
		struct pm_cachestat stat;
		int rc = PM_RETRY(pm_sys->cachestat(fd, at, stop - at < step ? stop - at : step, &stat));
		if (rc)
			return rc;
		all->cached += stat.cached;
		all->dirty += stat.dirty;
	}
	return 0;
}

/* Every page of the part is cached. One call splits the folios on both sides of every second border between pieces. */
static int split_cached(struct pm_folios_part part)
{
	const uint64_t page = one_page(), piece = PIECE * page, end = part.offset + part.length;
	int rc = PM_RETRY(pm_sys->madvise(part.map, part.length, MADV_POPULATE_READ));
	uint64_t border = part.offset - part.offset % (2 * piece) + piece;
	for (; !rc && border < end + piece; border += 2 * piece) {
		uint64_t from = clamp(border - page, part.offset, end - page);
		uint64_t to = clamp(border + page, part.offset + page, end);
		rc = PM_RETRY(pm_sys->madvise(part.map + (from - part.offset), (size_t)(to - from), MADV_COLD));
	}
	return rc;
}

static struct pm_folios_part part_of(struct pm_folios_part part, size_t from, size_t length)
{
	return (struct pm_folios_part){part.map + from, part.offset + from, length, 0};
}

/* A vector of mincore(2) is read eight pages at a time. */
#define EIGHT_CACHED UINT64_C(0x0101010101010101)

static uint64_t eight_at(const unsigned char *vector, size_t at)
{
	uint64_t eight;
	memcpy(&eight, vector + at, sizeof(eight));
	return eight & EIGHT_CACHED;
}

static uint64_t count_found(const unsigned char *vector, size_t pages)
{
	uint64_t found = 0;
	size_t i = 0;
	/* The product's highest byte is the sum of the bytes. */
	for (; i + 8 <= pages; i += 8)
		found += eight_at(vector, i) * EIGHT_CACHED >> 56;
	for (; i < pages; i++)
		found += vector[i] & 1;
	return found;
}

/* The first page at or after one that is not as those before: like is 0 (not cached) or EIGHT_CACHED. */
static size_t end_of_run(const unsigned char *vector, size_t at, size_t pages, uint64_t like)
{
	while (at + 8 <= pages && eight_at(vector, at) == like)
		at += 8;
	while (at < pages && (vector[at] & 1) == (like & 1))
		at++;
	return at;
}

/* At most STEP pages, at most so many of which are cached. The others are not read. */
static int split_step(struct pm_folios_part part, uint64_t cached)
{
	unsigned char vector[STEP];
	const size_t page = (size_t)one_page(), pages = part.length / page;
	int rc = PM_RETRY(pm_sys->mincore(part.map, part.length, vector));
	uint64_t found = rc ? 0 : count_found(vector, pages);
	/* A process that may not write the file is told that every page is (mm/mincore.c can_do_mincore). */
	if (rc || found > cached)
		return rc;
	for (size_t first = 0, end; !rc && first < pages; first = end) {
		first = end_of_run(vector, first, pages, 0);
		end = end_of_run(vector, first, pages, EIGHT_CACHED);
		if (end - first > SMALL)
			rc = split_cached(part_of(part, first * page, (end - first) * page));
	}
	return rc;
}

/*
 * What was split is not counted and walked again by each of many mappings: that takes time for every page, even if
 * nothing is left to split. Folios that are large again are met by commits.
 */
static _Atomic uint64_t split_before[16];

/* 0: the part has none. */
static uint64_t digest_of(struct pm_folios_part part)
{
	const uint64_t values[] = {part.file, part.offset, part.length};
	uint64_t digest = 0;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		digest = ((digest ^ values[i]) * 0x9e3779b97f4a7c15u) ^ digest >> 29;
	return part.file ? digest : 0;
}

static bool was_split(uint64_t digest)
{
	return digest && atomic_load_explicit(&split_before[digest >> 60], memory_order_relaxed) == digest;
}

static void note_split(uint64_t digest)
{
	if (digest)
		atomic_store_explicit(&split_before[digest >> 60], digest, memory_order_relaxed);
}

static struct pm_folios_part step_at(struct pm_folios_part part, uint64_t at)
{
	return part_of(part, (size_t)at, (size_t)clamp(part.length - at, one_page(), STEP * one_page()));
}

/* Where nothing tells how much is cached. The time that this may take is that of as many bytes that are. */
static int split_uncounted(int fd, struct pm_folios_part part, int rc)
{
	if (part.length > PM_FOLIOS_UNASKED)
		return rc;
	rc = PM_RETRY(pm_sys->faccessat2_write(fd));
	for (uint64_t at = 0; !rc && at < part.length; at += STEP * one_page())
		rc = split_step(step_at(part, at), UINT64_MAX);
	return rc;
}

static int split_each_step(int fd, struct pm_folios_part part)
{
	int rc = 0;
	for (uint64_t at = 0; !rc && at < part.length; at += STEP * one_page()) {
		struct pm_folios_part next = step_at(part, at);
		struct pm_cachestat stat;
		rc = PM_RETRY(pm_sys->cachestat(fd, next.offset, next.length, &stat));
		if (!rc && stat.cached > stat.dirty + SMALL)
			rc = split_step(next, stat.cached);
	}
	return rc;
}

int pm_folios_split(int fd, struct pm_folios_part part, uint64_t most)
{
	struct pm_cachestat all;
	uint64_t digest = digest_of(part);
	if (was_split(digest))
		return 0;
	int rc = count_cached(fd, &part, most / one_page(), &all);
	if (rc)
		return split_uncounted(fd, part, rc);
	/* A dirty folio cannot be split. */
	if (all.cached <= all.dirty + SMALL)
		return 0;
	if (all.cached <= most / one_page())
		rc = part.length <= STEP * one_page() ? split_step(part, all.cached) : split_each_step(fd, part);
	if (!rc && !all.dirty)
		note_split(digest);
	return rc;
}

void pm_folios_split_range(const struct pm_medium *m, const void *address, size_t length)
{
	const size_t page = (size_t)one_page();
	size_t from = (size_t)((const char *)address - m->map) / page * page;
	size_t to = ((size_t)((const char *)address - m->map) + length + page - 1) / page * page;
	const struct pm_folios_part part = {m->map + from, m->offset + from, to - from, 0};
	if (m->is_of_single_pages && length > SMALL * page)
		pm_folios_split(m->fd, part, UINT64_MAX);
}

/* ---- What a write-back meets ---- */

static uint32_t piece_number(uint64_t page)
{
	return (uint32_t)(page / (PIECE * one_page())) + 1;
}

/* Of the last that were: each of several threads may write to a page of its own, again and again. */
static bool was_looked_at(const struct pm_medium *m, uint64_t page)
{
	for (size_t i = 0; i < PM_FOLIOS_LOOKED; i++)
		if (m->folios_looked[i] == piece_number(page))
			return true;
	return false;
}

static void note_looked_at(struct pm_medium *m, uint64_t page)
{
	if (!was_looked_at(m, page))
		m->folios_looked[m->next_looked++ % PM_FOLIOS_LOOKED] = piece_number(page);
}

/* Dirty pages in as many around one, beginning at a multiple; UINT64_MAX: the kernel does not tell. */
static uint64_t dirty_around(const struct pm_medium *m, uint64_t page, unsigned pages)
{
	struct pm_cachestat stat;
	uint64_t length = pages * one_page();
	int rc = PM_RETRY(pm_sys->cachestat(m->fd, page - page % length, length, &stat));
	return rc ? UINT64_MAX : stat.dirty;
}

/* Pages of the runs in as many around one. */
static uint64_t asked_around(const struct pm_medium *m, const struct pm_page_walk *walk, uint64_t page, unsigned pages)
{
	unsigned shift = m->writeback.recorded.shift;
	uint64_t length = (uint64_t)pages << shift, from = page - page % length, asked = 0;
	for (size_t i = 0; i < walk->count; i++) {
		uint64_t first = clamp(m->offset + ((uint64_t)walk->run[i].first << shift), from, from + length);
		uint64_t end = clamp(m->offset + ((uint64_t)walk->run[i].end << shift), from, from + length);
		asked += (end - first) >> shift;
	}
	return asked;
}

/* The page of a run at which a folio would reach out of it. */
static uint64_t edge_of(const struct pm_medium *m, struct pm_page_run run)
{
	unsigned shift = m->writeback.recorded.shift;
	uint64_t first = m->offset + ((uint64_t)run.first << shift), end = m->offset + ((uint64_t)run.end << shift);
	return first % ((uint64_t)PIECE << shift) ? first : end - ((uint64_t)1 << shift);
}

static bool is_same_window(uint64_t page, uint64_t other)
{
	uint64_t window = LARGEST * one_page();
	return page / window == other / window;
}

static void see_run(struct pm_medium *m, const struct pm_page_walk *walk, uint64_t page, struct pm_folios_seen *seen)
{
	struct pm_folio_seen *next = &seen->run[seen->count++], *last = seen->count > 1 ? next - 1 : NULL;
	*next = (struct pm_folio_seen){.page = page};
	if (m->dirty_is_unknown)
		return;
	if (last && is_same_window(page, last->page)) {
		next->before = last->before;
		return;
	}
	uint64_t dirty = dirty_around(m, page, LARGEST), asked = asked_around(m, walk, page, LARGEST);
	next->before = dirty != UINT64_MAX && dirty > asked ? dirty - asked : 0;
}

static bool is_to_be_looked_at(struct pm_medium *m, const struct pm_page_walk *walk, uint64_t page)
{
	return !was_looked_at(m, page) && asked_around(m, walk, page, PIECE) < PIECE;
}

/* cachestat(2) crashes the kernel if the descriptor leads to a DAX file by now: the identity comes first. */
void pm_folios_look(struct pm_medium *m, const struct pm_page_walk *walk, struct pm_folios_seen *seen)
{
	const size_t most = sizeof(seen->run) / sizeof(seen->run[0]);
	seen->count = 0;
	/* syncfs writes every page of the file in any case. */
	if (!walk || !m->is_of_single_pages || atomic_load(&m->fsync) == PM_FSYNC_NEEDS_SYNCFS)
		return;
	for (size_t i = 0, looks = 0; i < walk->count && looks < most; i++) {
		uint64_t page = edge_of(m, walk->run[i]), dirty = 0;
		if (!is_to_be_looked_at(m, walk, page))
			continue;
		if (!looks++ && pm_medium_check(m))
			return;
		if (!m->dirty_is_unknown)
			dirty = dirty_around(m, page, PIECE);
		m->dirty_is_unknown |= dirty == UINT64_MAX;
		if (m->dirty_is_unknown || dirty == PIECE)
			see_run(m, walk, page, seen);
		else
			note_looked_at(m, page);
	}
}

/* Pages that are dirty still were single ones. */
static uint64_t written_beyond(const struct pm_medium *m, const struct pm_folio_seen *run)
{
	uint64_t dirty = run->before ? dirty_around(m, run->page, LARGEST) : UINT64_MAX;
	return run->before > dirty ? run->before - dirty : 0;
}

void pm_folios_settle(struct pm_medium *m, const struct pm_folios_seen *seen)
{
	const size_t page = (size_t)one_page();
	uint64_t beyond = 0;
	for (unsigned i = 0; i < seen->count; i++) {
		const struct pm_folio_seen *run = &seen->run[i];
		bool is_next = !i || !is_same_window(run->page, run[-1].page);
		if (is_next) {
			beyond = written_beyond(m, run);
			pm_count(&m->counters.bytes_beyond, beyond > SMALL ? beyond * page : 0);
		}
		char *at = m->map + (run->page - m->offset);
		bool is_left = pm_parts_hold(&m->parts, (uintptr_t)at, (uintptr_t)at + page);
		if (is_left && (beyond > SMALL || m->dirty_is_unknown))
			PM_RETRY(pm_sys->madvise(at, page, MADV_COLD));
		/* A folio that another process maps is met again. */
		if (beyond <= SMALL)
			note_looked_at(m, run->page);
	}
}
