/* SPDX-License-Identifier: BSD-3-Clause */
/* What does it cost to map a plain file, with no more than hints, and to unmap it? By its path, as programs do. */
#include <fcntl.h>
#include <libpmem.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "peers.h"

#define SIZE ((size_t)4 << 20)

static void must(int good, const char *why)
{
	if (!good) {
		fprintf(stderr, "map_unmap: %s\n", why);
		exit(1);
	}
}

static void run_ours(void *path, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		struct pm_mapping *m;
		must(!pm_map(path, NULL, &m), pm_error_detail());
		must(!pm_unmap(m), pm_error_detail());
	}
}

static void run_raw(void *path, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		int fd = open(path, O_RDWR | O_CLOEXEC);
		void *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		must(map != MAP_FAILED && !munmap(map, SIZE) && !close(fd), "open, mmap, munmap or close");
	}
}

static void run_libpmem(void *path, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		size_t length;
		int is_pmem;
		void *map = pmem_map_file(path, 0, 0, 0, &length, &is_pmem);
		must(map && !pmem_unmap(map, length), "libpmem");
	}
}

static void run_libpmem2(void *path, size_t operations)
{
	for (size_t i = 0; i < operations; i++) {
		struct pmem2_config *config;
		struct pmem2_source *source;
		struct pmem2_map *map;
		int fd = open(path, O_RDWR | O_CLOEXEC);
		must(fd >= 0 && !pmem2_config_new(&config) && !pmem2_source_from_fd(&source, fd) &&
		     !pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE) &&
		     !pmem2_map_new(&map, config, source) && !pmem2_map_delete(&map) && !pmem2_source_delete(&source) &&
		     !pmem2_config_delete(&config) && !close(fd), pmem2_errormsg());
	}
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does it cost to map a plain file and to unmap it?");
	const char *directory = argc > 1 ? argv[1] : ".";
	char path[4096];
	snprintf(path, sizeof(path), "%s/map_unmap.%d", directory, (int)getpid());
	bench_machine(directory);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	must(fd >= 0 && !posix_fallocate(fd, 0, (off_t)SIZE) && !fsync(fd) && !close(fd), "the file cannot be made");
	struct competitor all[] = {
		{"open, mmap, munmap, close", run_raw, path},
		{"pm_map, pm_unmap", run_ours, path},
		{"libpmem map_file, unmap", run_libpmem, path},
		{"libpmem2 map_new, map_delete", run_libpmem2, path},
	};
	bench_compare("map and unmap a plain file of 4 MiB", all, 4, 200, 300);
	return unlink(path) ? 1 : 0;
}
