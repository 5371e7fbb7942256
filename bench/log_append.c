/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does it cost to append a record of 100 bytes to a log in the page cache, durable before the thread's next one,
 * with 1 to 32 threads? And with one drain for 8 records? The log is written over, so that no record allocates.
 */
#include <fcntl.h>
#include <pmdirect.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "peers.h"

#define SIZE ((size_t)16 << 20)
#define RECORD ((size_t)100)
#define PAGE ((size_t)4096)
#define MOST_THREADS 32
#define RECORDS 64     /* of a round, by all threads */
#define RECORDS_EACH 8 /* at least: the start of a thread takes as long as a commit */

struct log {
	char *map;
	struct pm_mapping *mapping;
	int fd;
	void (*put)(struct log *, size_t at);
	void (*commit)(struct log *, size_t at, size_t length);
	pmem2_memcpy_fn copy;
	pmem2_drain_fn drain;
	atomic_size_t tail; /* records */
	atomic_long left;   /* of this round */
};

static size_t thread_count, group;
static char record[RECORD];

static void must(int good)
{
	if (!good) {
		perror("log_append");
		exit(1);
	}
}

static void put_ours(struct log *l, size_t at)
{
	must(!pm_memcpy(l->mapping, l->map + at, record, RECORD, group > 1 ? PM_NODRAIN : 0));
}

static void commit_ours(struct log *l, size_t at, size_t length)
{
	(void)at;
	(void)length;
	if (group > 1)
		must(!pm_drain(l->mapping));
}

static void put_libpmem2(struct log *l, size_t at)
{
	l->copy(l->map + at, record, RECORD, group > 1 ? PMEM2_F_MEM_NODRAIN : 0);
}

static void commit_libpmem2(struct log *l, size_t at, size_t length)
{
	(void)at;
	(void)length;
	if (group > 1)
		l->drain();
}

static void put_memcpy(struct log *l, size_t at)
{
	memcpy(l->map + at, record, RECORD);
}

static void commit_msync(struct log *l, size_t at, size_t length)
{
	size_t start = at / PAGE * PAGE;
	must(!msync(l->map + start, at + length - start, MS_SYNC));
}

static void put_pwrite(struct log *l, size_t at)
{
	must(pwrite(l->fd, record, RECORD, (off_t)at) == (ssize_t)RECORD);
}

static void commit_fdatasync(struct log *l, size_t at, size_t length)
{
	(void)at;
	(void)length;
	must(!fdatasync(l->fd));
}

static void commit_nothing(struct log *l, size_t at, size_t length)
{
	(void)l;
	(void)at;
	(void)length;
}

static void *append(void *arg)
{
	struct log *l = arg;
	/* A thread that comes late takes it below zero. */
	while (atomic_fetch_sub(&l->left, (long)group) > 0) {
		size_t at = atomic_fetch_add(&l->tail, group) % (SIZE / RECORD - group) * RECORD;
		for (size_t i = 0; i < group; i++)
			l->put(l, at + i * RECORD);
		l->commit(l, at, group * RECORD);
	}
	return NULL;
}

static void run(void *arg, size_t operations)
{
	struct log *l = arg;
	pthread_t thread[MOST_THREADS];
	atomic_store(&l->left, (long)operations);
	for (size_t i = 1; i < thread_count; i++)
		must(!pthread_create(&thread[i], NULL, append, l));
	append(l);
	for (size_t i = 1; i < thread_count; i++)
		pthread_join(thread[i], NULL);
}

static struct log *new_log(int fd, void (*put)(struct log *, size_t), void (*commit)(struct log *, size_t, size_t))
{
	struct log *l = calloc(1, sizeof(*l));
	must(l != NULL);
	l->fd = fd;
	l->put = put;
	l->commit = commit;
	return l;
}

static struct log *our_log(int fd)
{
	struct log *l = new_log(fd, put_ours, commit_ours);
	if (pm_map_fd(fd, NULL, &l->mapping)) {
		fprintf(stderr, "%s\n", pm_error_detail());
		exit(1);
	}
	l->map = pm_base(l->mapping);
	return l;
}

static struct log *libpmem2_log(int fd)
{
	struct log *l = new_log(fd, put_libpmem2, commit_libpmem2);
	struct pmem2_map *map = bench_map_pmem2(fd, PMEM2_GRANULARITY_PAGE);
	l->map = pmem2_map_get_address(map);
	l->copy = pmem2_get_memcpy_fn(map);
	l->drain = pmem2_get_drain_fn(map);
	return l;
}

static int synchronous(int fd)
{
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDWR | O_DSYNC);
	must(fd >= 0);
	return fd;
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does it cost to append a durable record of 100 bytes, with many threads?");
	const char *directory = argc > 1 ? argv[1] : ".";
	bench_machine(directory);
	struct log *raw = new_log(bench_file(directory, SIZE), put_memcpy, commit_msync);
	raw->map = bench_mmap(raw->fd, SIZE);
	struct competitor all[] = {
		{"pm_memcpy", run, our_log(bench_file(directory, SIZE))},
		{"libpmem2 memcpy", run, libpmem2_log(bench_file(directory, SIZE))},
		{"memcpy, msync", run, raw},
		{"pwrite, fdatasync", run, new_log(bench_file(directory, SIZE), put_pwrite, commit_fdatasync)},
		{"pwrite, O_DSYNC", run, new_log(synchronous(bench_file(directory, SIZE)), put_pwrite, commit_nothing)},
	};
	static const size_t crews[] = {1, 2, 8, MOST_THREADS};
	char what[80];
	group = 1;
	for (size_t i = 0; i < sizeof(crews) / sizeof(crews[0]); i++) {
		thread_count = crews[i];
		snprintf(what, sizeof(what), "append a durable record, threads: %zu", thread_count);
		bench_compare(what, all, 5, thread_count < 8 ? RECORDS : RECORDS_EACH * thread_count, 9);
	}
	group = 8;
	thread_count = 1;
	bench_compare("append a record, one drain for each 8", all, 5, RECORDS, 9);
	return pm_unmap(((struct log *)all[0].arg)->mapping) ? 1 : 0;
}
