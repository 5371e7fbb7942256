/* SPDX-License-Identifier: BSD-3-Clause */
/* Cache lines and bytes: which instructions, how many, and no system call; and beyond, into the medium. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

#define LINE 64u

static struct pm_mapping *m;
static char *base;
static size_t size;
static struct fake_region region;

static void map_on(const struct fake_machine *machine, const struct pm_options *o)
{
	size = 4 * unit_page();
	const char *path = unit_file("file", size);
	fake_start(machine);
	m = unit_map(path, o);
	base = pm_base(m);
	fake_forget();
}

static void unmap(void)
{
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}

/* The file is asked where it ends; then the kernel commits what others did to it: an msync of the last page. */
static void check_commit(void)
{
	unit_expect(fake_calls(FAKE_msync) == 1 && fake_calls(FAKE_faccessat2_write) == 1 &&
	            fake_calls(FAKE_statx_now) == 1);
	unit_expect(fake_syscalls() == 4);
	unit_expect(fake_calls(FAKE_futimens_now) == 1);
	unit_expect(fake_find(FAKE_msync, 0)->address == (uintptr_t)base + size - unit_page());
	unit_expect(fake_find(FAKE_msync, 0)->length == unit_page());
	fake_count_forget();
}

static void check_cpu(unsigned lines, unsigned fences)
{
	unit_expect(fake.lines == lines);
	unit_expect(fake.fences == fences);
	unit_expect(fake_syscalls() == 0);
	fake_forget();
}

START_TEST(a_line_costs_one_write_back_and_one_fence)
{
	map_on(&fake_dax, NULL);
	unit_ok(pm_persist(m, base + 128, LINE));
	check_cpu(1, 1);
	unit_ok(pm_flush(m, base + 128, LINE));
	check_cpu(1, 0);
	unit_ok(pm_drain(m));
	check_cpu(0, 1);
	unit_ok(pm_sync(m));
	check_commit();
	check_cpu((unsigned)(size / LINE), 1);
	for (int i = 0; i < 10; i++)
		unit_ok(pm_flush(m, base, LINE));
	unit_ok(pm_drain(m));
	check_cpu(10, 1);
	unmap();
}
END_TEST

START_TEST(a_range_costs_the_lines_it_touches)
{
	map_on(&fake_dax, NULL);
	fake_watch(base, size);
	for (unsigned at = 0; at < 2 * LINE + 1; at++) {
		for (unsigned length = 1; length < 4 * LINE + 2; length++) {
			unsigned lines = (at + length - 1) / LINE - at / LINE + 1;
			memset(base + at, (int)(at + length), length);
			unit_ok(pm_persist(m, base + at, length));
			unit_expect(fake_medium_has(at, length));
			check_cpu(lines, 1);
			unit_ok(pm_flush(m, base + at, length));
			check_cpu(lines, 0);
		}
	}
	unmap();
}
END_TEST

START_TEST(a_range_beyond_the_mapping)
{
	map_on(&fake_dax, NULL);
	ck_assert_int_eq(pm_flush(m, base - 1, 1), -ERANGE);
	ck_assert_int_eq(pm_flush(m, base + size - 1, 2), -ERANGE);
	ck_assert_int_eq(pm_flush(m, base + 1, SIZE_MAX), -ERANGE);
	unit_ok(pm_flush(m, base + size, 0));
	ck_assert_int_eq(pm_memset(m, base + size - 1, 1, 2, PM_NODRAIN), -ERANGE);
	check_cpu(0, 0);
	unmap();
}
END_TEST

START_TEST(only_a_drain_makes_it_durable)
{
	map_on(&fake_dax, NULL);
	fake_watch(base, size);
	memset(base, 'x', 200);
	unit_ok(pm_flush(m, base, 100));
	ck_assert(!fake_medium_has(0, 100));
	unit_ok(pm_drain(m));
	ck_assert(fake_medium_has(0, 100));
	ck_assert(!fake_medium_has(128, 72));
	unit_ok(pm_sync(m));
	ck_assert(fake_medium_has(0, size));
	unmap();
}
END_TEST

