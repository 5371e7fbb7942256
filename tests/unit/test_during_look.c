/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another process changes the file while this one looks at it: before each system call of the look in turn. What is
 * announced then is as much of a change as what was announced before: it is durable before its event is told, and after
 * the next look in any case.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "watching.h"

static struct pm_mapping *m;
static const char *second;
static const struct deed *deed;
static unsigned calls, at, syncs_before;

static void write_page(void)
{
	int fd = open(watched_path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "x", 1, 8192), 1);
	close(fd);
}

static void punch_and_write(void)
{
	int fd = open(watched_path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 4096), 0);
	close(fd);
	write_page();
}

static void cut_and_grow(void)
{
	ck_assert_int_eq(truncate(watched_path, 8192), 0);
	ck_assert_int_eq(truncate(watched_path, SIZE), 0);
}

static void move_away(void)
{
	ck_assert_int_eq(rename(watched_path, second), 0);
}

static void move_back(void)
{
	ck_assert_int_eq(rename(second, watched_path), 0);
}

static void move_twice(void)
{
	move_away();
	move_back();
}

/* What makes the change durable: of data by a commit of the inode, of the path by a sync of the file and one of all. */
static unsigned commits(void)
{
	return fake_calls(FAKE_msync);
}

static unsigned path_syncs(void)
{
	unsigned files = fake_calls(FAKE_fsync), all = fake_calls(FAKE_syncfs);
	return files < all ? files : all;
}

static const struct deed {
	const char *name;
	void (*before)(void); /* the look, or NULL */
	void (*during)(void);
	unsigned (*syncs)(void);
} deeds[] = {
	{"a write", NULL, write_page, commits},
	{"a write after another", write_page, write_page, commits},
	{"a punch and a write", NULL, punch_and_write, commits},
	{"cut off and grown", NULL, cut_and_grow, commits},
	{"moved away and back", NULL, move_twice, path_syncs},
	{"moved back", move_away, move_back, path_syncs},
};

static void do_it_meanwhile(enum fake_call call)
{
	(void)call;
	if (++calls != at)
		return;
	counting.hook = NULL;
	deed->during();
	syncs_before = deed->syncs();
}

/* false: the look has fewer calls. */
static bool look_while_it_happens(unsigned number)
{
	struct pm_report r;
	calls = 0;
	at = number;
	counting.hook = do_it_meanwhile;
	unit_ok(pm_query(m, &r, offsetof(struct pm_report, evidence)));
	bool happened = !counting.hook;
	counting.hook = NULL;
	return happened;
}

static bool has_told_it(void)
{
	struct pm_event event;
	bool found = false;
	while (!pm_events_take(&m->observed.events, &event))
		found |= event.kind == PM_EVENT_MODIFIED || event.kind == PM_EVENT_HOLE ||
		         event.kind == PM_EVENT_TRUNCATED;
	return found;
}

static void watch_it(const struct pm_options *o)
{
	struct pm_event event;
	fake_start(&fake_dax);
	second = unit_path("second");
	watched_path = unit_file("file", SIZE);
	m = unit_map(watched_path, o);
	ck_assert_int_ge(pm_event_fd(m), 0);
	while (!pm_next_event(m, &event, sizeof(event)))
		;
}

static bool go(unsigned number)
{
	if (deed->before)
		deed->before();
	bool happened = look_while_it_happens(number);
	bool is_durable = deed->syncs() > syncs_before;
	ck_assert_msg(!has_told_it() || !happened || deed->before || is_durable,
	              "%s at call %u: told before it was durable", deed->name, number);
	unit_query(m);
	ck_assert_msg(!happened || deed->syncs() > syncs_before, "%s at call %u: not durable", deed->name, number);
	/* Resized, what was cut off counts again. */
	unit_ok(pm_resize(m, SIZE));
	has_told_it();
	return happened;
}

START_TEST(what_happens_during_a_look_is_made_durable)
{
	unsigned number = 1;
	deed = &deeds[_i];
	watch_it(UNIT_OPTIONS(.sync = PM_GUARANTEE));
	while (go(number))
		number += unit_stride();
	ck_assert_uint_gt(number, 5);
	unit_ok(pm_unmap(m));
}
END_TEST

static unsigned failures_told(void)
{
	struct pm_event event;
	unsigned count = 0;
	while (!pm_next_event(m, &event, sizeof(event)))
		count += event.kind == PM_EVENT_WRITE_BACK_FAILED;
	return count;
}

static void write_while_gathering(enum fake_call call)
{
	if (call != FAKE_memfd_create)
		return;
	counting.hook = NULL;
	write_page();
}

/*
 * A sync fails, of what was announced before the look or during it: the look reports it. After the error was cleared
 * the next look makes it again.
 */
START_TEST(what_could_not_be_made_durable_is_not_forgotten)
{
	deed = &deeds[0];
	watch_it(NULL);
	fake.recovers = true;
	if (_i)
		counting.hook = write_while_gathering;
	else
		write_page();
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(unit_query(m)->error, -EIO);
	ck_assert_ptr_null(counting.hook);
	ck_assert_uint_eq(failures_told(), 1);
	unit_query(m);
	ck_assert_uint_eq(failures_told(), 0);
	unit_ok(pm_clear_error(m));
	syncs_before = commits();
	unit_query(m);
	ck_assert_uint_gt(commits(), syncs_before);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A path that cannot be synced is tried again by each look, and told once; one that was synced is left alone. */
START_TEST(a_path_is_synced_until_it_is_durable)
{
	m = watched(&fake_dax);
	second = unit_path("second");
	move_twice();
	fake_fail(FAKE_fsync, 0, EIO);
	ck_assert_uint_eq(failures_told(), 1);
	for (int i = 0; i < 3; i++) {
		fake_forget();
		unit_query(m);
		ck_assert_uint_gt(fake_calls(FAKE_fsync), 0);
		ck_assert_uint_eq(failures_told(), 0);
	}
	fake_fail(FAKE_fsync, 0, 0);
	unit_query(m);
	fake_forget();
	unit_query(m);
	ck_assert_uint_eq(fake_calls(FAKE_syncfs) + fake_calls(FAKE_fsync), 0);
	ck_assert_int_eq(pm_unmap(m), -EIO);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("during_look");
	tcase_add_loop_test(c, what_could_not_be_made_durable_is_not_forgotten, 0, 2);
	tcase_add_loop_test(c, what_happens_during_a_look_is_made_durable, 0, (int)(sizeof(deeds) / sizeof(deeds[0])));
	tcase_add_test(c, a_path_is_synced_until_it_is_durable);
	return unit_run();
}
