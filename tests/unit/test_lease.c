/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Leases: the kernel's own, on real files, with other processes as intruders; the medium under them is that of the fake
 * machine. What the kernel then does on XFS is shown in the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasing.h"

START_TEST(a_lease_makes_sharing_impossible)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_xfs_reflink);
	struct pm_mapping *m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE));
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->granularity, PM_CACHE_LINE);
	ck_assert_int_eq(r->grade, PM_GRADE_PROVEN);
	ck_assert_int_eq(r->verdict, PM_VERDICT_MET);
	ck_assert_int_eq(r->evidence[PM_EV_LEASE_HELD].state, PM_YES);
	ck_assert_int_eq(r->evidence[PM_EV_LEASE_POSSIBLE].state, PM_YES);
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 64));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 0);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}
END_TEST

START_TEST(a_probe_takes_the_lease_as_given)
{
	struct pm_report r;
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_xfs_reflink);
	unit_ok(pm_probe(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE), &r, sizeof(r)));
	ck_assert_int_eq(r.verdict, PM_VERDICT_MET);
	ck_assert_int_eq(r.evidence[PM_EV_LEASE_HELD].state, PM_NO);
	ck_assert_uint_eq(fake_calls(FAKE_setlease), 0);
	unit_ok(pm_probe(leased_path, UNIT_OPTIONS(.sync = PM_GUARANTEE), &r, sizeof(r)));
	ck_assert_int_eq(r.verdict, PM_VERDICT_REFUSED);
}
END_TEST

START_TEST(somebody_has_it_open_already)
{
	struct pm_mapping *m = NULL;
	leased_path = unit_file("file", 1 << 20);
	struct intruder x = let_in(O_RDONLY);
	fake_start(&fake_xfs_reflink);
	atomic_store(&fake.watcher_sleeps, _i);
	ck_assert_int_eq(pm_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE), &m), -EAGAIN);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "cannot take the lease: the file is open elsewhere"));
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), ": close it there"));
	ck_assert_uint_eq(fake_open_files(), 0);
	m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE));
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_LEASE_REFUSED);
	ck_assert_int_eq(r->advice, PM_ADVICE_CLOSE_OTHER_OPENS);
	ck_assert_int_eq(r->evidence[PM_EV_LEASE_POSSIBLE].error, EAGAIN);
	dismiss(&x);
	struct pm_event event = next_of(m, PM_EVENT_PROMOTED);
	ck_assert_int_eq(event.old_granularity, PM_PAGE);
	ck_assert_int_eq(event.new_granularity, PM_CACHE_LINE);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_NONE);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(where_no_lease_is_to_be_had)
{
	static const struct {
		int error;
		const char *words;
	} cases[] = {{EACCES, "only the owner"}, {EINVAL, "lease"}};
	struct pm_mapping *m = NULL;
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_xfs_reflink);
	fake_fail(FAKE_setlease, 0, cases[_i].error);
	ck_assert_int_eq(pm_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE), &m),
	                 -cases[_i].error);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), cases[_i].words));
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), leased_path));
	m = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE));
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->reason, PM_REASON_LEASE_REFUSED);
	ck_assert_int_eq(r->evidence[PM_EV_LEASE_POSSIBLE].state, PM_NO);
	ck_assert_int_eq(r->evidence[PM_EV_LEASE_POSSIBLE].error, cases[_i].error);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Switched, written back, only then let in; and back again when the file is its own. */
