/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "peers.h"

#define PAGE ((size_t)4096)

static void require(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

/* Page by page: a larger write leaves a larger folio in the page cache, of which a store makes all dirty. */
int bench_file(const char *directory, size_t size)
{
	char path[4096], page[PAGE];
	snprintf(path, sizeof(path), "%s/bench.XXXXXX", directory);
	int fd = mkstemp(path);
	require(fd >= 0 && !unlink(path), path);
	memset(page, 1, PAGE);
	for (size_t at = 0; at < size; at += PAGE)
		require(pwrite(fd, page, PAGE, (off_t)at) == (ssize_t)PAGE, path);
	require(!fsync(fd), path);
	return fd;
}

struct pmem2_map *bench_map_pmem2(int fd, enum pmem2_granularity granularity)
{
	struct pmem2_config *config;
	struct pmem2_source *source;
	struct pmem2_map *map;
	if (pmem2_config_new(&config) || pmem2_source_from_fd(&source, fd) ||
	    pmem2_config_set_required_store_granularity(config, granularity) || pmem2_map_new(&map, config, source)) {
		fprintf(stderr, "libpmem2: %s\n", pmem2_errormsg());
		exit(1);
	}
	return map;
}

void *bench_mmap(int fd, size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	require(map != MAP_FAILED, "mmap");
	return map;
}
