/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another process opens a mapped file for writing: one event. /proc is searched for it, which may
 * take long: not too often, and no thread waits that did not ask.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mapping/mapping.h"
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
	enum pm_reason reason; /* none: no event */
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
	/* A process that only reads makes the search begin, which must not find what a child inherited. */
	int fd = open(watched_path, O_RDONLY);
	struct pm_event e = only(m);
	ck_assert_int_eq(e.reason, openings[_i].reason);
	ck_assert_int_eq(e.kind, e.reason ? PM_EVENT_OPENED : 0);
	close(fd);
	ck_assert_int_eq(only(m).kind, 0);
	/* Another opening makes it look again, and find the process that was found before. */
	close(open(watched_path, O_RDONLY));
	ck_assert_int_eq(only(m).kind, 0);
	close(told[1]);
	waitpid(pid, NULL, 0);
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A search that began too early may be under way, or the pause after it, which ends when the test says so. */
static struct pm_event awaited(struct pm_mapping *m)
{
	struct pm_event e;
	for (int tries = 0; pm_next_event(m, &e, sizeof(e)); tries++) {
		ck_assert_int_lt(tries, WAIT_MS / 10);
		fake_timer_goes_off();
		is_readable(m, 10);
	}
	return e;
}

static bool knows_a_writer(struct pm_mapping *m)
{
	pm_turns_take(&m->observed.turns);
	bool is_known = m->observed.openers.writer;
	pm_turns_give(&m->observed.turns);
	return is_known;
}

/* When the last writer has closed the file, the next one is an event again. */
START_TEST(each_writer_is_told)
{
	int told[2];
	struct pm_mapping *m = watched(&fake_plain);
	if (unit_is_emulated())
		return;
	for (int i = 0; i < 3; i++) {
		pid_t pid = child(open_to_write, told);
		ck_assert_int_eq(awaited(m).reason, PM_REASON_OPENED_WRITING);
		ck_assert_int_eq(only(m).kind, 0);
		close(told[1]);
		waitpid(pid, NULL, 0);
		for (int tries = 0; knows_a_writer(m); tries++) {
			ck_assert_int_lt(tries, WAIT_MS / 10);
			fake_timer_goes_off();
			ck_assert_int_eq(only(m).kind, 0);
			usleep(10000);
		}
	}
	unit_ok(pm_unmap(m));
}
END_TEST

/* One of several writers uses O_DIRECT: which is found last makes no difference. This process itself is no other. */
START_TEST(one_of_several_is_direct)
{
	int told[2][2];
	struct pm_mapping *m = watched(&fake_plain);
	int own = open(watched_path, O_RDWR);
	fake_timer_goes_off();
	ck_assert_int_eq(unit_is_emulated() ? 0 : only(m).kind, 0);
	pid_t first = child(_i ? open_direct : open_to_write, told[0]);
	pid_t second = child(_i ? open_to_write : open_direct, told[1]);
	/* O_DIRECT is not on every file system. */
	if (!unit_is_emulated() && first && second) {
		struct pm_event e = awaited(m);
		if (!_i && e.reason == PM_REASON_OPENED_WRITING) /* found alone */
			e = awaited(m);
		ck_assert_int_eq(e.reason, PM_REASON_OPENED_DIRECT);
	}
	/* The second has inherited what the first waits for. */
	if (second) {
		close(told[1][1]);
		waitpid(second, NULL, 0);
	}
	if (first) {
		close(told[0][1]);
		waitpid(first, NULL, 0);
	}
	close(own);
	unit_ok(pm_unmap(m));
}
END_TEST

static pid_t early;
static atomic_bool has_begun;
static int early_told[2];

static void open_as_the_search_begins(enum fake_call c)
{
	if (c != FAKE_each_entry || atomic_exchange(&has_begun, true))
		return;
	early = child(open_to_write, early_told);
}

