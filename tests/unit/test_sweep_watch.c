/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every call of the table fails once while something happens to the file: events, the threads that watch, a lease that
 * is broken and taken again, a fault in a guarded function.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guarding.h"
#include "mapping/mapping.h"
#include "observe/observe.h"
#include "sweeping.h"
#include "sweeping_internal.h"
#include "unit.h"

#define PATIENCE 40 /* looks at what the library's threads do, a tenth of a millisecond apart */

static void pause_briefly(void)
{
	usleep(100);
}

/* ---- What others do ---- */

static void write_from_outside(void)
{
	int fd = open(swept_path, O_WRONLY | O_CLOEXEC);
	unit_expect(fd >= 0 && pwrite(fd, "others", 6, 3000) == 6 && !close(fd));
	kernel_announce(IN_OPEN | IN_MODIFY | IN_CLOSE_WRITE);
}

static int intruder = -1;

/* What waits for a lease would otherwise block; this only breaks it. */
static bool enter(void)
{
	intruder = open(swept_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	kernel_announce(IN_OPEN);
	if (intruder >= 0)
		kernel_share();
	return intruder >= 0;
}

static void leave(void)
{
	if (intruder >= 0)
		close(intruder);
	intruder = -1;
	kernel_announce(IN_CLOSE_WRITE);
}

/* A process that has the file open for writing. */
static int hold_open(void)
{
	int child = fork(), ready;
	if (!child) {
		ready = open(swept_path, O_RDWR);
		raise(SIGSTOP);
		_exit(ready < 0);
	}
	unit_expect(child > 0 && waitpid(child, NULL, WUNTRACED) == child);
	kernel_show_holder(child);
	return child;
}

static void end(int child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* ---- Looked at by the test alone ---- */

static void events(void)
{
	if (sweep_map(NULL) || sweep_event_fd())
		return;
	write_from_outside();
	(void)(sweep_events() || sweep_fill(10, 100, 0) || sweep_events() || sweep_unmap());
}

static void opened(void)
{
	int child = hold_open();
	(void)(sweep_map(NULL) || sweep_event_fd() || sweep_events() || sweep_query() || sweep_unmap());
	end(child);
}

/* As the watcher does; what it meets is told by the calls that follow. */
static int observe(void)
{
	fake_time_passes(1000);
	pm_observe_if_free(&swept->observed);
	return 0;
}

static void break_and_retake(void)
{
	if (sweep_fill(10, 100, 0))
		return;
	enter();
	int rc = sweep_query() || sweep_fill(2000, 100, 0);
	if (!rc && intruder < 0)
		enter();
	if (!rc)
		rc = sweep_fill(4000, 100, 0) || sweep_query() || sweep_events();
	leave();
	(void)(rc || observe() || sweep_fill(6000, 100, 0) || observe() || sweep_events() || sweep_copy(20, 300, 0) ||
	       sweep_unmap());
}

static void lease(void)
{
	atomic_store(&fake.watcher_sleeps, true);
	if (!sweep_map(UNIT_OPTIONS(.flags = PM_LEASE)))
		break_and_retake();
}

static void lease_guaranteed(void)
{
	atomic_store(&fake.watcher_sleeps, true);
	if (sweep_map(UNIT_OPTIONS(.flags = PM_LEASE | PM_PREPARE | PM_FAIL_ON_DEMOTION, .sync = PM_GUARANTEE)))
		return;
	if (sweep_fill(10, 100, 0))
		return;
	enter();
	int rc = sweep_query() || sweep_fill(2000, 100, 0);
	leave();
	(void)((rc && sweep_clear_error()) || observe() || sweep_fill(4000, 100, 0) || sweep_events() || sweep_unmap());
}

/* The descriptor is the caller's again, as it was. */
static void lease_of_a_descriptor_refused(void)
{
	atomic_store(&fake.watcher_sleeps, true);
	(void)sweep_map_fd(UNIT_OPTIONS(.flags = PM_LEASE, .sync = PM_GUARANTEE));
}

static void lease_of_a_descriptor(void)
{
	atomic_store(&fake.watcher_sleeps, true);
	if (!sweep_map_fd(UNIT_OPTIONS(.flags = PM_LEASE)))
		break_and_retake();
}

/* ---- With threads ---- */

static atomic_uint told;

static void tell(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	(void)m;
	(void)event;
	(void)arg;
	atomic_fetch_add(&told, 1);
}

static void watch(void)
{
	atomic_store(&told, 0);
	if (sweep_map(UNIT_OPTIONS(.flags = PM_WATCH, .on_event = tell)) || sweep_fill(10, 100, 0))
		return;
	unsigned before = atomic_load(&told);
	write_from_outside();
	for (int i = 0; i < PATIENCE && atomic_load(&told) == before; i++)
		pause_briefly();
	(void)(sweep_query() || sweep_resize(5 * unit_page()) || sweep_fill(4 * unit_page(), 10, 0) || sweep_events() ||
	       sweep_unmap());
}

static void lease_with_a_thread(void)
{
	if (sweep_map(UNIT_OPTIONS(.flags = PM_LEASE)) || sweep_fill(10, 100, 0))
		return;
	for (int i = 0; i < PATIENCE && !enter(); i++)
		pause_briefly();
	int rc = sweep_fill(2000, 100, 0);
	leave();
	for (int i = 0; !rc && i < PATIENCE && pm_granularity_of(swept) == PM_PAGE; i++)
		pause_briefly();
	(void)(rc || sweep_fill(4000, 100, 0) || sweep_events() || sweep_unmap());
}

/* ---- Guards ---- */

static int store(void *at)
{
	*(volatile char *)at = 1;
	return 0;
}

/* What the kernel sends where it finds no block. */
static int forge(void *at)
{
	siginfo_t info;
	memset(&info, 0, sizeof(info));
	info.si_signo = SIGBUS;
	info.si_code = BUS_ADRERR;
	info.si_addr = at;
	return (int)syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), SIGBUS, &info);
}

