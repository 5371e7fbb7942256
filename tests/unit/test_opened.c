/* SPDX-License-Identifier: BSD-3-Clause */
/* Who opens a file that is mapped: told once, if it is to write and another process. */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "watching.h"

/* A child that does it, tells, and ends when it is told. */
static pid_t child(int (*act)(void), int told[2])
{
	int says[2];
	char byte;
	ck_assert(!pipe(told) && !pipe(says));
	pid_t pid = fork();
	if (!pid) {
		close(told[1]);
		byte = act() < 0 ? 'f' : 'o';
		if (write(says[1], &byte, 1) != 1 || read(told[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(says[1]);
	close(told[0]);
	ck_assert_int_eq(read(says[0], &byte, 1), 1);
	close(says[0]);
	if (byte == 'o')
		return pid;
	close(told[1]);
	waitpid(pid, NULL, 0);
	return 0;
}

static int open_to_write(void)
{
	return open(watched_path, O_WRONLY);
}

static int open_direct(void)
{
	return open(watched_path, O_RDWR | O_DIRECT);
}

static int open_to_read(void)
{
	return open(watched_path, O_RDONLY);
}

static int only_inherit(void)
{
	return 0;
}

static const struct {
	int (*act)(void);
	enum pm_reason reason; /* none: not to be told */
} openings[] = {
	{open_to_write, PM_REASON_OPENED_WRITING},
	{open_direct, PM_REASON_OPENED_DIRECT},
	{open_to_read, PM_REASON_NONE},
	{only_inherit, PM_REASON_NONE},
};

START_TEST(an_opening_is_told_once)
{
	int told[2];
	struct pm_mapping *m = watched(&fake_plain);
	if (unit_is_emulated()) /* whose /proc shows the emulator's descriptors */
		return;
	pid_t pid = child(openings[_i].act, told);
	if (!pid && openings[_i].act == open_direct) /* not on this file system */
		return;
	if (openings[_i].act != only_inherit)
		ck_assert(is_readable(m, WAIT_MS));
	/* Somebody who only reads makes the search begin, which must not find what a child inherited. */
	int fd = open(watched_path, O_RDONLY);
	struct pm_event e = only(m);
	ck_assert_int_eq(e.reason, openings[_i].reason);
	ck_assert_int_eq(e.kind, e.reason ? PM_EVENT_OPENED : 0);
	close(fd);
	ck_assert_int_eq(only(m).kind, 0);
	/* Another opening makes it look again, and find who was found before. */
	close(open(watched_path, O_RDONLY));
	ck_assert_int_eq(only(m).kind, 0);
	close(told[1]);
	waitpid(pid, NULL, 0);
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("opened");
	tcase_add_loop_test(c, an_opening_is_told_once, 0, sizeof(openings) / sizeof(openings[0]));
	return unit_run();
}
