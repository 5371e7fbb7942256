/* SPDX-License-Identifier: BSD-3-Clause */
/* One instance of inotify(7) for many files, without a mapping. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "observe/sources.h"
#include "sys/sys.h"
#include "unit.h"

#define FILES 3

static const char *paths[FILES];
static int fds[FILES];
static struct pm_inotify *inotify;
static unsigned arrivals;

static void arrive(void)
{
	arrivals++;
}

static void start(void)
{
	int error;
	fake_start(&fake_plain);
	arrivals = 0;
	for (int i = 0; i < FILES; i++) {
		static const char *const names[] = {"a", "b", "c"};
		paths[i] = unit_file(names[i], 4096);
		fds[i] = open(paths[i], O_RDWR | O_CLOEXEC);
	}
	inotify = pm_inotify_open(arrive, &error);
	ck_assert_ptr_nonnull(inotify);
}

static void stop(void)
{
	pm_inotify_give_up(inotify);
	for (int i = 0; i < FILES; i++)
		close(fds[i]);
	ck_assert_uint_eq(fake_open_files(), 0);
}

static void modify(int file)
{
	ck_assert_int_eq(pwrite(fds[file], "x", 1, 0), 1);
}

/* Two mappings of one file have one watch: each gets its events, and it stays until the last of them leaves. */
START_TEST(two_users_of_one_file)
{
	struct pm_sources s[FILES] = {{.watch = 0}};
	start();
	pm_sources_add(&s[0], inotify, fds[0], 0);
	pm_sources_add(&s[1], inotify, fds[0], 0);
	pm_sources_add(&s[2], inotify, fds[1], 0);
	ck_assert_int_eq(s[0].watch, s[1].watch);
	ck_assert_int_ne(s[0].watch, s[2].watch);
	modify(0);
	ck_assert(pm_sources_take(&s[0]) & IN_MODIFY);
	ck_assert(pm_sources_have_arrived(&s[1]));
	ck_assert(!pm_sources_have_arrived(&s[2]));
	ck_assert(pm_sources_take(&s[1]) & IN_MODIFY);
	ck_assert_uint_eq(pm_sources_take(&s[1]), 0);
	pm_sources_remove(&s[0]);
	ck_assert_uint_eq(fake_calls(FAKE_inotify_remove), 0);
	modify(0);
	ck_assert(pm_sources_take(&s[1]) & IN_MODIFY);
	pm_sources_remove(&s[1]);
	ck_assert_uint_eq(fake_calls(FAKE_inotify_remove), 1);
	pm_sources_remove(&s[2]);
	stop();
}
END_TEST

/* What a thread drains for its own file and is another's must be looked at by the watcher. */
START_TEST(what_is_anothers_wakes_the_watcher)
{
	struct pm_sources s[2] = {{.watch = 0}};
	start();
	pm_sources_add(&s[0], inotify, fds[0], 0);
	pm_sources_add(&s[1], inotify, fds[1], 0);
	modify(0);
	pm_sources_take(&s[0]);
	ck_assert_uint_eq(arrivals, 0);
	modify(1);
	ck_assert_uint_eq(pm_sources_take(&s[0]), 0);
	ck_assert_uint_eq(arrivals, 1);
	pm_inotify_drain(inotify);
	ck_assert(pm_sources_take(&s[1]) & IN_MODIFY);
	/* Also where something is its own. */
	modify(0);
	modify(1);
	ck_assert(pm_sources_take(&s[0]) & IN_MODIFY);
	ck_assert_uint_eq(arrivals, 2);
	ck_assert(pm_sources_take(&s[1]) & IN_MODIFY);
	pm_sources_remove(&s[0]);
	pm_sources_remove(&s[1]);
	stop();
}
END_TEST

/* A user that leaves takes what has arrived for it along, so that its end wakes no watcher for ever. */
START_TEST(what_arrived_for_a_user_that_left)
{
	struct pm_sources s[2] = {{.watch = 0}};
	start();
	pm_sources_add(&s[0], inotify, fds[0], 0);
	pm_sources_add(&s[1], inotify, fds[1], 0);
	modify(1);
	pm_inotify_drain(inotify);
	pm_sources_remove(&s[1]);
	modify(0);
	ck_assert(pm_sources_take(&s[0]) & IN_MODIFY);
	ck_assert_uint_eq(arrivals, 0);
	pm_sources_remove(&s[0]);
	stop();
}
END_TEST

