/* SPDX-License-Identifier: BSD-3-Clause */
/* A file that was opened without a name: it has none, gets one, and loses it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "watching.h"

static int unnamed(bool memory)
{
	int fd = memory ? memfd_create("m", 0) : open(unit_path(""), O_TMPFILE | O_RDWR, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	return fd;
}

START_TEST(a_file_without_a_name)
{
	struct pm_mapping *m = NULL;
	int fd = unnamed(_i);
	fake_start(&fake_dax);
	ck_assert_int_eq(pm_map_fd(fd, UNIT_OPTIONS(.sync = PM_GUARANTEE), &m), -PM_ENOTSYNC);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "never had a name"));
	unit_ok(pm_map_fd(fd, NULL, &m));
	struct pm_event event = only(m);
	ck_assert_int_eq(event.kind, PM_EVENT_DEMOTED);
	ck_assert_int_eq(event.reason, PM_REASON_UNNAMED);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->reason, PM_REASON_UNNAMED);
	ck_assert_int_eq(r->granularity, PM_CACHE_LINE);
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
	close(fd);
}
END_TEST

START_TEST(a_file_gets_a_name)
{
	char self[40];
	struct pm_mapping *m = NULL;
	int fd = unnamed(false);
	fake_start(&fake_dax);
	unit_ok(pm_map_fd(fd, NULL, &m));
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	ck_assert_int_eq(linkat(AT_FDCWD, self, AT_FDCWD, unit_path("named"), AT_SYMLINK_FOLLOW), 0);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->evidence[PM_EV_NAMED].state, PM_YES);
	ck_assert_uint_eq(r->evidence[PM_EV_NAMED].value, 1);
	ck_assert_int_eq(r->verdict, PM_VERDICT_MET);
	ck_assert_int_eq(r->grade, PM_GRADE_PROVEN);
	while (only(m).kind == PM_EVENT_DEMOTED)
		;
	ck_assert_int_eq(unlink(unit_path("named")), 0);
	struct pm_event event = only(m);
	ck_assert_int_eq(event.kind, PM_EVENT_NAME_LOST);
	ck_assert_int_eq(event.reason, PM_REASON_UNLINKED);
	unit_ok(pm_unmap(m));
	close(fd);
}
END_TEST

enum seen { AT_A_LOOK, BY_PM_MAP, NEVER };

/* The kernel calls it unnamed before, meanwhile and after; linkat(2) refuses it in the end (fs/namei.c vfs_link). */
START_TEST(a_name_that_was_given_is_taken)
{
	char self[40], text[2048];
	struct pm_mapping *m = NULL;
	int fd = unnamed(false);
	fake_start(&fake_dax);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (_i != BY_PM_MAP)
		unit_ok(pm_map_fd(fd, NULL, &m));
	ck_assert_int_eq(linkat(AT_FDCWD, self, AT_FDCWD, unit_path("named"), AT_SYMLINK_FOLLOW), 0);
	if (_i == BY_PM_MAP)
		unit_ok(pm_map_fd(fd, NULL, &m));
	if (_i == AT_A_LOOK)
		ck_assert_int_eq(unit_query(m)->evidence[PM_EV_NAMED].state, PM_YES);
	ck_assert_int_eq(unlink(unit_path("named")), 0);
	const struct pm_report *r = unit_query(m);
	const struct pm_evidence *named = &r->evidence[PM_EV_NAMED];
	pm_explain(r, text, sizeof(text));
	ck_assert_int_eq(r->reason, _i == NEVER ? PM_REASON_UNNAMED : PM_REASON_UNLINKED);
	ck_assert_int_eq(named->error, _i == NEVER ? ENOLINK : ENOENT);
	const char *word = _i == NEVER ? "which fails with ENOENT if it had one" : "the file that has the name";
	ck_assert_msg(strstr(text, word), "%s", text);
	ck_assert_int_eq(strstr(text, "linkat") != NULL || strstr(text, "never") != NULL, _i == NEVER);
	ck_assert_int_eq(linkat(AT_FDCWD, self, AT_FDCWD, unit_path("again"), AT_SYMLINK_FOLLOW), -1);
	ck_assert_int_eq(errno, ENOENT);
	unit_ok(pm_unmap(m));
	close(fd);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("unnamed");
	tcase_add_loop_test(c, a_file_without_a_name, 0, 2);
	tcase_add_test(c, a_file_gets_a_name);
	tcase_add_loop_test(c, a_name_that_was_given_is_taken, 0, 3);
	return unit_run();
}
