/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does coalescing on drain save on the page cache? 16 flushes in one page and a drain, 32 scattered pages, a log
 * drained every 8 records, and two pages with others' stores in between, against libpmem2 (a synchronous msync a flush)
 * and one raw msync over all. Once with the cache as a first walk through the file leaves it, where readahead makes
 * folios of up to megabytes and a store makes all of its folio dirty; and once with folios of a page (MADV_RANDOM).
 * Usage: page_flush [DIRECTORY]
 */
#include <fcntl.h>
#include <libpmem2.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define SIZE ((size_t)64 << 20)
#define PAGE ((size_t)4096)

static size_t flushes, stride, between; /* bytes between two flushes; pages stored to and not flushed */
static pmem2_flush_fn their_flush;
static pmem2_drain_fn their_drain;

/* A store before flush k, and to the pages around it that nobody flushes. */
static char *store(char *base, size_t k)
{
	base[k * stride]++;
	for (size_t i = 0; i < between && k + 1 < flushes; i++)
		base[k * stride + (i + 1) * stride / (between + 1)]++;
	return base + k * stride;
}

static void run_ours(void *mapping, size_t operations)
{
	char *base = pm_base(mapping);
	for (size_t i = 0; i < operations; i++) {
		for (size_t k = 0; k < flushes; k++)
			if (pm_flush(mapping, store(base, k), 64))
				abort();
		if (pm_drain(mapping))
			abort();
	}
}

static void run_theirs(void *base, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		for (size_t k = 0; k < flushes; k++)
			their_flush(store(base, k), 64);
		their_drain();
	}
}

static void run_msync(void *base, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		for (size_t k = 0; k < flushes; k++)
			store(base, k);
		if (msync(base, ((flushes - 1) * stride + PAGE) & ~(PAGE - 1), MS_SYNC))
			abort();
	}
}

/* ---- A log: records of 100 bytes, one after the other, drained every 8; it begins anew at its end. ---- */

#define RECORD ((size_t)100)
#define RECORDS 8

static char *next_record(char *base, size_t *at)
{
	*at = *at + RECORD > SIZE ? 0 : *at;
	char *record = base + *at;
	memset(record, (int)*at, RECORD);
	*at += RECORD;
	return record;
}

static void log_ours(void *mapping, size_t operations)
{
	static size_t at;
	for (size_t i = 0; i < operations; i++) {
		for (int k = 0; k < RECORDS; k++)
			if (pm_flush(mapping, next_record(pm_base(mapping), &at), RECORD))
				abort();
		if (pm_drain(mapping))
			abort();
	}
}

static void log_theirs(void *base, size_t operations)
{
	static size_t at;
	for (size_t i = 0; i < operations; i++) {
		for (int k = 0; k < RECORDS; k++)
			their_flush(next_record(base, &at), RECORD);
		their_drain();
	}
}

static void log_msync(void *base, size_t operations)
{
	static size_t at;
	for (size_t i = 0; i < operations; i++) {
		uintptr_t low = UINTPTR_MAX, high = 0;
		for (int k = 0; k < RECORDS; k++) {
			uintptr_t record = (uintptr_t)next_record(base, &at);
			low = record < low ? record : low;
			high = record + RECORD > high ? record + RECORD : high;
		}
		low &= ~(PAGE - 1);
		if (msync((void *)low, high - low, MS_SYNC))
			abort();
	}
}

static int make_file(const char *directory, const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s/%s.%d", directory, name, (int)getpid());
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, (off_t)SIZE) || unlink(path)) {
		perror(path);
		exit(1);
	}
	return fd;
}

static struct pmem2_map *map_theirs(int fd)
{
	struct pmem2_config *config;
	struct pmem2_source *source;
	struct pmem2_map *map;
	if (pmem2_config_new(&config) || pmem2_source_from_fd(&source, fd) ||
	    pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE) ||
	    pmem2_map_new(&map, config, source)) {
		fprintf(stderr, "libpmem2: %s\n", pmem2_errormsg());
		exit(1);
	}
	return map;
}

static void compare_one(const char *words, const char *folios, struct competitor *all, size_t operations, int rounds)
{
	char what[160];
	snprintf(what, sizeof(what), "%s, %s", words, folios);
	bench_compare(what, all, 3, operations, rounds);
}

static void compare(const char *folios, struct competitor *all)
{
	flushes = 16;
	stride = 256;
	between = 0;
	compare_one("16 flushes in one page and a drain", folios, all, 4, 31);
	flushes = 32;
	stride = 512 * PAGE;
	compare_one("32 flushes in scattered pages and a drain", folios, all, 1, 31);
	flushes = 64;
	stride = 256 * PAGE;
	compare_one("64 flushes in scattered pages and a drain", folios, all, 1, 31);
	flushes = 2;
	stride = 8192 * PAGE;
	between = 2048;
	compare_one("2 flushes, 32 MiB apart, and a drain; 2048 stores in between that nobody flushes", folios, all, 1, 15);
	all[0].run = log_ours;
	all[1].run = log_theirs;
	all[2].run = log_msync;
	compare_one("8 records of 100 bytes appended to a log and a drain", folios, all, 4, 31);
}

static int run(const char *directory, bool small_folios)
{
	char path[4096];
	struct pm_mapping *mapping;
	struct pm_options options = {.size = sizeof(options), .length = SIZE};
	if (pm_map_fd(make_file(directory, "ours", path, sizeof(path)), &options, &mapping))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	struct pmem2_map *theirs = map_theirs(make_file(directory, "theirs", path, sizeof(path)));
	their_flush = pmem2_get_flush_fn(theirs);
	their_drain = pmem2_get_drain_fn(theirs);
	int raw_fd = make_file(directory, "raw", path, sizeof(path));
	void *raw = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, raw_fd, 0);
	void *bases[3] = {pm_base(mapping), pmem2_map_get_address(theirs), raw};
	for (int i = 0; i < 3; i++) {
		if (small_folios && madvise(bases[i], SIZE, MADV_RANDOM))
			return 1;
		memset(bases[i], 1, SIZE);
		if (msync(bases[i], SIZE, MS_SYNC))
			return 1;
	}
	struct competitor all[] = {
		{"pm_flush ..., pm_drain", run_ours, mapping},
		{"libpmem2 flush ..., drain", run_theirs, bases[1]},
		{"one raw msync over all", run_msync, raw},
	};
	compare(small_folios ? "cached in single pages" : "cached as readahead does", all);
	munmap(raw, SIZE);
	pmem2_map_delete(&theirs);
	return pm_unmap(mapping) ? 1 : 0;
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does coalescing on drain save on the page cache?");
	const char *directory = argc > 1 ? argv[1] : ".";
	bench_machine(directory);
	return run(directory, false) || run(directory, true);
}
