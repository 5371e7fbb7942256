/* SPDX-License-Identifier: BSD-3-Clause */
/* Large folios of the page cache: what a mapping tells the kernel of its accesses, and which folios it splits. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/machine.h"
#include "unit.h"

#define SIZE 65536u
#define XFS 0x58465342u

enum { NOTHING = -1 };

static const struct {
	const struct fake_machine *machine;
	uint32_t magic; /* 0: the machine's */
	const char *release;
	enum pm_access access;
	unsigned flags;
	int advice;
	enum pm_state row;
} cases[] = {
	{&fake_plain, 0, "6.16.0", PM_ACCESS_UNSET, 0, MADV_RANDOM, PM_YES},
	{&fake_plain, 0, "6.15.9", PM_ACCESS_UNSET, 0, NOTHING, PM_NO},
	{&fake_plain, XFS, "5.18.0", PM_ACCESS_UNSET, 0, MADV_RANDOM, PM_YES},
	{&fake_plain, XFS, "5.17.0", PM_ACCESS_UNSET, 0, NOTHING, PM_NO},
	{&fake_plain, XFS, "6.12.0", PM_ACCESS_RANDOM, 0, MADV_RANDOM, PM_YES},
	{&fake_plain, XFS, "5.17.0", PM_ACCESS_RANDOM, 0, MADV_RANDOM, PM_NO},
	{&fake_plain, XFS, "6.12.0", PM_ACCESS_SEQUENTIAL, 0, MADV_SEQUENTIAL, PM_YES},
	/* What is not written makes nothing dirty. */
	{&fake_plain, XFS, "6.12.0", PM_ACCESS_UNSET, PM_READ_ONLY, NOTHING, PM_YES},
	{&fake_plain, XFS, "6.12.0", PM_ACCESS_RANDOM, PM_READ_ONLY, MADV_RANDOM, PM_YES},
	{&fake_plain, XFS, "6.12.0", PM_ACCESS_RANDOM, PM_PRIVATE, MADV_RANDOM, PM_YES},
	{&fake_dax, 0, "6.18.0", PM_ACCESS_UNSET, 0, NOTHING, PM_NO},
	{&fake_dax, 0, "6.18.0", PM_ACCESS_RANDOM, 0, MADV_RANDOM, PM_NO},
	{&fake_device_dax, 0, "6.18.0", PM_ACCESS_UNSET, 0, NOTHING, PM_NO},
};

static const struct fake_record *advice_of(int advice)
{
	const struct fake_record *r;
	for (unsigned n = 0; (r = fake_find(FAKE_madvise, n)); n++)
		if ((int)r->flags == advice)
			return r;
	return NULL;
}

START_TEST(what_the_kernel_is_told)
{
	const char *path = unit_file("file", SIZE);
	fake_start(cases[_i].machine);
	fake.machine.magic = cases[_i].magic ? cases[_i].magic : fake.machine.magic;
	fake.machine.release = cases[_i].release;
	if (cases[_i].magic == XFS)
		fake.machine.mount = "xfs /dev/vda1 rw,attr2,inode64";
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = cases[_i].flags, .access = cases[_i].access));
	const struct fake_record *r = cases[_i].advice == NOTHING ? NULL : advice_of(cases[_i].advice);
	if (cases[_i].advice == NOTHING)
		ck_assert(!advice_of(MADV_RANDOM) && !advice_of(MADV_SEQUENTIAL));
	else
		ck_assert(r && r->address == (uintptr_t)pm_base(m) && r->length == SIZE);
	ck_assert_uint_eq(fake_calls(FAKE_fadvise_dontneed), 0);
	const struct pm_evidence *row = &unit_query(m)->evidence[PM_EV_LARGE_FOLIOS];
	ck_assert_int_eq(row->state, cases[_i].row);
	ck_assert_str_eq(row->text, pm_access_name(cases[_i].access));
	unit_ok(pm_unmap(m));
}
END_TEST

