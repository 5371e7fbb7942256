/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The base of the fake machines: what is not given is inherited; calls are counted, recorded and broken as a test says.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

/* ---- Inherit ---- */

static unsigned asked[2];

static int first_gettid(void)
{
	asked[0]++;
	return 1;
}

static int second_gettid(void)
{
	asked[1]++;
	return 2;
}

static unsigned any_euid(void)
{
	return 4711;
}

START_TEST(entries_not_given_are_those_below)
{
	struct machine first, second;
	machine_put(&first, MACHINE(.gettid = first_gettid, .euid = any_euid));
	machine_put(&second, MACHINE(.gettid = second_gettid));
	ck_assert_int_eq(pm_sys->gettid(), 2);
	ck_assert_uint_eq(asked[0], 0);
	ck_assert_uint_eq(pm_sys->euid(), 4711);
	ck_assert_ptr_eq(pm_sys->openat, pm_sys_linux.openat);
	ck_assert_ptr_eq(pm_sys->futimens_now, pm_sys_linux.futimens_now);
	ck_assert_int_eq(second.below->gettid(), 1);
	machine_remove(&second);
	ck_assert_int_eq(pm_sys->gettid(), 1);
	machine_remove(&first);
	ck_assert_ptr_eq(pm_sys, &pm_sys_linux);
}
END_TEST

/* No entry is left out. */
START_TEST(all_entries_may_be_given)
{
	struct machine m;
	fake_count_start();
	const struct pm_sys *all = pm_sys;
	pm_sys = &pm_sys_linux;
	machine_put(&m, all);
	ck_assert_int_eq(memcmp(&m.table, all, sizeof(m.table)), 0);
	machine_remove(&m);
}
END_TEST

START_TEST(a_start_breaks_nothing)
{
	fake_count_start();
	fake_fail(FAKE_gettid, 0, EIO);
	fake_interrupt(FAKE_fcntl_getfl, 2);
	fake_fail_any(1, EIO);
	pm_sys = &pm_sys_linux;
	fake_count_start();
	ck_assert_int_gt(pm_sys->gettid(), 0);
	ck_assert_int_ne(pm_sys->fcntl_getfl(0), -EINTR);
	ck_assert(!fake_any_has_failed() && !counting.hook && counting.recording);
	ck_assert_uint_eq(fake_syscalls(), 2);
	ck_assert_uint_eq(fake_find(FAKE_gettid, 0)->number, 0);
}
END_TEST

START_TEST(what_is_put_below_is_counted)
{
	struct machine below, above;
	fake_count_start();
	machine_put_at(&counting_below, &below, MACHINE(.gettid = first_gettid));
	fake_fail(FAKE_gettid, 2, EPERM);
	ck_assert_int_eq(pm_sys->gettid(), 1);
	ck_assert_int_eq(pm_sys->gettid(), -EPERM);
	ck_assert_uint_eq(asked[0], 1);
	machine_put(&above, MACHINE(.gettid = second_gettid));
	ck_assert_int_eq(pm_sys->gettid(), 2);
	ck_assert_uint_eq(fake_calls(FAKE_gettid), 2);
	machine_remove(&above);
	machine_remove(&below);
	ck_assert_int_gt(pm_sys->gettid(), 2);
}
END_TEST

/* ---- Count and record ---- */

static enum fake_call last_call;
static unsigned calls_at_hook;

static void note(enum fake_call c)
{
	last_call = c;
	calls_at_hook = fake_calls(c);
}

START_TEST(calls_are_counted_and_recorded)
{
	const char *path = unit_file("file", 8192);
	char byte[16];
	struct stat st;
	fake_count_start();
	counting.hook = note;
	int fd = pm_sys->openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	ck_assert_uint_eq(fake_open_files(), 1);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pm_sys->pread(fd, byte, 10 + i, 100 * i), 10 + i);
	ck_assert_int_eq(last_call, FAKE_pread);
	ck_assert_uint_eq(calls_at_hook, 2);
	ck_assert_uint_eq(fake_calls(FAKE_pread), 3);
	pm_sys->euid();
	ck_assert_uint_eq(fake_calls(FAKE_euid), 1);
	/* No system call, so not among these. */
	ck_assert_uint_eq(fake_syscalls(), 4);
	ck_assert(!fake_is_syscall(FAKE_euid) && fake_is_syscall(FAKE_pread));
	const struct fake_record *r = fake_find(FAKE_pread, 2);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert(r->fd == fd && r->inode == st.st_ino && r->length == 12 && r->offset == 200 && !r->path[0]);
	ck_assert_ptr_null(fake_find(FAKE_pread, 3));
	ck_assert_uint_eq(r->number, 3);
	r = fake_find(FAKE_openat, 0);
	ck_assert(r->fd == AT_FDCWD && !r->inode && r->flags == (O_RDWR | O_CLOEXEC) && !strncmp(r->path, path, 90));
	ck_assert_str_eq(fake_name(FAKE_pread), "pread");
	fake_count_forget();
	ck_assert_uint_eq(fake_syscalls(), 0);
	ck_assert_ptr_null(fake_find(FAKE_pread, 0));
	/* What is not recorded is counted. */
	counting.recording = false;
	ck_assert_int_eq(pm_sys->close(fd), 0);
	ck_assert_ptr_null(fake_find(FAKE_close, 0));
	ck_assert_uint_eq(fake_calls(FAKE_close), 1);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