/* Below 16 MiB all lines are walked; from there the kernel says which pages were stored to, where it can and may. */
static const struct {
	const struct fake_machine *machine;
	uint64_t size;
	unsigned flags;
	const char *write_cache;
	bool by_kernel;
} whole[] = {
	{&fake_dax, (16u << 20) - 1, 0, "1", true}, /* its last page is whole */
	{&fake_dax, (16u << 20) - 65536, 0, "1", false},
	{&fake_dax, 16u << 20, 0, NULL, false}, /* nor is it known whether it does */
	{&fake_dax, 16u << 20, 0, "0", false}, /* msync leaves the CPU's caches alone */
	{&fake_dax, 16u << 20, PM_READ_ONLY, "1", false},
	{&fake_xfs_reflink, 16u << 20, PM_LEASE, "1", true},
	{&fake_device_dax, 16u << 20, 0, "1", false},
};

START_TEST(the_kernel_knows_what_was_stored_to_a_large_mapping)
{
	struct fake_machine machine = *whole[_i].machine;
	struct fake_region under = *machine.region;
	under.write_cache = whole[_i].write_cache;
	machine.region = &under;
	const char *path = unit_file("file", 1);
	ck_assert_int_eq(truncate(path, (off_t)whole[_i].size), 0);
	fake_start(&machine);
	m = unit_map(path, UNIT_OPTIONS(.flags = whole[_i].flags));
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	fake_forget();
	unit_ok(pm_sync(m));
	ck_assert_uint_eq(fake.fences, 1);
	ck_assert_uint_eq(fake.lines, whole[_i].by_kernel ? 0 : (whole[_i].size + LINE - 1) / LINE);
	bool by_file = whole[_i].flags & PM_READ_ONLY, by_nobody = fake.machine.is_device_dax;
	ck_assert_uint_eq(fake_calls(FAKE_msync), !by_file && !by_nobody);
	ck_assert_uint_eq(fake_calls(FAKE_faccessat2_write), !by_file && !by_nobody);
	ck_assert_uint_eq(fake_calls(FAKE_fdatasync), by_file);
	/* But for those of the thread that watches over the lease. */
	/* Whether the kernel writes lines back now: before, and where it does, whether it still did. */
	bool asks = !by_nobody && !by_file && whole[_i].size > (16u << 20) - unit_page();
	unsigned asked = !asks ? 0 : whole[_i].by_kernel ? 8 : whole[_i].write_cache ? 4 : 2;
	bool is_file = !whole[_i].machine->is_device_dax; /* which is asked where it ends */
	ck_assert(whole[_i].flags & PM_LEASE ||
	          fake_syscalls() == (by_nobody ? 0u : by_file ? 1u : 3u) + is_file + asked);
	if (whole[_i].by_kernel) {
		ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)pm_base(m));
		ck_assert_uint_eq(fake_find(FAKE_msync, 0)->length, 16u << 20);
		fake_fail(FAKE_msync, 1, EIO);
		ck_assert_int_eq(pm_sync(m), -EIO);
		ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
		fake.recovers = true;
		unit_ok(pm_clear_error(m));
	}
	unmap();
}
END_TEST

/* Root switches dax/write_cache under a live mapping: what it is now counts, for the range and for the whole. */
START_TEST(a_write_cache_that_is_switched)
{
	static const struct {
		uint64_t size;
		const char *word; /* PMDIRECT_GRANULARITY */
		enum pm_request sync;
	} of[] = {{65536, "page", PM_HINT}, {65536, NULL, PM_AVOID}, {16u << 20, "page", PM_HINT},
	          {16u << 20, NULL, PM_AVOID},
	          {16u << 20, NULL, PM_HINT}};
	struct fake_machine machine = fake_dax;
	struct fake_region under = *machine.region;
	const char *path = unit_file("file", 1);
	machine.region = &under;
	machine.granularity_word = of[_i].word;
	ck_assert_int_eq(truncate(path, (off_t)of[_i].size), 0);
	fake_start(&machine);
	m = unit_map(path, UNIT_OPTIONS(.sync = of[_i].sync));
	for (int i = 0; i < 4; i++) {
		under.write_cache = i % 2 ? "0" : "1";
		fake_forget();
		unit_ok(pm_persist(m, pm_base(m), 100));
		ck_assert_uint_eq(fake.lines, 2);
		fake_forget();
		unit_ok(pm_sync(m));
		bool by_kernel = i % 2 == 0 && of[_i].size == 16u << 20;
		ck_assert_uint_eq(fake.lines, by_kernel ? 0 : of[_i].size / LINE);
	}
	unmap();
}
END_TEST

