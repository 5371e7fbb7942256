/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Before Linux 6.9 MADV_POPULATE never returns where a page cannot be read: such a page is found by another call first.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "guarding.h"
#include "kernel/populate.h"

#define PAGES 16u

static struct {
	char *map;
	size_t page;
} memory;

/* Of single pages that memory holds and does not hold. */
static int every_other_is_held(void *address, size_t length, unsigned char *vector)
{
	(void)address;
	for (size_t i = 0; i < length / memory.page; i++)
		vector[i] = i % 2;
	return 0;
}

static void start(const char *release)
{
	static struct machine machine;
	fake_start(&fake_plain);
	fake.machine.release = release;
	machine_put_at(&counting_below, &machine, MACHINE(.mincore = every_other_is_held));
	memory.page = unit_page();
	memory.map = mmap(NULL, PAGES * memory.page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(memory.map, MAP_FAILED);
	fake_forget();
}

static const struct {
	const char *release;
	bool is_direct;
	unsigned pages, asked, read;
} populations[] = {
	{"6.1.0-56-cloud-amd64", false, PAGES, 1, PAGES / 2},
	{"6.8.12", false, PAGES, 1, PAGES / 2},
	/* Of one page it is not asked: whether it is held may be hidden. */
	{"6.1.0-56-cloud-amd64", false, 1, 0, 1},
	{"unknown", false, 1, 0, 1},
	{"6.1.0-56-cloud-amd64", true, PAGES, 0, 0},
	{"6.9.0", false, PAGES, 0, 0},
	{"6.12.95", false, 1, 0, 0},
};

START_TEST(a_page_that_is_missing_is_read_first)
{
	size_t length = populations[_i].pages * unit_page();
	start(populations[_i].release);
	unit_ok(pm_populate(memory.map, length, MADV_POPULATE_WRITE, populations[_i].is_direct));
	ck_assert_uint_eq(fake_calls(FAKE_mincore), populations[_i].asked);
	ck_assert_uint_eq(fake_calls(FAKE_rt_sigprocmask_reads), populations[_i].read);
	ck_assert_uint_eq(fake_calls(FAKE_madvise), 1);
	if (populations[_i].read)
		ck_assert_uint_eq(fake_find(FAKE_rt_sigprocmask_reads, populations[_i].read - 1)->address,
		                  (uintptr_t)memory.map + (populations[_i].read - 1) * 2 * memory.page);
	munmap(memory.map, PAGES * memory.page);
}
END_TEST

/* The call that would not return is not made. */
START_TEST(a_page_that_cannot_be_read_is_an_error)
{
	start("6.1");
	fake_fail(FAKE_rt_sigprocmask_reads, 3, EFAULT);
	fake_interrupt(FAKE_rt_sigprocmask_reads, 1);
	ck_assert_int_eq(pm_populate(memory.map, PAGES * memory.page, MADV_POPULATE_WRITE, false), -EFAULT);
	ck_assert_uint_eq(fake_calls(FAKE_madvise), 0);
	munmap(memory.map, PAGES * memory.page);
}
END_TEST

/* A sandbox that refuses the question takes nothing away. */
START_TEST(what_cannot_be_asked_is_left_to_the_kernel)
{
	start("6.1");
	fake_fail(FAKE_rt_sigprocmask_reads, 0, EPERM);
	fake_fail(FAKE_mincore, 0, ENOMEM);
	unit_ok(pm_populate(memory.map, PAGES * memory.page, MADV_POPULATE_WRITE, false));
	ck_assert_uint_eq(fake_calls(FAKE_rt_sigprocmask_reads), PAGES);
	ck_assert_uint_eq(fake_calls(FAKE_madvise), 1);
	munmap(memory.map, PAGES * memory.page);
}
END_TEST

/* ---- The calls that take faults so ---- */

static unsigned populated(void)
{
	unsigned found = 0;
	const struct fake_record *r;
	for (unsigned n = 0; (r = fake_find(FAKE_madvise, n)); n++)
		found += r->flags == MADV_POPULATE_READ || r->flags == MADV_POPULATE_WRITE;
	return found;
}

START_TEST(preparing_a_file_that_cannot_be_read)
{
	struct pm_mapping *m = NULL;
	const char *path = unit_file("file", 64 * unit_page());
	start("6.1");
	fake_fail(FAKE_rt_sigprocmask_reads, 5, EFAULT);
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.flags = PM_PREPARE), &m), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "the medium failed"));
	ck_assert_uint_eq(populated(), 0);
	munmap(memory.map, PAGES * memory.page);
}
END_TEST

START_TEST(a_guarded_load_that_cannot_be_read)
{
	struct pm_fault f;
	const char *path = unit_file("file", 64 * unit_page());
	start("6.1");
	fake.guards = true;
	unit_ok(pm_guard_install());
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = _i ? PM_READ_ONLY : 0));
	fake_forget();
	fake_fail(FAKE_rt_sigprocmask_reads, 0, EFAULT);
	struct guarding_forged forged = {BUS_ADRERR, (char *)pm_base(m) + 3 * unit_page(), 0};
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &forged, &f, sizeof(f)), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "the medium failed"));
	ck_assert_uint_eq(populated(), 0);
	unit_ok(pm_unmap(m));
	unit_ok(pm_guard_remove());
	munmap(memory.map, PAGES * memory.page);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("populate");
	tcase_add_loop_test(c, a_page_that_is_missing_is_read_first, 0, (int)COUNT(populations));
	tcase_add_test(c, a_page_that_cannot_be_read_is_an_error);
	tcase_add_test(c, what_cannot_be_asked_is_left_to_the_kernel);
	tcase_add_test(c, preparing_a_file_that_cannot_be_read);
	tcase_add_loop_test(c, a_guarded_load_that_cannot_be_read, 0, 2);
	return unit_run();
}
