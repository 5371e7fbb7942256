/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does a durable copy cost, by size and by how destination and source are aligned? Against libpmem2's copies and
 * against memcpy(3) with the bare write-back and fence, on ordinary memory. All copy to the same addresses, which move
 * on in one of four ways.
 *
 * Usage: copy [--quick] [--json FILE] [--variants | --cut] [SIZE ...]
 *   --variants  against the other instruction sets of the library, instead of libpmem2
 *   --cut       storing (PM_TEMPORAL) against streaming (PM_NONTEMPORAL): where the library should change over
 */
#include <ctype.h>
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

#define SPACE ((size_t)128 << 20)
#define MOST 6 /* competitors */

/*
 * To where the next copy goes: elsewhere, to the same place again, right behind, or to other pages, always as far ahead
 * of the source within the page.
 */
enum walk { SCATTERED, SAME, BEHIND, SHIFTED, WALKS };
static const char *const walk_name[] = {"scattered", "to the same place", "one behind the other", "to other pages"};
#define PAGE ((size_t)4096)

static enum walk walk;
static size_t length, to_skew, from_skew, window, competitors;
static char *memory, *source;

/*
 * Each competitor has a window of its own, if the space suffices: what the lines cost depends on what was done to them
 * before, and that is to be its own doing.
 */
static char *next_place(size_t competitor)
{
	static size_t places[MOST];
	size_t own = (competitor + bench_turn()) % competitors;
	size_t at = places[competitor], first = (own + 1) * window <= SPACE ? own * window : 0;
	if (walk == SHIFTED)
		at = (at & ~(PAGE - 1)) + ((length + PAGE - 1) & ~(PAGE - 1)) + PAGE;
	else
		at = walk == SAME ? 0 : walk == BEHIND ? at + length : at + ((length + 63) & ~(size_t)63) + 4160;
	if (at + length + PAGE > window)
		at = walk != SCATTERED ? 0 : at * 7 % PAGE / 64 * 64;
	places[competitor] = at;
	return memory + first + at + to_skew;
}

/* ---- Competitors ---- */

static struct pm_mapping *mapping; /* its base is memory */

static void run_ours(void *flags, size_t operations)
{
	for (size_t i = 0; i < operations; i++)
		if (pm_memcpy(mapping, next_place((uintptr_t)flags & PM_NONTEMPORAL ? 1 : 0), source + from_skew,
		              length, (unsigned)(uintptr_t)flags))
			abort();
}

static void run_our_set(void *flags, size_t operations)
{
	for (size_t i = 0; i < operations; i++)
		if (pm_memset(mapping, next_place(0), 7, length, (unsigned)(uintptr_t)flags))
			abort();
}

static struct bench_pmem2 peers[BENCH_PMEM2S];

/* Of libpmem2, in its own mapping of the same memory. */
static void run_theirs(void *arg, size_t operations)
{
	const struct bench_pmem2 *peer = arg;
	ptrdiff_t shift = peer->base - memory;
	for (size_t i = 0; i < operations; i++)
		peer->memcpy(next_place(1 + (size_t)(peer - peers)) + shift, source + from_skew, length, 0);
}

static void run_their_set(void *arg, size_t operations)
{
	const struct bench_pmem2 *peer = arg;
	ptrdiff_t shift = peer->base - memory;
	for (size_t i = 0; i < operations; i++)
		peer->memset(next_place(1 + (size_t)(peer - peers)) + shift, 7, length, 0);
}

/* A volatile length: else the compiler makes something else of them. */
static void plain_copy(char *to)
{
	memcpy(to, source + from_skew, *(volatile size_t *)&length);
}

static void plain_set(char *to)
{
	memset(to, 7, *(volatile size_t *)&length);
}

static void run_plain(void *set, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		char *to = next_place(competitors - 1);
		(set ? plain_set : plain_copy)(to);
		pm_cpu()->persist(to, length);
	}
}

/* The same mapping with another table: what is compared is the table alone. */
static struct pm_mapping *variant_mapping[MOST];

static void run_variant(void *variant, size_t operations)
{
	struct pm_mapping *m = variant;
	ptrdiff_t shift = (char *)pm_base(m) - memory;
	size_t number = 0;
	while (variant_mapping[number] != m)
		number++;
	for (size_t i = 0; i < operations; i++)
		if (pm_memcpy(m, next_place(number) + shift, source + from_skew, length, 0))
			abort();
}

