/* SPDX-License-Identifier: BSD-3-Clause */
/* The watcher thread and its members, without a mapping. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine/machine.h"
#include "observe/watcher.h"
#include "sys/sys.h"
#include "unit.h"

struct member {
	struct pm_watched watched;
	struct pm_lease lease;
	struct pm_sources sources;
	struct pm_openers openers;
	atomic_bool is_busy, holds, is_held;
	atomic_uint observations, refusals;
	unsigned first; /* of the first looks at all members: which it was */
	const char *path;
};

static unsigned looks;

/* As pm_observe_if_free(): takes what is announced, and gives a broken lease back. */
static bool observe(void *arg)
{
	struct member *m = arg;
	if (atomic_load(&m->is_busy)) {
		atomic_fetch_add(&m->refusals, 1);
		return false;
	}
	atomic_store(&m->is_held, true);
	while (atomic_load(&m->holds))
		usleep(1000);
	if (pm_lease_is_broken(&m->lease)) {
		pm_lease_note_break(&m->lease);
		pm_lease_release(&m->lease);
	}
	pm_sources_take(&m->sources);
	pm_openers_take(&m->openers);
	m->first = m->first ? m->first : ++looks;
	atomic_fetch_add(&m->observations, 1);
	return true;
}

static void join(struct member *m, const char *name, bool takes_lease)
{
	*m = (struct member){.path = unit_file(name, 4096)};
	int fd = open(m->path, O_RDWR | O_CLOEXEC);
	m->lease.fd = m->openers.fd = fd;
	m->watched = (struct pm_watched){
		.lease = &m->lease, .sources = &m->sources, .openers = &m->openers, .observe = observe, .arg = m};
	ck_assert_int_eq(pm_watcher_acquire(), 0);
	pm_watcher_watch(&m->sources, fd);
	m->lease.signalled = pm_watcher_thread_id();
	if (takes_lease)
		pm_lease_take(&m->lease);
	ck_assert_int_eq(atomic_load(&m->lease.is_held), takes_lease);
	pm_watcher_add(&m->watched);
}

static void leave(struct member *m)
{
	pm_watcher_remove(&m->watched);
	pm_sources_remove(&m->sources);
	pm_lease_end(&m->lease);
	close(m->lease.fd);
	pm_watcher_release();
}

static void write_to(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
	close(fd);
}

static void wait_until(atomic_uint *count, unsigned least)
{
	for (int ms = 0; atomic_load(count) < least; ms++) {
		ck_assert_int_lt(ms, 20000);
		usleep(1000);
	}
}

