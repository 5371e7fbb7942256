/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
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

/* ---- libpmem2, more than one ---- */

static void *symbol(void *library, const char *name)
{
	void *found = dlsym(library, name);
	require(found != NULL, name);
	return found;
}

/* POSIX lets a pointer that dlsym(3) returned be one to a function; ISO C has no cast for that. */
#define CALL(library, function) (*(__typeof__(function) **)&(void *){symbol(library, #function)})

static struct bench_pmem2 open_pmem2(void *library, int fd, const char *name)
{
	struct pmem2_config *config;
	struct pmem2_source *origin;
	struct pmem2_map *map;
	if (CALL(library, pmem2_config_new)(&config) || CALL(library, pmem2_source_from_fd)(&origin, fd) ||
	    CALL(library, pmem2_config_set_required_store_granularity)(config, PMEM2_GRANULARITY_CACHE_LINE) ||
	    CALL(library, pmem2_map_new)(&map, config, origin)) {
		fprintf(stderr, "%s: %s\n", name, CALL(library, pmem2_errormsg)());
		exit(1);
	}
	return (struct bench_pmem2){
		.name = name,
		.base = CALL(library, pmem2_map_get_address)(map),
		.memcpy = CALL(library, pmem2_get_memcpy_fn)(map),
		.memset = CALL(library, pmem2_get_memset_fn)(map),
		.persist = CALL(library, pmem2_get_persist_fn)(map),
		.flush = CALL(library, pmem2_get_flush_fn)(map),
		.drain = CALL(library, pmem2_get_drain_fn)(map),
	};
}

size_t bench_pmem2s(int fd, struct bench_pmem2 *ret)
{
	const char *other = getenv("PMDIRECT_LIBPMEM2");
	setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 1);
	ret[0] = open_pmem2(RTLD_DEFAULT, fd, "libpmem2");
	if (!other)
		return 1;
	/* Each calls its own functions, though the names are those of the other. */
	void *library = dlopen(other, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
	if (!library) {
		fprintf(stderr, "PMDIRECT_LIBPMEM2: %s\n", dlerror());
		exit(1);
	}
	ret[1] = open_pmem2(library, fd, "libpmem2, the other");
	return 2;
}
