/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What makes a whole mapping durable for the least: all its lines, the pages the kernel knows to be dirty, or those the
 * program has flushed? Random pages of 4 KiB are stored to, and then
 *
 *   in the page cache   pm_sync(), which is one msync over all; or a pm_flush() of each page and one pm_drain()
 *   on lines            every line written back, as pm_sync() does up to 16 MiB; or a pm_flush() of each page and one
 *                       pm_drain()
 *
 * at several shares of the mapping. The stores are part of the time: after an msync each page faults again. Lines are
 * those of a file in DRAM that looks like persistent memory (dax_machine.h); what an msync of a DAX file costs, which
 * pm_sync() makes from 16 MiB on, needs one. Usage: whole_sync [DIRECTORY [MIB...]], by default 64 and 1024
 */
#include <fcntl.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "dax_machine.h"

#define PAGE ((size_t)4096)

static char *base;
static size_t dirty; /* pages */
static unsigned *order; /* of all pages, at random */
static size_t next, pages;

static char *store(void)
{
	char *page = base + order[next] * PAGE;
	next = (next + 1) % pages;
	memset(page, (int)next, PAGE);
	return page;
}

static void by_sync(void *mapping, size_t operations)
{
	while (operations--) {
		for (size_t i = 0; i < dirty; i++)
			store();
		if (pm_sync(mapping))
			abort();
	}
}

static void by_walk(void *mapping, size_t operations)
{
	while (operations--) {
		for (size_t i = 0; i < dirty; i++)
			store();
		if (pm_persist(mapping, base, pages * PAGE))
			abort();
	}
}

static void by_flushes(void *mapping, size_t operations)
{
	while (operations--) {
		for (size_t i = 0; i < dirty; i++)
			if (pm_flush(mapping, store(), PAGE))
				abort();
		if (pm_drain(mapping))
			abort();
	}
}

static void shuffle(void)
{
	order = malloc(pages * sizeof(*order));
	if (!order)
		abort();
	for (size_t i = 0; i < pages; i++) {
		size_t at = (size_t)random() % (i + 1);
		order[i] = order[at];
		order[at] = (unsigned)i;
	}
}

static int compare(const char *directory, size_t mib)
{
	char path[4096], question[96];
	struct pm_mapping *mapping;
	struct pm_options options = {.size = sizeof(options), .length = (uint64_t)mib << 20};
	snprintf(path, sizeof(path), "%s/whole.%d", directory, (int)getpid());
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, (off_t)options.length) || unlink(path))
		return perror(path), 1;
	if (pm_map_fd(fd, &options, &mapping))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	close(fd);
	base = pm_base(mapping);
	pages = mib << 8;
	next = 0;
	shuffle();
	/* Single pages in the cache, as PM_PREPARE leaves it: see page_flush.c. */
	madvise(base, pages * PAGE, MADV_RANDOM);
	memset(base, 1, pages * PAGE);
	if (pm_sync(mapping))
		return 1;
	static const double shares[] = {0, 0.0001, 0.001, 0.01, 0.1};
	struct competitor all[] = {{"pm_sync", by_sync, mapping}, {"pm_flush each, pm_drain", by_flushes, mapping}};
	if (pm_granularity_of(mapping) != PM_PAGE)
		all[0] = (struct competitor){"pm_persist of all", by_walk, mapping};
	for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
		dirty = (size_t)((double)pages * shares[i]);
		snprintf(question, sizeof(question), "%s, %zu MiB, %zu pages stored to (%g %%)",
		         pm_granularity_name(pm_granularity_of(mapping)), mib, dirty, shares[i] * 100);
		bench_compare(question, all, 2, 1, 5);
	}
	free(order);
	return pm_unmap(mapping) ? 1 : 0;
}

static int compare_all(const char *directory, int count, char **sizes)
{
	int rc = count ? 0 : compare(directory, 64);
	if (!count && !rc && !bench_quick())
		rc = compare(directory, 1024);
	for (int i = 0; i < count && !rc; i++)
		rc = compare(directory, strtoul(sizes[i], NULL, 0));
	return rc;
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What makes a whole mapping durable for the least?");
	const char *directory = argc > 1 ? argv[1] : ".";
	int given = argc > 2 ? argc - 2 : 0;
	bench_machine(directory);
	int rc = compare_all(directory, given, argv + 2);
	dax_machine_install();
	return rc ? rc : compare_all("/dev/shm", given, argv + 2);
}