/* Another process opens the file: it waits until the lease is released. */
static void intrude(const char *path)
{
	int status;
	pid_t pid = fork();
	if (!pid)
		_exit(open(path, O_RDONLY) < 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

START_TEST(only_the_file_that_was_written_is_looked_at)
{
	struct member a, b;
	fake_start(&fake_plain);
	join(&a, "a", false);
	join(&b, "b", false);
	unsigned before = atomic_load(&b.observations);
	for (unsigned i = 1; i <= 3; i++) {
		unsigned observations = atomic_load(&a.observations);
		write_to(a.path);
		wait_until(&a.observations, observations + 1);
	}
	/* A tick may have come between. */
	ck_assert_uint_le(atomic_load(&b.observations) - before, 1);
	leave(&a);
	leave(&b);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

START_TEST(every_member_is_looked_at_once_a_second)
{
	struct member a, b;
	fake_start(&fake_plain);
	join(&a, "a", false);
	join(&b, "b", false);
	wait_until(&a.observations, 2);
	wait_until(&b.observations, 2);
	leave(&b);
	leave(&a);
}
END_TEST

/*
 * A mapping that is resized for minutes keeps neither the observations at another nor its lease waiting, and is not
 * forgotten.
 */
START_TEST(a_busy_member_holds_up_no_other)
{
	struct member busy, other;
	fake_start(&fake_plain);
	join(&busy, "busy", false);
	join(&other, "other", true);
	atomic_store(&busy.is_busy, true);
	write_to(busy.path);
	/* Asked again and again, and not only once a second. */
	unsigned ticks = atomic_load(&other.observations);
	wait_until(&busy.refusals, atomic_load(&busy.refusals) + 20);
	ck_assert_uint_lt(atomic_load(&other.observations) - ticks, 10);
	intrude(other.path);
	ck_assert(!atomic_load(&other.lease.is_held));
	unsigned observations = atomic_load(&busy.observations);
	atomic_store(&busy.is_busy, false);
	wait_until(&busy.observations, observations + 1);
	leave(&busy);
	leave(&other);
}
END_TEST

static unsigned scans(void)
{
	const struct fake_record *r;
	unsigned count = 0;
	for (unsigned i = 0; (r = fake_find(FAKE_each_entry, i)); i++)
		count += !strcmp(r->path, "/proc");
	return count;
}

/* However much is announced, and for however many files. */
START_TEST(scans_have_a_pause_between_them)
{
	struct member a, b;
	fake_start(&fake_plain);
	join(&a, "a", false);
	join(&b, "b", false);
	fake_forget();
	pm_openers_announce(&a.openers, false);
	write_to(a.path);
	for (int ms = 0; !scans(); ms++) {
		ck_assert_int_lt(ms, 20000);
		usleep(1000);
	}
	wait_until(&a.observations, atomic_load(&a.observations) + 1);
	atomic_store(&fake.time_stands_still, true);
	pm_openers_announce(&b.openers, false);
	for (int i = 0; i < 10; i++) {
		write_to(i % 2 ? a.path : b.path);
		usleep(10000);
	}
	ck_assert_uint_eq(scans(), 1);
	atomic_store(&fake.time_stands_still, false);
	leave(&a);
	leave(&b);
}
END_TEST

#define TURNS 500u /* of a millisecond each: half a tick */
static struct machine mounts;
static atomic_uint turns_left;
static _Atomic uint64_t own_time;

/* In the first of the turns the table of mounts, which is polled last, has changed. */
static int poll_mounts(struct pollfd *fds, unsigned count, int timeout_ms)
{
	int rc = mounts.below->poll(fds, count, timeout_ms > 1 ? 1 : timeout_ms);
	unsigned left = atomic_load(&turns_left);
	if (left == TURNS)
		fds[count - 1].revents = POLLPRI;
	atomic_fetch_add(&own_time, left > 0);
	atomic_fetch_sub(&turns_left, left > 0);
	return rc + (left == TURNS);
}

static uint64_t show_own_time(void)
{
	return atomic_load(&own_time);
}

/* A remount is announced by no inode. */
START_TEST(a_changed_table_of_mounts_is_a_reason_for_each)
{
	struct member a, b;
	fake_start(&fake_plain);
	machine_put(&mounts, MACHINE(.poll = poll_mounts, .now_ms = show_own_time));
	join(&a, "a", false);
	join(&b, "b", false);
	atomic_store(&turns_left, TURNS);
	while (atomic_load(&turns_left))
		usleep(1000);
	leave(&a);
	leave(&b);
	machine_remove(&mounts);
	ck_assert_uint_eq(atomic_load(&a.observations), 1);
	ck_assert_uint_eq(atomic_load(&b.observations), 1);
}
END_TEST

#define LEASES 8

static bool is_broken(const struct member *m)
{
	return pm_sys_linux.getlease(m->lease.fd) != F_WRLCK;
}

/* While the thread is busy SIGIO is sent for each of them, and is pending once. */
START_TEST(one_signal_may_stand_for_several_leases)
{
	static const char *const names[LEASES] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	struct member slow, m[LEASES];
	int status;
	fake_start(&fake_plain);
	join(&slow, "slow", false);
	for (int i = 0; i < LEASES; i++)
		join(&m[i], names[i], true);
	atomic_store(&slow.holds, true);
	atomic_store(&slow.is_held, false);
	write_to(slow.path);
	while (!atomic_load(&slow.is_held))
		usleep(1000);
	for (int i = 0; i < LEASES; i++)
		if (!fork())
			_exit(open(m[i].path, O_RDONLY) < 0);
	for (int i = 0; i < LEASES; i++)
		while (!is_broken(&m[i]))
			usleep(1000);
	atomic_store(&fake.time_stands_still, true);
	atomic_store(&slow.holds, false);
	for (int i = 0; i < LEASES; i++)
		for (int ms = 0; atomic_load(&m[i].lease.is_held); ms++) {
			ck_assert_int_lt(ms, 20000);
			usleep(1000);
		}
	for (int i = 0; i < LEASES; i++)
		ck_assert(wait(&status) > 0 && !status);
	for (int i = 0; i < LEASES; i++)
		leave(&m[i]);
	leave(&slow);
}
END_TEST

/* All are due, and the thread looks at the first when the lease of the last is broken. */
START_TEST(a_lease_waits_for_one_look_at_most)
{
	struct member first, next, last;
	fake_start(&fake_plain);
	join(&last, "last", true);
	join(&next, "next", false);
	join(&first, "first", false);
	atomic_store(&first.holds, true);
	while (!atomic_load(&first.is_held))
		usleep(1000);
	if (!fork())
		_exit(open(last.path, O_RDONLY) < 0);
	while (!is_broken(&last))
		usleep(1000);
	atomic_store(&first.holds, false);
	wait_until(&next.observations, 1);
	wait_until(&last.observations, 1);
	ck_assert_uint_lt(first.first, last.first);
	ck_assert_uint_lt(last.first, next.first);
	ck_assert_int_gt(wait(NULL), 0);
	leave(&first);
	leave(&next);
	leave(&last);
}
END_TEST

static atomic_uint turns, unasked, most_unasked;

/* A turn of the thread begins with poll(2). */
static void count_turns(enum fake_call c)
{
	if (c == FAKE_getlease)
		atomic_store(&unasked, 0);
	if (c != FAKE_poll)
		return;
	unsigned n = atomic_fetch_add(&unasked, 1) + 1;
	if (n > atomic_load(&most_unasked))
		atomic_store(&most_unasked, n);
	atomic_fetch_add(&turns, 1);
}

/* It stays pending, and may hide the signal of a lease: each turn asks the lease itself. */
START_TEST(a_foreign_signal_hides_no_lease)
{
	struct member m;
	sigset_t own, pending;
	fake_start(&fake_plain);
	sigemptyset(&own);
	sigaddset(&own, SIGIO);
	ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &own, NULL), 0);
	join(&m, "file", true);
	wait_until(&m.observations, 1);
	atomic_store(&fake.time_stands_still, true);
	ck_assert_int_eq(kill(getpid(), SIGIO), 0);
	counting.hook = count_turns;
	wait_until(&turns, 3); /* by then the signal is known */
	atomic_store(&most_unasked, 0);
	wait_until(&turns, atomic_load(&turns) + 10);
	counting.hook = NULL;
	ck_assert_uint_eq(atomic_load(&most_unasked), 1);
	intrude(m.path);
	ck_assert(!atomic_load(&m.lease.is_held));
	ck_assert(!sigpending(&pending) && sigismember(&pending, SIGIO));
	atomic_store(&fake.time_stands_still, false);
	leave(&m);
}
END_TEST

static void *leave_it(void *member)
{
	leave(member);
	return NULL;
}

/* The mapping's memory is freed after it. */
START_TEST(a_member_leaves_after_the_look_at_it)
{
	struct member a, last;
	pthread_t thread;
	fake_start(&fake_plain);
	join(&last, "last", false); /* so that the thread goes on */
	join(&a, "a", false);
	atomic_store(&a.holds, true);
	write_to(a.path);
	while (!atomic_load(&a.is_held))
		usleep(1000);
	ck_assert_int_eq(pthread_create(&thread, NULL, leave_it, &a), 0);
	usleep(50000);
	ck_assert_int_eq(pthread_tryjoin_np(thread, NULL), EBUSY);
	atomic_store(&a.holds, false);
	pthread_join(thread, NULL);
	ck_assert_uint_ge(atomic_load(&a.observations), 1);
	leave(&last);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

static void *come_and_go(void *arg)
{
	struct member m;
	for (int i = 0; i < 100; i++) {
		join(&m, arg, i % 2);
		if (i % 3 == 0)
			write_to(m.path);
		leave(&m);
	}
	return NULL;
}

START_TEST(members_come_and_go)
{
	static char *const names[] = {"a", "b", "c"};
	pthread_t threads[3];
	fake_start(&fake_plain);
	counting.recording = false;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, names[i]), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

/* A program that closes "all" descriptors: the next mapping is watched all the same. */
START_TEST(a_member_that_comes_after_the_descriptors_were_closed)
{
	struct member a, b;
	fake_start(&fake_plain);
	join(&a, "a", false);
	/* The lock of the watcher is taken before and after, for the thread sanitizer. */
	pm_watcher_thread_id();
	for (int fd = 3; fd < 64; fd++)
		if (fd != a.lease.fd)
			close(fd);
	pm_watcher_thread_id();
	join(&b, "b", false);
	ck_assert_int_eq(b.sources.is_watched, PM_YES);
	unsigned observations = atomic_load(&b.observations);
	write_to(b.path);
	wait_until(&b.observations, observations + 1);
	pm_lease_take(&b.lease);
	atomic_store(&fake.time_stands_still, true);
	intrude(b.path);
	ck_assert(!atomic_load(&b.lease.is_held));
	atomic_store(&fake.time_stands_still, false);
	pm_sources_take(&a.sources);
	ck_assert_int_eq(a.sources.is_watched, PM_NO);
	leave(&a);
	leave(&b);
}
END_TEST

static atomic_bool is_looked_at_after_its_end;

static bool observe_after_its_end(void *arg)
{
	(void)arg;
	atomic_store(&is_looked_at_after_its_end, true);
	return true;
}

/* What the memory of a member may hold after it left: another that is due, and the end of the list. */
static void leave_and_forge(struct member *m)
{
	pm_watcher_remove(&m->watched);
	m->watched.observe = observe_after_its_end;
	m->watched.next = NULL;
	m->watched.due = 1;
}

/* While the thread looks at one member, those that it would look at next leave: the next, all, the next but one. */
START_TEST(a_member_that_leaves_is_followed_by_the_next)
{
	struct member first, next, last;
	fake_start(&fake_plain);
	join(&last, "last", false);
	join(&next, "next", false);
	join(&first, "first", false);
	atomic_store(&first.holds, true);
	atomic_store(&first.is_held, false);
	while (!atomic_load(&first.is_held))
		usleep(1000);
	if (_i != 2)
		leave_and_forge(&next);
	if (_i != 0)
		leave_and_forge(&last);
	struct member *stays = _i == 0 ? &last : &next;
	unsigned before[] = {atomic_load(&first.observations), atomic_load(&stays->observations)};
	atomic_store(&first.holds, false);
	wait_until(&first.observations, before[0] + 2);
	if (_i != 1)
		wait_until(&stays->observations, before[1] + 1);
	ck_assert(!atomic_load(&is_looked_at_after_its_end));
	leave(&first);
	leave(&next);
	leave(&last);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("watcher");
	tcase_add_test(c, only_the_file_that_was_written_is_looked_at);
	tcase_add_test(c, every_member_is_looked_at_once_a_second);
	tcase_add_test(c, a_busy_member_holds_up_no_other);
	tcase_add_test(c, scans_have_a_pause_between_them);
	tcase_add_test(c, a_changed_table_of_mounts_is_a_reason_for_each);
	tcase_add_test(c, one_signal_may_stand_for_several_leases);
	tcase_add_test(c, a_lease_waits_for_one_look_at_most);
	tcase_add_test(c, a_foreign_signal_hides_no_lease);
	tcase_add_test(c, a_member_leaves_after_the_look_at_it);
	tcase_add_test(c, members_come_and_go);
	tcase_add_test(c, a_member_that_comes_after_the_descriptors_were_closed);
	tcase_add_loop_test(c, a_member_that_leaves_is_followed_by_the_next, 0, 3);
	return unit_run();
}