/* Files whose watches share a bucket, in each order in which they leave. */
START_TEST(users_that_share_a_bucket)
{
	static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	struct pm_sources s[3] = {{.watch = 0}};
	start();
	for (int i = 0; i < 3; i++) {
		pm_sources_add(&s[i], inotify, fds[i], 0);
		/* As if as many other files had been watched in between. */
		for (unsigned n = 1; i < 2 && n < PM_SOURCES_BUCKETS; n++) {
			struct pm_sources other = {.watch = 0};
			pm_sources_add(&other, inotify, fds[2], 0);
			pm_sources_remove(&other);
		}
	}
	ck_assert_int_eq(s[0].watch % (int)PM_SOURCES_BUCKETS, s[1].watch % (int)PM_SOURCES_BUCKETS);
	ck_assert_int_eq(s[0].watch % (int)PM_SOURCES_BUCKETS, s[2].watch % (int)PM_SOURCES_BUCKETS);
	for (int i = 0; i < 3; i++)
		pm_sources_take(&s[i]);
	for (int gone = 0; gone < 3; gone++) {
		for (int i = gone; i < 3; i++) {
			int one = orders[_i][i];
			modify(one);
			for (int j = gone; j < 3; j++)
				ck_assert_int_eq(!!(pm_sources_take(&s[orders[_i][j]]) & IN_MODIFY), i == j);
		}
		struct pm_sources *leaves = &s[orders[_i][gone]];
		pm_sources_remove(leaves);
		/* Its memory is another's by now. */
		memset(leaves, 0xff, sizeof(*leaves));
	}
	for (unsigned i = 0; i < PM_SOURCES_BUCKETS; i++)
		ck_assert_ptr_null(inotify->users[i]);
	stop();
}
END_TEST

/* The kernel dropped events: anything may have happened to any file. */
static bool overflows;

static ssize_t read_overflow(int fd, void *buffer, size_t size)
{
	struct inotify_event event = {.wd = -1, .mask = IN_Q_OVERFLOW};
	if (!overflows)
		return pm_sys_linux.read(fd, buffer, size);
	overflows = false;
	__builtin_memcpy(buffer, &event, sizeof(event));
	return sizeof(event);
}

START_TEST(an_overflow_is_everything_for_all)
{
	struct pm_sources s[2] = {{.watch = 0}};
	start();
	struct machine dropping;
	machine_put(&dropping, MACHINE(.read = read_overflow));
	pm_sources_add(&s[0], inotify, fds[0], 0);
	pm_sources_add(&s[1], inotify, fds[1], 0);
	overflows = true;
	for (int i = 0; i < 2; i++) {
		uint32_t mask = pm_sources_take(&s[i]);
		ck_assert(mask & IN_MODIFY && mask & IN_OPEN && mask & IN_CLOSE_WRITE);
		pm_sources_remove(&s[i]);
	}
	fake_start(&fake_plain);
	pm_inotify_give_up(inotify);
}
END_TEST

/* ---- What the library writes itself ---- */

START_TEST(an_own_write_is_not_told)
{
	struct pm_sources s = {.watch = 0};
	start();
	pm_sources_add(&s, inotify, fds[0], 0);
	/* Another process's before it is. */
	if (_i)
		modify(0);
	pm_own_write_begin(&s);
	modify(0);
	close(open(paths[0], O_RDONLY));
	pm_own_write_end(&s);
	/* Another process may have written in between. */
	ck_assert(s.may_be_written);
	ck_assert(pm_sources_is_written(&s));
	ck_assert(!pm_sources_is_written(&s));
	uint32_t mask = pm_sources_take(&s);
	ck_assert_int_eq(!!(mask & IN_MODIFY), _i);
	ck_assert(mask & IN_OPEN);
	ck_assert_uint_eq(pm_sources_take(&s), 0);
	pm_sources_remove(&s);
	stop();
}
END_TEST

/* ---- Without ---- */

START_TEST(a_file_that_cannot_be_watched)
{
	struct pm_sources s = {.watch = 0};
	start();
	fake_fail(FAKE_inotify_add, 1, ENOSPC);
	pm_sources_add(&s, inotify, fds[0], 0);
	ck_assert(s.is_watched == PM_NO && s.error == ENOSPC);
	ck_assert_uint_eq(pm_sources_take(&s), 0);
	pm_sources_remove(&s);
	pm_sources_add(&s, NULL, fds[0], EMFILE);
	ck_assert(s.is_watched == PM_NO && s.error == EMFILE);
	pm_sources_remove(&s);
	stop();
}
END_TEST

/* The program closed the instance's descriptor: its users learn it, and nothing is removed through the number. */
START_TEST(an_instance_that_the_program_closed)
{
	struct pm_sources s = {.watch = 0};
	start();
	pm_sources_add(&s, inotify, fds[0], 0);
	ck_assert_int_eq(s.is_watched, PM_YES);
	close(inotify->fd);
	ck_assert_uint_eq(pm_sources_take(&s), 0);
	ck_assert(s.is_watched == PM_NO && s.error == EBADF);
	fake_forget();
	/* Given up by its owner, it ends with its last user; or the other way round. */
	if (_i)
		pm_inotify_give_up(inotify);
	pm_sources_remove(&s);
	if (!_i)
		pm_inotify_give_up(inotify);
	ck_assert_uint_eq(fake_calls(FAKE_inotify_remove) + fake_calls(FAKE_close), 0);
	for (int i = 0; i < FILES; i++)
		close(fds[i]);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("sources");
	tcase_add_test(c, two_users_of_one_file);
	tcase_add_test(c, what_is_anothers_wakes_the_watcher);
	tcase_add_test(c, what_arrived_for_a_user_that_left);
	tcase_add_loop_test(c, users_that_share_a_bucket, 0, 6);
	tcase_add_test(c, an_overflow_is_everything_for_all);
	tcase_add_loop_test(c, an_own_write_is_not_told, 0, 2);
	tcase_add_test(c, a_file_that_cannot_be_watched);
	tcase_add_loop_test(c, an_instance_that_the_program_closed, 0, 2);
	return unit_run();
}
