/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RLIMIT_FSIZE: SIGXFSZ, which ends the program, never comes of a call of the library, also where the end of the file
 * or the limit moves between the question and the call. Here all is real.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sys/sys.h"
#include "unit.h"

#define LIMIT ((uint64_t)16 * 4096)
#define LENGTH ((uint64_t)64 * 4096)

static struct machine meanwhile;
static const char *path;

static void limit_to(uint64_t bytes)
{
	struct rlimit r;
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = bytes ? bytes : r.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static bool is_pending(void)
{
	sigset_t set;
	sigpending(&set);
	return sigismember(&set, SIGXFSZ);
}

static bool is_blocked(void)
{
	sigset_t set;
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	return sigismember(&set, SIGXFSZ);
}

/* ---- The calls ---- */

static int call(int which, int fd)
{
	static const char byte[2] = "x";
	switch (which) {
	case 0:
		return (int)pm_sys_linux.write(fd, byte, 1);
	case 1:
		return (int)pm_sys_linux.pwrite(fd, byte, 1, LIMIT);
	case 2:
		return (int)pm_sys_linux.pwritev2_append(fd, byte, 1);
	case 3:
		return pm_sys_linux.ftruncate(fd, LENGTH + 1);
	default:
		return pm_sys_linux.fallocate(fd, 0, LENGTH + 1);
	}
}
#define CALLS 5

/* The caller has the signal free; blocked; blocked, and one is pending that is the caller's own. */
START_TEST(no_signal_comes_of_a_call)
{
	sigset_t set;
	int fd = open(unit_file("file", LENGTH), O_RDWR | O_CLOEXEC), which = _i / 3, way = _i % 3;
	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ);
	ck_assert_int_eq(pthread_sigmask(way ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), LENGTH);
	if (way == 2)
		ck_assert_int_eq(pthread_kill(pthread_self(), SIGXFSZ), 0);
	limit_to(LIMIT);
	int rc = call(which, fd);
	limit_to(0);
	/* Some file systems have no fallocate(2). */
	if (rc != -EOPNOTSUPP)
		ck_assert_int_eq(rc, -EFBIG);
	ck_assert_int_eq(is_pending(), way == 2);
	ck_assert_int_eq(is_blocked(), way > 0);
	/* What goes well leaves the mask as well. */
	ck_assert_int_ge(call(which, fd), which < 3 ? 1 : rc == -EOPNOTSUPP ? -EOPNOTSUPP : 0);
	ck_assert_int_eq(is_blocked(), way > 0);
	close(fd);
}
END_TEST

/* ---- What moves meanwhile ---- */

static int no_fallocate(int fd, uint64_t offset, uint64_t length)
{
	(void)fd;
	(void)offset;
	(void)length;
	return -EOPNOTSUPP;
}

static bool lowered;

static ssize_t append_behind_another(int fd, const void *buffer, size_t size)
{
	limit_to(0);
	ck_assert_int_eq(truncate(path, (off_t)(lowered ? LIMIT / 2 : LIMIT)), 0);
	limit_to(lowered ? LIMIT / 2 : LIMIT);
	return pm_sys_linux.pwritev2_append(fd, buffer, size);
}

/* Another process grows the file to the limit where the library is about to append, or lowers the limit as well. */
START_TEST(another_process_moves_the_end)
{
	struct pm_mapping *m = NULL;
	path = unit_file("file", 4096);
	lowered = _i;
	int other = open(path, O_RDONLY | O_CLOEXEC);
	machine_put(&meanwhile, MACHINE(.fallocate = no_fallocate, .fallocate_keep_size = no_fallocate,
	                                .pwritev2_append = append_behind_another));
	limit_to(LIMIT);
	int rc = pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = LIMIT), &m);
	limit_to(0);
	machine_remove(&meanwhile);
	ck_assert_int_eq(rc, lowered ? -EFBIG : 0);
	ck_assert_uint_eq(unit_size_of(path), lowered ? LIMIT / 2 : LIMIT);
	if (m)
		unit_ok(pm_unmap(m));
	close(other);
}
END_TEST

static int cut_first(int fd, uint64_t length)
{
	ck_assert_int_eq(truncate(path, 0), 0);
	limit_to(LIMIT);
	return pm_sys_linux.ftruncate(fd, length);
}

/* Another process cuts the file off just before the library makes it shorter, and so makes it longer. */
START_TEST(another_process_cuts_the_file)
{
	path = unit_file("file", LENGTH);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.length = LENGTH));
	machine_put(&meanwhile, MACHINE(.ftruncate = cut_first));
	int rc = pm_resize(m, LENGTH / 2);
	limit_to(0);
	machine_remove(&meanwhile);
	ck_assert_int_eq(rc, -EFBIG);
	ck_assert_uint_eq(unit_size_of(path), 0);
	pm_unmap(m);
}
END_TEST

/* The sentence has both numbers, and what to do. */
START_TEST(the_limit_is_said)
{
	struct pm_mapping *m = NULL;
	char numbers[64];
	path = unit_file("file", LIMIT);
	snprintf(numbers, sizeof(numbers), "up to %llu, and RLIMIT_FSIZE is %llu", (unsigned long long)LENGTH,
	         (unsigned long long)LIMIT);
	limit_to(LIMIT);
	if (_i < 2) {
		ck_assert_int_eq(
			pm_map(_i ? path : unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE, .length = LENGTH), &m),
			-EFBIG);
	} else {
		m = unit_map(path, UNIT_OPTIONS(.length = LIMIT));
		ck_assert_int_eq(pm_resize(m, LENGTH), -EFBIG);
	}
	limit_to(0);
	ck_assert_msg(strstr(pm_error_detail(), numbers) && strstr(pm_error_detail(), "ulimit -f"), "%s",
	              pm_error_detail());
	ck_assert_uint_eq(unit_size_of(path), LIMIT);
	ck_assert(!unit_exists(unit_path("new")));
	if (m)
		unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("file_limit");
	tcase_add_loop_test(c, no_signal_comes_of_a_call, 0, 3 * CALLS);
	tcase_add_loop_test(c, another_process_moves_the_end, 0, 2);
	tcase_add_test(c, another_process_cuts_the_file);
	tcase_add_loop_test(c, the_limit_is_said, 0, 3);
	return unit_run();
}
