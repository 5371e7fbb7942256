/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that drain at once, on a kernel of the test's own: it writes pages to a medium, may fail, takes its time, and
 * tells of each failure once to each description of the file, as Linux does.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "mapping/mapping.h"
#include "unit.h"

#define THREADS 8u
#define APART 32u /* pages from one thread's to the next: more than are written as one */
#define BLOCK 4096u /* pages that are taken together */
#define PAGES (2 * BLOCK)

static struct pm_mapping *m;
static size_t page;

/* ---- The kernel ---- */

enum description { OURS, OBSERVER, DESCRIPTIONS };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t medium[PAGES];
	bool lost[PAGES];    /* a failure made the page clean */
	bool held[PAGES];    /* a call that writes it waits */
	bool reached[PAGES]; /* and does now */
	unsigned failures, told[DESCRIPTIONS];
	unsigned fails_one_in; /* of the pages written; 0: none */
	unsigned longest; /* writing takes at most so long, and so may a flush, in microseconds */
	unsigned asked, opens; /* the observer, so often */
	bool has_no_observer;
	uint32_t random;
} kernel;

static struct machine between;

static uint32_t *counter(unsigned n)
{
	return (uint32_t *)(void *)((char *)pm_base(m) + n * page);
}

/* With the lock held. */
static uint32_t random_below(uint32_t end)
{
	kernel.random ^= kernel.random << 13;
	kernel.random ^= kernel.random >> 17;
	return (kernel.random ^= kernel.random << 5) % end;
}

/* With the lock held; it is let go while the page is held. */
static void write_page(unsigned n)
{
	kernel.reached[n] = true;
	pthread_cond_broadcast(&kernel.changed);
	while (kernel.held[n])
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	kernel.reached[n] = false;
	uint32_t value = __atomic_load_n(counter(n), __ATOMIC_SEQ_CST);
	if (value == kernel.medium[n])
		return;
	if (kernel.fails_one_in && !random_below(kernel.fails_one_in)) {
		kernel.failures++;
		kernel.lost[n] = true;
	} else {
		kernel.medium[n] = value;
	}
}

/* With the lock held. */
static int tell(enum description d)
{
	int rc = kernel.told[d] != kernel.failures ? -EIO : 0;
	kernel.told[d] = kernel.failures;
	return rc;
}

/* With the lock held; it is let go. */
static void take_time(void)
{
	unsigned time = kernel.longest ? random_below(kernel.longest) : 0;
	pthread_mutex_unlock(&kernel.lock);
	if (time)
		usleep(time);
	pthread_mutex_lock(&kernel.lock);
}

/* With the lock held. Until the error is reported another call may receive it; it is reported before the flush. */
static int write_pages(size_t first, size_t end)
{
	for (size_t n = first; n < end; n++)
		write_page((unsigned)n);
	take_time();
	int rc = tell(OURS);
	take_time();
	return rc;
}

static int kernel_msync(void *address, size_t length)
{
	size_t first = (size_t)((char *)address - m->medium.map) / page;
	pthread_mutex_lock(&kernel.lock);
	int rc = write_pages(first, first + length / page);
	pthread_mutex_unlock(&kernel.lock);
	return rc;
}

static int kernel_sync_file_range(int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	if (!length || flags == SYNC_FILE_RANGE_WRITE)
		return 0;
	bool asks = flags == SYNC_FILE_RANGE_WAIT_BEFORE;
	/* It waits for the pages of the range, if there can be any. */
	unit_expect(!asks || (offset == INT64_MAX - 1 && length == 1));
	pthread_mutex_lock(&kernel.lock);
	kernel.asked += asks && fd != m->medium.fd;
	int rc = asks ? tell(fd == m->medium.fd ? OURS : OBSERVER)
	              : write_pages(offset / page, (offset + length) / page);
	pthread_mutex_unlock(&kernel.lock);
	return rc;
}

