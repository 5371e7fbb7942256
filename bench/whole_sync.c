/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What makes a whole mapping durable for the least: all its lines, the pages the kernel knows to be dirty, or those the
 * program has flushed? Random pages of 4 KiB are stored to, and then
 *
 *   in the page cache   pm_sync(), which is one msync over all; or a pm_flush() of each page and one pm_drain()
 *   on lines            the same; or every line written back, as pm_sync() does up to 16 MiB
 *
 * at several shares of the mapping. The stores are part of the time: after an msync each page faults again. Where the
 * directory is not on lines, there are also those of a file in DRAM that looks like persistent memory (dax_machine.h);
 * an msync of that does nothing, so that pm_sync() is left out. An emulated CPU writes no cache back: there a line
 * costs the instruction that does nothing, and an msync what it costs the kernel.
 *
 * Usage: whole_sync [DIRECTORY [MIB...]], by default 64 and as many as a quarter of the memory holds, at most 4096
 */
#include <fcntl.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "dax_machine.h"

#define PAGE ((size_t)4096)

static size_t dirty;    /* pages */
static unsigned *order; /* of all pages, at random */
static size_t next, pages;

static void must(int good, const char *why)
{
	if (!good) {
		fprintf(stderr, "whole_sync: %s\n", why);
		exit(1);
	}
}

static char *store(struct pm_mapping *mapping)
{
	char *page = (char *)pm_base(mapping) + order[next] * PAGE;
	next = (next + 1) % pages;
	memset(page, (int)next, PAGE);
	return page;
}

static void by_sync(void *mapping, size_t operations)
{
	while (operations--) {
		for (size_t i = 0; i < dirty; i++)
			store(mapping);
		must(!pm_sync(mapping), pm_error_detail());
	}
}

static void by_walk(void *mapping, size_t operations)
{
	while (operations--) {
		for (size_t i = 0; i < dirty; i++)
			store(mapping);
		must(!pm_persist(mapping, pm_base(mapping), pages * PAGE), pm_error_detail());
	}
}

static void by_flushes(void *mapping, size_t operations)
{
	while (operations--) {
		for (size_t i = 0; i < dirty; i++)
			must(!pm_flush(mapping, store(mapping), PAGE), pm_error_detail());
		must(!pm_drain(mapping), pm_error_detail());
	}
}

static void shuffle(void)
{
	order = malloc(pages * sizeof(*order));
	must(order != NULL, "no memory");
	for (size_t i = 0; i < pages; i++) {
		size_t at = (size_t)random() % (i + 1);
		order[i] = order[at];
		order[at] = (unsigned)i;
	}
}

/* Prepared: so the cache has single pages (see page_flush.c), and new blocks bear stores by lines. */
static struct pm_mapping *map(const char *directory, size_t mib)
{
	char path[4096];
	struct pm_mapping *mapping;
	struct pm_options options = {.size = sizeof(options), .flags = PM_PREPARE, .length = (uint64_t)mib << 20};
	snprintf(path, sizeof(path), "%s/whole_sync.XXXXXX", directory);
	int fd = mkstemp(path);
	must(fd >= 0 && !unlink(path) && !ftruncate(fd, (off_t)options.length), "the file cannot be made");
	must(!pm_map_fd(fd, &options, &mapping), pm_error_detail());
	close(fd);
	return mapping;
}

static enum pm_granularity compare(const char *directory, size_t mib, bool imitated)
{
	static const double shares[] = {0, 0.0001, 0.001, 0.01, 0.1};
	char question[96];
	struct pm_mapping *m[3] = {map(directory, mib), NULL, NULL};
	enum pm_granularity granularity = pm_granularity_of(m[0]);
	/* What is stored by lines stays dirty to the kernel: the next msync of the same mapping would write it too. */
	bool apart = granularity != PM_PAGE && !imitated;
	for (int i = 1; i < 3; i++)
		m[i] = apart ? map(directory, mib) : m[0];
	const struct competitor all[] = {{"pm_sync", by_sync, m[0]},
					 {"pm_flush each, pm_drain", by_flushes, m[1]},
					 {"pm_persist of all", by_walk, m[2]}};
	size_t count = granularity == PM_PAGE ? 2 : 3 - imitated;
	pages = mib << 8;
	next = 0;
	shuffle();
	for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
		dirty = (size_t)((double)pages * shares[i]);
		snprintf(question, sizeof(question), "%s, %zu MiB, pages stored to: %zu",
			 pm_granularity_name(granularity), mib, dirty);
		bench_compare(question, all + imitated, count, 1, mib > 64 ? 3 : 5);
	}
	free(order);
	for (int i = apart ? 2 : 0; i >= 0; i--)
		must(!pm_unmap(m[i]), pm_error_detail());
	return granularity;
}

/* What fits, and leaves room for others. */
static size_t large(void)
{
	size_t mib = 512, memory = (size_t)sysconf(_SC_PHYS_PAGES) / 256 * (size_t)sysconf(_SC_PAGESIZE) / 4096;
	while (mib > memory / 4)
		mib /= 2;
	return mib;
}

/* On lines of the directory's, or those that are imitated. */
static enum pm_granularity compare_all(const char *directory, int count, char **sizes, bool imitated)
{
	enum pm_granularity granularity = PM_PAGE;
	for (int i = 0; i < count; i++)
		granularity = compare(directory, strtoul(sizes[i], NULL, 0), imitated);
	if (count)
		return granularity;
	granularity = compare(directory, 64, imitated);
	return bench_quick() ? granularity : compare(directory, large(), imitated);
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What makes a whole mapping durable for the least?");
	const char *directory = argc > 1 ? argv[1] : ".";
	int given = argc > 2 ? argc - 2 : 0;
	bench_machine(directory);
	if (compare_all(directory, given, argv + 2, false) != PM_PAGE)
		return 0;
	dax_machine_install();
	compare_all("/dev/shm", given, argv + 2, true);
	return 0;
}
