/* SPDX-License-Identifier: BSD-3-Clause */
/* The process is the program's: its numbers of descriptors, whatever it closed before. On the real system calls. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

/* Runs in a child that has none of the first descriptors; it must not use Check, which writes to some. */
static int without_standard_descriptors(bool (*run)(const char *path), const char *path)
{
	int status;
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		_exit(run(path) ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* For longer than the instant in which a thread of the library moves one to a higher number. */
static bool any_low(void)
{
	bool found = true;
	for (int i = 0; found && i < 1000; i++) {
		found = false;
		for (int fd = 0; fd < 3; fd++)
			found |= fcntl(fd, F_GETFD) >= 0;
		if (found)
			usleep(1000);
	}
	return found;
}

static bool lives(const char *path)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_WATCH, .length = 65536};
	struct pm_report report;
	struct pm_event event;
	struct pm_mapping *m;
	if (pm_probe(path, &o, &report, sizeof(report)) || any_low() || pm_map(path, &o, &m) || any_low())
		return false;
	bool well = pm_event_fd(m) >= 3 && !pm_query(m, &report, sizeof(report)) && !any_low();
	while (!pm_next_event(m, &event, sizeof(event)))
		;
	well = well && !pm_memset(m, pm_base(m), 1, 100, 0) && !pm_resize(m, 2 * 65536) && !any_low();
	return !pm_unmap(m) && well && !any_low();
}

START_TEST(the_first_three_numbers_are_never_taken)
{
	fake_stop();
	ck_assert_int_eq(without_standard_descriptors(lives, unit_path("new")), 0);
	ck_assert_int_eq(without_standard_descriptors(lives, unit_file("old", 65536)), 0);
}
END_TEST

static void meet(void *arg, const char *entry)
{
	/* Its own descriptor is among them: /proc/self/fd. */
	*(bool *)arg |= strlen(entry) == 1 && entry[0] < '3';
}

static bool each_entry_of_the_table(const char *path)
{
	const struct pm_sys *sys = &pm_sys_linux;
	int fd[7] = {sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), sys->memfd_create("memory"),
	             sys->signalfd(SIGIO),
	             sys->eventfd(), sys->timerfd(), sys->inotify(), sys->epoll_create()};
	bool low = false, none = true;
	for (int i = 0; i < 7; i++) {
		none = none && fd[i] >= 3 && fcntl(fd[i], F_GETFD) == FD_CLOEXEC;
		sys->close(fd[i]);
	}
	return !sys->each_entry("/proc/self/fd", meet, &low) && !low && none && !any_low();
}

START_TEST(no_entry_of_the_table_makes_one)
{
	ck_assert_int_eq(without_standard_descriptors(each_entry_of_the_table, unit_file("file", 4096)), 0);
}
END_TEST

/* With no number left there is an error, and the low one is not kept. */
static bool no_higher_one(const char *path)
{
	int fd;
	while ((fd = open("/dev/null", O_RDONLY)) >= 0)
		;
	bool full = errno == EMFILE;
	for (fd = 0; fd < 3; fd++)
		close(fd);
	int rc = pm_sys_linux.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	return full && rc == -EMFILE && !any_low();
}

START_TEST(where_there_is_no_higher_number_it_is_an_error)
{
	ck_assert_int_eq(without_standard_descriptors(no_higher_one, unit_file("file", 4096)), 0);
}
END_TEST

/* The identity of an open file, without its times. */
START_TEST(what_a_file_is_now_leaves_its_times_alone)
{
	const char *path = unit_file("file", 12345);
	struct statx now, all;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	memset(&now, 0, sizeof(now));
	ck_assert_int_eq(pm_sys_linux.statx_now(fd, &now), 0);
	ck_assert_int_eq(pm_sys_linux.statx(fd, "", AT_EMPTY_PATH, &all), 0);
	ck_assert_uint_eq(now.stx_size, 12345);
	ck_assert_uint_eq(now.stx_nlink, 1);
	ck_assert_uint_eq(now.stx_ino, all.stx_ino);
	ck_assert_uint_eq(now.stx_dev_major, all.stx_dev_major);
	ck_assert_uint_eq(now.stx_dev_minor, all.stx_dev_minor);
	ck_assert(S_ISREG(now.stx_mode));
	close(fd);
	ck_assert_int_eq(pm_sys_linux.statx_now(fd, &now), -EBADF);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("numbers");
	tcase_add_test(c, the_first_three_numbers_are_never_taken);
	tcase_add_test(c, no_entry_of_the_table_makes_one);
	tcase_add_test(c, where_there_is_no_higher_number_it_is_an_error);
	tcase_add_test(c, what_a_file_is_now_leaves_its_times_alone);
	return unit_run();
}
