/* SPDX-License-Identifier: BSD-3-Clause */
/* Any call on any mapping from any thread. What is wrong here the thread sanitizer finds. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#define THREADS 8u
#define ROUNDS 300u
#define PART 8192u

static struct pm_mapping *m;
static const char *path;
static pthread_barrier_t together;
static atomic_uint failures;

static void note(bool good)
{
	if (!good)
		atomic_fetch_add(&failures, 1);
}

static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	return *state ^= *state << 5;
}

/* Each thread stores into its own part; the calls are about all of them. */
static void one_call(uint32_t number, char *part, uint32_t *state)
{
	static const char source[PART];
	struct pm_report report;
	size_t at = next(state) % PART, length = next(state) % (PART - at) + 1;
	switch (number % 10) {
	case 0:
		note(!pm_flush(m, part + at, length));
		break;
	case 1:
		note(!pm_drain(m));
		break;
	case 2:
		note(!pm_persist(m, part + at, length));
		break;
	case 3:
		note(!pm_sync(m));
		break;
	case 4:
		note(!pm_memcpy(m, part + at, source, length, number & 16 ? PM_NODRAIN : 0));
		break;
	case 5:
		note(!pm_memset(m, part + at, (int)number, length, 0));
		break;
	case 6:
		note(!pm_query(m, &report, sizeof(report)) && report.granularity == pm_granularity_of(m));
		break;
	case 7:
		note(!pm_deep_persist(m, part + at, length));
		break;
	case 8:
		note(pm_persist(m, part + at, SIZE_MAX) == -ERANGE && strstr(pm_error_detail(), "file"));
		break;
	default:
		note(!pm_clear_error(m));
	}
}

static void *mix(void *arg)
{
	uint32_t number = (uint32_t)(uintptr_t)arg, state = number + 12345;
	char *part = (char *)pm_base(m) + (size_t)number * PART;
	pthread_barrier_wait(&together);
	for (unsigned i = 0; i < ROUNDS; i++)
		one_call(next(&state), part, &state);
	return NULL;
}

static void run_all(void *(*body)(void *))
{
	pthread_t thread[THREADS];
	pthread_barrier_init(&together, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, body, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&together);
	ck_assert_uint_eq(atomic_load(&failures), 0);
}

static void start(const struct fake_machine *machine)
{
	path = unit_file("file", THREADS * PART);
	atomic_store(&failures, 0);
	if (!machine)
		return;
	fake_start(machine);
	/* Its lock would put the threads in an order that the library does not. */
	counting.recording = false;
}

START_TEST(calls_of_all_kinds_on_one_mapping)
{
	static const struct fake_machine *const machines[] = {NULL, &fake_plain, &fake_dax, &fake_eadr};
	start(machines[_i]);
	m = unit_map(path, NULL);
	run_all(mix);
	unit_ok(pm_unmap(m));
}
END_TEST

/* One thread takes the promise away while the others rely on it. */
static void *lose(void *arg)
{
	if (arg)
		return mix(arg);
	struct pm_report report;
	pthread_barrier_wait(&together);
	usleep(1000);
	note(!pm_query(m, &report, sizeof(report)));
	return NULL;
}

static atomic_uint asked;

static void lose_at_the_third(enum fake_call c)
{
	if (c == FAKE_fstatfs && atomic_fetch_add(&asked, 1) == 2)
		fake_fail(FAKE_ioctl, 0, EIO);
}

