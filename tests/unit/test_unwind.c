/* SPDX-License-Identifier: BSD-3-Clause */
/* The pipe that libunwind keeps: its numbers may lead to other files one day. On the real system calls. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "machine/machine.h"
#include "providers/providers.h"
#include "unit.h"

#define MOST 256
#define BYTES "0123456789"

static unsigned frames, heard;

static void hear(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	(void)m;
	(void)arg;
	heard++;
	frames = event->frames;
}

/* An event in a call of the program: what it asked for is not met. */
static void meet_event(void)
{
	struct pm_mapping *m;
	heard = frames = 0;
	unit_ok(pm_map(unit_file("mapped", 65536), UNIT_OPTIONS(.on_event = hear), &m));
	ck_assert_uint_eq(heard, 1);
	unit_ok(pm_unmap(m));
}

static bool is_pipe(int fd)
{
	char path[40], text[16];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t length = readlink(path, text, sizeof(text) - 1);
	text[length > 0 ? length : 0] = 0;
	return !strncmp(text, "pipe:", 5);
}

/* Of the pipes, those that were not there before: the end for reading first. */
static bool find_pipe(const bool before[MOST], int ends[2])
{
	unsigned found = 0;
	for (int fd = 3; fd < MOST; fd++)
		if (is_pipe(fd) && !before[fd] && ++found)
			ends[(fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY] = fd;
	ck_assert(found == 0 || found == 2);
	return found;
}

static bool start(int ends[2])
{
	bool before[MOST];
	const char *text;
	fake_stop();
	for (int fd = 0; fd < MOST; fd++)
		before[fd] = is_pipe(fd);
	meet_event();
	if (!pm_libunwind_loaded(&text)) {
		ck_assert_uint_eq(frames, 0);
		return false;
	}
	ck_assert_uint_gt(frames, 0);
	bool found = find_pipe(before, ends);
	/* As long as the numbers are the pipe's each event has its call site. */
	meet_event();
	ck_assert_uint_gt(frames, 0);
	return found;
}

static int open_data(const char *name)
{
	int fd = open(unit_path(name), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	ck_assert_int_eq(write(fd, BYTES, 10), 10);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void check_data(int fd)
{
	char bytes[20];
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
	ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), 0), 10);
	ck_assert_int_eq(memcmp(bytes, BYTES, 10), 0);
}

static void put_in_place(int fd, int number)
{
	ck_assert_int_eq(dup2(fd, number), number);
	close(fd);
}

static void *meet(void *arg)
{
	meet_event();
	return arg;
}

/*
 * libunwind remembers the pages that it has checked, so each event has a new stack. The caller looks at its files
 * first.
 */
static void meet_events(void)
{
	pthread_t thread;
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(pthread_create(&thread, NULL, meet, NULL), 0);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
	}
}

static void check_not_used(void)
{
	const char *text;
	meet_event();
	ck_assert_uint_eq(frames, 0);
	ck_assert(!pm_libunwind_loaded(&text));
	ck_assert_ptr_nonnull(strstr(text, "pipe"));
}

/* One file in place of the end for reading, of that for writing, or one each in place of both. */
START_TEST(a_file_gets_the_number)
{
	int ends[2];
	if (!start(ends))
		return;
	for (int i = 0; i < 2; i++)
		if ((_i + 1) & 1 << i)
			put_in_place(open_data(i ? "b" : "a"), ends[i]);
	meet_events();
	for (int i = 0; i < 2; i++)
		if ((_i + 1) & 1 << i)
			check_data(ends[i]);
		else
			ck_assert(is_pipe(ends[i]));
	check_not_used();
}
END_TEST

/* A program that becomes a daemon closes all it does not know, and opens its files. */
START_TEST(all_are_closed_and_files_opened)
{
	int ends[2], fd[12];
	char name[16];
	if (!start(ends))
		return;
	close(ends[0]);
	close(ends[1]);
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "data%d", i);
		fd[i] = open_data(name);
	}
	meet_events();
	for (int i = 0; i < 12; i++)
		check_data(fd[i]);
	check_not_used();
}
END_TEST

/* Both were closed, and nothing has their numbers: libunwind would open another pipe. */
START_TEST(both_are_closed)
{
	int ends[2];
	if (!start(ends))
		return;
	close(ends[0]);
	close(ends[1]);
	check_not_used();
	ck_assert(!is_pipe(ends[0]) && !is_pipe(ends[1]));
}
END_TEST

/* Another pipe of the program, which looks the same: nothing is read from it or written to it. */
START_TEST(another_pipe_gets_the_numbers)
{
	int ends[2], mine[2];
	char bytes[4];
	if (!start(ends))
		return;
	ck_assert_int_eq(pipe2(mine, O_CLOEXEC | O_NONBLOCK), 0);
	put_in_place(mine[0], ends[0]);
	put_in_place(mine[1], ends[1]);
	ck_assert_int_eq(write(ends[1], "ab", 2), 2);
	meet_events();
	ck_assert_int_eq(read(ends[0], bytes, sizeof(bytes)), 2);
	ck_assert_int_eq(memcmp(bytes, "ab", 2), 0);
	check_not_used();
}
END_TEST

/* The program may have used it already: which numbers are libunwind's cannot be found. */
START_TEST(a_program_that_has_libunwind_itself)
{
	const char *text;
	fake_stop();
	if (!dlopen("libunwind.so.8", RTLD_NOW))
		return;
	meet_event();
	ck_assert_uint_eq(frames, 0);
	ck_assert(!pm_libunwind_loaded(&text));
}
END_TEST

/* ---- Which pipe it is ---- */

static struct machine machine;
static int opened[2];

/* The table is read a second time when libunwind has returned: by then another thread has opened a pipe too. */
static int list_with_anothers(const char *directory, void (*visit)(void *arg, const char *entry), void *arg)
{
	static unsigned lists;
	if (!strcmp(directory, "/proc/self/fd") && lists++ == 1)
		ck_assert_int_eq(pipe2(opened, O_CLOEXEC | O_NONBLOCK), 0);
	return machine.below->each_entry(directory, visit, arg);
}

static int list_nothing(const char *directory, void (*visit)(void *arg, const char *entry), void *arg)
{
	return strcmp(directory, "/proc/self/fd") ? machine.below->each_entry(directory, visit, arg) : -ENOENT;
}

START_TEST(which_pipe_is_not_certain)
{
	fake_stop();
	machine_put(&machine, MACHINE(.each_entry = _i ? list_nothing : list_with_anothers));
	meet_event(); /* without /proc none; else the one that libunwind opens its pipe in */
	check_not_used();
	machine_remove(&machine);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("unwind");
	tcase_add_loop_test(c, a_file_gets_the_number, 0, 3);
	tcase_add_test(c, all_are_closed_and_files_opened);
	tcase_add_test(c, both_are_closed);
	tcase_add_test(c, another_pipe_gets_the_numbers);
	tcase_add_test(c, a_program_that_has_libunwind_itself);
	tcase_add_loop_test(c, which_pipe_is_not_certain, 0, 2);
	return unit_run();
}
