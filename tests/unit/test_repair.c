/* SPDX-License-Identifier: BSD-3-Clause */
/* Writing without the risk of a store, and clearing bad blocks: what is written where, and when nothing is. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "watching.h"

#define PAGE 4096u
#define PAGES (SIZE / PAGE)

static const struct fake_health listed = {.keeps_list = true};
static const char *path;
static char *base;

static struct pm_mapping *map_with(const struct pm_options *o)
{
	struct pm_mapping *m = unit_map(path, o);
	base = pm_base(m);
	fake_forget();
	return m;
}

static struct pm_mapping *start(const struct fake_machine *machine)
{
	fake_start(machine);
	fake.machine.health = &listed;
	path = unit_file("f", SIZE);
	return map_with(NULL);
}

static void make_bad(unsigned i, uint64_t offset, uint64_t length)
{
	fake.bad[i].offset = offset;
	fake.bad[i].length = length;
}

/* Nothing was written, nothing was synced. */
static void check_untouched(void)
{
	ck_assert_uint_eq(fake_calls(FAKE_pwrite), 0);
	ck_assert_uint_eq(fake_calls(FAKE_msync) + fake_calls(FAKE_fdatasync), 0);
	ck_assert_uint_eq(unit_size_of(path), SIZE);
}

/* ---- Writing ---- */

static const struct fake_machine *const machines[] = {&fake_plain, &fake_dax, &fake_eadr, &fake_xfs_reflink,
                                                      &fake_tmpfs, &fake_virtio_pmem};