/* The advice comes before any page is touched, over the whole reserve, and what is new is not dropped. */
START_TEST(a_new_file_with_a_reserve)
{
	fake_start(&fake_plain);
	struct pm_mapping *m =
		unit_map(unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = SIZE,
	                                                .reserve = 16 * SIZE, .access = PM_ACCESS_RANDOM));
	const struct fake_record *r = NULL, *populate = NULL;
	for (unsigned n = 0; (r = fake_find(FAKE_madvise, n)) && r->length != 16 * SIZE; n++)
		;
	ck_assert(r && r->flags == MADV_RANDOM && r->address == (uintptr_t)pm_base(m));
	for (unsigned n = 0; fake_find(FAKE_madvise, n); n++)
		populate = fake_find(FAKE_madvise, n);
	ck_assert(populate->flags == MADV_POPULATE_READ && populate->number > r->number);
	ck_assert_uint_eq(fake_calls(FAKE_fadvise_dontneed), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- What is cached when it is mapped ---- */

#define PIECE 8u /* pages: a folio larger than half of it holds a whole one */

/* A page cache of which the kernel tells. What it is advised is only recorded. */
static struct {
	struct machine machine;
	unsigned pages, dirty;
	unsigned char cached[40000];
	bool lies; /* says that every page is cached */
	int error; /* of cachestat(2) */
} cache;

static int cache_cachestat(int fd, uint64_t offset, uint64_t length, struct pm_cachestat *stat)
{
	(void)fd;
	*stat = (struct pm_cachestat){.dirty = cache.dirty};
	for (uint64_t page = offset / unit_page(); page < (offset + length) / unit_page() && page < cache.pages; page++)
		stat->cached += cache.cached[page];
	return cache.error;
}

static int cache_mincore(void *address, size_t length, unsigned char *vector)
{
	/* MADV_RANDOM is the first advice, and over the whole mapping. */
	size_t first = ((uintptr_t)address - fake_find(FAKE_madvise, 0)->address) / unit_page();
	for (size_t i = 0; i < length / unit_page(); i++)
		vector[i] = (unsigned char)(cache.lies || cache.cached[first + i]) | (unit_random() & 0xfeu);
	return 0;
}

static int cache_madvise(void *address, size_t length, int advice)
{
	(void)address;
	(void)length;
	(void)advice;
	return 0;
}

/* The offsets in the file and in the mapping are the same. */
static const char *start_cache(unsigned pages)
{
	const char *path = unit_file("file", 0);
	ck_assert(pages <= sizeof(cache.cached) && !truncate(path, (off_t)(pages * unit_page())));
	fake_start(&fake_plain);
	memset(&cache, 0, sizeof(cache));
	cache.pages = pages;
	machine_put_at(&counting_below, &cache.machine,
	               MACHINE(.cachestat = cache_cachestat, .mincore = cache_mincore, .madvise = cache_madvise));
	return path;
}

static unsigned count_advice(int advice)
{
	unsigned count = 0;
	for (unsigned n = 0; fake_find(FAKE_madvise, n); n++)
		count += (int)fake_find(FAKE_madvise, n)->flags == advice;
	return count;
}

static void map_cache(const char *path, enum pm_access access)
{
	fake_forget();
	unit_ok(pm_unmap(unit_map(path, UNIT_OPTIONS(.access = access))));
}

static bool is_whole_piece(unsigned first)
{
	for (unsigned i = 0; i < PIECE; i++)
		if (!cache.cached[first + i])
			return false;
	return true;
}

/* Runs of cached pages of any length, at any place. */
static void cache_at_random(void)
{
	for (unsigned page = 0; page < cache.pages;) {
		unsigned run = 1 + unit_random() % 40;
		bool is_cached = unit_random() % 2;
		for (; run && page < cache.pages; run--)
			cache.cached[page++] = is_cached;
	}
}

/* Every folio that can be large gets a call for a part of it; what is not cached is not read. */
START_TEST(every_large_folio_is_split)
{
	unsigned char cold[40000] = {0};
	const char *path = start_cache(5 * 4096 + unit_random() % 4096);
	cache_at_random();
	map_cache(path, _i ? PM_ACCESS_RANDOM : PM_ACCESS_UNSET);
	uintptr_t base = fake_find(FAKE_madvise, 0)->address;
	for (unsigned n = 1; fake_find(FAKE_madvise, n); n++) {
		const struct fake_record *r = fake_find(FAKE_madvise, n);
		size_t first = (r->address - base) / unit_page(), count = r->length / unit_page();
		unit_expect(r->flags == MADV_POPULATE_READ || (r->flags == MADV_COLD && count <= 2));
		for (size_t i = first; i < first + count; i++) {
			unit_expect(i < cache.pages && cache.cached[i]);
			cold[i] |= r->flags == MADV_COLD;
		}
	}
	for (unsigned page = 0; page + PIECE <= cache.pages; page += PIECE) {
		unsigned some = 0;
		for (unsigned i = 0; i < PIECE; i++)
			some += cold[page + i];
		unit_expect(some || !is_whole_piece(page));
	}
	ck_assert_uint_eq(fake_calls(FAKE_fadvise_dontneed), 0);
	machine_remove(&cache.machine);
}
END_TEST

/* A vector is asked for once a step. The bits of one that mincore(2) reserves may have any value. */
START_TEST(what_is_asked_page_by_page)
{
	static const struct {
		unsigned pages, hole, vectors;
		int error;
	} asked[] = {{5000, 5000, 2, 0}, {5000, 4500, 2, 0}, {4096, 17, 1, 0}, {5000, 5000, 2, -ENOSYS}};
	const char *path = start_cache(asked[_i].pages);
	memset(cache.cached, 1, asked[_i].pages);
	cache.cached[asked[_i].hole] = 0;
	cache.error = asked[_i].error;
	map_cache(path, PM_ACCESS_UNSET);
	ck_assert_uint_eq(fake_calls(FAKE_mincore), asked[_i].vectors);
	/* Of each of the steps, and one more for the hole. */
	unsigned steps = asked[_i].pages > 4096 ? 2 : 1, runs = asked[_i].hole < asked[_i].pages ? steps + 1 : steps;
	ck_assert_uint_eq(count_advice(MADV_POPULATE_READ), runs);
	machine_remove(&cache.machine);
}
END_TEST

/* Nor is much counted again. What was dirty, or not cached, has not been split. */
START_TEST(what_is_counted_again)
{
	static const struct {
		unsigned cached, dirty;
	} counts[] = {{0, 0}, {1000, 10}, {1000, 0}, {16385, 0}};
	const char *path = start_cache(counts[_i].cached > 4096 ? 20000 : 4096);
	cache.dirty = counts[_i].dirty;
	memset(cache.cached, 1, counts[_i].cached);
	map_cache(path, PM_ACCESS_UNSET);
	unsigned first = fake_calls(FAKE_cachestat);
	ck_assert_uint_gt(first, 0);
	map_cache(path, PM_ACCESS_UNSET);
	ck_assert_uint_eq(fake_calls(FAKE_cachestat), counts[_i].cached && !counts[_i].dirty ? 0 : first);
	machine_remove(&cache.machine);
}
END_TEST

/* Each mapping would fault every page in, to find nothing left to split. */
START_TEST(what_was_split_is_not_walked_again)
{
	const char *path = start_cache(5000);
	memset(cache.cached, 1, 1000);
	map_cache(path, PM_ACCESS_UNSET);
	ck_assert_uint_gt(count_advice(MADV_COLD), 0);
	map_cache(path, PM_ACCESS_UNSET);
	ck_assert_uint_eq(count_advice(MADV_COLD) + count_advice(MADV_POPULATE_READ), 0);
	ck_assert_uint_eq(fake_calls(FAKE_cachestat), 0);
	map_cache(path, PM_ACCESS_RANDOM);
	ck_assert_uint_gt(count_advice(MADV_COLD), 0);
	/* Another file that has the number of the inode. */
	ck_assert(!unlink(path));
	ck_assert_str_eq(unit_file("file", 0), path);
	ck_assert(!truncate(path, (off_t)(5000 * unit_page())));
	map_cache(path, PM_ACCESS_UNSET);
	ck_assert_uint_gt(count_advice(MADV_COLD), 0);
	machine_remove(&cache.machine);
}
END_TEST

static const struct {
	const char *what;
	enum pm_access access;
	unsigned cached;
	bool is_dirty, lies;
	int error;
	bool splits, drops;
	unsigned pages;
} whole[] = {
	{"a little more than is split unasked", PM_ACCESS_UNSET, 16385, false, false, 0, false, false, 20000},
	{"as much as is split unasked", PM_ACCESS_UNSET, 16384, false, false, 0, true, false, 20000},
	{"more, asked for", PM_ACCESS_RANDOM, 16385, false, false, 0, true, false, 20000},
	{"dirty", PM_ACCESS_UNSET, 16384, true, false, 0, false, false, 20000},
	{"nothing", PM_ACCESS_RANDOM, 0, false, false, 0, false, false, 20000},
	{"folios that may be as large", PM_ACCESS_UNSET, 4, false, false, 0, false, false, 20000},
	{"a few, and the process may not know which", PM_ACCESS_UNSET, 100, false, true, 0, false, false, 20000},
	{"an older kernel", PM_ACCESS_UNSET, 100, false, false, -ENOSYS, false, false, 20000},
	{"an older kernel, asked for", PM_ACCESS_RANDOM, 100, false, false, -ENOSYS, false, true, 20000},
	{"an older kernel, a short mapping", PM_ACCESS_UNSET, 100, false, false, -ENOSYS, true, false, 16384},
	{"an older kernel, asked for, short", PM_ACCESS_RANDOM, 100, false, false, -ENOSYS, true, false, 16384},
	{"folios are wanted", PM_ACCESS_SEQUENTIAL, 100, false, false, 0, false, false, 20000},
};

START_TEST(what_is_split)
{
	const char *path = start_cache(whole[_i].pages);
	memset(cache.cached, 1, whole[_i].cached);
	cache.dirty = whole[_i].is_dirty ? whole[_i].cached : 0;
	cache.lies = whole[_i].lies;
	cache.error = whole[_i].error;
	map_cache(path, whole[_i].access);
	ck_assert_uint_eq(count_advice(MADV_COLD) > 0, whole[_i].splits);
	ck_assert_uint_eq(count_advice(MADV_POPULATE_READ) > 0, whole[_i].splits);
	ck_assert_uint_eq(fake_calls(FAKE_fadvise_dontneed), whole[_i].drops);
	machine_remove(&cache.machine);
}
END_TEST

/* What pm_write() wrote is cached as the kernel likes. */
START_TEST(what_pm_write_leaves)
{
	static char bytes[64 * 4096];
	const char *path = start_cache(100);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.access = _i ? PM_ACCESS_SEQUENTIAL : PM_ACCESS_UNSET));
	memset(cache.cached, 1, 100);
	for (size_t length = 3 * 4096; length <= sizeof(bytes); length += 61 * 4096) {
		unsigned before = count_advice(MADV_COLD);
		unit_ok(pm_write(m, (char *)pm_base(m) + 100, bytes, length));
		ck_assert_uint_eq(count_advice(MADV_COLD) > before, !_i && length > 4 * 4096);
	}
	unit_ok(pm_unmap(m));
	machine_remove(&cache.machine);
}
END_TEST

