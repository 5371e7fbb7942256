/* SPDX-License-Identifier: BSD-3-Clause */
/* What has changed between two tables of evidence, without a mapping. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "observe/changes.h"
#include "unit.h"

static const struct pm_span range = {.offset = 10000, .length = 50000};
static pm_evidence_table e;
static struct pm_subject s;
static struct pm_snapshot seen;
static struct pm_changes found;

static void set(enum pm_evidence_row row, enum pm_state state, int error, uint64_t value)
{
	pm_evidence_set(&e[row], state, error, "the test", NULL);
	e[row].value = value;
}

/* Everything is well, and that was seen. */
static void start(void)
{
	static const enum pm_evidence_row good[] = {PM_EV_ALLOCATED, PM_EV_UNSHARED,  PM_EV_DAX,
	                                            PM_EV_WRITABLE,  PM_EV_FS_ONLINE, PM_EV_NAMED};
	pm_evidence_clear(e);
	for (size_t i = 0; i < COUNT(good); i++)
		set(good[i], PM_YES, 0, 0);
	set(PM_EV_BAD_BLOCKS, PM_NO, 0, 0);
	set(PM_EV_DAX_FLAG, PM_NO, 0, 0);
	s = (struct pm_subject){.fd = -1, .stx = {.stx_mode = S_IFREG, .stx_size = 100000}};
	seen = (struct pm_snapshot){.is_taken = false};
	pm_snapshot_take(&seen, e, &s, range);
}

static void look(bool is_modified)
{
	found = pm_changes_find(&seen, e, &s, range, is_modified);
}

static const struct {
	enum pm_evidence_row row;
	enum pm_state state;
	int row_error;
	uint64_t value;
	enum pm_reason reason;
	uint64_t offset, length;
	int error;
} losses[] = {
	{PM_EV_ALLOCATED, PM_NO, 0, 12000, PM_REASON_HOLE, 12000, 8000, 0},
	{PM_EV_UNSHARED, PM_NO, 0, 0, PM_REASON_SHARED, 10000, 20000, 0},
	{PM_EV_DAX, PM_NO, 0, 0, PM_REASON_PAGE_CACHE, 10000, 50000, 0},
	{PM_EV_WRITABLE, PM_NO, 0, 0, PM_REASON_READ_ONLY, 10000, 50000, 0},
	{PM_EV_WRITABLE, PM_NO, PM_IMMUTABLE, 0, PM_REASON_IMMUTABLE, 10000, 50000, 0},
	{PM_EV_FS_ONLINE, PM_NO, EIO, 0, PM_REASON_SHUT_DOWN, 10000, 50000, -EIO},
	{PM_EV_FS_ONLINE, PM_NO, ENODEV, 0, PM_REASON_DEVICE_GONE, 10000, 50000, -ENODEV},
	{PM_EV_BAD_BLOCKS, PM_YES, 0, 30000, PM_REASON_BAD_BLOCKS, 30000, 30000, 0},
	{PM_EV_DAX_FLAG, PM_YES, 0, 0, PM_REASON_DAX_FLAG, 10000, 50000, 0},
	{PM_EV_NAMED, PM_NO, PM_NAME_REMOVED, 0, PM_REASON_UNLINKED, 10000, 50000, 0},
	{PM_EV_NAMED, PM_NO, PM_NAME_MOVED, 0, PM_REASON_MOVED, 10000, 50000, 0},
};

/* Each loss is one change, once, also where the fact was not known in between. */
START_TEST(a_loss_is_one_change)
{
	start();
	look(false);
	ck_assert_uint_eq(found.count, 0);
	s.found.hole_end = 20000;
	s.found.shared_end = 30000;
	set(losses[_i].row, PM_UNKNOWN, 0, 0);
	look(false);
	ck_assert_uint_eq(found.count, 0);
	set(losses[_i].row, losses[_i].state, losses[_i].row_error, losses[_i].value);
	look(false);
	ck_assert_uint_eq(found.count, 1);
	const struct pm_file_change *change = &found.change[0];
	ck_assert_int_eq(change->reason, losses[_i].reason);
	ck_assert_uint_eq(change->offset, losses[_i].offset);
	ck_assert_uint_eq(change->length, losses[_i].length);
	ck_assert_int_eq(change->error, losses[_i].error);
	look(false);
	ck_assert_uint_eq(found.count, 0);
}
END_TEST

