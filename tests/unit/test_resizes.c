/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that resize one mapping at once, or two mappings of one file, while others make every other call on what
 * stays. What is wrong here the thread sanitizer finds (-Db_sanitize=thread).
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

#define RESIZERS 2u
#define CALLERS 4u
#define KEPT 8u  /* pages that no resize takes away: each caller has its own words there */
#define MOST 64u /* pages, and the reserve */

static struct pm_mapping *m, *other;
static const char *path;
static char *base;
static atomic_uint resizers, failures;
static uint64_t last[RESIZERS];
static enum pm_reason reason; /* from the start */

static void note(bool good, const char *what)
{
	if (!good && atomic_fetch_add(&failures, 1) < 4)
		fprintf(stderr, "%s: %s\n", what, pm_error_detail());
}

static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	return *state ^= *state << 5;
}

static unsigned rounds; /* of each thread that resizes */

static void *resize(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg;
	struct pm_mapping *mine = other && n ? other : m;
	uint32_t state = n + 77;
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t wanted = KEPT * unit_page() + next(&state) % ((MOST - KEPT) * unit_page());
		int rc = pm_resize(mine, wanted);
		/* The part that a mapping would take away may be the other's. */
		note(!rc || (other && rc == -EBUSY), "pm_resize");
		last[n] = rc ? last[n] : wanted;
		note(pm_base(m) == base, "the base moved");
	}
	atomic_fetch_sub(&resizers, 1);
	return NULL;
}

static _Atomic uint64_t *word_of(unsigned n, unsigned page)
{
	return (_Atomic uint64_t *)(base + page * unit_page() + n * 64);
}

/* Commits in each way there is. */
static void commit(unsigned n, uint32_t *state)
{
	_Atomic uint64_t *one = word_of(n, next(state) % KEPT), *two = word_of(n, next(state) % KEPT);
	const struct pm_range ranges[] = {{one, 8}, {two, 8}};
	atomic_fetch_add(one, 1);
	switch (next(state) % 8) {
	case 0:
		note(!pm_persist(m, one, 8), "pm_persist");
		break;
	case 1:
		note(!pm_flush(m, one, 8) && !pm_drain(m), "pm_drain");
		break;
	case 2:
		note(!pm_commit(m, ranges, 2), "pm_commit");
		break;
	case 3:
		note(!pm_publish64(m, (uint64_t *)one, atomic_load(one)), "pm_publish64");
		break;
	case 4:
		note(!pm_memset(m, (char *)two + 8, (int)n, 40, next(state) % 2 ? PM_NODRAIN : 0), "pm_memset");
		break;
	case 5:
		note(!pm_sync(m), "pm_sync");
		break;
	case 6:
		note(!pm_deep_persist(m, one, 8), "pm_deep_persist");
		break;
	default:
		note(!pm_write(m, (char *)two + 56, &n, 4), "pm_write");
	}
}

static void ask(unsigned n, uint32_t *state)
{
	struct pm_statistics counted;
	struct pm_report report;
	struct pm_event event;
	char text[4096];
	uint64_t value;
	switch (next(state) % 6) {
	case 0:
		note(!pm_query(m, &report, sizeof(report)) && pm_explain(&report, text, sizeof(text)) > 0, "pm_query");
		note(report.length >= KEPT * unit_page() && report.length <= MOST * unit_page(), "a length of none");
		note(report.granularity == pm_granularity_of(m) && report.reason == reason, "a demotion");
		break;
	case 1:
		note(pm_find(word_of(n, KEPT - 1)) == m, "pm_find");
		break;
	case 2:
		note(!pm_statistics(m, &counted, sizeof(counted)) && !counted.errors, "pm_statistics");
		break;
	case 3:
		note(!pm_read(m, &value, (char *)word_of(n, KEPT - 1), 8), "pm_read");
		break;
	case 4:
		note(pm_persist(m, base, MOST * unit_page() + 1) == -ERANGE, "a range beyond");
		break;
	default:
		/* Of what this mapping did there is no event; of the other it may see some. */
		if (!pm_next_event(m, &event, sizeof(event)))
			note(other && event.kind == PM_EVENT_MODIFIED, pm_event_name(event.kind));
	}
}

static void *call(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg;
	uint32_t state = n + 12345;
	while (atomic_load(&resizers)) {
		commit(n, &state);
		ask(n, &state);
	}
	return arg;
}

static void run(void)
{
	pthread_t threads[RESIZERS + CALLERS];
	atomic_store(&resizers, RESIZERS);
	atomic_store(&failures, 0);
	for (uintptr_t i = 0; i < RESIZERS + CALLERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, i < RESIZERS ? resize : call,
		                                (void *)(i < RESIZERS ? i : i - RESIZERS)),
		                 0);
	for (unsigned i = 0; i < RESIZERS + CALLERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(atomic_load(&failures), 0);
}

