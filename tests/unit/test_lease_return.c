/* SPDX-License-Identifier: BSD-3-Clause */
/* Leases at their edges: lost while the mapping is made, mended late, handlers and signals that are in the way. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leasing.h"

static void break_it(struct pm_mapping *m)
{
	struct intruder x = let_in(O_RDONLY);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	dismiss(&x);
}

/* ---- While the mapping is made ---- */

static void lose_it_meanwhile(enum fake_call c)
{
	if (c == FAKE_mmap)
		fake_fail(FAKE_getlease, 0, EBADF);
}

START_TEST(lost_before_the_mapping_is_there)
{
	struct pm_mapping *m = NULL;
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_xfs_reflink);
	counting.hook = lose_it_meanwhile;
	atomic_store(&fake.watcher_sleeps, _i);
	ck_assert_int_eq(pm_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE), &m), -EAGAIN);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "another process is opening the file"));
	ck_assert_uint_eq(fake_open_files(), 0);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
	fake_fail(FAKE_getlease, 0, 0);
	m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE));
	/* A thread may have the lease again by now. */
	if (_i)
		ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	ck_assert_int_eq(next_event(m).kind, PM_EVENT_LEASE_BROKEN);
	unit_ok(pm_unmap(m));
}
END_TEST

/*
 * A mapping that was refused the lease promised nothing, and its path was not synced: it is before lines are promised,
 * and a failure of that sync is no loss of the file's.
 */
START_TEST(a_lease_that_comes_later_waits_for_the_path)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_xfs_reflink);
	atomic_store(&fake.watcher_sleeps, true);
	fake_fail(FAKE_setlease, 0, EAGAIN);
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE));
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 0);
	fake_fail(FAKE_setlease, 0, 0);
	fake_fail(FAKE_syncfs, 0, EIO);
	for (int i = 0; i < 20; i++) {
		observe(m);
		ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	}
	ck_assert_uint_gt(fake_calls(FAKE_syncfs), 0);
	fake_fail(FAKE_syncfs, 0, 0);
	for (int i = 0; pm_granularity_of(m) == PM_PAGE && i < WAIT_MS; i++) {
		observe(m);
		usleep(1000);
	}
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- The caller's descriptor ---- */

START_TEST(a_descriptor_comes_back_as_it_was)
{
	struct pm_mapping *m = NULL;
	struct f_owner_ex owner = {F_OWNER_PID, getppid()}, now;
	leased_path = unit_file("file", 1 << 20);
	int fd = open(leased_path, O_RDWR | O_CLOEXEC);
	ck_assert(!fcntl(fd, F_SETOWN_EX, &owner) && !fcntl(fd, F_SETSIG, SIGUSR1));
	fake_start(&fake_xfs_reflink);
	/* Before the lease, with it, and after the mapping is made. */
	fake_fail(_i == 0 ? FAKE_eventfd : _i == 1 ? FAKE_mmap : FAKE_statx, 0, ENOMEM);
	ck_assert_int_ne(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE), &m), 0);
	ck_assert_int_eq(fcntl(fd, F_GETLEASE), F_UNLCK);
	ck_assert_int_eq(fcntl(fd, F_GETSIG), SIGUSR1);
	ck_assert_int_eq(fcntl(fd, F_GETOWN_EX, &now), 0);
	ck_assert_int_eq(now.type, owner.type);
	ck_assert_int_eq(now.pid, owner.pid);
	close(fd);
}
END_TEST

START_TEST(a_descriptor_with_a_lease_is_refused)
{
	struct pm_mapping *m = NULL;
	leased_path = unit_file("file", 1 << 20);
	int fd = open(leased_path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
	fake_start(&fake_xfs_reflink);
	ck_assert_int_eq(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_LEASE), &m), -EBUSY);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "has a lease already"));
	ck_assert_int_eq(fcntl(fd, F_GETLEASE), F_WRLCK);
	close(fd);
}
END_TEST

/* ---- Handlers and signals ---- */

static atomic_bool held_up, go_on;
static atomic_uint told;

static void hold_up(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	(void)m;
	(void)event;
	(void)arg;
	atomic_fetch_add(&told, 1);
	atomic_store(&held_up, true);
	while (!atomic_load(&go_on))
		usleep(1000);
}

