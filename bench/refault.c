/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does the next store cost after a page was written back, and would populating it for write in the same call pay?
 * A write-back takes the right to write from each of its pages, so that the next store to one that is hot, as the tail
 * of a log is, faults. MADV_POPULATE_WRITE right behind the write-back spares that fault. A turn stores to each of some
 * pages and writes them back, which is mostly the disk's time; so the stores are timed alone as well, and together with
 * the populating. Each such time takes two calls of clock_gettime(2).
 * Usage: refault [DIRECTORY]
 */
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define PAGE ((size_t)4096)
#define MOST 16 /* pages */
#define TURNS 8
#define ROUNDS 101
#define COMPETITORS 3

/* What is timed: the stores, and they with what spares them the faults. */
enum kind { STORES, STORES_AND_POPULATING, KINDS };

struct subject {
	char *base;
	struct pm_mapping *mapping;
	double cost[KINDS][TURNS * (ROUNDS + COMPETITORS)]; /* ns of each turn, measured or not */
	size_t turns;
};

static size_t length; /* of what is stored to and written back */

static void must(int good, const char *why)
{
	if (!good) {
		fprintf(stderr, "refault: %s\n", why);
		exit(1);
	}
}

static void store(struct subject *s)
{
	double start = bench_now();
	for (size_t at = 0; at < length; at += PAGE)
		++*(volatile char *)(s->base + at);
	s->cost[STORES][s->turns] = s->cost[STORES_AND_POPULATING][s->turns] = bench_now() - start;
	s->turns++;
}

static void by_persist(void *subject, size_t operations)
{
	struct subject *s = subject;
	while (operations--) {
		store(s);
		must(!pm_persist(s->mapping, s->base, length), pm_error_detail());
	}
}

static void by_msync(void *subject, size_t operations)
{
	struct subject *s = subject;
	while (operations--) {
		store(s);
		must(!msync(s->base, length, MS_SYNC), "msync");
	}
}

static void by_populating(void *subject, size_t operations)
{
	struct subject *s = subject;
	while (operations--) {
		store(s);
		must(!msync(s->base, length, MS_SYNC), "msync");
		double start = bench_now();
		must(!madvise(s->base, length, MADV_POPULATE_WRITE), "MADV_POPULATE_WRITE needs Linux 5.14");
		s->cost[STORES_AND_POPULATING][s->turns - 1] += bench_now() - start;
	}
}

static void say(const char *words, size_t pages, const struct competitor *all, enum kind kind)
{
	struct bench_figure figures[COMPETITORS];
	char what[96];
	for (int i = 0; i < COMPETITORS; i++) {
		struct subject *s = all[i].arg;
		qsort(s->cost[kind], s->turns, sizeof(double), bench_order);
		figures[i] = (struct bench_figure){all[i].name, s->cost[kind][s->turns / 2]};
	}
	snprintf(what, sizeof(what), "%s, p50, pages: %zu", words, pages);
	bench_figures(what, figures, COMPETITORS);
}

static void compare(struct subject *subjects, size_t pages)
{
	const struct competitor all[COMPETITORS] = {{"pm_persist", by_persist, &subjects[0]},
						    {"msync", by_msync, &subjects[1]},
						    {"msync, MADV_POPULATE_WRITE", by_populating, &subjects[2]}};
	char what[96];
	length = pages * PAGE;
	for (int i = 0; i < COMPETITORS; i++)
		subjects[i].turns = 0;
	snprintf(what, sizeof(what), "store to each and write back, pages: %zu", pages);
	bench_compare(what, all, COMPETITORS, TURNS, ROUNDS);
	say("the stores and the populating", pages, all, STORES_AND_POPULATING);
	say("the stores alone", pages, all, STORES);
}

/* Prepared, so that the cache has single pages: see page_flush.c. */
static void map(const char *directory, struct subject *s)
{
	char path[4096];
	struct pm_options options = {.size = sizeof(options), .length = MOST * PAGE};
	options.flags = PM_CREATE | PM_EXCLUSIVE | PM_PREPARE;
	snprintf(path, sizeof(path), "%s/refault.%d", directory, (int)getpid());
	must(!pm_map(path, &options, &s->mapping) && !unlink(path), pm_error_detail());
	s->base = pm_base(s->mapping);
}

int main(int argc, char **argv)
{
	static struct subject subjects[COMPETITORS];
	bench_options(&argc, argv,
	              "What does the next store to a page cost after a write-back, and would populating pay?");
	const char *directory = argc > 1 ? argv[1] : ".";
	bench_machine(directory);
	for (int i = 0; i < COMPETITORS; i++)
		map(directory, &subjects[i]);
	for (size_t pages = 1; pages <= MOST; pages *= 2)
		compare(subjects, pages);
	for (int i = 0; i < COMPETITORS; i++)
		must(!pm_unmap(subjects[i].mapping), pm_error_detail());
	return 0;
}
