/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does it cost to find out that a range lies in a mapping, with 1, 100 and 1000 mappings alive? Of volatile memory
 * pm_persist() does that and no more; libpmem's pmem_is_pmem() searches. The mappings are taken in no order. Then the
 * same in a persist that the kernel makes, of memory: libpmem2 has to search there.
 */
#include <fcntl.h>
#include <libpmem.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"
#include "dax_machine.h"
#include "peers.h"

#define SIZE ((size_t)4096)
#define RANGE ((size_t)64)
#define MOST 1000
#define STRIDE 379 /* prime: from one to another, through all */

static int fd, alive;
static bool granting;
static pmem2_persist_fn their_persist;
static int (*volatile our_persist)(struct pm_mapping *, const void *, size_t) = pm_persist;
static struct pm_mapping *synced[MOST], *idle[MOST];
static char *libpmem[MOST], *libpmem2[MOST];

/*
 * Takes the place of libc's for the libraries: where MAP_SYNC is not granted libpmem remembers nothing that it could
 * search. No program should rely on it here.
 */
void *granting_mmap(void *, size_t, int, int, int, off_t) __asm__("mmap");
void *granting_mmap(void *address, size_t length, int prot, int flags, int file, off_t offset)
{
	if (granting && (flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
		flags = (flags & ~(MAP_TYPE | MAP_SYNC)) | MAP_SHARED;
	return (void *)syscall(SYS_mmap, address, length, prot, flags, file, offset);
}

static size_t which(size_t i)
{
	return i * STRIDE % (size_t)alive;
}

static void run_ours(void *mappings, size_t operations)
{
	struct pm_mapping **all = mappings;
	for (size_t i = 0; i < operations; i++) {
		struct pm_mapping *m = all[which(i)];
		if (our_persist(m, pm_base(m), RANGE))
			abort();
	}
}

static void run_is_pmem(void *arg, size_t operations)
{
	(void)arg;
	for (size_t i = 0; i < operations; i++)
		if (!pmem_is_pmem(libpmem[which(i)], RANGE))
			abort();
}

static void run_libpmem2(void *arg, size_t operations)
{
	(void)arg;
	for (size_t i = 0; i < operations; i++)
		their_persist(libpmem2[which(i)], RANGE);
}

static void run_msync(void *arg, size_t operations)
{
	(void)arg;
	for (size_t i = 0; i < operations; i++)
		if (msync(libpmem2[which(i)], SIZE, MS_SYNC))
			abort();
}

static struct pm_mapping *map_ours(enum pm_request sync, unsigned flags)
{
	struct pm_options options = {.size = sizeof(options), .sync = sync, .flags = flags, .length = SIZE};
	struct pm_mapping *m;
	int rc = flags & PM_ANONYMOUS ? pm_map(NULL, &options, &m) : pm_map_fd(fd, &options, &m);
	if (rc) {
		fprintf(stderr, "%s\n", pm_error_detail());
		exit(1);
	}
	return m;
}

static void grow_to(int count)
{
	char path[40];
	size_t length;
	int is_pmem;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (; alive < count; alive++) {
		/* The kernel is to do it: on the machine that the library sees here the CPU could. */
		synced[alive] = map_ours(PM_AVOID, 0);
		idle[alive] = map_ours(PM_HINT, PM_ANONYMOUS);
		granting = true;
		libpmem[alive] = pmem_map_file(path, 0, 0, 0, &length, &is_pmem);
		granting = false;
		if (!libpmem[alive] || !is_pmem) {
			fprintf(stderr, "libpmem: %s\n", libpmem[alive] ? "not persistent memory" : pmem_errormsg());
			exit(1);
		}
		struct pmem2_map *m = bench_map_pmem2(fd, PMEM2_GRANULARITY_PAGE);
		libpmem2[alive] = pmem2_map_get_address(m);
		their_persist = pmem2_get_persist_fn(m);
	}
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does it cost to find out that a range lies in a mapping? (on memory)");
	bench_machine(NULL);
	fd = memfd_create("bench", 0);
	if (fd < 0 || ftruncate(fd, SIZE))
		return 1;
	dax_machine_install();
	struct competitor search[] = {
		{"pm_persist, nothing to do", run_ours, idle},
		{"libpmem pmem_is_pmem", run_is_pmem, NULL},
	};
	struct competitor sync[] = {
		{"msync", run_msync, NULL},
		{"pm_persist", run_ours, synced},
		{"libpmem2 persist", run_libpmem2, NULL},
	};
	for (int count = 1; count <= MOST; count = count == 1 ? 100 : count * 10) {
		char what[80];
		grow_to(count);
		snprintf(what, sizeof(what), "find a range, mappings: %d", count);
		bench_compare(what, search, 2, 2000, 200);
		snprintf(what, sizeof(what), "find and sync a range in memory, mappings: %d", count);
		bench_compare(what, sync, 3, 500, 200);
	}
	return 0;
}