START_TEST(a_handler_that_takes_long_keeps_nobody_waiting)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_xfs_reflink);
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .on_event = hold_up));
	for (int i = 0; i < 3; i++) {
		break_it(m);
		next_of(m, PM_EVENT_PROMOTED);
	}
	while (!atomic_load(&held_up))
		usleep(1000);
	ck_assert_uint_eq(atomic_load(&told), 1);
	atomic_store(&go_on, true);
	/* Events that are still waiting are delivered before the end, equal ones once. */
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(atomic_load(&told), 3);
}
END_TEST

static _Thread_local bool in_handler;
static atomic_bool in_look, is_released;
static struct pm_mapping *ending;

static bool has_waiter(struct pm_turns *turns)
{
	pthread_mutex_lock(&turns->lock);
	bool waits = turns->first;
	pthread_mutex_unlock(&turns->lock);
	return waits;
}

/* The look of the handler stops at its first ioctl(2) until the end of the mapping waits, or has not waited. */
static void stop_in_look(enum fake_call c)
{
	if (c == FAKE_setlease && !in_handler && atomic_load(&in_look))
		atomic_store(&is_released, true);
	if (c != FAKE_ioctl || !in_handler || atomic_load(&in_look))
		return;
	atomic_store(&in_look, true);
	while (!has_waiter(&ending->observed.turns) && !atomic_load(&is_released))
		usleep(1000);
	counting.hook = NULL;
}

static void query_when_promoted(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	(void)arg;
	if (event->kind != PM_EVENT_PROMOTED)
		return;
	in_handler = true;
	unit_query(m);
	in_handler = false;
}

START_TEST(no_lease_ends_within_a_look)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_xfs_reflink);
	ending = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .on_event = query_when_promoted));
	counting.hook = stop_in_look;
	break_it(ending);
	while (!atomic_load(&in_look))
		usleep(1000);
	unit_ok(pm_unmap(ending));
	ck_assert(!atomic_load(&is_released));
}
END_TEST

/* One that the process keeps blocked to wait for it is not the library's to take. */
START_TEST(the_applications_signal_stays_pending)
{
	sigset_t io, pending;
	siginfo_t info;
	struct timespec now = {0, 0};
	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &io, NULL), 0);
	struct pm_mapping *m = lease(0);
	ck_assert_int_eq(kill(getpid(), SIGIO), 0);
	fake_forget();
	usleep(300000);
	/* Nor does it keep the thread busy: it sleeps 10 ms between looks. */
	ck_assert_uint_lt(fake_calls(FAKE_poll), 1000);
	for (int i = 0; i < 3; i++) {
		break_it(m);
		next_of(m, PM_EVENT_PROMOTED);
	}
	unit_ok(pm_unmap(m));
	ck_assert(!sigpending(&pending) && sigismember(&pending, SIGIO));
	ck_assert_int_eq(sigtimedwait(&io, &info, &now), SIGIO);
	ck_assert_int_eq(info.si_code, SI_USER);
}
END_TEST

/* ---- The way back ---- */

/* Without another intruder: what stood in the way goes away by itself, or by pm_clear_error(). */
START_TEST(promoted_as_soon_as_it_can_be)
{
	struct pm_mapping *m = lease(0);
	enum fake_call broken = _i ? FAKE_madvise : FAKE_fsync;
	fake_fail(broken, 0, ENOSPC);
	if (_i)
		atomic_store(&deed, share_extents);
	fake_forget();
	break_it(m);
	while (fake_calls(broken) < 1 + (unsigned)_i)
		usleep(1000);
	/* What was counted may not have failed yet. */
	while (!_i && !pm_errors_current(&m->errors))
		usleep(1000);
	fake_fail(broken, 0, 0);
	if (!_i) {
		ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -ENOSPC);
		unit_ok(pm_clear_error(m));
	}
	next_of(m, PM_EVENT_PROMOTED);
	ck_assert_int_eq(unit_query(m)->granularity, PM_CACHE_LINE);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_write_back_that_fails_at_the_break_is_told_then)
{
	struct pm_mapping *m = lease(0);
	fake_fail(FAKE_msync, 1, EIO);
	struct intruder x = intrude(O_RDONLY);
	struct pm_event event = next_of(m, PM_EVENT_WRITE_BACK_FAILED);
	ck_assert_int_eq(event.error, -EIO);
	dismiss(&x);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	while (!pm_next_event(m, &event, sizeof(event)))
		ck_assert_int_ne(event.kind, PM_EVENT_WRITE_BACK_FAILED);
	unit_ok(pm_clear_error(m));
	next_of(m, PM_EVENT_PROMOTED);
	unit_ok(pm_unmap(m));
}
END_TEST

