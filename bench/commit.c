/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that commit at once: what do they pay for waiting for each other, lest an error be told to the wrong one?
 * Each stores to a page of its own and makes it durable; the time is that of all, divided by the commits of all.
 * Usage: commit [DIRECTORY]
 */
#include <fcntl.h>
#include <pmdirect.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define PAGE ((size_t)4096)
#define MOST_THREADS 32

static struct pm_mapping *mapping;
static unsigned threads;
static size_t commits_each;
static bool raw, far;

static void *commit(void *arg)
{
	/* Neighbours, or far enough apart that they are not written as one. */
	char *page = (char *)pm_base(mapping) + (size_t)arg * (far ? 64 : 1) * PAGE;
	for (size_t i = 0; i < commits_each; i++) {
		(*page)++;
		if (raw ? msync(page, PAGE, MS_SYNC) : pm_persist(mapping, page, 1))
			abort();
	}
	return NULL;
}

static void run(void *arg, size_t operations)
{
	pthread_t thread[MOST_THREADS];
	raw = arg;
	commits_each = operations / threads;
	for (size_t i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, commit, (void *)i))
			abort();
	for (size_t i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What do threads that commit at once pay for waiting for each other's errors?");
	const char *directory = argc > 1 ? argv[1] : ".";
	char path[4096];
	struct pm_options options = {.size = sizeof(options), .length = MOST_THREADS * 64 * PAGE,
	                             .flags = PM_CREATE | PM_EXCLUSIVE | PM_PREPARE, .mode = 0600};
	snprintf(path, sizeof(path), "%s/commit.%d", directory, (int)getpid());
	if (pm_map(path, &options, &mapping) || unlink(path))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	bench_machine(directory);
	struct competitor all[] = {{"pm_persist", run, NULL}, {"an msync each", run, &raw}};
	for (int i = 0; i < 2; i++) {
		far = i;
		for (threads = 1; threads <= MOST_THREADS; threads *= 2) {
			char question[64];
			snprintf(question, sizeof(question), "%u threads, pages %s", threads,
			         far ? "far apart" : "side by side");
			bench_compare(question, all, 2, 128, 9);
		}
	}
	return pm_unmap(mapping) ? 1 : 0;
}