/* What had the file open before pm_map() is no event. What opens it before the first search has looked is one. */
START_TEST(an_opening_before_the_first_search)
{
	struct pm_event event;
	bool is_told = false;
	if (unit_is_emulated())
		return;
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	if (!_i)
		early = child(open_to_write, early_told);
	/* The watcher thread searches, or the first pm_event_fd(). */
	counting.hook = _i ? open_as_the_search_begins : NULL;
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.flags = _i == 2 ? PM_WATCH : 0));
	ck_assert_int_ge(pm_event_fd(m), 0);
	do {
		while (!pm_next_event(m, &event, sizeof(event)))
			is_told |= event.kind == PM_EVENT_OPENED;
	} while (_i == 2 && !is_told && is_readable(m, WAIT_MS));
	ck_assert_int_gt(early, 0);
	ck_assert_int_eq(is_told, _i > 0);
	close(early_told[1]);
	waitpid(early, NULL, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- The search ---- */

/* A process has the file open, and closes it again. */
static void peek(void)
{
	int fd = open(watched_path, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	close(fd);
}

static unsigned searches(void)
{
	const struct fake_record *r;
	unsigned count = 0;
	for (unsigned i = 0; (r = fake_find(FAKE_each_entry, i)); i++)
		count += !strcmp(r->path, "/proc");
	return count;
}

START_TEST(searches_have_a_pause_between_them)
{
	int told[2];
	struct pm_mapping *m = watched(&fake_plain);
	fake_forget();
	for (int i = 0; i < 10; i++) {
		peek();
		ck_assert_int_eq(only(m).kind, 0);
		ck_assert_uint_eq(searches(), 1);
	}
	if (unit_is_emulated())
		return;
	pid_t pid = child(open_to_write, told);
	ck_assert_int_eq(only(m).kind, 0);
	/* The descriptor does not wake a poll in vain meanwhile, and nothing is forgotten. */
	ck_assert(!is_readable(m, 0));
	fake_timer_goes_off();
	ck_assert(is_readable(m, WAIT_MS));
	ck_assert_int_eq(only(m).kind, PM_EVENT_OPENED);
	ck_assert_uint_eq(searches(), 2);
	ck_assert_uint_eq(fake_find(FAKE_timer_set, fake_calls(FAKE_timer_set) - 1)->length, 1000);
	/* A pause may end without anything to do. */
	fake_timer_goes_off();
	ck_assert(is_readable(m, WAIT_MS));
	ck_assert_int_eq(only(m).kind, 0);
	ck_assert(!is_readable(m, 0));
	ck_assert_uint_eq(searches(), 2);
	close(told[1]);
	waitpid(pid, NULL, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_query_leaves_the_search_to_others)
{
	struct pm_mapping *m = watched(&fake_plain);
	fake_forget();
	peek();
	unit_query(m);
	ck_assert_uint_eq(searches(), 0);
	ck_assert(is_readable(m, WAIT_MS));
	ck_assert_int_eq(only(m).kind, 0);
	ck_assert_uint_eq(searches(), 1);
	ck_assert(!is_readable(m, 0));
	unit_ok(pm_unmap(m));
}
END_TEST

static pthread_t main_thread;
static atomic_bool slow, inside, go_on, too_long;

/* Takes until the test says so, where it is not the test that searches. */
static void search_slowly(enum fake_call c)
{
	if (c != FAKE_each_entry || !atomic_load(&slow) || pthread_equal(pthread_self(), main_thread))
		return;
	atomic_store(&inside, true);
	for (int ms = 0; ms < 5000 && !atomic_load(&go_on); ms++)
		usleep(1000);
	if (!atomic_exchange(&go_on, true))
		atomic_store(&too_long, true);
}

static struct pm_mapping *slowly_watched(unsigned flags)
{
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	main_thread = pthread_self();
	counting.hook = search_slowly;
	return unit_map(watched_path, UNIT_OPTIONS(.flags = flags));
}

static void *ask_for_the_descriptor(void *m)
{
	unit_expect(pm_event_fd(m) >= 0);
	return NULL;
}

static void *ask_for_an_event(void *m)
{
	struct pm_event event;
	int rc = pm_next_event(m, &event, sizeof(event));
	unit_expect(!rc || rc == -EAGAIN);
	return NULL;
}

START_TEST(nobody_waits_for_a_search)
{
	static void *(*const ways[])(void *) = {NULL, ask_for_the_descriptor, ask_for_an_event};
	struct pm_mapping *m = slowly_watched(_i == 0 ? PM_WATCH : 0);
	struct pm_event event;
	pthread_t thread;
	while (!pm_next_event(m, &event, sizeof(event)))
		;
	if (_i == 2)
		ck_assert_int_ge(pm_event_fd(m), 0);
	atomic_store(&slow, true);
	peek();
	if (_i)
		ck_assert_int_eq(pthread_create(&thread, NULL, ways[_i], m), 0);
	while (!atomic_load(&inside))
		usleep(1000);
	peek();
	unit_query(m);
	ck_assert_int_eq(pm_next_event(m, &event, sizeof(event)), -EAGAIN);
	ck_assert(!atomic_load(&too_long));
	atomic_store(&go_on, true);
	if (_i)
		pthread_join(thread, NULL);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

static bool has_baseline(struct pm_mapping *m)
{
	pm_turns_take(&m->observed.turns);
	bool is_done = m->observed.openers.baseline_done;
	pm_turns_give(&m->observed.turns);
	return is_done;
}

static void *unmap(void *m)
{
	unit_ok(pm_unmap(m));
	return NULL;
}

/* The thread cannot be waited for either: of what is in /proc it looks into nothing more. */
START_TEST(unmapping_ends_a_search)
{
	pthread_t thread;
	struct pm_mapping *m = slowly_watched(PM_WATCH);
	while (!has_baseline(m))
		usleep(1000);
	atomic_store(&slow, true);
	fake_forget();
	peek();
	while (!atomic_load(&inside))
		usleep(1000);
	ck_assert_int_eq(pthread_create(&thread, NULL, unmap, m), 0);
	/* By then the file is no target of the scan any more. */
	while (!fake_calls(FAKE_inotify_remove))
		usleep(1000);
	atomic_store(&go_on, true);
	pthread_join(thread, NULL);
	ck_assert(!atomic_load(&too_long));
	ck_assert_uint_eq(fake_calls(FAKE_each_entry), 1);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("opened");
	tcase_add_loop_test(c, an_opening_is_told_once, 0, sizeof(openings) / sizeof(openings[0]));
	tcase_add_loop_test(c, an_opening_before_the_first_search, 0, 3);
	tcase_add_test(c, searches_have_a_pause_between_them);
	tcase_add_test(c, a_query_leaves_the_search_to_others);
	tcase_add_loop_test(c, nobody_waits_for_a_search, 0, 3);
	tcase_add_test(c, unmapping_ends_a_search);
	tcase_add_test(c, each_writer_is_told);
	tcase_add_loop_test(c, one_of_several_is_direct, 0, 2);
	return unit_run();
}