/* Of each type of result, and of each kind. The others are made by the same lines. */
START_TEST(an_entry_is_broken_as_itself)
{
	fake_count_start();
	for (unsigned c = 0; c < FAKE_CALLS_COUNT; c++)
		fake_fail(c, 0, 1000 + (int)c);
	ck_assert_int_eq(pm_sys->futimens_now(-1), -1000 - (int)FAKE_futimens_now);
	ck_assert_int_eq(pm_sys->openat(-1, "", 0, 0), -1000 - (int)FAKE_openat);
	ck_assert_int_eq((int)pm_sys->pwrite(-1, "", 1, 0), -1000 - (int)FAKE_pwrite);
	ck_assert_int_eq(pm_sys->mmap(&(void *){NULL}, 1, 0, 0, -1, 0), -1000 - (int)FAKE_mmap);
	ck_assert_int_eq(pm_sys->epoll_create(), -1000 - (int)FAKE_epoll_create);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

/* ---- Break ---- */

START_TEST(the_nth_call_fails)
{
	fake_count_start();
	fake_fail(FAKE_gettid, 3, EIO);
	for (int i = 1; i < 6; i++)
		ck_assert_int_eq(pm_sys->gettid() == -EIO, i == 3);
	fake_fail(FAKE_gettid, 0, ENOMEM);
	for (int i = 1; i < 4; i++)
		ck_assert_int_eq(pm_sys->gettid(), -ENOMEM);
	fake_fail(FAKE_gettid, 0, 0);
	ck_assert_int_gt(pm_sys->gettid(), 0);
	ck_assert_uint_eq(fake_calls(FAKE_gettid), 9);
	/* Another kind is not broken. */
	fake_fail(FAKE_gettid, 1, EIO);
	ck_assert_int_eq(pm_sys->fcntl_getfl(0) == -EIO, false);
	ck_assert_int_eq(pm_sys->gettid(), -EIO);
}
END_TEST

START_TEST(the_nth_of_any_kind_fails_but_no_undoing)
{
	int fd = open(unit_file("file", 1), O_RDWR | O_CLOEXEC);
	fake_count_start();
	fake_fail_any(2, EMFILE);
	ck_assert_int_ge(pm_sys->fcntl_getfl(fd), 0);
	ck_assert(!fake_any_has_failed());
	ck_assert_int_eq(pm_sys->setlease(fd, F_UNLCK) == -EMFILE, false);
	ck_assert_int_eq(pm_sys->unlinkat(AT_FDCWD, unit_path("none")), -ENOENT);
	ck_assert_int_eq(pm_sys->munmap(NULL, 0), -EINVAL);
	ck_assert_int_eq(pm_sys->close(fd), 0);
	ck_assert(!fake_any_has_failed());
	ck_assert_int_eq(pm_sys->gettid(), -EMFILE);
	ck_assert(fake_any_has_failed());
	ck_assert_int_gt(pm_sys->gettid(), 0);
}
END_TEST

START_TEST(so_many_calls_are_interrupted)
{
	fake_count_start();
	fake_interrupt(FAKE_gettid, 2);
	fake_fail(FAKE_gettid, 1, EIO);
	ck_assert_int_eq(pm_sys->gettid(), -EINTR);
	ck_assert_int_eq(pm_sys->gettid(), -EINTR);
	ck_assert_int_eq(pm_sys->gettid(), -EIO);
	ck_assert_int_gt(PM_RETRY(pm_sys->gettid()), 0);
	ck_assert_uint_eq(fake_calls(FAKE_gettid), 4);
}
END_TEST

/* close(2): the descriptor is gone, whatever it returns. */
START_TEST(a_close_that_fails_closes)
{
	fake_count_start();
	int fd = pm_sys->memfd_create("x");
	ck_assert_uint_eq(fake_open_files(), 1);
	fake_fail(FAKE_close, 1, EIO);
	ck_assert_int_eq(pm_sys->close(fd), -EIO);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

#define CALLS 3000

static void *make_calls(void *arg)
{
	for (int i = 0; i < CALLS; i++)
		pm_sys->gettid();
	return arg;
}

START_TEST(threads_lose_no_call)
{
	pthread_t threads[4];
	fake_count_start();
	pm_sys->gettid();
	const struct fake_record *first = fake_find(FAKE_gettid, 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, make_calls, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(fake_calls(FAKE_gettid), 4 * CALLS + 1);
	/* And none of its record; which stay where they are. */
	ck_assert_uint_eq(fake_find(FAKE_gettid, 4 * CALLS)->number, 4 * CALLS);
	ck_assert_ptr_null(fake_find(FAKE_gettid, 4 * CALLS + 1));
	ck_assert_ptr_eq(fake_find(FAKE_gettid, 0), first);
	ck_assert_uint_eq(first->number, 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("machine");
	tcase_add_test(c, entries_not_given_are_those_below);
	tcase_add_test(c, all_entries_may_be_given);
	tcase_add_test(c, a_start_breaks_nothing);
	tcase_add_test(c, what_is_put_below_is_counted);
	tcase_add_test(c, calls_are_counted_and_recorded);
	tcase_add_test(c, an_entry_is_broken_as_itself);
	tcase_add_test(c, the_nth_call_fails);
	tcase_add_test(c, the_nth_of_any_kind_fails_but_no_undoing);
	tcase_add_test(c, so_many_calls_are_interrupted);
	tcase_add_test(c, a_close_that_fails_closes);
	tcase_add_test(c, threads_lose_no_call);
	return unit_run();
}
