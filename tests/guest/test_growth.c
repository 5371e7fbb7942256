/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mapping grows within its reserve while other threads load, store, persist and query: the base stays, no load
 * faults, nothing that was stored is lost, and the file holds it all. test_growth [-g GROWTHS] [-s STEP] [-c]
 * DIRECTORY...; -c: through the page cache, without blocks, so that a large length needs no large disk.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"

#define FIRST ((uint64_t)2 << 20)
#define SPAN ((uint64_t)4096) /* each has one word, which is its place */
#define WRITERS 2u
#define PAUSE   200 /* microseconds in which the growing thread has a CPU */

static struct pm_mapping *m;
static char *base;
static atomic_bool is_over;
static atomic_uint wrong;
static _Atomic uint64_t loads, persists, queries;

static _Atomic uint64_t *word_at(uint64_t offset)
{
	return (_Atomic uint64_t *)(base + offset);
}

static void note(bool good, const char *what, uint64_t at)
{
	if (!good && atomic_fetch_add(&wrong, 1) < 5)
		printf("%s at %llu: %s\n", what, (unsigned long long)at, pm_error_detail());
}

/* Loads from the whole length that it knows, the newest part first. */
static void *read_all(void *arg)
{
	while (!atomic_load(&is_over)) {
		uint64_t length = pm_length(m), count = 0;
		for (uint64_t at = length / SPAN * SPAN; at && count < 2000; at -= SPAN, count++) {
			uint64_t value = atomic_load(word_at(at - SPAN));
			note(!value || value == at - SPAN + 1, "a word is wrong", at - SPAN);
		}
		atomic_fetch_add(&loads, count);
		note(pm_base(m) == base, "the base moved", length);
		usleep(PAUSE);
	}
	return arg;
}

/* Stores into every span of its own as soon as there is one. */
static void *write_own(void *arg)
{
	uint64_t at = (uint64_t)(uintptr_t)arg * SPAN;
	while (!atomic_load(&is_over) || at + SPAN <= pm_length(m)) {
		uint64_t until = pm_length(m), first = at;
		for (; at + SPAN <= until && at - first < 16 * WRITERS * SPAN; at += WRITERS * SPAN) {
			atomic_store(word_at(at), at + 1);
			note(!pm_flush(m, base + at, 8), "a flush failed", at);
		}
		note(!pm_drain(m), "a drain failed", at);
		if (at > first)
			note(!pm_persist(m, base + first, 8), "a persist failed", first);
		else
			usleep(PAUSE);
		atomic_fetch_add(&persists, 1);
	}
	return NULL;
}

static void *ask_all(void *arg)
{
	struct pm_report report;
	struct pm_event event;
	for (unsigned i = 0; !atomic_load(&is_over); i++) {
		note(!pm_query(m, &report, sizeof(report)), "a query failed", 0);
		note(report.length >= FIRST && report.length <= pm_length(m), "the report has another length",
		     report.length);
		int rc = pm_next_event(m, &event, sizeof(event));
		note(rc == -EAGAIN || !rc, "no event can be taken", 0);
		if (!rc && event.kind != PM_EVENT_DEMOTED && event.kind != PM_EVENT_OPENED)
			note(false, "an event of the growth itself", (uint64_t)event.kind);
		if (i % 16 == 0)
			note(!pm_sync(m), "a sync failed", 0);
		atomic_fetch_add(&queries, 1);
		/* Without a pause it would hold the lock of observations nearly always. */
		usleep(1000);
	}
	return arg;
}

static void grow(unsigned growths, uint64_t step)
{
	for (unsigned i = 1; i <= growths; i++) {
		note(!pm_resize(m, FIRST + i * step), "a growth failed", FIRST + i * step);
		note(pm_length(m) == FIRST + i * step, "the length is another", i);
	}
}

static void run_threads(unsigned growths, uint64_t step)
{
	pthread_t threads[WRITERS + 3];
	unsigned count = 0;
	for (uintptr_t i = 0; i < WRITERS; i++)
		pthread_create(&threads[count++], NULL, write_own, (void *)i);
	pthread_create(&threads[count++], NULL, read_all, NULL);
	pthread_create(&threads[count++], NULL, read_all, NULL);
	pthread_create(&threads[count++], NULL, ask_all, NULL);
	grow(growths, step);
	atomic_store(&is_over, true);
	while (count)
		pthread_join(threads[--count], NULL);
}

/* What is in the file, by read(2). */
static void check_file(const char *path, uint64_t length)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && !fstat(fd, &st) && (uint64_t)st.st_size == length, "the file has another size");
	for (uint64_t at = 0; at + SPAN <= length; at += SPAN) {
		uint64_t value = 0;
		if (pread(fd, &value, sizeof(value), (off_t)at) != sizeof(value) || value != at + 1) {
			CHECK(false, "the word at %llu is lost", (unsigned long long)at);
			break;
		}
	}
	close(fd);
}

static void check_directory(const char *directory, unsigned growths, uint64_t step, bool cached)
{
	char path[300];
	uint64_t last = FIRST + growths * step;
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_WATCH | (cached ? PM_SPARSE : 0),
	                       .sync = cached ? PM_AVOID : PM_HINT, .length = FIRST, .reserve = last + 12345};
	place_checked = directory;
	snprintf(path, sizeof(path), "%s/growing", directory);
	unlink(path);
	int rc = pm_map(path, &o, &m);
	CHECK(!rc);
	if (rc)
		return;
	base = pm_base(m);
	atomic_store(&is_over, false);
	enum pm_granularity before = pm_granularity_of(m);
	run_threads(growths, step);
	CHECK(!atomic_load(&wrong), "%u are wrong", atomic_load(&wrong));
	CHECK(pm_base(m) == base, "the base moved");
	CHECK(pm_length(m) == last, "the length is another");
	printf("%s: %s, %s at last: %u growths to %llu, %llu loads, %llu persists, %llu queries\n", directory,
	       pm_granularity_name(before), pm_granularity_name(pm_granularity_of(m)), growths,
	       (unsigned long long)last, (unsigned long long)loads, (unsigned long long)persists,
	       (unsigned long long)queries);
	CHECK(!pm_unmap(m));
	check_file(path, last);
	unlink(path);
}

int main(int argc, char **argv)
{
	unsigned growths = 1000;
	uint64_t step = 16 << 10;
	bool cached = false;
	for (int option; (option = getopt(argc, argv, "g:s:c")) != -1;) {
		growths = option == 'g' ? (unsigned)atoi(optarg) : growths;
		step = option == 's' ? strtoull(optarg, NULL, 0) : step;
		cached |= option == 'c';
	}
	for (int i = optind; i < argc; i++)
		check_directory(argv[i], growths, step, cached);
	return failures != 0;
}
