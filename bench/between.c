/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does a copy cost the program around it? Wide vector instructions slow some CPUs down for a while, with all that
 * they do next: a program that computes, and now and then copies, on ordinary memory. Others' copies and none at all.
 */
#include <libpmem.h>
#include <pmdirect.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "cpu/cpu.h"
#include "dax_machine.h"

#define SPACE ((size_t)16 << 20)
#define MOST ((size_t)1 << 20)

static struct pm_mapping *mapping;
static char *memory, *source;
static size_t length, steps;
static volatile uint64_t result;

/* Each step needs the one before. */
static void compute(void)
{
	uint64_t x = result;
	for (size_t i = 0; i < steps; i++)
		x = x * 6364136223846793005u + 1442695040888963407u;
	result = x;
}

static char *next_place(void)
{
	static size_t at;
	at += length + 4160;
	at = at + length > SPACE ? 0 : at & ~(size_t)63;
	return memory + at;
}

static void run_ours(void *unused, size_t operations)
{
	(void)unused;
	for (size_t i = 0; i < operations; i++) {
		compute();
		if (pm_memcpy(mapping, next_place(), source, length, 0))
			abort();
	}
}

static void run_theirs(void *unused, size_t operations)
{
	(void)unused;
	for (size_t i = 0; i < operations; i++) {
		compute();
		pmem_memcpy_persist(next_place(), source, length);
	}
}

static void run_plain(void *unused, size_t operations)
{
	(void)unused;
	for (size_t i = 0; i < operations; i++) {
		compute();
		char *to = next_place();
		memcpy(to, source, *(volatile size_t *)&length);
		pm_cpu()->persist(to, length);
	}
}

static void run_nothing(void *unused, size_t operations)
{
	(void)unused;
	for (size_t i = 0; i < operations; i++)
		compute();
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does a durable copy cost the program around it?");
	if (!pm_cpu()->reaches_media)
		return puts("skipped: this CPU cannot write lines back"), 77;
	int fd = memfd_create("bench", 0);
	struct pm_options options = {.size = sizeof(options), .length = SPACE};
	if (fd < 0 || ftruncate(fd, SPACE))
		return 1;
	bench_machine(NULL);
	dax_machine_install();
	source = aligned_alloc(4096, MOST);
	if (!source || pm_map_fd(fd, &options, &mapping) || pm_granularity_of(mapping) != PM_CACHE_LINE)
		return fprintf(stderr, "not a cache-line mapping: %s\n", pm_error_detail()), 1;
	memory = pm_base(mapping);
	memset(memory, 1, SPACE);
	memset(source, 2, MOST);
	static const struct competitor all[] = {{"pm_memcpy", run_ours, NULL},
	                                        {"libpmem pmem_memcpy_persist", run_theirs, NULL},
	                                        {"memcpy and write-back", run_plain, NULL},
	                                        {"no copy", run_nothing, NULL}};
	for (size_t computing = 10; computing <= 1000; computing *= 10) {
		/* Some 1.3 ns each. A run is long beside the 0.7 ms in which the one before slows it down. */
		steps = computing * 750;
		for (length = 256; length <= MOST; length *= 8) {
			char what[96];
			size_t operations = 15000 / (computing + length / 4096) + 1;
			snprintf(what, sizeof(what), "compute for %zu us and copy %zu bytes", computing, length);
			bench_compare(what, all, 4, operations, 9);
		}
	}
	return 0;
}