/* The kernel reads only a part of what is longer. */
#define STEP 65536u

/* Where the steps that begin at the mapping end; each begins where the one before ended, or in it. */
static size_t willneed_end(const char *base)
{
	const struct fake_record *r;
	size_t end = 0;
	for (unsigned n = 0; (r = fake_find(FAKE_madvise, n)); n++) {
		if (r->flags != MADV_WILLNEED)
			continue;
		size_t at = r->address - (uintptr_t)base;
		ck_assert(at % 4096 == 0 && at <= end && r->length < STEP + 4096);
		end = at + r->length;
	}
	return end;
}

/* Then pread(2) finds single pages in the cache. */
START_TEST(what_pm_read_caches)
{
	enum { LENGTH = 3 * STEP, FROM = 1000 };
	static char bytes[LENGTH], back[LENGTH];
	static const struct {
		const char *release;
		enum pm_access access;
		unsigned flags;
		bool advises;
	} reads[] = {
		{"6.16.0", PM_ACCESS_UNSET, 0, true},       {"6.16.0", PM_ACCESS_RANDOM, 0, true},
		{"6.16.0", PM_ACCESS_SEQUENTIAL, 0, false}, {"6.16.0", PM_ACCESS_UNSET, PM_READ_ONLY, false},
		{"6.15.0", PM_ACCESS_UNSET, 0, false},      {"6.15.0", PM_ACCESS_RANDOM, 0, false},
	};
	const char *path = unit_file("file", LENGTH);
	fake_start(&fake_plain);
	fake.machine.release = reads[_i].release;
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = reads[_i].flags, .access = reads[_i].access));
	memcpy(bytes, pm_base(m), LENGTH);
	unit_ok(pm_read(m, back, (char *)pm_base(m) + FROM, LENGTH - FROM));
	ck_assert_mem_eq(back, bytes + FROM, LENGTH - FROM);
	ck_assert_uint_eq(willneed_end(pm_base(m)), reads[_i].advises ? LENGTH : 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Neither is needed for durability. */
START_TEST(a_kernel_that_refuses)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	fake_fail(FAKE_madvise, 0, EINVAL);
	fake_fail(FAKE_fadvise_dontneed, 0, EINVAL);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.access = PM_ACCESS_RANDOM));
	unit_ok(pm_persist(m, pm_base(m), 1));
	unit_ok(pm_unmap(m));
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.access = (enum pm_access)3), &m), -EINVAL);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("folios");
	tcase_add_loop_test(c, what_the_kernel_is_told, 0, sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(c, a_new_file_with_a_reserve);
	tcase_add_loop_test(c, every_large_folio_is_split, 0, 2);
	tcase_add_loop_test(c, what_is_asked_page_by_page, 0, 4);
	tcase_add_test(c, what_was_split_is_not_walked_again);
	tcase_add_loop_test(c, what_is_counted_again, 0, 4);
	tcase_add_loop_test(c, what_is_split, 0, sizeof(whole) / sizeof(whole[0]));
	tcase_add_loop_test(c, what_pm_write_leaves, 0, 2);
	tcase_add_loop_test(c, what_pm_read_caches, 0, 6);
	tcase_add_test(c, a_kernel_that_refuses);
	return unit_run();
}
