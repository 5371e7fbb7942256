/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bit for each page, and a bit for every block of pages that may have one set. Adding takes no lock, and writes to
 * shared memory only what is not there yet.
 *
 * A bit that is set already is left alone, without a fence between the caller's store and the load of the bit. The
 * thread that takes the bit just after that load writes the page later, and the kernel protects the page from stores
 * before it writes (mm/page-writeback.c folio_clear_dirty_for_io; fs/dax.c dax_writeback_one). The kernel waits there
 * for every store that another CPU still makes through the old translation, and a later store faults before the load.
 *
 * The order that loses nothing: the page is set before its block, and the block is taken before its pages. A thread
 * that sees the block set sees it before it is taken, and the thread that takes it finds the page.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "durability/page_set.h"
#include "sys/sys.h"

#define WORD 64u      /* pages in a word */
#define BLOCK 64u     /* words in a block: 16 MiB of 4 KiB pages, eight lines of memory */
#define LARGE ((size_t)128 << 10) /* bytes: of a mapping of 4 GiB */
#define GAP_PAGES 16u /* between runs that are written as one: take_word() */
#define MOST_RUNS (BLOCK * WORD / (GAP_PAGES + 2) + 1) /* in a block */

static size_t size_of(size_t words)
{
	size_t blocks = (words + BLOCK - 1) / BLOCK;
	return (words + (blocks + WORD - 1) / WORD) * sizeof(uint64_t);
}

/* A large one is mapped: an allocator may clear memory, and so touch what no store will need. */
static _Atomic uint64_t *allocate_words(size_t words)
{
	size_t size = size_of(words);
	void *map = NULL;
	if (size < LARGE)
		return calloc(1, size);
	int rc = PM_RETRY(pm_sys->mmap(&map, size, PROT_READ | PROT_WRITE,
	                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	return rc ? NULL : map;
}

int pm_page_set_reserve(struct pm_page_set *r, size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t words = (length / page + WORD - 1) / WORD;
	if (words <= r->words)
		return 0;
	_Atomic uint64_t *pages = allocate_words(words);
	if (!pages)
		return -ENOMEM;
	pm_page_set_free(r);
	r->shift = (unsigned)__builtin_ctzl(page);
	r->pages = pages;
	r->blocks = pages + words;
	r->words = words;
	return 0;
}

void pm_page_set_free(struct pm_page_set *r)
{
	if (size_of(r->words) < LARGE)
		free((void *)r->pages);
	else
		PM_RETRY(pm_sys->munmap((void *)r->pages, size_of(r->words)));
}

static inline void set_bits(_Atomic uint64_t *word, uint64_t bits)
{
	if (~atomic_load(word) & bits)
		atomic_fetch_or(word, bits);
}

void pm_page_set_add(struct pm_page_set *r, size_t offset, size_t length)
{
	size_t first = offset >> r->shift, last = (offset + length - 1) >> r->shift;
	for (size_t word = first / WORD; word <= last / WORD; word++) {
		uint64_t from = word == first / WORD ? ~0ull << first % WORD : ~0ull;
		uint64_t to = word == last / WORD ? ~0ull >> (WORD - 1 - last % WORD) : ~0ull;
		size_t block = word / BLOCK;
		set_bits(&r->pages[word], from & to);
		set_bits(&r->blocks[block / WORD], 1ull << block % WORD);
	}
}

/* The first block at or after this one that may have pages; as many as there are if there is none. */
static size_t find_block(const struct pm_page_set *r, size_t block)
{
	while (block * BLOCK < r->words) {
		uint64_t found = atomic_load(&r->blocks[block / WORD]) & ~0ull << block % WORD;
		if (found)
			return block / WORD * WORD + (unsigned)__builtin_ctzll(found);
		block = (block / WORD + 1) * WORD;
	}
	return (r->words + BLOCK - 1) / BLOCK;
}

/*
 * Runs with a gap of up to GAP_PAGES are one: to write the gap, if it is dirty at all, costs a disk no more than the
 * calls that would spare it (bench/page_flush).
 */
static void take_word(struct pm_page_set *r, size_t word, struct pm_page_walk *w)
{
	uint64_t bits = atomic_load(&r->pages[word]) ? atomic_exchange(&r->pages[word], 0) : 0;
	while (bits) {
		unsigned first = (unsigned)__builtin_ctzll(bits);
		uint64_t rest = ~(bits >> first);
		unsigned count = rest ? (unsigned)__builtin_ctzll(rest) : WORD;
		size_t at = word * WORD + first;
		if (!w->count || at - w->run[w->count - 1].end > GAP_PAGES)
			w->run[w->count++].first = at;
		w->run[w->count - 1].end = at + count;
		bits &= first + count < WORD ? ~0ull << (first + count) : 0;
	}
}

bool pm_page_set_is_empty(const struct pm_page_set *r)
{
	return find_block(r, 0) * BLOCK >= r->words;
}

_Static_assert(PM_PAGE_RUNS >= MOST_RUNS, "a walk gets ahead");

void pm_page_set_take(struct pm_page_set *r, struct pm_page_walk *w)
{
	w->count = 0;
	for (;;) {
		w->block = find_block(r, w->block);
		w->more = w->block * BLOCK < r->words;
		if (!w->more || w->count + MOST_RUNS > PM_PAGE_RUNS)
			return;
		atomic_fetch_and(&r->blocks[w->block / WORD], ~(1ull << w->block % WORD));
		for (size_t word = w->block * BLOCK; word < (w->block + 1) * BLOCK && word < r->words; word++)
			take_word(r, word, w);
		w->block++;
	}
}

/* ---- Runs of ranges ---- */

/* The first run that ends at that page or behind it. */
static size_t find_run(const struct pm_page_walk *w, size_t page)
{
	size_t low = 0, high = w->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (w->run[middle].end < page)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool pm_page_walk_add(const struct pm_page_set *r, struct pm_page_walk *w, size_t offset, size_t length)
{
	struct pm_page_run added = {offset >> r->shift, ((offset + length - 1) >> r->shift) + 1};
	size_t at = find_run(w, added.first), behind = at;
	for (; behind < w->count && w->run[behind].first <= added.end; behind++) {
		added.first = added.first < w->run[behind].first ? added.first : w->run[behind].first;
		added.end = added.end > w->run[behind].end ? added.end : w->run[behind].end;
	}
	if (at == behind && w->count == PM_PAGE_RUNS)
		return false;
	/* The runs that the new one touches give way to it. */
	memmove(&w->run[at + 1], &w->run[behind], (w->count - behind) * sizeof(w->run[0]));
	w->run[at] = added;
	w->count = w->count - (behind - at) + 1;
	return true;
}

static bool has_page(const struct pm_page_set *r, size_t first, size_t end)
{
	for (size_t page = first; page < end; page++)
		if (atomic_load_explicit(&r->pages[page / WORD], memory_order_relaxed) >> page % WORD & 1)
			return true;
	return false;
}

void pm_page_walk_close_gaps(const struct pm_page_set *r, struct pm_page_walk *w)
{
	size_t last = 0;
	for (size_t i = 1; i < w->count; i++) {
		struct pm_page_run run = w->run[i], *before = &w->run[last];
		if (run.first - before->end <= GAP_PAGES && !has_page(r, before->end, run.first))
			before->end = run.end;
		else
			w->run[++last] = run;
	}
	w->count = w->count ? last + 1 : 0;
}
