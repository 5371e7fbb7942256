/* SPDX-License-Identifier: BSD-3-Clause */
/* What the programs need to run other libraries beside this one. A call that fails ends the program with a sentence. */
#ifndef PM_BENCH_PEERS_H
#define PM_BENCH_PEERS_H

#include <libpmem2.h>
#include <stddef.h>

/* A new file that is gone when it is closed: of whole pages, allocated, written and synced. */
int bench_file(const char *directory, size_t size);

/* Maps all of a file through libpmem2, or plainly. */
struct pmem2_map *bench_map_pmem2(int fd, enum pmem2_granularity);
void *bench_mmap(int fd, size_t size);

/*
 * What libpmem2 does with cache lines, in a mapping of its own: the one of the system, and, if PMDIRECT_LIBPMEM2
 * names the shared object of another version, that as well. Returns how many there are.
 */
#define BENCH_PMEM2S 2
struct bench_pmem2 {
	const char *name;
	char *base;
	pmem2_memcpy_fn memcpy;
	pmem2_memset_fn memset;
	pmem2_persist_fn persist;
	pmem2_flush_fn flush;
	pmem2_drain_fn drain;
};
size_t bench_pmem2s(int fd, struct bench_pmem2 *ret);

#endif