START_TEST(an_intruder_waits_until_all_is_safe)
{
	struct pm_mapping *m = lease(0);
	unit_ok(pm_persist(m, pm_base(m), 64));
	/* Nothing else looks at the file while the records are read. */
	fake_forget();
	struct intruder x = let_in(_i ? O_RDWR : O_RDONLY);
	const struct fake_record *synced = first_of(FAKE_msync, 0), *released = first_of(FAKE_setlease, F_UNLCK);
	ck_assert_ptr_nonnull(released);
	ck_assert_ptr_nonnull(synced);
	ck_assert_uint_lt(synced->number, released->number);
	ck_assert_uint_eq(synced->length, 1 << 20);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	struct pm_event event = next_of(m, PM_EVENT_LEASE_BROKEN);
	ck_assert_int_eq(event.reason, PM_REASON_LEASE_BROKEN);
	ck_assert_int_eq(event.old_granularity, PM_CACHE_LINE);
	ck_assert_int_eq(event.old_sync, PM_YES);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_LEASE_REFUSED);
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 64));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	atomic_store(&deed, share_extents);
	dismiss(&x);
	event = next_of(m, PM_EVENT_PROMOTED);
	ck_assert_int_eq(event.new_granularity, PM_CACHE_LINE);
	/* The lease that was granted is the last one asked for; nothing is mended before it. */
	const struct fake_record *unshared = first_of(FAKE_madvise, 0), *fsynced = first_of(FAKE_fsync, 0);
	ck_assert_ptr_nonnull(unshared);
	ck_assert_uint_lt(first_of(FAKE_setlease, 0)->number, unshared->number);
	ck_assert_uint_lt(unshared->number, fsynced->number);
	ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_MET);
	unit_ok(pm_unmap(m));
}
END_TEST

static struct pm_mapping *copied_to;
static struct pm_cpu demoting_cpu;
static const struct pm_cpu *real_cpu;

static void lose_it_meanwhile(void)
{
	fake_fail(FAKE_getlease, 0, EBADF);
	unit_query(copied_to);
	fake_fail(FAKE_getlease, 0, 0);
}

static void copy_and_lose(void *destination, const void *source, size_t length)
{
	real_cpu->copy(destination, source, length);
	lose_it_meanwhile();
}

static void set_and_lose(void *destination, int value, size_t length)
{
	real_cpu->set(destination, value, length);
	lose_it_meanwhile();
}

/* The call begins with lines, and its stores are made when the lease is lost: lines must not be taken for enough. */
START_TEST(broken_while_a_copy_is_made)
{
	static const char data[64] = "data";
	struct pm_mapping *m = copied_to = lease_unobserved(0);
	real_cpu = m->medium.cpu;
	if (!real_cpu->copy)
		return;
	demoting_cpu = *real_cpu;
	demoting_cpu.copy = copy_and_lose;
	demoting_cpu.set = set_and_lose;
	m->medium.cpu = &demoting_cpu;
	fake_forget();
	if (_i)
		unit_ok(pm_memset(m, pm_base(m), 1, 64, PM_TEMPORAL));
	else
		unit_ok(pm_memcpy(m, pm_base(m), data, 64, PM_TEMPORAL));
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	/* Once to answer the break, once for the copy. */
	ck_assert_uint_eq(fake_calls(FAKE_msync), 2);
	m->medium.cpu = real_cpu;
	unit_ok(pm_unmap(m));
}
END_TEST

/* What was flushed under one strategy is drained under another. */
START_TEST(flushes_survive_every_switch)
{
	struct pm_mapping *m = lease(0);
	unit_ok(pm_flush(m, pm_base(m), 64));
	struct intruder x = let_in(O_RDONLY);
	fake_forget();
	unit_ok(pm_drain(m));
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->length, 1 << 20);
	unit_ok(pm_flush(m, (char *)pm_base(m) + 8192, 64));
	dismiss(&x);
	next_of(m, PM_EVENT_PROMOTED);
	fake_forget();
	unit_ok(pm_drain(m));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)pm_base(m) + 8192);
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 64));
	unit_ok(pm_drain(m));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 0);
	unit_ok(pm_sync(m));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_uint_eq(fake_find(FAKE_msync, 0)->address, (uintptr_t)pm_base(m) + (1 << 20) - unit_page());
	ck_assert_uint_eq(fake.lines, 1 + (1 << 20) / 64);
	unit_ok(pm_unmap(m));
}
END_TEST

static atomic_bool writing, released;

static void hold_msync(enum fake_call c)
{
	if (c != FAKE_msync || pthread_equal(pthread_self(), main_thread))
		return;
	atomic_store(&writing, true);
	while (!atomic_load(&released))
		usleep(1000);
}

static void *drain(void *mapping)
{
	return (void *)(intptr_t)pm_drain(mapping);
}