START_TEST(a_demotion_under_way)
{
	start(&fake_dax);
	m = unit_map(path, NULL);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	atomic_store(&asked, 0);
	counting.hook = lose_at_the_third;
	run_all(lose);
	struct pm_report report;
	for (int i = 0; i < 3; i++)
		unit_ok(pm_query(m, &report, sizeof(report)));
	ck_assert_int_eq(report.granularity, PM_PAGE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A write-back fails while the others go on: each of their calls says so or is whole. */
static void *fail_and_clear(void *arg)
{
	uint32_t number = (uint32_t)(uintptr_t)arg;
	char *part = (char *)pm_base(m) + (size_t)number * PART;
	pthread_barrier_wait(&together);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (number == 0 && i % 50 == 0)
			fake_fail(FAKE_msync, 1, EIO);
		/* Clearing stores every page again, and must not take this back. */
		__atomic_store_n(part, (char)i, __ATOMIC_RELAXED);
		int rc = pm_persist(m, part, 1);
		note(rc == 0 || rc == -EIO);
		if (rc && number % 2)
			pm_clear_error(m);
		note(__atomic_load_n(part, __ATOMIC_RELAXED) == (char)i);
	}
	return NULL;
}

START_TEST(failures_and_their_clearing)
{
	start(&fake_plain);
	m = unit_map(path, NULL);
	run_all(fail_and_clear);
	fake_fail(FAKE_msync, 0, 0);
	unit_ok(pm_clear_error(m));
	unit_ok(pm_unmap(m));
}
END_TEST

static void *live(void *arg)
{
	uint64_t part = (uint64_t)(uintptr_t)arg * PART;
	pthread_barrier_wait(&together);
	for (unsigned i = 0; i < ROUNDS / 4; i++) {
		struct pm_mapping *own = NULL;
		struct pm_report report;
		note(!pm_map(path, UNIT_OPTIONS(.offset = part, .length = PART), &own));
		note(!pm_memset(own, pm_base(own), (int)i, PART, 0));
		note(!pm_probe(path, NULL, &report, sizeof(report)));
		note(!pm_unmap(own));
		note(pm_map("/missing/file", NULL, &own) == -ENOENT);
	}
	return NULL;
}

START_TEST(mappings_come_and_go)
{
	static const struct fake_machine *const machines[] = {NULL, &fake_plain, &fake_dax};
	start(machines[_i]);
	run_all(live);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* ---- An aligned word is old or new ---- */

static atomic_bool finished;

/* A race with the vectors of a copy, which are no atomics of the language: that is what is looked at. */
__attribute__((no_sanitize("thread"))) static void *look_for_torn_words(void *arg)
{
	const uint64_t *word = arg;
	while (!atomic_load_explicit(&finished, memory_order_relaxed)) {
		for (int i = 0; i < 20; i++) {
			uint64_t w = __atomic_load_n(&word[i], __ATOMIC_RELAXED);
			note(w == 0 || w == UINT64_MAX);
		}
	}
	return NULL;
}

START_TEST(no_word_is_torn)
{
	static unsigned char ones[200], zeroes[200];
	pthread_t reader;
	start(&fake_dax);
	m = unit_map(path, NULL);
	/* The copies begin and end inside words, the words that are looked at lie between. */
	char *base = (char *)pm_base(m) + 4096, *to = base + 3;
	memset(ones, 255, sizeof(ones));
	memset(base, 0, 256);
	atomic_store(&finished, false);
	ck_assert_int_eq(pthread_create(&reader, NULL, look_for_torn_words, base + 8), 0);
	for (int i = 0; i < 3000; i++) {
		const unsigned char *from = i % 2 ? zeroes : ones;
		if (i % 3 == 2)
			pm_memset(m, to, from[0], 190, 0);
		else if (i % 3)
			pm_memcpy(m, to, from + 5, 190, 0);
		else
			pm_memmove(m, to, from + 1, 190, PM_NODRAIN);
	}
	atomic_store(&finished, true);
	pthread_join(reader, NULL);
	ck_assert_uint_eq(atomic_load(&failures), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("threads");
	tcase_add_loop_test(c, calls_of_all_kinds_on_one_mapping, 0, 4);
	tcase_add_test(c, a_demotion_under_way);
	tcase_add_test(c, failures_and_their_clearing);
	tcase_add_loop_test(c, mappings_come_and_go, 0, 3);
	tcase_add_test(c, no_word_is_torn);
	return unit_run();
}
