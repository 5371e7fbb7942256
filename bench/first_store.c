/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does the first store to a page cost, in a mapping that was prepared and in others? Page by page in turn, each
 * store timed alone, so that it can be said what the slowest take. With MAP_SYNC the store to a page that is not
 * prepared commits a transaction. Timing a store takes a call of clock_gettime(2) itself.
 */
#include <fcntl.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#ifdef HAVE_LIBPMEM
#include <libpmem.h>
#endif

#define PAGE ((size_t)4096)
#define PAGES 2048
#define QUICK_PAGES 512
#define MOST 4

static const char *directory;
static size_t length;

static char *map_ours(const char *path, unsigned flags)
{
	struct pm_mapping *m;
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_EXCLUSIVE | flags, .length = length};
	if (pm_map(path, &o, &m)) {
		fprintf(stderr, "%s\n", pm_error_detail());
		exit(1);
	}
	return pm_base(m);
}

static char *map_prepared(const char *path)
{
	return map_ours(path, PM_PREPARE);
}

static char *map_sparse(const char *path)
{
	return map_ours(path, PM_SPARSE);
}

/* As programs did by hand: with MAP_SYNC where it can be had. */
static char *map_by_hand(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), prot = PROT_READ | PROT_WRITE;
	char *base = MAP_FAILED;
	if (fd >= 0 && !ftruncate(fd, (off_t)length)) {
		base = mmap(NULL, length, prot, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
		if (base == MAP_FAILED)
			base = mmap(NULL, length, prot, MAP_SHARED, fd, 0);
	}
	if (base == MAP_FAILED) {
		perror(path);
		exit(1);
	}
	return base;
}

#ifdef HAVE_LIBPMEM
static char *map_libpmem(const char *path)
{
	size_t mapped;
	int is_pmem;
	char *base = pmem_map_file(path, length, PMEM_FILE_CREATE | PMEM_FILE_EXCL, 0600, &mapped, &is_pmem);
	if (!base) {
		fprintf(stderr, "libpmem: %s\n", pmem_errormsg());
		exit(1);
	}
	return base;
}
#endif

static const struct {
	const char *name;
	char *(*map)(const char *path);
} kinds[] = {
	{"pm_map with PM_PREPARE", map_prepared},
	{"pm_map with PM_SPARSE", map_sparse},
	{"mmap with MAP_SYNC, sparse", map_by_hand},
#ifdef HAVE_LIBPMEM
	{"libpmem map_file, allocated", map_libpmem},
#endif
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void say(const char *what, double cost[][PAGES], size_t index)
{
	struct bench_figure figures[MOST];
	char name[64];
	for (size_t k = 0; k < KINDS; k++)
		figures[k] = (struct bench_figure){kinds[k].name, cost[k][index]};
	snprintf(name, sizeof(name), "first store to a page, %s", what);
	bench_figures(name, figures, KINDS);
}

int main(int argc, char **argv)
{
	static double cost[MOST][PAGES];
	char *base[MOST], path[4096];
	bench_options(&argc, argv, "What does the first store to a page cost, prepared and not?");
	directory = argc > 1 ? argv[1] : ".";
	size_t pages = bench_quick() ? QUICK_PAGES : PAGES;
	length = pages * PAGE;
	bench_machine(directory);
	for (size_t k = 0; k < KINDS; k++) {
		snprintf(path, sizeof(path), "%s/first_store.%d.%zu", directory, (int)getpid(), k);
		base[k] = kinds[k].map(path);
		unlink(path);
	}
	for (size_t i = 0; i < pages; i++)
		for (size_t k = 0; k < KINDS; k++) {
			double start = bench_now();
			*(volatile char *)(base[k] + i * PAGE) = 1;
			cost[k][i] = bench_now() - start;
		}
	for (size_t k = 0; k < KINDS; k++)
		qsort(cost[k], pages, sizeof(double), bench_order);
	say("p50", cost, pages / 2);
	say("p99", cost, pages * 99 / 100);
	say("p99.9", cost, pages * 999 / 1000);
	say("max", cost, pages - 1);
	return 0;
}
