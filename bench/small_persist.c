/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does pm_persist() add to the instructions it stands for? A store of 8 to 64 bytes and its persist, against the
 * bare instructions and libpmem2, on memory. Every competitor is called through a pointer, as libpmem2 must be.
 */
#include <fcntl.h>
#include <immintrin.h>
#include <libpmem2.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "cpu.h"
#include "dax_machine.h"

#define SIZE ((size_t)1 << 20)

static size_t length;
static int (*volatile our_persist)(struct pm_mapping *, const void *, size_t) = pm_persist;
static pmem2_persist_fn their_persist;

static char *spot(char *base, size_t i)
{
	return base + i * 4160 % (SIZE - 64) / 64 * 64;
}

static void store(char *at, size_t i)
{
	for (size_t k = 0; k < length; k += 8)
		*(volatile size_t *)(void *)(at + k) = i;
}

__attribute__((noinline, target("clwb"))) static void bare_persist(const void *at, size_t n)
{
	uintptr_t end = (uintptr_t)at + n;
	for (uintptr_t line = (uintptr_t)at & ~(uintptr_t)63; line < end; line += 64)
		_mm_clwb((void *)line);
	_mm_sfence();
}

static void (*volatile bare)(const void *, size_t) = bare_persist;

static void run_bare(void *base, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		char *at = spot(base, i);
		store(at, i);
		bare(at, length);
	}
}

static void run_ours(void *mapping, size_t operations)
{
	char *base = pm_base(mapping);
	for (size_t i = 0; i < operations; i++) {
		char *at = spot(base, i);
		store(at, i);
		our_persist(mapping, at, length);
	}
}

static void run_theirs(void *base, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		char *at = spot(base, i);
		store(at, i);
		their_persist(at, length);
	}
}

static struct pmem2_map *map_theirs(int fd)
{
	struct pmem2_config *config;
	struct pmem2_source *source;
	struct pmem2_map *map;
	setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
	if (pmem2_config_new(&config) || pmem2_source_from_fd(&source, fd) ||
	    pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_CACHE_LINE) ||
	    pmem2_map_new(&map, config, source)) {
		fprintf(stderr, "libpmem2: %s\n", pmem2_errormsg());
		exit(1);
	}
	return map;
}

int main(void)
{
	/* One file for all, so that nobody has better placed memory. */
	int fd = memfd_create("bench", 0);
	struct pm_mapping *mapping;
	struct pm_options options = {.size = sizeof(options), .length = SIZE};
	if (strcmp(pm_cpu()->name, "clwb"))
		return puts("skipped: this CPU has no clwb"), 77;
	if (ftruncate(fd, SIZE))
		return 1;
	dax_machine_install();
	if (pm_map_fd(fd, &options, &mapping) || pm_granularity_of(mapping) != PM_CACHE_LINE)
		return fprintf(stderr, "not a cache-line mapping: %s\n", pm_error_detail()), 1;
	struct pmem2_map *theirs = map_theirs(fd);
	their_persist = pmem2_get_persist_fn(theirs);
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct competitor all[] = {
		{"clwb; sfence", run_bare, memory},
		{"pm_persist", run_ours, mapping},
		{"libpmem2 persist", run_theirs, pmem2_map_get_address(theirs)},
	};
	bench_machine(NULL);
	for (length = 8; length <= 64; length *= 2) {
		char question[64];
		snprintf(question, sizeof(question), "store and persist %zu bytes", length);
		bench_compare(question, all, 3, 500, 1000);
	}
	return 0;
}
