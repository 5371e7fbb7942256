/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does pm_persist() add to the instructions it stands for? A store and its persist, of 8 bytes to 1 MiB, against
 * the bare instructions, libpmem and libpmem2, on memory. All are called through a pointer, as libpmem2 must be.
 */
#include <fcntl.h>
#include <immintrin.h>
#include <libpmem.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "cpu/cpu.h"
#include "dax_machine.h"
#include "peers.h"

#define SPOTS ((size_t)1 << 20) /* where a range may begin */
#define SIZE (2 * SPOTS)
#define LINE ((size_t)64)

static size_t length;
static int (*volatile our_persist)(struct pm_mapping *, const void *, size_t) = pm_persist;
static void (*volatile old_persist)(const void *, size_t) = pmem_persist;
static pmem2_persist_fn their_persist;

static char *spot(char *base, size_t i)
{
	return base + i * 4160 % (SPOTS - LINE) / LINE * LINE;
}

/* Each word of a line, or a word of each line. */
static void store(char *at, size_t i)
{
	for (size_t k = 0; k < length; k += length > LINE ? LINE : 8)
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

static void run_libpmem(void *base, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		char *at = spot(base, i);
		store(at, i);
		old_persist(at, length);
	}
}

static void run_libpmem2(void *base, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		char *at = spot(base, i);
		store(at, i);
		their_persist(at, length);
	}
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does pm_persist() add to the instructions it stands for? (on memory)");
	/* One file for all, so that no competitor has better placed memory. */
	int fd = memfd_create("bench", 0);
	struct pm_mapping *mapping;
	struct pm_options options = {.size = sizeof(options), .length = SIZE};
	if (strcmp(pm_cpu()->name, "clwb"))
		return puts("skipped: this CPU has no clwb"), 77;
	if (ftruncate(fd, SIZE))
		return 1;
	bench_machine(NULL);
	dax_machine_install();
	if (pm_map_fd(fd, &options, &mapping) || pm_granularity_of(mapping) != PM_CACHE_LINE)
		return fprintf(stderr, "not a cache-line mapping: %s\n", pm_error_detail()), 1;
	setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
	struct pmem2_map *theirs = bench_map_pmem2(fd, PMEM2_GRANULARITY_CACHE_LINE);
	their_persist = pmem2_get_persist_fn(theirs);
	char *memory = bench_mmap(fd, SIZE);
	struct competitor all[] = {
		{"clwb; sfence", run_bare, memory},
		{"pm_persist", run_ours, mapping},
		{"libpmem pmem_persist", run_libpmem, memory},
		{"libpmem2 persist", run_libpmem2, pmem2_map_get_address(theirs)},
	};
	static const size_t lengths[] = {8, 16, 32, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		char what[64];
		length = lengths[i];
		size_t operations = length < 128 ? 500 : length < 65536 ? 65536 / length : 1;
		snprintf(what, sizeof(what), "store and persist %zu bytes", length);
		bench_compare(what, all, 4, operations, length > 4096 ? 300 : 1000);
	}
	return 0;
}
