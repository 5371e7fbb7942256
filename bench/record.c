/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does it cost to record a flush on page granularity, and do threads stand in each other's way? 1 to 8 threads
 * flush 16 pages in turn, each its own or all the same; the time is that of all, divided by the flushes of all.
 * Usage: record [DIRECTORY]
 */
#include <fcntl.h>
#include <pmdirect.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

#define PAGE ((size_t)4096)
#define MOST_THREADS 8
#define PAGES_EACH 16

static struct pm_mapping *mapping;
static size_t flushes_each;

struct crew {
	unsigned threads;
	bool together;
};

struct member {
	pthread_t thread;
	char *base;
};

static void *flush_in_turn(void *arg)
{
	const struct member *self = arg;
	for (size_t i = 0; i < flushes_each; i++)
		if (pm_flush(mapping, self->base + i % PAGES_EACH * PAGE, 64))
			abort();
	return NULL;
}

static void run(void *arg, size_t operations)
{
	const struct crew *crew = arg;
	struct member member[MOST_THREADS];
	flushes_each = operations / crew->threads;
	for (unsigned i = 0; i < crew->threads; i++) {
		member[i].base = (char *)pm_base(mapping) + (crew->together ? 0 : i * PAGES_EACH * PAGE);
		if (pthread_create(&member[i].thread, NULL, flush_in_turn, &member[i]))
			abort();
	}
	for (unsigned i = 0; i < crew->threads; i++)
		pthread_join(member[i].thread, NULL);
	/* Nothing is dirty: this takes what was recorded. */
	if (pm_drain(mapping))
		abort();
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does it cost to record a flush, and do threads stand in each other's way?");
	const char *directory = argc > 1 ? argv[1] : ".";
	char path[4096];
	struct pm_options options = {.size = sizeof(options), .length = MOST_THREADS * PAGES_EACH * PAGE,
	                             .flags = PM_CREATE | PM_EXCLUSIVE, .mode = 0600};
	snprintf(path, sizeof(path), "%s/record.%d", directory, (int)getpid());
	if (pm_map(path, &options, &mapping) || unlink(path))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	if (pm_granularity_of(mapping) != PM_PAGE)
		return puts("skipped: files are not of page granularity there"), 77;
	static struct crew crews[] = {{1, false}, {2, false}, {4, false}, {8, false}, {2, true}, {4, true}, {8, true}};
	static char names[7][32];
	struct competitor all[7];
	for (size_t i = 0; i < 7; i++) {
		snprintf(names[i], sizeof(names[i]), "%u thread%s%s", crews[i].threads, crews[i].threads > 1 ? "s" : "",
		         crews[i].together ? ", same pages" : "");
		all[i] = (struct competitor){names[i], run, &crews[i]};
	}
	bench_machine(directory);
	printf("%ld CPUs\n", sysconf(_SC_NPROCESSORS_ONLN));
	bench_compare("pm_flush on page granularity, by so many threads at once", all, 7, 1000000, 15);
	return pm_unmap(mapping) ? 1 : 0;
}