static const struct {
	const struct fake_machine *machine; /* NULL: the machine at hand */
	unsigned flags;
} kinds[] = {
	{NULL, 0},
	{&fake_plain, 0},
	{&fake_plain, PM_SPARSE},
	{&fake_dax, 0},
	{&fake_plain, PM_WATCH},
	{&fake_plain, PM_PREPARE},
	{&fake_eadr, 0},
	{&fake_xfs_reflink, PM_LEASE},
	{&fake_dax, PM_WATCH},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct pm_mapping *map(unsigned flags)
{
	return unit_map(path,
	                UNIT_OPTIONS(.flags = flags, .length = KEPT * unit_page(), .reserve = MOST * unit_page()));
}

static void begin(unsigned kind)
{
	struct pm_event event;
	path = unit_path("file");
	if (kinds[kind].machine) {
		fake_start(kinds[kind].machine);
		/* Its lock would put the threads in an order that the library does not. */
		counting.recording = false;
	}
	m = map(PM_CREATE | kinds[kind].flags);
	base = pm_base(m);
	reason = unit_query(m)->reason;
	while (!pm_next_event(m, &event, sizeof(event)))
		ck_assert_int_eq(event.kind, PM_EVENT_DEMOTED);
}

START_TEST(resizes_and_all_other_calls_at_once)
{
	begin((unsigned)_i);
	run();
	ck_assert(pm_length(m) == last[0] || pm_length(m) == last[1]);
	ck_assert_uint_eq(unit_size_of(path), pm_length(m));
	unit_ok(pm_resize(m, MOST * unit_page()));
	unit_ok(pm_memset(m, base + KEPT * unit_page(), 7, (MOST - KEPT) * unit_page(), 0));
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* None takes away what the other has; and the file ends where the longer one does, at least. */
START_TEST(two_mappings_of_one_file_are_resized_at_once)
{
	begin((unsigned)_i);
	other = map(kinds[_i].flags);
	run();
	ck_assert_uint_eq(pm_length(m), last[0]);
	ck_assert_uint_eq(pm_length(other), last[1]);
	ck_assert_uint_ge(unit_size_of(path), last[0] > last[1] ? last[0] : last[1]);
	for (unsigned i = 0; i < 2; i++) {
		struct pm_mapping *one = i ? other : m;
		unit_ok(pm_memset(one, pm_base(one), 7, pm_length(one), 0));
	}
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(other));
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* ---- While the file is made shorter ---- */

static pthread_t growing;
static _Atomic int thread_id;
static atomic_bool has_ended;
static int (*beside)(void);

static int grow_other(void)
{
	return pm_resize(other, 20 * unit_page());
}

static int map_another(void)
{
	return pm_map(path, UNIT_OPTIONS(.flags = 0, .length = 20 * unit_page()), &other);
}

static void *run_beside(void *arg)
{
	atomic_store(&thread_id, gettid());
	note(!beside() || beside == map_another, "beside a cut");
	atomic_store(&has_ended, true);
	return arg;
}

/* Whether the thread sleeps, which on the fake machine is in a lock alone. */
static bool sleeps(int thread)
{
	char name[64], text[512] = "";
	snprintf(name, sizeof(name), "/proc/self/task/%d/stat", thread);
	FILE *f = fopen(name, "r");
	bool got = f && fread(text, 1, sizeof(text) - 1, f);
	if (f)
		fclose(f);
	return got && strrchr(text, ')')[2] == 'S';
}

/* Just before the file is made shorter the other thread calls, and comes as far as it can. */
static void begin_beside(enum fake_call c)
{
	if (c != FAKE_ftruncate || atomic_load(&thread_id))
		return;
	ck_assert_int_eq(pthread_create(&growing, NULL, run_beside, NULL), 0);
	while (!atomic_load(&has_ended) && (!atomic_load(&thread_id) || !sleeps(atomic_load(&thread_id))))
		usleep(100);
}

static void shrink_beside(int (*call_beside)(void))
{
	atomic_store(&failures, 0);
	atomic_store(&thread_id, 0);
	atomic_store(&has_ended, false);
	beside = call_beside;
	unit_ok(pm_resize(m, 30 * unit_page()));
	counting.hook = begin_beside;
	unit_ok(pm_resize(m, KEPT * unit_page()));
	pthread_join(growing, NULL);
	counting.hook = NULL;
	ck_assert_uint_eq(atomic_load(&failures), 0);
}

/* It finds a size that the file does not keep. */
START_TEST(a_growth_waits_for_a_cut)
{
	begin(_i ? 3 : 1);
	other = map(0);
	shrink_beside(grow_other);
	ck_assert_uint_eq(unit_size_of(path), 20 * unit_page());
	unit_ok(pm_memset(other, pm_base(other), 7, pm_length(other), 0));
	unit_ok(pm_unmap(other));
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_new_mapping_waits_for_a_cut)
{
	begin(_i ? 3 : 1);
	shrink_beside(map_another);
	/* The file did not reach that far any more. */
	ck_assert_ptr_null(other);
	ck_assert_uint_eq(unit_size_of(path), KEPT * unit_page());
	unit_ok(pm_unmap(m));
}
END_TEST

/* Just before the size is read for the second time a mapping that is gone by now has made the file longer. */
static void lengthen(enum fake_call c)
{
	static bool is_asked;
	static unsigned sizes;
	is_asked |= c == FAKE_statx_now;
	if (c == FAKE_statx && is_asked && ++sizes == 2)
		unit_expect(!truncate(path, (off_t)(40 * unit_page())));
}

START_TEST(a_file_that_is_longer_by_now_is_not_cut)
{
	begin(1);
	unit_ok(pm_resize(m, 30 * unit_page()));
	counting.hook = lengthen;
	unit_ok(pm_resize(m, KEPT * unit_page()));
	counting.hook = NULL;
	ck_assert_uint_eq(pm_length(m), KEPT * unit_page());
	ck_assert_uint_eq(unit_size_of(path), 40 * unit_page());
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	rounds = unit_rounds(120);
	TCase *c = unit_case("resizes");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, resizes_and_all_other_calls_at_once, 0, (int)KINDS);
	tcase_add_loop_test(c, two_mappings_of_one_file_are_resized_at_once, 0, 7);
	tcase_add_loop_test(c, a_growth_waits_for_a_cut, 0, 2);
	tcase_add_loop_test(c, a_new_mapping_waits_for_a_cut, 0, 2);
	tcase_add_test(c, a_file_that_is_longer_by_now_is_not_cut);
	return unit_run();
}