/* ---- The table ---- */

static const struct {
	size_t to, from;
} any_skews[] = {{0, 0}, {8, 0}, {1, 0}, {17, 0}, {32, 0}, {63, 0}, {0, 1}, {17, 17}},
  /* A page behind a header: on some CPUs loads wait for stores a little ahead of them modulo 4096. */
  ahead_skews[] = {{1, 0}, {8, 0}, {16, 0}, {64, 0}, {100, 0}, {136, 0}, {256, 0}, {512, 0}}, *skews = any_skews;
#define SKEWS (sizeof(any_skews) / sizeof(any_skews[0]))

static const size_t all_sizes[] = {8,     16,     24,     32,     40,      48,      56,      63,      64,      72,
                                   96,    127,    128,    160,    192,     224,     248,     255,     256,     264,
                                   320,   384,    448,    512,    520,     576,     640,     768,     896,     1023,
                                   1024,  1032,   1536,   2048,   3072,    4096,    4104,    8192,    16384,   32768,
                                   65536, 131072, 262144, 524288, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20};
static const size_t few_sizes[] = {8, 64, 192, 256, 264, 512, 520, 1024, 4096, 4104, 65536, 1 << 20};

static const char *mode = "";
static size_t asked_sizes[32], asked;
static bool setting; /* memset, not memcpy */

static void measure(const struct competitor *c, size_t count, struct bench_result *result)
{
	competitors = count;
	window = 5 * length < 1 << 20 ? 1 << 20 : 5 * length;
	window = window < SPACE ? (window + PAGE - 1) & ~(PAGE - 1) : SPACE;
	size_t operations = 15000 / (200 + length / 8) + 1;
	int rounds = length > 1 << 19 ? 51 : 151;
	bench_measure(c, count, operations, rounds, result);
	/* A cell in which a peer seems to win is measured again, longer, and that counts, however it ends. */
	for (size_t k = 1; k < count; k++)
		if (result[k].ratio < 1 / 1.05)
			return bench_measure(c, count, operations, 4 * rounds, result);
}

/* One line for a size: for each alignment the cost of the first, and of the others divided by it. */
static void print_row(const struct competitor *c, size_t count)
{
	struct bench_result result[MOST];
	char what[128];
	printf("%9zu", length);
	for (size_t i = 0; i < SKEWS; i++) {
		to_skew = skews[i].to;
		from_skew = skews[i].from;
		measure(c, count, result);
		snprintf(what, sizeof(what), "%s %s to %zu and from %zu past a line, bytes: %zu",
		         setting ? "set" : "copy", walk_name[walk], to_skew, from_skew, length);
		bench_write(what, c, count);
		printf("  %8.0f", result[0].cost);
		for (size_t k = 1; k < count; k++)
			printf(" %4.2f", result[k].ratio);
	}
	printf("\n");
	fflush(stdout);
}

static void print_table(const struct competitor *c, size_t count)
{
	printf("\n%s: ns of %s, and x times that:", walk_name[walk], c[0].name);
	for (size_t k = 1; k < count; k++)
		printf(" %s%s", c[k].name, k + 1 < count ? "," : "");
	printf("\n%9s", "size");
	skews = walk == SHIFTED ? ahead_skews : any_skews;
	for (size_t i = 0; i < SKEWS; i++)
		printf("  to %3zu from %2zu%*s", skews[i].to, skews[i].from, (int)(5 * count) - 10, "");
	printf("\n");
	bool few = bench_quick() || setting || mode[0];
	const size_t *sizes = asked ? asked_sizes : few ? few_sizes : all_sizes;
	size_t number = asked ? asked : few ? sizeof(few_sizes) / sizeof(size_t) : sizeof(all_sizes) / sizeof(size_t);
	for (size_t i = 0; i < number; i++) {
		length = sizes[i];
		print_row(c, count);
	}
}

/* ---- The cliffs: a size, and the next that is a line more of whole lines ---- */

static const struct {
	size_t ragged, whole;
} cliffs[] = {{264, 320}, {520, 576}, {4104, 4160}};

static void run_length(void *wanted, size_t operations)
{
	length = *(const size_t *)wanted;
	run_ours(NULL, operations);
}

static void run_their_length(void *wanted, size_t operations)
{
	length = *(const size_t *)wanted;
	run_theirs(&peers[0], operations);
}

