/* SPDX-License-Identifier: BSD-3-Clause */
/* A mount hides the file: the kernel tells its path as before, and the path leads elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "watching.h"

static const struct {
	enum fake_over over;
	const char *text;
} mounts[] = {
	{FAKE_A_FILE, "another file is mounted over it: "},
	{FAKE_A_DIRECTORY, "a mount hides its path: "},
};

static struct pm_mapping *map(const struct fake_machine *machine, enum pm_request sync)
{
	watched_path = unit_file("file", SIZE);
	fake_start(machine);
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.sync = sync));
	while (only(m).kind)
		;
	return m;
}

static void check_hidden(struct pm_mapping *m, const char *text)
{
	const struct pm_report *r = unit_query(m);
	const struct pm_evidence *e = &r->evidence[PM_EV_NAMED];
	ck_assert_int_eq(e->state, PM_NO);
	ck_assert_int_eq(e->error, EBUSY);
	ck_assert_msg(!strncmp(e->text, text, strlen(text)), "%s", e->text);
	ck_assert_int_eq(r->reason, PM_REASON_MOUNTED_OVER);
	ck_assert_int_eq(r->advice, PM_ADVICE_NAME);
}

START_TEST(it_is_told_once)
{
	struct pm_mapping *m = map(_i / 2 ? &fake_dax : &fake_plain, PM_HINT);
	fake.machine.over = mounts[_i % 2].over;
	struct pm_event event = only(m);
	ck_assert_int_eq(event.kind, PM_EVENT_NAME_LOST);
	ck_assert_int_eq(event.reason, PM_REASON_MOUNTED_OVER);
	check_hidden(m, mounts[_i % 2].text);
	ck_assert_int_eq(only(m).kind, 0);
	/* Its blocks are reached as before. */
	unit_ok(pm_persist(m, pm_base(m), 8));
	/* Unmounted again. */
	fake.machine.over = FAKE_NOTHING;
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_NAMED].state, PM_YES);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_guarantee_ends)
{
	struct pm_mapping *m = map(&fake_dax, PM_GUARANTEE);
	fake.machine.over = mounts[_i].over;
	ck_assert_int_eq(only(m).reason, PM_REASON_MOUNTED_OVER);
	ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_REFUSED);
	unit_ok(pm_unmap(m));
}
END_TEST

/* The same file once more (mount --bind); and after chroot(2), where the same text is another path. */
START_TEST(it_is_no_loss)
{
	struct pm_mapping *m = map(&fake_plain, PM_HINT);
	fake.machine.over = _i == 0 ? FAKE_THE_FILE : _i == 1 ? FAKE_A_FILE : FAKE_A_DIRECTORY;
	fake.machine.has_another_root = _i > 0;
	ck_assert_int_eq(only(m).kind, 0);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_NAMED].state, PM_YES);
	unit_ok(pm_unmap(m));
}
END_TEST

/* The caller's descriptor: the library has not followed the path. */
START_TEST(it_was_so_before)
{
	struct pm_mapping *m;
	const char *path = unit_file("file", SIZE);
	fake_start(_i / 2 ? &fake_dax : &fake_plain);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	fake.machine.over = mounts[_i % 2].over;
	ck_assert_int_eq(pm_map_fd(fd, UNIT_OPTIONS(.sync = PM_GUARANTEE), &m), -PM_ENOTSYNC);
	unit_ok(pm_map_fd(fd, UNIT_OPTIONS(.sync = PM_HINT), &m));
	check_hidden(m, mounts[_i % 2].text);
	unit_ok(pm_unmap(m));
	close(fd);
}
END_TEST

/* A look that cannot find it out promises no less than before. */
START_TEST(it_cannot_be_found_out)
{
	struct pm_mapping *m = map(&fake_plain, PM_HINT);
	fake.machine.over = FAKE_A_FILE;
	if (_i)
		fake.machine.lacks_mount_id = true;
	else
		fake_fail(FAKE_statx, 4, EACCES); /* the file, its device, its path twice */
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_NAMED].state, PM_YES);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("mounted_over");
	tcase_add_loop_test(c, it_is_told_once, 0, 4);
	tcase_add_loop_test(c, a_guarantee_ends, 0, 2);
	tcase_add_loop_test(c, it_is_no_loss, 0, 3);
	tcase_add_loop_test(c, it_was_so_before, 0, 4);
	tcase_add_loop_test(c, it_cannot_be_found_out, 0, 2);
	return unit_run();
}
