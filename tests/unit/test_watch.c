/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to a file under a live mapping: each cause is one event, with the reason and the place; nothing is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "watching.h"

/* ---- What others do to the file ---- */

static void by_write(void)
{
	int fd = open(watched_path, O_WRONLY);
	ck_assert_int_eq(pwrite(fd, "x", 1, 100), 1);
	close(fd);
}

static void by_truncate(void)
{
	ck_assert_int_eq(truncate(watched_path, 5000), 0);
}

static const struct {
	void (*act)(void);
	enum pm_event_kind kind;
	enum pm_reason reason;
	uint64_t offset, length;
} deeds[] = {
	{by_write, PM_EVENT_MODIFIED, PM_REASON_MODIFIED, 0, SIZE},
	{by_truncate, PM_EVENT_TRUNCATED, PM_REASON_TRUNCATED, 5000, SIZE - 5000},
};

START_TEST(a_deed_is_announced)
{
	struct pm_mapping *m = watched(&fake_plain);
	deeds[_i].act();
	ck_assert(is_readable(m, WAIT_MS));
	struct pm_event e = only(m);
	ck_assert_int_eq(e.kind, deeds[_i].kind);
	ck_assert_int_eq(e.reason, deeds[_i].reason);
	ck_assert_uint_eq(e.offset, deeds[_i].offset);
	ck_assert_uint_eq(e.length, deeds[_i].length);
	ck_assert_int_eq(e.old_granularity, PM_PAGE);
	ck_assert_int_eq(e.new_granularity, PM_PAGE);
	ck_assert_int_eq(e.old_direct, PM_NO);
	ck_assert(!is_readable(m, 0));
	pm_unmap(m);
}
END_TEST