static struct fake_region switched;

static void switch_off(enum fake_call c)
{
	if (c == FAKE_msync)
		switched.write_cache = "0";
}

/* Just while the kernel is at it: it may have left lines out, and has taken their pages for clean. */
START_TEST(a_write_cache_that_is_switched_during_a_sync)
{
	struct fake_machine machine = fake_dax;
	const char *path = unit_file("file", 1);
	switched = *machine.region;
	machine.region = &switched;
	machine.granularity_word = _i ? "page" : NULL;
	ck_assert_int_eq(truncate(path, 16 << 20), 0);
	fake_start(&machine);
	m = unit_map(path, NULL);
	counting.hook = switch_off;
	fake_forget();
	unit_ok(pm_sync(m));
	ck_assert_uint_eq(fake.lines, (16u << 20) / LINE);
	counting.hook = NULL;
	unmap();
}
END_TEST

START_TEST(bytes_need_a_fence_alone)
{
	map_on(&fake_eadr, NULL);
	ck_assert_int_eq(pm_granularity_of(m), PM_BYTE);
	unit_ok(pm_persist(m, base + 1, 1000));
	check_cpu(0, 1);
	unit_ok(pm_flush(m, base + 1, 1000));
	check_cpu(0, 0);
	unit_ok(pm_drain(m));
	check_cpu(0, 1);
	unit_ok(pm_sync(m));
	check_commit();
	check_cpu(0, 1);
	unit_ok(pm_memset(m, base, 1, 10, 0));
	check_cpu(0, 1);
	unmap();
}
END_TEST

START_TEST(demoted_to_lines_it_writes_lines)
{
	map_on(&fake_eadr, NULL);
	fake.machine.granularity_word = "cache_line";
	ck_assert_int_eq(unit_query(m)->granularity, PM_CACHE_LINE);
	fake_forget();
	unit_ok(pm_persist(m, base, LINE));
	check_cpu(1, 1);
	unmap();
}
END_TEST

/* An unaligned mapping: the base is no line's first byte. */
START_TEST(an_unaligned_mapping)
{
	map_on(&fake_dax, UNIT_OPTIONS(.offset = 60, .length = 8));
	unit_ok(pm_persist(m, base, 4));
	check_cpu(1, 1);
	unit_ok(pm_persist(m, base, 8));
	check_cpu(2, 1);
	ck_assert_int_eq(pm_persist(m, base, 9), -ERANGE);
	check_cpu(0, 0);
	unmap();
}
END_TEST

/* ---- Beyond the persistence domain ---- */

START_TEST(deep_is_through_the_kernel)
{
	size_t page = unit_page();
	map_on(&fake_dax, NULL);
	unit_ok(pm_deep_persist(m, base + page - 1, 2));
	ck_assert_uint_eq(fake.lines, 2);
	ck_assert_uint_eq(fake.fences, 1);
	/* With the questions what the file is, and whether the msync can be believed. */
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_eq(fake_calls(FAKE_faccessat2_write), 1);
	ck_assert_uint_eq(fake_syscalls(), 3);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)base);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->length, 2 * page);
	fake_forget();
	fake_interrupt(FAKE_msync, 2);
	unit_ok(pm_deep_persist(m, base, 1));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 3);
	unmap();
}
END_TEST

