/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The path to a file may be in no journal yet: where another process renames or links the file, a directory above, or a
 * link on the way. It is made durable before lines are chosen and before a guarantee counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "watching.h"

static const char *second;

static void away(void)
{
	ck_assert_int_eq(rename(watched_path, second), 0);
}

static void back(void)
{
	ck_assert_int_eq(rename(second, watched_path), 0);
}

static struct pm_mapping *guaranteed(bool is_watched)
{
	second = unit_path("second");
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_dax);
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.sync = PM_GUARANTEE));
	if (is_watched)
		ck_assert_int_ge(pm_event_fd(m), 0);
	while (only(m).kind)
		;
	ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_MET);
	fake_forget();
	return m;
}

static const struct way {
	const char *name;
	bool is_watched, is_seen_away, is_back, is_cleared;
} ways[] = {
	{"moved, and acknowledged", false, true, false, true},
	{"moved, and acknowledged before it was seen", false, false, false, true},
	{"seen away, and back", false, true, true, false},
	{"away and back between two looks", true, false, true, false},
};

static struct pm_mapping *go(const struct way *way)
{
	struct pm_mapping *m = guaranteed(way->is_watched);
	away();
	if (way->is_seen_away) {
		ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_REFUSED);
		ck_assert_uint_eq(fake_calls(FAKE_fsync), 0);
	}
	if (way->is_back)
		back();
	return m;
}

static void expect_met(struct pm_mapping *m, const struct way *way)
{
	if (way->is_cleared)
		unit_ok(pm_clear_error(m));
	ck_assert_msg(unit_query(m)->verdict == PM_VERDICT_MET, "%s", way->name);
}

START_TEST(the_path_is_durable_before_it_counts)
{
	struct pm_mapping *m = go(&ways[_i]);
	expect_met(m, &ways[_i]);
	/* The file, and all that leads to it, once. */
	ck_assert_msg(fake_calls(FAKE_fsync) == 1 && fake_calls(FAKE_syncfs) == 1, "%s", ways[_i].name);
	unit_query(m);
	ck_assert_uint_eq(fake_calls(FAKE_fsync) + fake_calls(FAKE_syncfs), 2);
	unit_ok(pm_unmap(m));
}
END_TEST

/* It cannot be synced: the name does not count until it can. */
START_TEST(a_path_that_is_not_durable_does_not_count)
{
	struct pm_mapping *m = go(&ways[_i]);
	fake_fail(FAKE_syncfs, 1, EIO);
	if (ways[_i].is_cleared)
		pm_clear_error(m);
	else
		ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_REFUSED);
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 1);
	expect_met(m, &ways[_i]);
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 2);
	unit_ok(pm_unmap(m));
}
END_TEST

/* The sync of the file meets a write-back error, which the kernel reports to no later call. */
START_TEST(an_error_of_that_sync_poisons)
{
	struct pm_mapping *m = go(&ways[2]);
	fake_fail(FAKE_fsync, 1, EIO);
	ck_assert_int_eq(unit_query(m)->error, -EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 8), -EIO);
	ck_assert_int_eq(pm_unmap(m), -EIO);
}
END_TEST

/* ---- pm_map() ---- */

static const struct {
	const char *name;
	const struct fake_machine *machine;
	struct pm_options options;
	bool by_descriptor, is_promised;
} births[] = {
	{"lines", &fake_dax, {.size = sizeof(struct pm_options)}, false, true},
	{"lines, by descriptor", &fake_dax, {.size = sizeof(struct pm_options)}, true, true},
	{"lines, PM_CREATE", &fake_dax, {.size = sizeof(struct pm_options), .flags = PM_CREATE}, false, true},
	{"bytes", &fake_eadr, {.size = sizeof(struct pm_options)}, false, true},
	{"sync guaranteed", &fake_dax, {.size = sizeof(struct pm_options), .sync = PM_GUARANTEE}, false, true},
	{"direct guaranteed, pages", &fake_dax,
	 {.size = sizeof(struct pm_options), .sync = PM_AVOID, .direct = PM_GUARANTEE}, false, true},
	{"pages", &fake_plain, {.size = sizeof(struct pm_options)}, false, false},
	{"pages, PM_CREATE", &fake_plain, {.size = sizeof(struct pm_options), .flags = PM_CREATE}, false, false},
};

static int map(int birth, struct pm_mapping **m)
{
	const char *path = unit_file("file", SIZE);
	fake_start(births[birth].machine);
	if (!births[birth].by_descriptor)
		return pm_map(path, &births[birth].options, m);
	int fd = open(path, O_RDWR);
	int rc = pm_map_fd(fd, &births[birth].options, m);
	close(fd);
	return rc;
}

START_TEST(the_path_is_durable_where_something_is_promised)
{
	struct pm_mapping *m;
	unit_ok(map(_i, &m));
	ck_assert_msg(fake_calls(FAKE_syncfs) == births[_i].is_promised, "%s: %u", births[_i].name,
	              fake_calls(FAKE_syncfs));
	/* The look does not make it again. */
	unit_query(m);
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), births[_i].is_promised);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(where_it_cannot_be_synced_nothing_is_mapped)
{
	struct pm_mapping *m;
	if (!births[_i].is_promised)
		return;
	fake_start(births[_i].machine);
	const char *path = unit_file("file", SIZE);
	fake_fail(FAKE_syncfs, 1, EIO);
	ck_assert_int_eq(pm_map(path, &births[_i].options, &m), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "the path of the file cannot be synced"));
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* A file system that is never written has no fsync(2): erofs answers EINVAL. */
START_TEST(a_file_system_without_fsync)
{
	struct pm_mapping *m;
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_dax);
	fake_fail(FAKE_fsync, 0, EINVAL);
	fake_fail(FAKE_fdatasync, 0, EINVAL);
	m = unit_map(watched_path, UNIT_OPTIONS(.direct = PM_GUARANTEE, .flags = PM_READ_ONLY));
	ck_assert_uint_eq(fake_calls(FAKE_syncfs) > 0, true);
	unit_ok(pm_unmap(m));
	ck_assert_int_eq(pm_map(watched_path, UNIT_OPTIONS(.direct = PM_GUARANTEE), &m), -EINVAL);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("new_entry");
	tcase_add_loop_test(c, the_path_is_durable_before_it_counts, 0, (int)COUNT(ways));
	tcase_add_loop_test(c, a_path_that_is_not_durable_does_not_count, 0, (int)COUNT(ways));
	tcase_add_test(c, an_error_of_that_sync_poisons);
	tcase_add_loop_test(c, the_path_is_durable_where_something_is_promised, 0, (int)COUNT(births));
	tcase_add_loop_test(c, where_it_cannot_be_synced_nothing_is_mapped, 0, (int)COUNT(births));
	tcase_add_test(c, a_file_system_without_fsync);
	return unit_run();
}