/* Without a descriptor nothing is announced, but a look still finds what can be seen. */
START_TEST(a_look_without_a_descriptor)
{
	struct pm_event event;
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.sync = PM_AVOID, .direct = PM_AVOID));
	ck_assert_int_eq(only(m).kind, 0);
	by_truncate();
	unit_query(m);
	unit_ok(pm_next_event(m, &event, offsetof(struct pm_event, frames)));
	ck_assert_int_eq(event.kind, PM_EVENT_TRUNCATED);
	ck_assert_int_eq(only(m).kind, 0);
	ck_assert_uint_eq(fake_calls(FAKE_inotify), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- What the kernel does not announce ---- */

static const struct fake_extent with_hole[] = {{.logical = 0, .length = 8192}, {.logical = 16384, .length = 1 << 20}};
static const struct fake_extent with_clone[] = {
	{.logical = 0, .length = 8192}, {.logical = 8192, .length = 1 << 20, .flags = FIEMAP_EXTENT_SHARED}};

static const struct fake_extent grown_with_hole[] =
	{{.logical = 0, .length = SIZE}, {.logical = SIZE + 8192, .length = 1 << 20}};

static void punched(void)
{
	fake.machine.extents = with_hole;
	fake.machine.extent_count = 2;
}

static void cloned(void)
{
	fake.machine.extents = with_clone;
	fake.machine.extent_count = 2;
}

static void not_dax(void)
{
	fake.machine.dax = PM_NO;
	fake.machine.sync = FAKE_REFUSES;
}

static void flagged(void)
{
	fake.machine.has_dax_flag = !fake.machine.has_dax_flag;
}

static void read_only(void)
{
	fake.machine.is_read_only = true;
}

static void shut_down(void)
{
	fake.machine.statx_errno = EIO;
}

static void worn(void)
{
	static const struct fake_health health = {.bad_blocks = "32 8\n"};
	fake.machine.health = &health;
}

static void gone(void)
{
	fake.machine.is_gone = true;
}

static const struct {
	void (*act)(void);
	const struct fake_machine *machine;
	enum pm_event_kind kind;
	enum pm_reason reason, fell_back;
	uint64_t offset, length;
	int error;
} changes[] = {
	{punched, &fake_plain, PM_EVENT_HOLE, PM_REASON_HOLE, 0, 8192, 8192, 0},
	{punched, &fake_dax, PM_EVENT_HOLE, PM_REASON_HOLE, PM_REASON_HOLE, 8192, 8192, 0},
	{cloned, &fake_plain, PM_EVENT_SHARED, PM_REASON_SHARED, 0, 8192, SIZE - 8192, 0},
	{cloned, &fake_dax, PM_EVENT_SHARED, PM_REASON_SHARED, PM_REASON_SHARED, 8192, SIZE - 8192, 0},
	{not_dax, &fake_dax, PM_EVENT_PAGE_CACHE, PM_REASON_PAGE_CACHE, PM_REASON_PAGE_CACHE, 0, SIZE, 0},
	{flagged, &fake_dax, PM_EVENT_DAX_FLAG, PM_REASON_DAX_FLAG, 0, 0, SIZE, 0},
	{read_only, &fake_plain, PM_EVENT_READ_ONLY, PM_REASON_READ_ONLY, 0, 0, SIZE, 0},
	{read_only, &fake_dax, PM_EVENT_READ_ONLY, PM_REASON_READ_ONLY, PM_REASON_READ_ONLY, 0, SIZE, 0},
	{shut_down, &fake_plain, PM_EVENT_FS_OFFLINE, PM_REASON_SHUT_DOWN, 0, 0, SIZE, -EIO},
	{worn, &fake_dax, PM_EVENT_BAD_BLOCKS, PM_REASON_BAD_BLOCKS, 0, 16384, SIZE - 16384, 0},
	{gone, &fake_plain, PM_EVENT_FS_OFFLINE, PM_REASON_DEVICE_GONE, 0, 0, SIZE, -ENODEV},
	{gone, &fake_dax, PM_EVENT_FS_OFFLINE, PM_REASON_DEVICE_GONE, PM_REASON_DEVICE_GONE, 0, SIZE, -ENODEV},
	{shut_down, &fake_dax, PM_EVENT_FS_OFFLINE, PM_REASON_SHUT_DOWN, PM_REASON_SHUT_DOWN, 0, SIZE, -EIO},
};

START_TEST(a_change_is_found)
{
	struct pm_event e;
	struct pm_mapping *m = watched(changes[_i].machine);
	bool fast = pm_granularity_of(m) == PM_CACHE_LINE;
	changes[_i].act();
	if (changes[_i].fell_back) {
		unit_ok(pm_next_event(m, &e, sizeof(e)));
		ck_assert_int_eq(e.kind, PM_EVENT_DEMOTED);
		ck_assert_int_eq(e.reason, changes[_i].fell_back);
		ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	}
	e = only(m);
	ck_assert_int_eq(e.kind, changes[_i].kind);
	ck_assert_int_eq(e.reason, changes[_i].reason);
	ck_assert_uint_eq(e.offset, changes[_i].offset);
	ck_assert_uint_eq(e.length, changes[_i].length);
	ck_assert_int_eq(e.error, changes[_i].error);
	ck_assert_int_eq(e.old_granularity, fast ? PM_CACHE_LINE : PM_PAGE);
	ck_assert_int_eq(e.new_granularity, pm_granularity_of(m));
	unit_query(m);
	ck_assert_int_eq(only(m).kind, 0);
	/* Back again: for the flag that is another change, for the rest no loss. */
	fake.machine = *changes[_i].machine;
	ck_assert_int_eq(only(m).kind, changes[_i].act == flagged ? PM_EVENT_DAX_FLAG : 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Not to know for a while is neither a loss nor the end of what was known. */
START_TEST(a_change_behind_the_unknown)
{
	struct pm_mapping *m = watched(&fake_plain);
	fake.machine.fiemap_errno = EIO;
	ck_assert_int_eq(only(m).kind, 0);
	fake.machine.fiemap_errno = 0;
	punched();
	ck_assert_int_eq(only(m).kind, PM_EVENT_HOLE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Quiet ---- */

START_TEST(nothing_is_no_event)
{
	static const struct fake_machine *const machines[] = {&fake_plain, &fake_dax, &fake_xfs_reflink, &fake_eadr};
	struct pm_mapping *m = watched(machines[_i]);
	volatile char *base = pm_base(m);
	counting.recording = false;
	for (unsigned i = 0, rounds = unit_rounds(20000); i < rounds; i++) {
		base[i * 64 % SIZE] = (char)i;
		unit_expect(pm_persist(m, (char *)pm_base(m) + i * 64 % SIZE, 8) == 0);
		if (i % 1000 == 0)
			unit_query(m);
	}
	unit_ok(pm_sync(m));
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(what_the_library_does_itself_is_no_event)
{
	struct pm_mapping *m = watched(&fake_plain);
	static const uint64_t sizes[] = {SIZE * 2, SIZE, 4096, SIZE};
	for (unsigned i = 0; i < 4; i++) {
		unit_ok(pm_resize(m, sizes[i]));
		ck_assert_int_eq(only(m).kind, 0);
	}
	by_write();
	ck_assert_int_eq(only(m).kind, PM_EVENT_MODIFIED);
	/* Holes of the part that was added. */
	fake.machine.extents = grown_with_hole;
	fake.machine.extent_count = 2;
	unit_ok(pm_resize(m, SIZE * 2));
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
	m = unit_map(unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE | PM_WATCH, .length = SIZE,
	                                            .sync = PM_AVOID, .direct = PM_AVOID));
	for (int i = 0; i < 5; i++)
		unit_query(m);
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* What others did since the last look, pm_resize() does not take for its own. */
START_TEST(what_others_did_before_a_resize_is_told)
{
	struct pm_mapping *m = watched(&fake_dax);
	by_write();
	unit_ok(pm_resize(m, SIZE * 2));
	ck_assert_int_eq(only(m).kind, PM_EVENT_MODIFIED);
	cloned();
	unit_ok(pm_resize(m, SIZE));
	struct pm_event event;
	bool shared = false;
	while (!pm_next_event(m, &event, sizeof(event)))
		shared |= event.kind == PM_EVENT_SHARED;
	ck_assert(shared);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Where MAP_SYNC is not wanted, or means nothing, ext4 still tells by refusing a mapping that it was shut down. */
START_TEST(a_shutdown_is_seen_without_map_sync)
{
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	struct pm_mapping *m =
		unit_map(watched_path, UNIT_OPTIONS(.sync = _i ? PM_AVOID : PM_HINT, .flags = _i / 2 ? PM_PRIVATE : 0));
	while (only(m).kind)
		;
	fake.machine.errno_of_refusal = EIO;
	struct pm_event event = only(m);
	ck_assert_int_eq(event.kind, PM_EVENT_FS_OFFLINE);
	ck_assert_int_eq(event.reason, PM_REASON_SHUT_DOWN);
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A private mapping lives on the same file. */
START_TEST(a_private_mapping_is_told_of_the_end)
{
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_dax);
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.flags = PM_PRIVATE));
	while (only(m).kind)
		;
	(_i ? gone : shut_down)();
	struct pm_event event = only(m);
	ck_assert_int_eq(event.kind, PM_EVENT_FS_OFFLINE);
	ck_assert_int_eq(event.reason, _i ? PM_REASON_DEVICE_GONE : PM_REASON_SHUT_DOWN);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}
END_TEST

/* ---- The queue ---- */

START_TEST(events_not_taken_yet_are_merged)
{
	struct pm_mapping *m = watched(&fake_plain);
	for (int i = 0; i < 100; i++) {
		by_write();
		unit_query(m);
	}
	ck_assert_int_eq(only(m).kind, PM_EVENT_MODIFIED);
	struct pm_event e = {.kind = 0};
	by_truncate();
	unit_query(m);
	ck_assert_int_eq(truncate(watched_path, 100), 0);
	unit_query(m);
	unit_ok(pm_next_event(m, &e, sizeof(e)));
	ck_assert_int_eq(e.kind, PM_EVENT_TRUNCATED);
	ck_assert_uint_eq(e.offset, 100);
	ck_assert_uint_eq(e.length, SIZE - 100);
	pm_unmap(m);
}
END_TEST

/* What may be slow is asked only for a full report. */
START_TEST(the_verdict_alone_is_cheap)
{
	struct pm_report r;
	struct pm_mapping *m = watched(&fake_plain);
	fake_forget();
	unit_ok(pm_query(m, &r, offsetof(struct pm_report, evidence)));
	ck_assert_int_eq(r.reason, PM_REASON_PAGE_CACHE);
	ck_assert_uint_eq(fake_calls(FAKE_cachestat) + fake_calls(FAKE_mincore), 0);
	/* The descriptor of the disk's queue is kept. */
	ck_assert_uint_eq(fake_calls(FAKE_openat), 0);
	ck_assert_uint_eq(fake_syscalls(), 12);
	/* Once it is known what the device lacks, all of it takes little more. */
	unit_ok(pm_query(m, &r, sizeof(r)));
	fake_forget();
	unit_ok(pm_query(m, &r, sizeof(r)));
	ck_assert_uint_eq(fake_calls(FAKE_cachestat), 1);
	ck_assert_uint_eq(fake_calls(FAKE_openat), 0);
	ck_assert_uint_eq(fake_syscalls(), 14);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(bad_input)
{
	struct pm_event e;
	struct pm_mapping *m = watched(&fake_plain);
	ck_assert_int_eq(pm_next_event(m, &e, 4), -EINVAL);
	ck_assert_int_eq(pm_event_fd(m), pm_event_fd(m));
	unit_ok(pm_unmap(m));
	m = unit_map(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = 4096));
	ck_assert_int_eq(pm_event_fd(m), -EOPNOTSUPP);
	unit_ok(pm_unmap(m));
}
END_TEST

static const struct {
	enum fake_call call;
	bool watcher_needs_it, listener_needs_it;
} descriptors[] = {
	{FAKE_inotify, false, true},  {FAKE_inotify_add, false, true},  {FAKE_eventfd, true, true},
	{FAKE_signalfd, true, false}, {FAKE_epoll_create, false, true}, {FAKE_epoll_add, false, true},
	{FAKE_timerfd, false, true},
};

START_TEST(a_descriptor_that_is_not_to_be_had)
{
	bool watcher_needs_it = descriptors[_i].watcher_needs_it, listener_needs_it = descriptors[_i].listener_needs_it;
	struct pm_mapping *m = NULL;
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	fake_fail(descriptors[_i].call, 0, EMFILE);
	ck_assert_int_eq(pm_map(watched_path, UNIT_OPTIONS(.flags = PM_WATCH), &m), watcher_needs_it ? -EMFILE : 0);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
	m = unit_map(watched_path, NULL);
	unsigned open_files = fake_open_files();
	int fd = pm_event_fd(m);
	ck_assert(listener_needs_it ? fd == -EMFILE && fake_open_files() == open_files : fd >= 0);
	fake_fail(descriptors[_i].call, 0, 0);
	ck_assert_int_ge(pm_event_fd(m), 0);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

/* ---- The thread ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	enum pm_event_kind kind;
	pthread_t thread;
} heard = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void hear(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	struct pm_report r;
	(void)arg;
	ck_assert_int_eq(pm_query(m, &r, sizeof(r)), 0);
	if (event->kind == PM_EVENT_DEMOTED)
		return;
	pthread_mutex_lock(&heard.lock);
	heard.kind = event->kind;
	heard.thread = pthread_self();
	pthread_cond_signal(&heard.cond);
	pthread_mutex_unlock(&heard.lock);
}

static atomic_bool wanted;
static pthread_t main_thread;

/* The thread itself makes the change, so that nothing changes under its eyes. */
static void make_read_only(enum fake_call c)
{
	if (c == FAKE_poll && atomic_load(&wanted) && !pthread_equal(pthread_self(), main_thread))
		read_only();
}

START_TEST(a_thread_looks_by_itself)
{
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	main_thread = pthread_self();
	counting.hook = make_read_only;
	/* Both threads have ended once before. */
	unit_ok(pm_unmap(unit_map(watched_path, UNIT_OPTIONS(.flags = PM_WATCH, .on_event = hear))));
	heard.kind = 0;
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.flags = PM_WATCH, .on_event = hear));
	/* Announced, or found by the look that comes round. */
	if (_i)
		atomic_store(&wanted, true);
	else
		by_write();
	pthread_mutex_lock(&heard.lock);
	while (!heard.kind)
		pthread_cond_wait(&heard.cond, &heard.lock);
	ck_assert_int_eq(heard.kind, _i ? PM_EVENT_READ_ONLY : PM_EVENT_MODIFIED);
	ck_assert(!pthread_equal(heard.thread, pthread_self()));
	pthread_mutex_unlock(&heard.lock);
	ck_assert(is_readable(m, WAIT_MS));
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

static atomic_bool done;

static void *store(void *mapping)
{
	while (!atomic_load(&done))
		if (pm_persist(mapping, pm_base(mapping), 64))
			return mapping;
	return NULL;
}

/* Everything at once, for the sanitizers. */
START_TEST(threads_and_a_watch)
{
	pthread_t threads[4];
	struct pm_event event;
	struct pm_report r;
	void *failed;
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_dax);
	counting.recording = false;
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.flags = PM_WATCH, .on_event = hear));
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, store, m), 0);
	for (int i = 0; i < 50; i++) {
		by_write();
		unit_expect(pm_query(m, &r, sizeof(r)) == 0);
		int rc = pm_next_event(m, &event, sizeof(event));
		unit_expect(!rc || rc == -EAGAIN);
	}
	atomic_store(&done, true);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("watch");
	tcase_add_loop_test(c, a_deed_is_announced, 0, (int)COUNT(deeds));
	tcase_add_test(c, a_look_without_a_descriptor);
	tcase_add_loop_test(c, a_change_is_found, 0, (int)COUNT(changes));
	tcase_add_test(c, a_change_behind_the_unknown);
	tcase_add_loop_test(c, nothing_is_no_event, 0, 4);
	tcase_add_test(c, what_the_library_does_itself_is_no_event);
	tcase_add_test(c, what_others_did_before_a_resize_is_told);
	tcase_add_loop_test(c, a_shutdown_is_seen_without_map_sync, 0, 4);
	tcase_add_loop_test(c, a_private_mapping_is_told_of_the_end, 0, 2);
	tcase_add_test(c, events_not_taken_yet_are_merged);
	tcase_add_test(c, the_verdict_alone_is_cheap);
	tcase_add_test(c, bad_input);
	tcase_add_loop_test(c, a_descriptor_that_is_not_to_be_had, 0, (int)COUNT(descriptors));
	tcase_add_loop_test(c, a_thread_looks_by_itself, 0, 2);
	tcase_add_test(c, threads_and_a_watch);
	return unit_run();
}