/* There the kernel's flush leaves the CPU caches out, as the domain includes them: dax/write_cache is 0. */
START_TEST(deep_on_bytes_writes_the_lines_first)
{
	map_on(&fake_eadr, NULL);
	fake_watch(base, size);
	memset(base, 'x', 100);
	unit_ok(pm_deep_persist(m, base, 100));
	ck_assert(fake_medium_has(0, 100));
	ck_assert_uint_eq(fake.lines, 2);
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	unmap();
}
END_TEST

START_TEST(deep_on_a_read_only_descriptor)
{
	map_on(&fake_dax, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	unit_ok(pm_deep_persist(m, base, 1));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 0);
	ck_assert_uint_eq(fake_calls(FAKE_fdatasync), 1);
	unmap();
}
END_TEST

static unsigned provider_drains;
static int provider_answer;

static int provider_drain(const void *address, size_t length)
{
	ck_assert_ptr_eq(address, base + 5);
	ck_assert_uint_eq(length, 10);
	provider_drains++;
	return provider_answer;
}

START_TEST(deep_with_a_provider)
{
	static const struct pm_libpmem provider = {.deep_drain = provider_drain};
	map_on(&fake_dax, NULL);
	m->medium.libpmem = &provider;
	unit_ok(pm_deep_persist(m, base + 5, 10));
	ck_assert_uint_eq(provider_drains, 1);
	/* Only what the file is, and whether the provider's sync can be believed. */
	ck_assert_uint_eq(fake_calls(FAKE_faccessat2_write), 1);
	ck_assert_uint_eq(fake_syscalls(), 2);
	fake.machine.is_read_only = true;
	ck_assert_int_eq(pm_deep_persist(m, base + 5, 10), -EROFS);
	fake.machine.is_read_only = false;
	fake.recovers = true;
	unit_ok(pm_clear_error(m));
	provider_answer = -EIO;
	ck_assert_int_eq(pm_deep_persist(m, base + 5, 10), -EIO);
	ck_assert_int_eq(pm_drain(m), -EIO);
	ck_assert_int_eq(pm_unmap(m), -EIO);
}
END_TEST

/* ---- device-dax: no write-back in the kernel, whatever is asked; the fake machine watches that none is tried ---- */

static const struct {
	const char *deep_flush;
	bool denied;
	int result;
	unsigned writes;
} hints[] = {
	{"1", false, 0, 1},
	{"1", true, -EACCES, 0},
	{"0", false, -EOPNOTSUPP, 0},
	{"", false, -EOPNOTSUPP, 0},
	{NULL, false, -EOPNOTSUPP, 0},
};

START_TEST(deep_on_a_device)
{
	size = 4 * unit_page();
	const char *path = unit_file("file", size);
	fake_start(&fake_device_dax);
	region = *fake_device_dax.region;
	region.deep_flush = hints[_i].deep_flush;
	region.deep_flush_denied = hints[_i].denied;
	fake.machine.region = &region;
	m = unit_map(path, NULL);
	base = pm_base(m);
	fake_forget();
	ck_assert_int_eq(pm_deep_persist(m, base, LINE), hints[_i].result);
	ck_assert_uint_eq(fake.lines, 1);
	ck_assert_uint_ge(fake.fences, 1);
	ck_assert_uint_eq(fake_calls(FAKE_write), hints[_i].writes);
	if (hints[_i].result)
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "deep_flush"));
	/* It says nothing of the data. */
	unit_ok(pm_persist(m, base, 1));
	unmap();
}
END_TEST

START_TEST(a_device_never_uses_the_kernel)
{
	map_on(&fake_device_dax, NULL);
	ck_assert_uint_eq(pm_length(m), size);
	unit_ok(pm_memset(m, base, 1, 3000, 0));
	unit_ok(pm_sync(m));
	unit_ok(pm_persist(m, base, 10));
	fake.machine.sync = FAKE_REFUSES;
	ck_assert_int_eq(unit_query(m)->granularity, PM_NONE);
	fake_forget();
	/* No promise any more; the lines are written all the same. */
	unit_ok(pm_persist(m, base, LINE));
	unit_ok(pm_drain(m));
	check_cpu(1, 2);
	unit_ok(pm_sync(m));
	check_cpu((unsigned)(size / LINE), 1);
	unmap();
}
END_TEST