static void *visit(void *arg)
{
	bool *writes = arg;
	int fd = open(leased_path, O_RDWR);
	ck_assert_int_eq(*writes ? pwrite(fd, "x", 1, 0) : pread(fd, &(char){0}, 1, 0), 1);
	close(fd);
	return NULL;
}

/* The library writes as well, when it mends: that is no news, but what others wrote before is. */
START_TEST(what_the_intruder_wrote_is_told_after_mending)
{
	pthread_t intruder;
	bool writes = _i, told_of[PM_EVENT_BAD_BLOCKS + 1] = {false};
	struct pm_event event;
	struct pm_mapping *m = lease_unobserved(PM_PREPARE);
	ck_assert_int_ge(pm_event_fd(m), 0);
	ck_assert_int_eq(pthread_create(&intruder, NULL, visit, &writes), 0);
	wait_for_break(m);
	ck_assert_int_eq(next_event(m).kind, PM_EVENT_LEASE_BROKEN);
	pthread_join(intruder, NULL);
	fake_forget();
	while (!told_of[PM_EVENT_PROMOTED] || (writes && !told_of[PM_EVENT_MODIFIED]))
		told_of[next_event(m).kind] = true;
	ck_assert_uint_gt(fake_calls(FAKE_fallocate_keep_size), 0);
	ck_assert_int_eq(pm_next_event(m, &event, sizeof(event)), -EAGAIN);
	ck_assert(told_of[PM_EVENT_MODIFIED] == writes);
	unit_ok(pm_unmap(m));
}
END_TEST

static struct pm_mapping *moved;
static enum pm_granularity at_sync;

static void note_granularity(enum fake_call call)
{
	if (call == FAKE_syncfs && at_sync == PM_GRANULARITY_UNKNOWN)
		at_sync = pm_granularity_of(moved);
}

START_TEST(the_path_is_durable_before_lines_return)
{
	moved = lease_unobserved(PM_PREPARE);
	const char *other = unit_path("other");
	ck_assert_int_ge(pm_event_fd(moved), 0);
	struct intruder x = intrude(O_RDONLY);
	wait_for_break(moved);
	ck_assert_int_eq(next_event(moved).kind, PM_EVENT_LEASE_BROKEN);
	ck_assert(is_in(&x, WAIT_MS));
	ck_assert_int_eq(rename(leased_path, other), 0);
	ck_assert_int_eq(rename(other, leased_path), 0);
	dismiss(&x);
	at_sync = PM_GRANULARITY_UNKNOWN;
	counting.hook = note_granularity;
	next_of(moved, PM_EVENT_PROMOTED);
	ck_assert_int_eq(at_sync, PM_PAGE);
	counting.hook = NULL;
	unit_ok(pm_unmap(moved));
}
END_TEST

/*
 * With the lease no other process has the file open, and a process that waits for it would wait for the search as well.
 */