static void print_cliff(const char *name, void (*run)(void *, size_t), size_t ragged, size_t whole)
{
	struct bench_result result[2];
	const struct competitor c[] = {{"whole lines", run, &whole}, {"the last cut short", run, &ragged}};
	char what[128];
	length = whole;
	measure(c, 2, result);
	snprintf(what, sizeof(what), "%s %s, %zu bytes and %zu", name, walk_name[walk], whole, ragged);
	bench_write(what, c, 2);
	printf("%9zu  %s %.0f, x%.2f\n", ragged, name, result[1].cost, result[1].ratio);
}

static void print_cliffs(void)
{
	printf("\n%s: ns of a size, and x times that of the next one of whole lines\n", walk_name[walk]);
	to_skew = from_skew = 0;
	for (size_t i = 0; i < sizeof(cliffs) / sizeof(cliffs[0]); i++) {
		print_cliff("pm_memcpy", run_length, cliffs[i].ragged, cliffs[i].whole);
		print_cliff("libpmem2", run_their_length, cliffs[i].ragged, cliffs[i].whole);
	}
}

/* ---- ---- */

static struct pm_mapping *map(int fd)
{
	struct pm_mapping *m;
	struct pm_options options = {.size = sizeof(options), .length = SPACE};
	if (pm_map_fd(fd, &options, &m) || pm_granularity_of(m) != PM_CACHE_LINE) {
		fprintf(stderr, "not a cache-line mapping: %s\n", pm_error_detail());
		exit(1);
	}
	return m;
}

/* Of the best write-back instruction. */
static size_t add_variants(int fd, struct competitor *c)
{
	size_t count = 0;
	for (const struct pm_cpu *v; (v = pm_cpu_variant((unsigned)count)) && v->name == pm_cpu_variant(0)->name;
	     count++) {
		pm_cpu_replacement = v;
		variant_mapping[count] = map(fd);
		c[count] = (struct competitor){v->copies, run_variant, variant_mapping[count]};
	}
	pm_cpu_replacement = NULL;
	return count;
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does a durable copy cost, by size and by alignment?");
	for (int i = 1; i < argc; i++)
		if (argv[i][0] == '-')
			mode = argv[i];
		else if (isdigit((unsigned char)argv[i][0]) && asked < sizeof(asked_sizes) / sizeof(size_t))
			asked_sizes[asked++] = strtoul(argv[i], NULL, 0);
	struct competitor all[MOST] = {{"pm_memcpy", run_ours, NULL}}, sets[MOST] = {{"pm_memset", run_our_set, NULL}};
	size_t count = 1;
	if (!pm_cpu()->reaches_media)
		return puts("skipped: this CPU cannot write lines back"), 77;
	int fd = memfd_create("bench", 0);
	if (fd < 0 || ftruncate(fd, SPACE))
		return 1;
	dax_machine_install();
	mapping = map(fd);
	memory = pm_base(mapping);
	memset(memory, 1, SPACE);
	source = aligned_alloc(4096, SPACE / 2);
	if (!source)
		return 1;
	memset(source, 2, SPACE / 2);
	size_t others = bench_pmem2s(fd, peers);
	for (size_t i = 0; i < others; i++, count++) {
		all[count] = (struct competitor){peers[i].name, run_theirs, &peers[i]};
		sets[count] = (struct competitor){peers[i].name, run_their_set, &peers[i]};
	}
	all[count] = (struct competitor){"memcpy and write-back", run_plain, NULL};
	sets[count++] = (struct competitor){"memset and write-back", run_plain, "set"};
	if (!strcmp(mode, "--variants")) {
		count = add_variants(fd, all);
	} else if (!strcmp(mode, "--cut")) {
		all[0] = (struct competitor){"stored", run_ours, (void *)PM_TEMPORAL};
		all[1] = (struct competitor){"streamed", run_ours, (void *)PM_NONTEMPORAL};
		count = 2;
	}
	bench_machine(NULL);
	printf("write-back: %s, copies: %s\n", pm_cpu()->name, pm_cpu()->copies);
	for (walk = 0; walk < WALKS; walk++) {
		print_table(all, count);
		if (!mode[0] && !asked)
			print_cliffs();
	}
	setting = !mode[0];
	for (walk = 0; setting && walk < WALKS; walk++)
		print_table(sets, count);
	return 0;
}