START_TEST(a_device_without_a_promise)
{
	static const enum pm_request requests[] = {PM_HINT, PM_AVOID};
	for (size_t i = 0; i < COUNT(requests); i++) {
		size = 4 * unit_page();
		const char *path = unit_file("file", size);
		fake_start(&fake_device_dax);
		fake.machine.granularity_word = "page";
		m = unit_map(path, UNIT_OPTIONS(.sync = requests[i]));
		base = pm_base(m);
		ck_assert_int_eq(pm_granularity_of(m), PM_NONE);
		ck_assert_int_eq(unit_query(m)->reason, i ? PM_REASON_NO_WRITE_BACK : PM_REASON_ENV_OVERRIDE);
		fake_forget();
		unit_ok(pm_persist(m, base, LINE));
		check_cpu(1, 1);
		unmap();
	}
}
END_TEST

START_TEST(a_device_has_an_alignment)
{
	size_t align = 2 * unit_page();
	const char *path = unit_file("file", 4 * align);
	const struct {
		uint64_t offset, length;
		int error;
	} ranges[] = {{0, 0, 0}, {align, 0, 0}, {align, align, 0}, {0, align, 0}, {align / 2, align, -EINVAL},
	              {1, align, -EINVAL}, {0, align / 2, -EINVAL}, {0, 5 * align, -ERANGE}, {4 * align, 0, -EINVAL}};
	fake_start(&fake_device_dax);
	for (size_t i = 0; i < COUNT(ranges); i++) {
		int rc = pm_map(path, UNIT_OPTIONS(.offset = ranges[i].offset, .length = ranges[i].length), &m);
		ck_assert_msg(rc == ranges[i].error, "%zu: %d", i, rc);
		if (!rc)
			unmap();
	}
	/* Trial mappings, too, are whole units; one is of a byte of memory. */
	for (unsigned i = 0; i < fake_calls(FAKE_mmap); i++)
		ck_assert(fake_find(FAKE_mmap, i)->length == 1 || fake_find(FAKE_mmap, i)->length % align == 0);
}
END_TEST

START_TEST(a_character_device_that_is_no_dax)
{
	const char *path = unit_file("file", 4 * unit_page());
	fake_start(&fake_device_dax);
	fake_fail(FAKE_readlinkat, 0, ENOENT);
	ck_assert_int_eq(pm_map(path, NULL, &m), -ENODEV);
	fake_start(&fake_device_dax);
	fake_fail(FAKE_read, 1, EIO);
	ck_assert_int_eq(pm_map(path, NULL, &m), -ENODEV);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("cache-line");
	tcase_add_test(c, a_line_costs_one_write_back_and_one_fence);
	tcase_add_test(c, a_range_costs_the_lines_it_touches);
	tcase_add_test(c, a_range_beyond_the_mapping);
	tcase_add_test(c, only_a_drain_makes_it_durable);
	tcase_add_loop_test(c, the_kernel_knows_what_was_stored_to_a_large_mapping, 0, (int)COUNT(whole));
	tcase_add_loop_test(c, a_write_cache_that_is_switched, 0, 5);
	tcase_add_loop_test(c, a_write_cache_that_is_switched_during_a_sync, 0, 2);
	tcase_add_test(c, bytes_need_a_fence_alone);
	tcase_add_test(c, demoted_to_lines_it_writes_lines);
	tcase_add_test(c, an_unaligned_mapping);
	tcase_add_test(c, deep_is_through_the_kernel);
	tcase_add_test(c, deep_on_bytes_writes_the_lines_first);
	tcase_add_test(c, deep_on_a_read_only_descriptor);
	tcase_add_test(c, deep_with_a_provider);
	tcase_add_loop_test(c, deep_on_a_device, 0, (int)COUNT(hints));
	tcase_add_test(c, a_device_never_uses_the_kernel);
	tcase_add_test(c, a_device_without_a_promise);
	tcase_add_test(c, a_device_has_an_alignment);
	tcase_add_test(c, a_character_device_that_is_no_dax);
	return unit_run();
}