/* A description that is made now does not report an error that another one has reported (lib/errseq.c). */
static int kernel_openat(int directory, const char *path, int flags, unsigned mode)
{
	kernel.opens++;
	if (kernel.has_no_observer)
		return -EMFILE;
	pthread_mutex_lock(&kernel.lock);
	kernel.told[OBSERVER] = kernel.told[OURS];
	pthread_mutex_unlock(&kernel.lock);
	return between.below->openat(directory, path, flags, mode);
}

static void start(uint32_t magic, uint32_t flags)
{
	const char *path = unit_file("file", 0);
	struct fake_machine machine = fake_plain;
	page = unit_page();
	ck_assert_int_eq(truncate(path, (off_t)(PAGES * page)), 0);
	machine.magic = magic;
	fake_start(&machine);
	counting.recording = false;
	atomic_store(&fake.watcher_sleeps, true);
	memset(&kernel, 0, sizeof(kernel));
	pthread_mutex_init(&kernel.lock, NULL);
	pthread_cond_init(&kernel.changed, NULL);
	kernel.random = unit_random() | 1;
	/* Before the watcher thread starts, which reads the table. */
	machine_put(&between, MACHINE(.msync = kernel_msync, .sync_file_range = kernel_sync_file_range,
	                              .openat = kernel_openat));
	m = unit_map(path, UNIT_OPTIONS(.flags = flags));
	kernel.opens = 0;
}

static void stop(void)
{
	unit_ok(pm_unmap(m));
	machine_remove(&between);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}

/* ---- Threads one by one ---- */

struct persister {
	pthread_t thread;
	unsigned n; /* page */
	int rc;
	atomic_bool returned;
};

static void *persist(void *arg)
{
	struct persister *p = arg;
	__atomic_fetch_add(counter(p->n), 1, __ATOMIC_SEQ_CST);
	p->rc = pm_persist(m, counter(p->n), 1);
	atomic_store(&p->returned, true);
	return NULL;
}

static void hold(unsigned n, bool held)
{
	pthread_mutex_lock(&kernel.lock);
	kernel.held[n] = held;
	pthread_cond_broadcast(&kernel.changed);
	pthread_mutex_unlock(&kernel.lock);
}

/* Until it writes its page, which is held. */
static void begin(struct persister *p, unsigned n)
{
	*p = (struct persister){.n = n};
	hold(n, true);
	ck_assert_int_eq(pthread_create(&p->thread, NULL, persist, p), 0);
	pthread_mutex_lock(&kernel.lock);
	while (!kernel.reached[n])
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	pthread_mutex_unlock(&kernel.lock);
}

static bool returns(struct persister *p)
{
	for (int i = 0; i < 5000 && !atomic_load(&p->returned); i++)
		usleep(1000);
	return atomic_load(&p->returned);
}

static bool stays(struct persister *p)
{
	usleep(30000);
	return !atomic_load(&p->returned);
}

static int result(struct persister *p)
{
	pthread_join(p->thread, NULL);
	return p->rc;
}

static struct persister three[3];

/* There is no observer before the second begins. */
static void begin_three(void)
{
	for (unsigned i = 0; i < 3; i++)
		begin(&three[i], i * APART);
}

/* A later drain need not be waited for; an earlier one must be, since it may write what this one flushed. */
START_TEST(only_who_began_before_is_waited_for)
{
	struct persister fourth;
	start(XFS_SUPER_MAGIC, 0);
	begin_three();
	hold(APART, false);
	ck_assert(stays(&three[1]));
	hold(0, false);
	ck_assert(returns(&three[1]));
	ck_assert(stays(&three[0]));
	begin(&fourth, 3 * APART);
	ck_assert(!atomic_load(&three[2].returned));
	hold(2 * APART, false);
	ck_assert(returns(&three[2]));
	ck_assert(stays(&fourth));
	hold(3 * APART, false);
	ck_assert_int_eq(result(&three[0]) | result(&three[1]) | result(&three[2]) | result(&fourth), 0);
	ck_assert_uint_gt(kernel.asked, 0);
	stop();
}
END_TEST