/* Nothing is a change for which there is nothing to compare with. */
START_TEST(the_first_look_compares_nothing)
{
	start();
	set(PM_EV_ALLOCATED, PM_NO, 0, 12000);
	s.stx.stx_size = 20000;
	pm_snapshot_take(&seen, e, &s, range);
	look(false);
	ck_assert_uint_eq(found.count, 0);
}
END_TEST

/* A truncation is one cause: neither a hole beside it nor a write. */
START_TEST(a_truncation_explains_the_rest)
{
	start();
	s.stx.stx_size = 40000;
	set(PM_EV_ALLOCATED, PM_NO, 0, 40000);
	s.found.hole_end = 60000;
	look(true);
	ck_assert_uint_eq(found.count, 1);
	ck_assert_int_eq(found.change[0].reason, PM_REASON_TRUNCATED);
	ck_assert_uint_eq(found.change[0].offset, 40000);
	ck_assert_uint_eq(found.change[0].length, 20000);
	/* Further down is another; up again is none. */
	s.stx.stx_size = 30000;
	look(false);
	ck_assert_uint_eq(found.count, 1);
	s.stx.stx_size = 100000;
	look(false);
	ck_assert_uint_eq(found.count, 0);
}
END_TEST

/* The extents are asked for after the size: the file was truncated in between. */
START_TEST(a_truncation_between_two_questions_is_no_hole)
{
	start();
	set(PM_EV_ALLOCATED, PM_NO, 0, 40000);
	s.found.hole_end = 60000;
	s.fd = open(unit_file("file", 40000), O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(s.fd, 0);
	look(true);
	close(s.fd);
	ck_assert_uint_eq(found.count, 1);
	ck_assert_int_eq(found.change[0].reason, PM_REASON_TRUNCATED);
	ck_assert_uint_eq(found.change[0].offset, 40000);
	ck_assert_uint_eq(found.change[0].length, 20000);
}
END_TEST

static const struct {
	uint64_t before, size, offset, length;
} sizes[] = {
	{100000, 100000, 10000, 50000},  /* the same: somewhere in the range */
	{100000, 110000, 100000, 10000}, /* what was appended behind it */
	{100000, 70000, 70000, 30000},   /* what was truncated behind it */
	{30000, 110000, 10000, 50000},   /* from inside the range to behind it */
};

START_TEST(a_write_has_the_range_that_is_known)
{
	start();
	s.stx.stx_size = sizes[_i].before;
	pm_snapshot_take(&seen, e, &s, range);
	s.stx.stx_size = sizes[_i].size;
	look(true);
	ck_assert_uint_eq(found.count, 1);
	ck_assert_int_eq(found.change[0].reason, PM_REASON_MODIFIED);
	ck_assert_uint_eq(found.change[0].offset, sizes[_i].offset);
	ck_assert_uint_eq(found.change[0].length, sizes[_i].length);
}
END_TEST

/* After a copy-up the size and the extents are of the copy. */
START_TEST(a_copy_says_nothing_of_the_original)
{
	start();
	set(PM_EV_NAMED, PM_NO, PM_NAME_COPIED_UP, 0);
	set(PM_EV_ALLOCATED, PM_NO, 0, 12000);
	s.stx.stx_size = 20000;
	look(true);
	ck_assert_uint_eq(found.count, 1);
	ck_assert_int_eq(found.change[0].reason, PM_REASON_COPIED_UP);
}
END_TEST

/* More than a look can find: the last is overwritten, and nothing else. */
START_TEST(the_changes_have_an_end)
{
	struct pm_changes all = {.range = range};
	for (unsigned i = 0; i < PM_CHANGES + 3; i++)
		pm_changes_add(&all, PM_REASON_HOLE)->error = -(int)i;
	ck_assert_uint_eq(all.count, PM_CHANGES);
	ck_assert_int_eq(all.change[0].error, 0);
	ck_assert_int_eq(all.change[PM_CHANGES - 1].error, -(PM_CHANGES + 2));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("changes");
	tcase_add_loop_test(c, a_loss_is_one_change, 0, (int)COUNT(losses));
	tcase_add_test(c, the_first_look_compares_nothing);
	tcase_add_test(c, a_truncation_explains_the_rest);
	tcase_add_test(c, a_truncation_between_two_questions_is_no_hole);
	tcase_add_loop_test(c, a_write_has_the_range_that_is_known, 0, (int)COUNT(sizes));
	tcase_add_test(c, the_changes_have_an_end);
	tcase_add_test(c, a_copy_says_nothing_of_the_original);
	return unit_run();
}
