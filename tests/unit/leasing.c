/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <linux/fiemap.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasing.h"
#include "observe/observe.h"

const char *leased_path;
pthread_t main_thread;
void (*_Atomic deed)(void);

struct intruder intrude(int flags)
{
	int says[2], told[2];
	char byte = 'o';
	ck_assert(!pipe(says) && !pipe(told));
	struct intruder x = {.pid = fork(), .says = says[0], .told = told[1]};
	if (!x.pid) {
		close(told[1]);
		if (open(leased_path, flags) < 0)
			byte = 'f';
		if (write(says[1], &byte, 1) != 1 || read(told[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(says[1]);
	close(told[0]);
	return x;
}

bool is_in(struct intruder *x, int timeout_ms)
{
	char byte = 0;
	if (!unit_is_readable(x->says, timeout_ms))
		return false;
	ck_assert_int_eq(read(x->says, &byte, 1), 1);
	ck_assert_int_eq(byte, 'o');
	return true;
}

struct intruder let_in(int flags)
{
	struct intruder x = intrude(flags);
	ck_assert(is_in(&x, WAIT_MS));
	return x;
}

void dismiss(struct intruder *x)
{
	int status;
	close(x->told);
	close(x->says);
	ck_assert_int_eq(waitpid(x->pid, &status, 0), x->pid);
	ck_assert_int_eq(status, 0);
}

static const struct fake_extent shared = {.logical = 0, .length = 1 << 20, .flags = FIEMAP_EXTENT_SHARED};

static void do_it(enum fake_call c)
{
	(void)c;
	void (*act)(void) = pthread_equal(pthread_self(), main_thread) ? NULL : atomic_exchange(&deed, NULL);
	if (act)
		act();
}

void share_extents(void)
{
	atomic_store(&fake.populated, false);
	fake.machine.extents = &shared;
	fake.machine.extent_count = 1;
}

static struct pm_mapping *map_leased(unsigned flags, bool watcher_sleeps)
{
	leased_path = unit_file("file", 1 << 20);
	fake_start(&fake_xfs_reflink);
	main_thread = pthread_self();
	counting.hook = do_it;
	fake.recovers = true;
	atomic_store(&fake.watcher_sleeps, watcher_sleeps);
	return unit_map(leased_path, UNIT_OPTIONS(.flags = PM_LEASE | flags));
}

struct pm_mapping *lease(unsigned flags)
{
	return map_leased(flags, false);
}

struct pm_mapping *lease_unobserved(unsigned flags)
{
	return map_leased(flags, true);
}

void observe(struct pm_mapping *m)
{
	fake_time_passes(1000);
	ck_assert(pm_observe_if_free(&m->observed));
}

void wait_for_break(struct pm_mapping *m)
{
	while (pm_sys_linux.getlease(m->file.fd) == F_WRLCK)
		usleep(1000);
}

struct pm_event next_event(struct pm_mapping *m)
{
	struct pm_event event = {.kind = 0};
	int rc, fd = pm_event_fd(m);
	ck_assert_int_ge(fd, 0);
	while ((rc = pm_next_event(m, &event, sizeof(event))) == -EAGAIN) {
		if (atomic_load(&fake.watcher_sleeps))
			observe(m);
		else
			ck_assert_msg(unit_is_readable(fd, WAIT_MS), "no event");
	}
	unit_ok(rc);
	return event;
}

struct pm_event next_of(struct pm_mapping *m, enum pm_event_kind kind)
{
	struct pm_event event;
	do
		event = next_event(m);
	while (event.kind != kind);
	return event;
}

const struct fake_record *first_of(enum fake_call call, unsigned long flags)
{
	const struct fake_record *r;
	for (unsigned i = 0; (r = fake_find(call, i)) && flags && r->flags != flags; i++)
		;
	return r;
}