/* From here on there is one, of any drain that begins. */
static void make_observer(void)
{
	struct persister first, second;
	begin(&first, 0);
	begin(&second, APART);
	hold(0, false);
	hold(APART, false);
	ck_assert_int_eq(result(&first) | result(&second), 0);
}

/* What a drain had not come to is taken by one that began later: then that is waited for. */
START_TEST(who_took_the_rest_is_waited_for)
{
	struct persister first, second;
	start(XFS_SUPER_MAGIC, 0);
	make_observer();
	/* More than are taken with those of another block. */
	for (unsigned i = 0; i < 50; i++)
		unit_ok(pm_flush(m, counter(40 + i * 20), 1));
	unit_ok(pm_flush(m, counter(BLOCK), 1));
	begin(&first, 0);
	begin(&second, BLOCK + 100);
	hold(0, false);
	ck_assert(stays(&first));
	hold(BLOCK + 100, false);
	ck_assert_int_eq(result(&first) | result(&second), 0);
	stop();
}
END_TEST

static void fail_a_page(void)
{
	pthread_mutex_lock(&kernel.lock);
	kernel.failures++;
	pthread_mutex_unlock(&kernel.lock);
}

/* As if the call of one that began later had been told. */
static void tell_another(void)
{
	pthread_mutex_lock(&kernel.lock);
	tell(OURS);
	pthread_mutex_unlock(&kernel.lock);
}

/* The second is back before the third, and all have failed. */
static void expect_failures(void)
{
	ck_assert(returns(&three[1]));
	hold(2 * APART, false);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(result(&three[i]), -EIO);
	unit_ok(pm_clear_error(m));
	stop();
}

/* The one that began later received the error, and has not returned it yet. */
START_TEST(a_failure_that_another_was_told_of)
{
	start(XFS_SUPER_MAGIC, 0);
	begin_three();
	hold(0, false);
	ck_assert(stays(&three[0]));
	fail_a_page();
	tell_another();
	hold(APART, false);
	expect_failures();
}
END_TEST

/* Of its pages the one that began first wrote another's: that one is back when it ends. */
START_TEST(who_began_without_an_observer_asks_it_for_the_others)
{
	start(XFS_SUPER_MAGIC, 0);
	begin_three();
	hold(APART, false);
	ck_assert(stays(&three[1]));
	fail_a_page();
	tell_another();
	hold(0, false);
	expect_failures();
}
END_TEST

/* Another mapping received the error, and this one's description has not reported it yet. */
START_TEST(a_failure_that_was_told_elsewhere_is_cleared)
{
	struct persister alone = {.n = 3};
	start(XFS_SUPER_MAGIC, 0);
	fail_a_page();
	pm_shared_file_fail(m->errors.shared, 0, -EIO);
	persist(&alone);
	ck_assert_int_eq(alone.rc, -EIO);
	unit_ok(pm_clear_error(m));
	persist(&alone);
	ck_assert_int_eq(alone.rc, 0);
	stop();
}
END_TEST

/* An error from before there was an observer, which does not report it: another process received it. */
START_TEST(a_failure_from_before_the_observer)
{
	start(XFS_SUPER_MAGIC, 0);
	between.table.openat = between.below->openat;
	kernel.told[OBSERVER] = 1;
	begin(&three[0], 0);
	fail_a_page();
	begin(&three[1], APART);
	begin(&three[2], 2 * APART);
	tell_another();
	hold(0, false);
	hold(APART, false);
	expect_failures();
}
END_TEST

/* The observer was not asked when the error was reported, and does not count once it was cleared. */
START_TEST(a_failure_that_was_cleared_is_not_told_again)
{
	struct persister alone = {.n = 3};
	start(XFS_SUPER_MAGIC, 0);
	make_observer();
	kernel.fails_one_in = 1;
	persist(&alone);
	ck_assert_int_eq(alone.rc, -EIO);
	kernel.fails_one_in = 0;
	unit_ok(pm_clear_error(m));
	make_observer();
	stop();
}
END_TEST