/* What another thread is just writing back is not durable yet, whatever the strategy is by now. */
START_TEST(promoted_while_a_write_back_is_under_way)
{
	pthread_t others, own;
	struct pm_mapping *m = lease_unobserved(0);
	struct intruder x = intrude(O_RDONLY);
	wait_for_break(m);
	next_of(m, PM_EVENT_LEASE_BROKEN);
	unit_ok(pm_flush(m, pm_base(m), 64));
	counting.hook = hold_msync;
	ck_assert_int_eq(pthread_create(&others, NULL, drain, m), 0);
	while (!atomic_load(&writing))
		usleep(1000);
	dismiss(&x);
	next_of(m, PM_EVENT_PROMOTED);
	ck_assert_int_eq(pthread_create(&own, NULL, drain, m), 0);
	usleep(50000);
	ck_assert_int_eq(pthread_tryjoin_np(own, NULL), EBUSY);
	atomic_store(&released, true);
	pthread_join(own, NULL);
	pthread_join(others, NULL);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_failed_write_back_at_the_break_is_not_lost)
{
	struct pm_mapping *m = lease(0);
	fake_fail(FAKE_msync, 1, EIO);
	struct intruder x = let_in(O_RDONLY);
	dismiss(&x);
	/* It must not be promoted with that behind it, though every later sync succeeds. */
	while (unit_query(m)->evidence[PM_EV_LEASE_HELD].state != PM_YES)
		usleep(1000);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	unit_ok(pm_clear_error(m));
	unit_ok(pm_persist(m, pm_base(m), 1));
	unit_ok(pm_unmap(m));
}
END_TEST

/* A mapping that cannot be mended stays with the kernel. */
START_TEST(not_promoted_with_less)
{
	struct pm_mapping *m = lease(0);
	struct intruder x = let_in(O_RDONLY);
	if (_i)
		atomic_store(&deed, share_extents);
	fake_fail(_i ? FAKE_madvise : FAKE_fsync, 0, ENOSPC);
	fake_forget();
	dismiss(&x);
	while (!fake_calls(_i ? FAKE_madvise : FAKE_fsync))
		usleep(1000);
	unit_query(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), _i ? 0 : -ENOSPC);
	pm_unmap(m);
}
END_TEST

START_TEST(the_descriptor_is_handed_over)
{
	struct pm_mapping *m = NULL;
	leased_path = unit_file("file", 1 << 20);
	int fd = open(leased_path, O_RDWR | O_CLOEXEC);
	fake_start(&fake_xfs_reflink);
	fake_fail(FAKE_mmap, 0, ENOMEM);
	ck_assert_int_ne(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE), &m), 0);
	fake_fail(FAKE_mmap, 0, 0);
	ck_assert_int_ge(fcntl(fd, F_GETFL), 0);
	ck_assert_int_eq(fcntl(fd, F_GETLEASE), F_UNLCK);
	unit_ok(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE), &m));
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_LEASE_HELD].state, PM_YES);
	pm_unmap(m);
	ck_assert_int_eq(fcntl(fd, F_GETFL), -1);
}
END_TEST

static volatile sig_atomic_t signalled;

static void count_signal(int number)
{
	signalled += number == SIGIO || number == SIGURG;
}

