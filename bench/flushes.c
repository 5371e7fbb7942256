/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does a batch cost: several ranges stored and flushed, or copied with PM_NODRAIN, and one drain? Against the bare
 * instructions and libpmem2, on memory. All are called through a pointer, as libpmem2 must be.
 */
#include <immintrin.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "cpu/cpu.h"
#include "dax_machine.h"
#include "peers.h"

#define WINDOW ((size_t)4 << 20) /* of each competitor: what its lines cost is its own doing */
#define MOST 6
#define LINE ((size_t)64)

static size_t length, batch, competitors;
static bool scattered;
static char source[4096];
static char *memory;
static struct pm_mapping *mapping;
static struct bench_pmem2 peers[BENCH_PMEM2S];
static int (*volatile our_flush)(struct pm_mapping *, const void *, size_t) = pm_flush;
static int (*volatile our_drain)(struct pm_mapping *) = pm_drain;
static int (*volatile our_copy)(struct pm_mapping *, void *, const void *, size_t, unsigned) = pm_memcpy;

/* In a mapping of all, the memory that is the competitor's at the moment. */
static char *window(char *base, size_t competitor)
{
	return base + (competitor + bench_turn()) % competitors * WINDOW;
}

static char *spot(char *base, size_t i)
{
	size_t step = scattered ? 4160 * 17 : (length + LINE - 1) & ~(LINE - 1);
	return base + i * step % (WINDOW - 4096) / LINE * LINE;
}

/* The same code for all: a copy of its loop that lay across two lines of code would be slower. */
__attribute__((noinline)) static void store(char *at, size_t i)
{
	for (size_t k = 0; k < length; k += 8)
		*(volatile size_t *)(void *)(at + k) = i;
}

__attribute__((noinline, target("clwb"))) static void flush_lines(const void *at, size_t n)
{
	uintptr_t end = (uintptr_t)at + n;
	for (uintptr_t line = (uintptr_t)at & ~(uintptr_t)63; line < end; line += 64)
		_mm_clwb((void *)line);
}

static void (*volatile bare)(const void *, size_t) = flush_lines;

/* An operation is one flush; the drain is shared. */
#define RUN(whole, competitor, flush, drain)                                                                           \
	do {                                                                                                           \
		char *base = window(whole, competitor);                                                                \
		for (size_t i = 0; i < operations; i++) {                                                              \
			char *at = spot(base, i);                                                                      \
			flush;                                                                                         \
			if (i % batch == batch - 1)                                                                    \
				drain;                                                                                 \
		}                                                                                                      \
	} while (0)

static void run_bare(void *arg, size_t operations)
{
	(void)arg;
	RUN(memory, 0, (store(at, i), bare(at, length)), _mm_sfence());
}

static void run_ours(void *arg, size_t operations)
{
	(void)arg;
	RUN(memory, 1, (store(at, i), our_flush(mapping, at, length)), our_drain(mapping));
}

static void run_theirs(void *arg, size_t operations)
{
	const struct bench_pmem2 *peer = arg;
	RUN(peer->base, (size_t)(2 + peer - peers), (store(at, i), peer->flush(at, length)), peer->drain());
}

static void run_bare_copies(void *arg, size_t operations)
{
	(void)arg;
	RUN(memory, 0, (memcpy(at, source, *(volatile size_t *)&length), bare(at, length)), _mm_sfence());
}

static void run_our_copies(void *arg, size_t operations)
{
	(void)arg;
	RUN(memory, 1, our_copy(mapping, at, source, length, PM_NODRAIN), our_drain(mapping));
}

static void run_their_copies(void *arg, size_t operations)
{
	const struct bench_pmem2 *peer = arg;
	RUN(peer->base, (size_t)(2 + peer - peers), peer->memcpy(at, source, length, PMEM2_F_MEM_NODRAIN),
	    peer->drain());
}

static void compare(const char *what, const struct competitor *c, size_t count)
{
	static const size_t lengths[] = {8, 64, 256, 1024}, batches[] = {4, 16, 64};
	for (int s = 0; s < 2; s++)
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
			for (size_t k = 0; k < sizeof(batches) / sizeof(batches[0]); k++) {
				char text[96];
				scattered = s;
				length = lengths[i];
				batch = batches[k];
				snprintf(text, sizeof(text), "%zu %s of %zu bytes %s, and a drain", batch, what, length,
				         s ? "here and there" : "side by side");
				bench_compare(text, c, count, 256, 600);
			}
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does a batch of flushes or copies with one drain cost? (on memory)");
	int fd = memfd_create("bench", 0);
	struct pm_options options = {.size = sizeof(options), .length = MOST * WINDOW};
	if (strcmp(pm_cpu()->name, "clwb"))
		return puts("skipped: this CPU has no clwb"), 77;
	if (ftruncate(fd, MOST * (off_t)WINDOW))
		return 1;
	bench_machine(NULL);
	dax_machine_install();
	if (pm_map_fd(fd, &options, &mapping) || pm_granularity_of(mapping) != PM_CACHE_LINE)
		return fprintf(stderr, "not a cache-line mapping: %s\n", pm_error_detail()), 1;
	memory = pm_base(mapping);
	memset(memory, 1, MOST * WINDOW);
	size_t others = bench_pmem2s(fd, peers), count = 2;
	struct competitor flushes[MOST] = {{"clwb ..., sfence", run_bare, NULL},
	                                   {"pm_flush ..., pm_drain", run_ours, NULL}};
	struct competitor copies[MOST] = {{"memcpy, clwb ..., sfence", run_bare_copies, NULL},
	                                  {"pm_memcpy ..., pm_drain", run_our_copies, NULL}};
	for (size_t i = 0; i < others; i++, count++) {
		memset(peers[i].base, 1, 1);
		flushes[count] = (struct competitor){peers[i].name, run_theirs, &peers[i]};
		copies[count] = (struct competitor){peers[i].name, run_their_copies, &peers[i]};
	}
	competitors = count;
	compare("flushes", flushes, count);
	compare("copies with PM_NODRAIN", copies, count);
	return 0;
}