/* Without an observer each drain waits for all that write; and none tries again to have one. */
static const struct {
	uint32_t magic, flags, opens;
} without[] = {
	{EXT4_SUPER_MAGIC, 0, 0}, {BTRFS_SUPER_MAGIC, 0, 0}, {XFS_SUPER_MAGIC, PM_LEASE, 0}, {XFS_SUPER_MAGIC, 0, 1}};

START_TEST(without_an_observer_all_are_waited_for)
{
	start(without[_i].magic, without[_i].flags);
	kernel.has_no_observer = without[_i].opens;
	begin_three();
	hold(0, false);
	hold(APART, false);
	ck_assert(stays(&three[0]) && stays(&three[1]));
	hold(2 * APART, false);
	ck_assert_int_eq(result(&three[0]) | result(&three[1]) | result(&three[2]), 0);
	ck_assert_uint_eq(kernel.asked, 0);
	ck_assert_uint_eq(kernel.opens, without[_i].opens);
	stop();
}
END_TEST

/* ---- All at once ---- */

static atomic_uint wrong;
static atomic_bool failed;
static unsigned rounds, step; /* pages from one thread's to the next */

/* Of a page that another thread drains as well, now and then. */
static void *drain_again_and_again(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg * step, other = (n + step) % (THREADS * step);
	for (unsigned i = 1; i <= rounds && !atomic_load(&failed); i++) {
		uint32_t value = __atomic_add_fetch(counter(n), 1, __ATOMIC_SEQ_CST);
		int rc = pm_flush(m, counter(n), 1);
		if (i % 4 == 0)
			pm_flush(m, counter(other), 1);
		rc = rc ? rc : pm_drain(m);
		pthread_mutex_lock(&kernel.lock);
		if (!rc && (kernel.lost[n] || kernel.medium[n] < value))
			atomic_fetch_add(&wrong, 1);
		pthread_mutex_unlock(&kernel.lock);
		if (rc)
			atomic_store(&failed, true);
	}
	return NULL;
}

static void all_at_once(void)
{
	pthread_t thread[THREADS];
	atomic_store(&wrong, 0);
	atomic_store(&failed, false);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, drain_again_and_again, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(atomic_load(&wrong), 0);
}

START_TEST(nothing_acknowledged_is_missing)
{
	start(XFS_SUPER_MAGIC, 0);
	kernel.longest = _i & 1 ? 200 : 0;
	step = _i & 2 ? APART : 1;
	rounds = 2000;
	all_at_once();
	ck_assert(!atomic_load(&failed));
	stop();
}
END_TEST

START_TEST(no_failure_is_missing)
{
	start(XFS_SUPER_MAGIC, 0);
	kernel.longest = 200;
	step = _i ? APART : 1;
	rounds = 500;
	for (int i = 0; i < 15; i++) {
		kernel.fails_one_in = 50;
		all_at_once();
		kernel.fails_one_in = 0;
		if (atomic_load(&failed))
			unit_ok(pm_clear_error(m));
		memset(kernel.lost, 0, sizeof(kernel.lost));
		all_at_once();
		ck_assert(!atomic_load(&failed));
	}
	stop();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("concurrent");
	tcase_add_test(c, only_who_began_before_is_waited_for);
	tcase_add_test(c, who_took_the_rest_is_waited_for);
	tcase_add_test(c, a_failure_that_another_was_told_of);
	tcase_add_test(c, a_failure_from_before_the_observer);
	tcase_add_test(c, a_failure_that_was_cleared_is_not_told_again);
	tcase_add_test(c, a_failure_that_was_told_elsewhere_is_cleared);
	tcase_add_test(c, who_began_without_an_observer_asks_it_for_the_others);
	tcase_add_loop_test(c, without_an_observer_all_are_waited_for, 0, 4);
	tcase_add_loop_test(c, nothing_acknowledged_is_missing, 0, 4);
	tcase_add_loop_test(c, no_failure_is_missing, 0, 2);
	return unit_run();
}