START_TEST(no_signal_reaches_the_application)
{
	signalled = 0;
	signal(SIGIO, count_signal);
	signal(SIGURG, count_signal);
	struct pm_mapping *m = _i ? lease_unobserved(0) : lease(0);
	for (unsigned i = 0, rounds = unit_rounds(10); i < rounds; i++) {
		struct intruder x = intrude(O_RDONLY);
		while (!is_in(&x, 10)) {
			unit_ok(pm_persist(m, pm_base(m), 1));
			if (_i)
				unit_query(m);
		}
		dismiss(&x);
		/* The thread that looks first must not be the one that is signalled the next time. */
		while (pm_granularity_of(m) == PM_PAGE) {
			unit_query(m);
			if (_i)
				observe(m);
			usleep(1000);
		}
	}
	ck_assert_int_eq(signalled, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* The signal of the break wakes the watcher: no second passes. */
START_TEST(a_break_is_signalled)
{
	struct pm_mapping *m = lease(0);
	/* What was announced of pm_map() itself is looked at first. */
	unit_query(m);
	usleep(100000);
	atomic_store(&fake.time_stands_still, true);
	struct intruder x = let_in(O_RDONLY);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	atomic_store(&fake.time_stands_still, false);
	dismiss(&x);
	unit_ok(pm_unmap(m));
}
END_TEST

static atomic_bool holds, resizing, may_resize;
static const char *resized_path;

static void hold_fallocate(enum fake_call c)
{
	if (c != FAKE_fallocate_keep_size || !atomic_load(&holds) || !pthread_equal(pthread_self(), main_thread))
		return;
	atomic_store(&resizing, true);
	while (!atomic_load(&may_resize))
		usleep(1000);
}

/* What opens another mapping's file while this one is resized, and lets the resizing go on when it is in. */
static void *intrude_meanwhile(void *arg)
{
	(void)arg;
	while (!atomic_load(&resizing))
		usleep(1000);
	/*
	 * Now the watcher wants to look at the mapping that is resized. An open of its file would wait for the lease of
	 * the growth.
	 */
	if (chmod(resized_path, 0640))
		return arg;
	usleep(100000);
	struct intruder x = intrude(O_RDONLY);
	bool came_in = is_in(&x, WAIT_MS);
	atomic_store(&may_resize, true);
	dismiss(&x);
	return came_in ? NULL : arg;
}

/* A resize holds the lock of its mapping for as long as it takes: the watcher does not wait for that lock. */
START_TEST(a_resize_keeps_no_other_lease_waiting)
{
	pthread_t thread;
	void *failed;
	leased_path = unit_file("file", 1 << 20);
	resized_path = unit_file("resized", 1 << 20);
	fake_start(&fake_xfs_reflink);
	main_thread = pthread_self();
	counting.hook = hold_fallocate;
	struct pm_mapping *other = unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE));
	struct pm_mapping *m = unit_map(resized_path, UNIT_OPTIONS(.flags = PM_WATCH));
	atomic_store(&holds, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, intrude_meanwhile, other), 0);
	unit_ok(pm_resize(m, 2 << 20));
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
	ck_assert_int_eq(next_of(other, PM_EVENT_LEASE_BROKEN).new_granularity, PM_PAGE);
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(other));
}
END_TEST

START_TEST(every_call_broken_in_turn)
{
	static const int errors[] = {EIO, EMFILE, EINTR};
	leased_path = unit_file("file", 1 << 20);
	unsigned n = 0;
	do {
		struct pm_mapping *m = NULL;
		fake_start(&fake_xfs_reflink);
		fake.processes = 3;
		n += unit_stride();
		fake_fail_any(n, errors[_i]);
		int rc = pm_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE | PM_WATCH, .sync = PM_GUARANTEE), &m);
		unit_expect(!rc == !!m);
		if (m)
			pm_unmap(m);
		unit_expect(fake_open_files() == 0);
		unit_expect(fake_mapped_bytes() == 0);
	} while (fake_any_has_failed());
	ck_assert_uint_gt(n, 10);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("lease");
	tcase_add_test(c, a_lease_makes_sharing_impossible);
	tcase_add_test(c, a_probe_takes_the_lease_as_given);
	tcase_add_loop_test(c, somebody_has_it_open_already, 0, 2);
	tcase_add_loop_test(c, where_no_lease_is_to_be_had, 0, 2);
	tcase_add_loop_test(c, an_intruder_waits_until_all_is_safe, 0, 2);
	tcase_add_loop_test(c, broken_while_a_copy_is_made, 0, 2);
	tcase_add_test(c, flushes_survive_every_switch);
	tcase_add_test(c, promoted_while_a_write_back_is_under_way);
	tcase_add_test(c, a_failed_write_back_at_the_break_is_not_lost);
	tcase_add_loop_test(c, not_promoted_with_less, 0, 2);
	tcase_add_test(c, the_descriptor_is_handed_over);
	tcase_add_loop_test(c, no_signal_reaches_the_application, 0, 2);
	tcase_add_test(c, a_break_is_signalled);
	tcase_add_test(c, a_resize_keeps_no_other_lease_waiting);
	tcase_add_loop_test(c, every_call_broken_in_turn, 0, 3);
	return unit_run();
}
