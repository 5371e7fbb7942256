/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Without inotify a mapping is made all the same, says what it misses, and notices the rest by looks. What happens
 * before the first look is noticed as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <string.h>
#include <unistd.h>

#include "leasing.h"

#define SIZE 65536u /* of the file */

static const int errors[] = {EMFILE, ENFILE, ENOSPC, ENOMEM, EPERM, ENOSYS, EACCES, ENOENT};

START_TEST(a_mapping_without_inotify)
{
	char text[1024];
	leased_path = unit_file("file", SIZE);
	fake_start(&fake_dax);
	fake_fail(FAKE_inotify, 0, errors[_i]);
	struct pm_mapping *m =
		unit_map(leased_path, UNIT_OPTIONS(.flags = PM_WATCH, .sync = _i % 2 ? PM_HINT : PM_GUARANTEE));
	const struct pm_report *r = unit_query(m);
	const struct pm_evidence *e = &r->evidence[PM_EV_WATCHED];
	ck_assert_int_eq(r->verdict, PM_VERDICT_MET);
	ck_assert_int_eq(e->state, PM_NO);
	ck_assert_int_eq(e->error, errors[_i]);
	ck_assert_ptr_nonnull(strstr(e->text, "MODIFIED"));
	ck_assert_ptr_nonnull(strstr(e->text, "OPENED"));
	pm_explain(r, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "cannot be watched"));
	/* The limits stand there for these two only. */
	ck_assert_int_eq(strstr(text, "/proc/sys/fs/inotify") != NULL, errors[_i] == EMFILE || errors[_i] == ENOSPC);
	ck_assert_uint_eq(fake_calls(FAKE_inotify), 1);
	/* The kernel does not announce it. */
	ck_assert_int_eq(truncate(leased_path, 5000), 0);
	struct pm_event event = next_of(m, PM_EVENT_TRUNCATED);
	ck_assert_uint_eq(event.offset, 5000);
	ck_assert_int_eq(pm_unmap(m), -ERANGE);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

START_TEST(a_report_tells_who_is_watched)
{
	leased_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(leased_path, NULL);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_WATCHED].state, PM_UNKNOWN);
	ck_assert_int_ge(pm_event_fd(m), 0);
	/* inotify, a timer, the queue, the table of mounts. */
	ck_assert_uint_eq(fake_calls(FAKE_epoll_add), 4);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_WATCHED].state, PM_YES);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_WATCHED].error, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* That the intruder has gone is found by asking for the lease. */
START_TEST(a_lease_without_inotify)
{
	leased_path = unit_file("file", SIZE);
	fake_start(&fake_xfs_reflink);
	fake.recovers = true;
	fake_fail(FAKE_inotify, 0, EMFILE);
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE));
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	for (int i = 0; i < 2; i++) {
		struct intruder x = let_in(O_RDONLY);
		ck_assert_int_eq(next_of(m, PM_EVENT_LEASE_BROKEN).new_granularity, PM_PAGE);
		dismiss(&x);
		next_of(m, PM_EVENT_PROMOTED);
		ck_assert_int_eq(unit_query(m)->evidence[PM_EV_LEASE_HELD].state, PM_YES);
	}
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_WATCHED].state, PM_NO);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

/*
 * The kernel goes on to call a file unnamed that was linked later (fs/dcache.c d_mark_tmpfile), and of a file system
 * that does not answer nothing else is known: that is no lost name.
 */
START_TEST(a_shutdown_takes_no_name)
{
	leased_path = unit_path("new");
	fake_start(_i ? &fake_xfs_reflink : &fake_dax);
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_CREATE, .length = SIZE));
	struct pm_event event;
	while (!pm_next_event(m, &event, sizeof(event)))
		;
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_NAMED].state, PM_YES);
	fake.machine.statx_errno = EIO;
	bool is_offline = false;
	while (!pm_next_event(m, &event, sizeof(event))) {
		ck_assert(event.kind == PM_EVENT_DEMOTED || event.kind == PM_EVENT_FS_OFFLINE);
		ck_assert_int_eq(event.reason, PM_REASON_SHUT_DOWN);
		is_offline |= event.kind == PM_EVENT_FS_OFFLINE;
	}
	ck_assert(is_offline);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->reason, PM_REASON_SHUT_DOWN);
	ck_assert_int_eq(r->evidence[PM_EV_NAMED].state, PM_UNKNOWN);
	ck_assert_int_eq(r->evidence[PM_EV_NAMED].error, EIO);
	pm_unmap(m); /* whose last sync fails */
}
END_TEST

/* ---- Before the first look ---- */

static const struct fake_extent with_hole[] = {{.logical = 0, .length = 8192}, {.logical = 16384, .length = 1 << 20}};
static const struct fake_extent with_clone[] = {
	{.logical = 0, .length = 8192}, {.logical = 8192, .length = 1 << 20, .flags = FIEMAP_EXTENT_SHARED}};

static void hear(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	(void)m;
	*(enum pm_event_kind *)arg = event->kind;
}

static const struct {
	const struct fake_extent *extents; /* two of them; NULL: the file system is shut down */
	unsigned flags;
	bool is_handled;
	enum pm_event_kind kind;
} early[] = {
	{NULL, 0, false, PM_EVENT_FS_OFFLINE},
	{NULL, PM_WATCH, false, PM_EVENT_FS_OFFLINE},
	{with_hole, PM_WATCH, false, PM_EVENT_HOLE},
	{with_hole, 0, true, PM_EVENT_HOLE},
	{with_clone, PM_LEASE, false, PM_EVENT_SHARED},
	{with_clone, 0, true, PM_EVENT_SHARED},
};

/* What happens directly after pm_map() is an event of a mapping that wants events. */
START_TEST(the_first_look_compares_with_the_map)
{
	enum pm_event_kind last = 0;
	leased_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	atomic_store(&fake.watcher_sleeps, true); /* the query looks, once the machine has changed */
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = early[_i].flags, .event_arg = &last,
	                                                          .on_event = early[_i].is_handled ? hear : NULL));
	fake.machine.extents = early[_i].extents;
	fake.machine.extent_count = 2;
	fake.machine.statx_errno = early[_i].extents ? 0 : EIO;
	unit_query(m);
	if (early[_i].is_handled)
		ck_assert_int_eq(last, early[_i].kind);
	else
		ck_assert_int_eq(next_of(m, early[_i].kind).kind, early[_i].kind);
	fake.machine.statx_errno = 0;
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("unwatched");
	tcase_add_loop_test(c, a_shutdown_takes_no_name, 0, 2);
	tcase_add_loop_test(c, a_mapping_without_inotify, 0, (int)(sizeof(errors) / sizeof(errors[0])));
	tcase_add_loop_test(c, the_first_look_compares_with_the_map, 0, (int)(sizeof(early) / sizeof(early[0])));
	tcase_add_test(c, a_report_tells_who_is_watched);
	tcase_add_test(c, a_lease_without_inotify);
	return unit_run();
}