START_TEST(write_is_seen_and_written_back)
{
	char bytes[2 * PAGE];
	struct pm_mapping *m = start(machines[_i]);
	memset(bytes, '#', sizeof(bytes));
	fake.write_backs = fake.lines = fake.streams = 0;
	fake_interrupt(FAKE_pwrite, 2);
	unit_ok(pm_write(m, base + 100, bytes, sizeof(bytes))); /* in parts */
	ck_assert(unit_has_pattern(base, 0, 100));
	ck_assert(!memcmp(base + 100, bytes, sizeof(bytes)));
	ck_assert(unit_has_pattern(base + 100 + sizeof(bytes), 100 + sizeof(bytes), SIZE - 100 - sizeof(bytes)));
	/* By the kernel, the pages of the range and no others; no line is written back, which could fault. */
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)base);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->length, 3 * PAGE);
	ck_assert_uint_eq(fake.write_backs + fake.lines + fake.streams, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(write_at_an_offset)
{
	struct pm_mapping *m = start(&fake_dax);
	unit_ok(pm_unmap(m));
	m = map_with(UNIT_OPTIONS(.offset = PAGE + 10, .length = 100));
	unit_ok(pm_write(m, base + 98, "xy", 2));
	ck_assert_uint_eq(fake_find(FAKE_pwrite, 0)->offset, PAGE + 108);
	ck_assert(!memcmp(base + 98, "xy", 2));
	unit_ok(pm_write(m, NULL, NULL, 0));
	fake_forget();
	ck_assert_int_eq(pm_write(m, base + 98, "xyz", 3), -ERANGE);
	ck_assert_int_eq(pm_clear_bad_blocks(m, base, 101), -ERANGE);
	ck_assert_uint_eq(fake_syscalls(), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Where msync leaves caches alone the kernel's copy has left nothing there; a line written back could fault. */
START_TEST(write_of_a_medium_whose_caches_msync_leaves_alone)
{
	static const struct fake_region odd = {.provider = "ACPI.NFIT", .devtype = "nd_pmem", .write_cache = "0"};
	fake_start(&fake_forced);
	fake.machine.region = &odd;
	path = unit_file("f", SIZE);
	struct pm_mapping *m = map_with(NULL);
	unit_ok(pm_write(m, base, "x", 1));
	ck_assert_uint_eq(fake.lines, 0);
	unit_ok(pm_persist(m, base, 1));
	ck_assert_uint_eq(fake.lines, 1);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(write_where_it_could_not_keep_its_word)
{
	static const struct {
		const struct fake_machine *machine;
		unsigned flags;
		int rc;
	} rows[] = {{&fake_dax, PM_READ_ONLY, -EACCES},
	            {&fake_dax, PM_PRIVATE, -EOPNOTSUPP},
	            {&fake_device_dax, 0, -EOPNOTSUPP},
	            {&fake_plain, PM_ANONYMOUS, -EOPNOTSUPP}};
	fake_start(rows[_i].machine);
	path = rows[_i].flags & PM_ANONYMOUS ? NULL : unit_file("f", SIZE);
	struct pm_mapping *m = map_with(UNIT_OPTIONS(.flags = rows[_i].flags, .length = SIZE));
	ck_assert_int_eq(pm_write(m, base, "x", 1), rows[_i].rc);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_write"));
	ck_assert_int_eq(pm_clear_bad_blocks(m, base, SIZE), rows[_i].rc);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_clear_bad_blocks"));
	ck_assert_uint_eq(fake_syscalls(), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(write_over_a_bad_block)
{
	char bytes[3 * PAGE];
	struct pm_mapping *m = start(_i ? &fake_dax : &fake_plain);
	memset(bytes, '#', sizeof(bytes));
	make_bad(0, PAGE + 512, 512);
	/* In its page, though not of it. */
	ck_assert_int_eq(pm_write(m, base + PAGE, bytes, 512), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), path));
	ck_assert(unit_has_pattern(base, 0, SIZE));
	unit_ok(pm_drain(m)); /* it lost nothing that was acknowledged */
	unit_ok(pm_write(m, base + PAGE, bytes, PAGE));
	ck_assert(!memcmp(base + PAGE, bytes, PAGE));
	ck_assert_uint_eq(fake.bad[0].length, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(write_that_fails)
{
	char bytes[PAGE] = "new";
	struct pm_mapping *m = start(&fake_dax);
	fake_fail(FAKE_pwrite, 2, ENOSPC); /* after the first half */
	ck_assert_int_eq(pm_write(m, base, bytes, PAGE), -ENOSPC);
	ck_assert_uint_eq(fake_calls(FAKE_msync), 0);
	/* It is the source's fault as long as no bad block is known. */
	fake_fail(FAKE_pwrite, 1, EFAULT);
	ck_assert_int_eq(pm_write(m, base, bytes, PAGE), -EFAULT);
	fake_fail(FAKE_statx_now, 1, EIO);
	ck_assert_int_eq(pm_write(m, base, bytes, PAGE), -EIO);
	unit_ok(pm_write(m, base, bytes, PAGE));
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(write_never_makes_the_file_longer)
{
	struct pm_mapping *m = start(_i ? &fake_dax : &fake_plain);
	make_bad(0, 0, 512);
	ck_assert_int_eq(truncate(path, PAGE + 1), 0);
	ck_assert_int_eq(pm_write(m, base + PAGE, "xy", 2), -ERANGE);
	ck_assert_int_eq(pm_clear_bad_blocks(m, base, 3 * PAGE), -ERANGE);
	ck_assert_uint_eq(unit_size_of(path), PAGE + 1);
	unit_ok(pm_write(m, base + PAGE, "x", 1));
	unit_ok(pm_clear_bad_blocks(m, base, PAGE));
	/* The page at the end is not whole, and there is no more of it. */
	make_bad(0, PAGE, 512);
	ck_assert_int_eq(pm_clear_bad_blocks(m, base, PAGE + 1), -EIO);
	ck_assert_uint_eq(unit_size_of(path), PAGE + 1);
	pm_unmap(m);
}
END_TEST

START_TEST(write_beyond_the_limit_of_the_process)
{
	const struct rlimit limit = {PAGE, RLIM_INFINITY};
	struct pm_mapping *m = start(&fake_plain);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(pm_write(m, base + PAGE, "x", 1), -EFBIG); /* and lives */
	unit_ok(pm_write(m, base + PAGE - 1, "x", 1));
	unit_ok(pm_unmap(m));
}
END_TEST

/* On some kernels the mapping would be left with the old blocks. */
START_TEST(write_into_shared_extents)
{
	static const struct fake_extent shared[] = {{0, PAGE, 0}, {PAGE, SIZE - PAGE, FIEMAP_EXTENT_SHARED}};
	struct pm_mapping *m = start(&fake_xfs_reflink);
	fake.machine.extents = shared;
	fake.machine.extent_count = 2;
	ck_assert_int_eq(pm_write(m, base + PAGE, "x", 1), -EBUSY);
	make_bad(0, PAGE, 512);
	ck_assert_int_eq(pm_clear_bad_blocks(m, base, SIZE), -EBUSY);
	check_untouched();
	unit_ok(pm_write(m, base, "x", 1));
	unit_ok(pm_unmap(m));
	/* Behind a page cache they are nothing special. */
	m = start(&fake_plain);
	fake.machine.extents = shared;
	fake.machine.extent_count = 2;
	unit_ok(pm_write(m, base + PAGE, "x", 1));
	unit_ok(pm_unmap(m));
}
END_TEST

/* A failed write-back is one like any other. */
START_TEST(write_back_that_fails)
{
	struct pm_mapping *m = start(_i ? &fake_dax : &fake_plain), *other = unit_map(path, NULL);
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_write(m, base, "x", 1), -EIO);
	ck_assert_int_eq(pm_drain(m), -EIO);
	ck_assert_int_eq(pm_drain(other), -EIO);
	fake_forget();
	ck_assert_int_eq(pm_write(m, base, "x", 1), -EIO);
	ck_assert_int_eq(pm_clear_bad_blocks(m, base, SIZE), -EIO);
	check_untouched();
	fake.recovers = true;
	unit_ok(pm_clear_error(m));
	unit_ok(pm_write(m, base, "x", 1));
	/* Success on a file system that was made read-only is not believed. */
	fake.machine.is_read_only = true;
	ck_assert_int_eq(pm_write(m, base, "x", 1), -EROFS);
	ck_assert_int_eq(pm_unmap(m), -EROFS);
	pm_unmap(other);
}
END_TEST

static atomic_bool held, released;

static void hold_and_fail(enum fake_call call)
{
	bool first = call == FAKE_msync && !atomic_exchange(&held, true);
	while (first && !atomic_load(&released))
		usleep(1000);
	if (first)
		fake_fail(FAKE_msync, 1, EIO);
}

static void *write_one(void *m)
{
	return (void *)(intptr_t)pm_write(m, base, "x", 1);
}

/* The kernel tells an error once to each description: of two syncs at once one can take what the other lost. */
START_TEST(a_write_waits_for_another_that_fails)
{
	pthread_t failing, writer;
	struct pm_mapping *m = start(&fake_plain);
	void *rc;
	counting.hook = hold_and_fail;
	ck_assert_int_eq(pthread_create(&failing, NULL, write_one, m), 0);
	while (!atomic_load(&held))
		usleep(1000);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_one, m), 0);
	usleep(50000);
	ck_assert_int_eq(pthread_tryjoin_np(writer, &rc), EBUSY);
	atomic_store(&released, true);
	pthread_join(writer, &rc);
	pthread_join(failing, NULL);
	ck_assert_ptr_eq(rc, (void *)(intptr_t)-EIO);
	pm_unmap(m);
}
END_TEST

START_TEST(own_writes_are_no_news)
{
	struct pm_mapping *m = watched(_i ? &fake_dax : &fake_plain);
	fake.machine.health = &listed;
	base = pm_base(m);
	unit_ok(pm_write(m, base, "x", 1));
	ck_assert_int_eq(only(m).kind, 0);
	make_bad(0, PAGE, PAGE);
	unit_ok(pm_clear_bad_blocks(m, base, SIZE));
	ck_assert_uint_eq(fake.bad[0].length, 0);
	ck_assert_int_eq(only(m).kind, 0);
	/* What another process wrote just before is. */
	int fd = open(watched_path, O_WRONLY);
	ck_assert_int_eq(pwrite(fd, "y", 1, 100), 1);
	unit_ok(pm_write(m, base, "x", 1));
	close(fd);
	ck_assert_int_eq(only(m).kind, PM_EVENT_MODIFIED);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(write_under_a_lease)
{
	static const int flags[] = {0, O_APPEND, O_DIRECT};
	struct pm_mapping *m;
	fake_start(&fake_plain);
	path = unit_file("f", SIZE);
	int fd = open(path, O_RDWR | flags[_i]);
	if (fd < 0 && flags[_i] == O_DIRECT)
		return; /* the file system has it not */
	unit_ok(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_LEASE), &m));
	ck_assert_int_eq(pm_write(m, pm_base(m), "x", 1), flags[_i] ? -EINVAL : 0);
	ck_assert(m && *(char *)pm_base(m) == (flags[_i] ? unit_pattern(0) : 'x'));
	ck_assert_uint_eq(unit_size_of(path), SIZE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Clearing ---- */

START_TEST(clears_the_pages_and_no_more)
{
	static const uint64_t pages[] = {1, 5, 6, 9};
	struct pm_mapping *m = start(&fake_dax);
	make_bad(0, 1 * PAGE + 512, 512);
	make_bad(1, 5 * PAGE + 1024, PAGE); /* of two pages */
	make_bad(2, 9 * PAGE, PAGE);
	make_bad(3, 12 * PAGE, 512); /* outside */
	unit_ok(pm_clear_bad_blocks(m, base, 12 * PAGE));
	for (uint64_t i = 0, n = 0; i < PAGES; i++) {
		bool cleared = n < 4 && pages[n] == i;
		if (cleared) {
			ck_assert_uint_eq(fake_find(FAKE_pwrite, (unsigned)n)->offset, i * PAGE);
			ck_assert_uint_eq(fake_find(FAKE_pwrite, (unsigned)n++)->length, PAGE);
		}
		unit_expect(cleared ? unit_is_zero(base + i * PAGE, PAGE)
		                    : unit_has_pattern(base + i * PAGE, i * PAGE, PAGE));
	}
	ck_assert_uint_eq(fake_calls(FAKE_pwrite), 4);
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_eq(fake.bad[3].length, 512);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Behind a page cache the write-back clears; what can be read is kept. */
START_TEST(clears_behind_a_page_cache)
{
	struct pm_mapping *m = start(&fake_plain);
	make_bad(0, 3 * PAGE, 512);
	unit_ok(pm_clear_bad_blocks(m, base, SIZE));
	ck_assert(unit_is_zero(base + 3 * PAGE, PAGE));
	ck_assert(unit_has_pattern(base, 0, 3 * PAGE));
	/* Cached, though bad on the medium. */
	make_bad(1, 8 * PAGE, 512);
	fake.bad[1].written = true;
	fake_forget();
	unit_ok(pm_clear_bad_blocks(m, base, SIZE));
	ck_assert_uint_gt(fake_calls(FAKE_pwrite), 0);
	ck_assert(unit_has_pattern(base + 4 * PAGE, 4 * PAGE, SIZE - 4 * PAGE));
	ck_assert_uint_eq(fake.bad[1].length, 0);
	/* A block that cannot be written is a failed write-back. */
	make_bad(2, 0, 512);
	fake.keeps_bad = true;
	ck_assert_int_eq(pm_clear_bad_blocks(m, base, SIZE), -EIO);
	ck_assert_int_eq(pm_drain(m), -EIO);
	pm_unmap(m);
}
END_TEST

START_TEST(nothing_to_clear)
{
	struct pm_mapping *m = start(&fake_dax);
	unit_ok(pm_clear_bad_blocks(m, base, SIZE));
	make_bad(0, 2 * PAGE, PAGE);
	unit_ok(pm_clear_bad_blocks(m, base, 2 * PAGE));
	unit_ok(pm_clear_bad_blocks(m, base + 3 * PAGE, SIZE - 3 * PAGE));
	unit_ok(pm_clear_bad_blocks(m, base, 0));
	check_untouched();
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_range_without_its_whole_page)
{
	struct pm_mapping *m = start(&fake_dax);
	make_bad(0, PAGE, 512);
	ck_assert_int_eq(pm_clear_bad_blocks(m, base + PAGE, 512), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "whole page"));
	ck_assert(unit_has_pattern(base, 0, SIZE));
	ck_assert_uint_eq(fake.bad[0].length, 512);
	unit_ok(pm_drain(m));
	unit_ok(pm_unmap(m));
}
END_TEST

/* Where the platform cannot clear, or the list does not say that it did, nothing is claimed. */
START_TEST(nothing_is_claimed)
{
	struct pm_mapping *m = start(&fake_dax);
	make_bad(0, PAGE, PAGE);
	*(_i ? &fake.list_is_old : &fake.keeps_bad) = true;
	ck_assert_int_eq(pm_clear_bad_blocks(m, base, SIZE), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), _i ? "at 4096 was written" : "4096 cannot be written"));
	ck_assert_uint_eq(fake_calls(FAKE_msync), (unsigned)_i);
	unit_ok(pm_drain(m));
	unit_ok(pm_unmap(m));
}
END_TEST

static void cut_list(struct fake_health *h)
{
	static char text[8192];
	size_t used = 0;
	for (unsigned i = 0; used < 5000; i++)
		used += (size_t)sprintf(text + used, "%u 1\n", 100000 + 2 * i);
	h->bad_blocks = text;
}

START_TEST(nobody_tells)
{
	static const char *const lists[] = {NULL, "\n", "nonsense\n", "0 8\n", "0 8\n", "", "0 8\n"};
	struct fake_health h = {.bad_blocks = lists[_i]};
	struct pm_mapping *m = start(_i == 4 ? &fake_xfs_reflink : &fake_dax);
	fake.machine.health = &h;
	fake.machine.fiemap_errno = _i == 3 ? EOPNOTSUPP : 0;
	fake.machine.is_realtime = _i == 4;
	fake.machine.magic = _i == 6 ? 0x1234 : fake.machine.magic;
	if (_i == 5)
		cut_list(&h);
	ck_assert_int_eq(pm_clear_bad_blocks(m, base, SIZE), _i == 5 ? -EOVERFLOW : -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "which blocks are bad"));
	check_untouched();
	unit_ok(pm_unmap(m));
}
END_TEST

/* Only what the medium refuses is given up. */
START_TEST(what_cannot_be_read_now_is_not_lost)
{
	struct pm_mapping *m = start(&fake_plain);
	make_bad(0, PAGE, PAGE);
	fake.bad[0].written = true;
	fake_fail(FAKE_pread, 3, ENOMEM);
	ck_assert_int_eq(pm_clear_bad_blocks(m, base, SIZE), -ENOMEM);
	ck_assert(unit_has_pattern(base, 0, SIZE));
	check_untouched();
	unit_ok(pm_unmap(m));
}
END_TEST

/* Each call fails once: 0 is said only of what is clean by a list that is of this file, and nothing else is lost. */
START_TEST(whatever_fails_nothing_is_claimed)
{
	static const int errors[] = {EIO, EMFILE, EFAULT, ENOENT};
	static const struct fake_machine *const kinds[] = {&fake_plain, &fake_dax, &fake_xfs_reflink};
	struct pm_mapping *m = start(kinds[_i % 3]);
	unsigned n = 0, open_before = fake_open_files();
	fake.recovers = true;
	fake.machine.is_realtime = _i % 3 == 2;
	do {
		unit_expect(++n < 1000);
		make_bad(0, PAGE, fake.machine.is_realtime ? 0 : PAGE);
		fake_fail_any(n, errors[_i / 3]);
		int rc = pm_clear_bad_blocks(m, base, SIZE);
		unit_expect(rc < 0 || (rc == 0 && !fake.bad[0].length && !fake.machine.is_realtime));
		unit_expect(fake_any_has_failed() || fake.machine.is_realtime || !rc);
		unit_expect(unit_has_pattern(base, 0, PAGE) &&
		            unit_has_pattern(base + 2 * PAGE, 2 * PAGE, SIZE - 2 * PAGE));
		unit_expect(fake_open_files() == open_before);
		make_bad(0, 0, 0);
		pm_clear_error(m);
	} while (fake_any_has_failed());
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *t = unit_case("repair");
	tcase_add_loop_test(t, write_is_seen_and_written_back, 0, (int)(sizeof(machines) / sizeof(machines[0])));
	tcase_add_test(t, write_at_an_offset);
	tcase_add_test(t, write_of_a_medium_whose_caches_msync_leaves_alone);
	tcase_add_loop_test(t, write_where_it_could_not_keep_its_word, 0, 4);
	tcase_add_loop_test(t, write_over_a_bad_block, 0, 2);
	tcase_add_test(t, write_that_fails);
	tcase_add_loop_test(t, write_never_makes_the_file_longer, 0, 2);
	tcase_add_test(t, write_beyond_the_limit_of_the_process);
	tcase_add_test(t, write_into_shared_extents);
	tcase_add_loop_test(t, write_back_that_fails, 0, 2);
	tcase_add_test(t, a_write_waits_for_another_that_fails);
	tcase_add_loop_test(t, own_writes_are_no_news, 0, 2);
	tcase_add_loop_test(t, write_under_a_lease, 0, 3);
	tcase_add_test(t, clears_the_pages_and_no_more);
	tcase_add_test(t, clears_behind_a_page_cache);
	tcase_add_test(t, nothing_to_clear);
	tcase_add_test(t, a_range_without_its_whole_page);
	tcase_add_loop_test(t, nothing_is_claimed, 0, 2);
	tcase_add_loop_test(t, nobody_tells, 0, 7);
	tcase_add_test(t, what_cannot_be_read_now_is_not_lost);
	tcase_add_loop_test(t, whatever_fails_nothing_is_claimed, 0, 12);
	return unit_run();
}
