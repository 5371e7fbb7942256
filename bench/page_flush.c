/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does coalescing on drain save on the page cache? 16 flushes in one page and a drain, and 32 scattered pages and a
 * drain, against libpmem2 (a synchronous msync a flush) and one raw msync. Usage: page_flush [DIRECTORY]
 */
#include <fcntl.h>
#include <libpmem2.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define SIZE ((size_t)64 << 20)
#define PAGE ((size_t)4096)

static size_t flushes, stride;
static pmem2_flush_fn their_flush;
static pmem2_drain_fn their_drain;

static void run_ours(void *mapping, size_t operations)
{
	char *base = pm_base(mapping);
	for (size_t i = 0; i < operations; i++) {
		for (size_t k = 0; k < flushes; k++) {
			base[k * stride]++;
			if (pm_flush(mapping, base + k * stride, 64))
				abort();
		}
		if (pm_drain(mapping))
			abort();
	}
}

static void run_theirs(void *base, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		for (size_t k = 0; k < flushes; k++) {
			((char *)base)[k * stride]++;
			their_flush((char *)base + k * stride, 64);
		}
		their_drain();
	}
}

static void run_msync(void *base, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		for (size_t k = 0; k < flushes; k++)
			((char *)base)[k * stride]++;
		if (msync(base, ((flushes - 1) * stride + PAGE) & ~(PAGE - 1), MS_SYNC))
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

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does coalescing on drain save on the page cache?");
	const char *directory = argc > 1 ? argv[1] : ".";
	char path[4096];
	struct pm_mapping *mapping;
	struct pm_options options = {.size = sizeof(options), .length = SIZE};
	if (pm_map_fd(make_file(directory, "ours", path, sizeof(path)), &options, &mapping))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	struct pmem2_map *theirs = map_theirs(make_file(directory, "theirs", path, sizeof(path)));
	their_flush = pmem2_get_flush_fn(theirs);
	their_drain = pmem2_get_drain_fn(theirs);
	int raw_fd = make_file(directory, "raw", path, sizeof(path));
	struct competitor all[] = {
		{"pm_flush ..., pm_drain", run_ours, mapping},
		{"libpmem2 flush ..., drain", run_theirs, pmem2_map_get_address(theirs)},
		{"one raw msync", run_msync, mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, raw_fd, 0)},
	};
	for (int i = 1; i < 3; i++)
		memset(i == 1 ? pmem2_map_get_address(theirs) : all[2].arg, 1, SIZE);
	memset(pm_base(mapping), 1, SIZE);
	if (pm_sync(mapping))
		return 1;
	bench_machine(directory);
	flushes = 16;
	stride = 256;
	bench_compare("16 flushes in one page and a drain", all, 3, 4, 31);
	flushes = 32;
	stride = 512 * PAGE;
	bench_compare("32 flushes in scattered pages and a drain", all, 3, 1, 31);
	return pm_unmap(mapping) ? 1 : 0;
}