static int guarded(pm_guarded_fn *function, uint64_t at)
{
	struct pm_fault fault;
	/* A fault that is met is an error of its own. */
	int rc = pm_guarded(swept, function, (char *)pm_base(swept) + at, &fault, sizeof(fault));
	sweep_result("pm_guarded", rc);
	sweep_expect(rc);
	return !fault.error;
}

static void guard(void)
{
	static const struct fake_extent hole = {.logical = 1 << 20, .length = 1 << 20};
	uint64_t page = unit_page();
	if (!sweep_result("pm_guard_install", pm_guard_install())) {
		if (!sweep_map(NULL)) {
			unit_expect(!truncate(swept_path, (off_t)page));
			int rc = guarded(store, 2 * page);
			unit_expect(!truncate(swept_path, (off_t)sweep_size()));
			/* What was cut off is there again, if a call saw it gone. Once more, if that failed. */
			if (sweep_result("pm_resize", pm_resize(swept, pm_length(swept))))
				sweep_result("pm_resize", pm_resize(swept, pm_length(swept)));
			fake.machine.extents = &hole;
			fake.machine.extent_count = 1;
			(void)(rc || guarded(forge, page + 5) || sweep_unmap());
		}
		int rc = sweep_result("pm_guard_remove", pm_guard_remove());
		sweep_disarm();
		unit_expect(!rc || !pm_guard_remove());
	}
}

#define ON(...) .only = {__VA_ARGS__}
static const struct sweep_flow flows[] = {
	{"events", events, true, true, false, .is_absent = false},
	{"opened", opened, ON(&fake_plain, &fake_dax)},
	{"lease", lease, .threads = true, ON(&fake_xfs_reflink, &fake_dax, &fake_plain)},
	{"lease guaranteed", lease_guaranteed, .threads = true, ON(&fake_xfs_reflink)},
	{"lease of a descriptor", lease_of_a_descriptor, .threads = true, ON(&fake_xfs_reflink)},
	{"lease of a descriptor refused", lease_of_a_descriptor_refused, .threads = true, ON(&fake_plain)},
	{"watch", watch, .threads = true, ON(&fake_plain, &fake_dax)},
	{"lease with a thread", lease_with_a_thread, .threads = true, ON(&fake_xfs_reflink)},
	{"guard", guard, ON(&fake_plain, &fake_xfs_reflink)},
};

START_TEST(every_call_fails_once)
{
	if (flows[_i].run != guard || guarding_is_possible())
		sweep(flows, _i);
}
END_TEST

int main(void)
{
	/* A watcher may have gone. */
	signal(SIGPIPE, SIG_IGN);
	sweep_begin();
	TCase *c = unit_case("sweep_watch");
	tcase_set_timeout(c, 0); /* of all flows together there is one */
	tcase_add_loop_test(c, every_call_fails_once, 0, (int)COUNT(flows));
	/* test_sweep.c has them; a signal that the guard sends itself ends the process. */
	static const enum fake_call elsewhere[] = {
		FAKE_pread, FAKE_pwrite, FAKE_pwritev2_append, FAKE_fadvise_dontneed, FAKE_linkat, FAKE_unlinkat,
		FAKE_renameat2_noreplace, FAKE_ftruncate,
		FAKE_fdatasync, FAKE_mincore, FAKE_sync_file_range,
		FAKE_memfd_create, FAKE_cachestat, FAKE_syncfs, FAKE_pagemap_scan, FAKE_statmount,
		FAKE_fsync,
		FAKE_getrlimit_fsize, FAKE_fcntl_getfl, FAKE_fcntl_get_seals, FAKE_fallocate, FAKE_mremap,
		FAKE_mremap_over, FAKE_mprotect,
		FAKE_rt_tgsigqueueinfo, FAKE_statx_now,
		FAKE_same_inode, FAKE_same_handle, FAKE_fallocate_collapse, FAKE_statfs, FAKE_rt_sigprocmask_reads,
		FAKE_getrlimit_nofile, FAKE_unshare};
	return sweep_end(unit_run(), elsewhere, COUNT(elsewhere));
}