START_TEST(nobody_is_searched_for_under_a_lease)
{
	struct pm_event event;
	struct pm_mapping *m = lease_unobserved(PM_PREPARE);
	ck_assert_int_ge(pm_event_fd(m), 0);
	struct intruder x = intrude(O_RDWR);
	wait_for_break(m);
	ck_assert_int_eq(next_event(m).kind, PM_EVENT_LEASE_BROKEN);
	ck_assert(is_in(&x, WAIT_MS));
	dismiss(&x);
	/* That it has closed the file is announced. It may have been searched for before. */
	fake_forget();
	fake_timer_goes_off();
	next_of(m, PM_EVENT_PROMOTED);
	while (!pm_next_event(m, &event, sizeof(event)))
		;
	ck_assert_uint_eq(fake_calls(FAKE_each_entry), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A clone that is over before the next look: what it shared is unshared, and reported all the same. */
START_TEST(what_a_quick_intruder_shared_is_told)
{
	pthread_t intruder;
	bool writes = false, told_of[PM_EVENT_BAD_BLOCKS + 1] = {false};
	struct pm_mapping *m = lease_unobserved(0);
	ck_assert_int_eq(pthread_create(&intruder, NULL, visit, &writes), 0);
	wait_for_break(m);
	ck_assert_int_eq(next_event(m).kind, PM_EVENT_LEASE_BROKEN);
	pthread_join(intruder, NULL);
	share_extents();
	while (!told_of[PM_EVENT_PROMOTED])
		told_of[next_event(m).kind] = true;
	struct pm_event event;
	while (!pm_next_event(m, &event, sizeof(event)))
		told_of[event.kind] = true;
	ck_assert(told_of[PM_EVENT_SHARED]);
	unit_ok(pm_unmap(m));
}
END_TEST

static void lose_it_at_the_fsync(enum fake_call c)
{
	if (c == FAKE_fsync)
		fake_fail(FAKE_getlease, 1, EBADF);
}

/* Not the look that finds it lost, the promotion itself must not stand on what was true before. */
START_TEST(a_lease_lost_while_mending_promotes_nothing)
{
	struct pm_mapping *m = lease_unobserved(0);
	pthread_t intruder;
	bool writes = false;
	ck_assert_int_eq(pthread_create(&intruder, NULL, visit, &writes), 0);
	wait_for_break(m);
	ck_assert_int_eq(next_event(m).kind, PM_EVENT_LEASE_BROKEN);
	pthread_join(intruder, NULL);
	counting.hook = lose_it_at_the_fsync;
	fake_forget();
	while (!fake_calls(FAKE_fsync))
		observe(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ext4 returns 0 from the fsync then, and syncs nothing: what the intruder did to the metadata is not durable. */
START_TEST(a_file_system_made_read_only_promotes_nothing)
{
	struct pm_mapping *m = lease_unobserved(0);
	fake_fail(FAKE_getlease, 0, EAGAIN);
	unit_query(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	fake_fail(FAKE_getlease, 0, 0);
	fake.machine.is_read_only = true;
	fake_forget();
	for (int i = 0; i < 100; i++)
		observe(m);
	ck_assert_uint_eq(fake_calls(FAKE_fsync), 0);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_READ_ONLY);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EROFS);
	fake.machine.is_read_only = false;
	unit_ok(pm_clear_error(m));
	for (int i = 0; i < 100 && pm_granularity_of(m) == PM_PAGE; i++)
		observe(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- The end ---- */

/* No call acknowledged that the guarantee was lost: pm_unmap() returns it, and nothing else is lost with it. */
START_TEST(an_end_after_a_loss_writes_back_all_the_same)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_xfs_reflink);
	struct pm_mapping *m =
		unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE | PM_FAIL_ON_DEMOTION, .sync = PM_GUARANTEE));
	struct intruder x = let_in(O_RDONLY);
	ck_assert_int_eq(pm_flush(m, pm_base(m), 64), -PM_ENOTSYNC);
	fake_forget();
	ck_assert_int_eq(pm_unmap(m), -PM_ENOTSYNC);
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	dismiss(&x);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("lease_return");
	tcase_add_test(c, a_lease_that_comes_later_waits_for_the_path);
	tcase_add_loop_test(c, lost_before_the_mapping_is_there, 0, 2);
	tcase_add_loop_test(c, a_descriptor_comes_back_as_it_was, 0, 3);
	tcase_add_test(c, a_descriptor_with_a_lease_is_refused);
	tcase_add_test(c, a_handler_that_takes_long_keeps_nobody_waiting);
	tcase_add_test(c, no_lease_ends_within_a_look);
	tcase_add_test(c, the_applications_signal_stays_pending);
	tcase_add_loop_test(c, promoted_as_soon_as_it_can_be, 0, 2);
	tcase_add_test(c, a_write_back_that_fails_at_the_break_is_told_then);
	tcase_add_test(c, the_path_is_durable_before_lines_return);
	tcase_add_loop_test(c, what_the_intruder_wrote_is_told_after_mending, 0, 2);
	tcase_add_test(c, nobody_is_searched_for_under_a_lease);
	tcase_add_test(c, what_a_quick_intruder_shared_is_told);
	tcase_add_test(c, a_lease_lost_while_mending_promotes_nothing);
	tcase_add_test(c, a_file_system_made_read_only_promotes_nothing);
	tcase_add_test(c, an_end_after_a_loss_writes_back_all_the_same);
	return unit_run();
}
