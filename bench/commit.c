/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that commit at once: records of 100 bytes appended to one log, or one to a page of each thread's own, far
 * from those of others. The time is that of all, divided by the commits of all.
 * Usage: commit [DIRECTORY]
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <pmdirect.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"

#define PAGE ((size_t)4096)
#define MOST_THREADS 32
#define SIZE ((size_t)16 << 20)
#define RECORD ((size_t)100)
#define EACH ((size_t)64) /* commits of each of many threads, in a round */

static struct pm_mapping *mapping;
static int fd; /* of another file of the same size, for write(2): stores and writes to one file cost more than either */
static int direct; /* of a third file */
static unsigned threads;
static size_t commits_each;
static atomic_size_t tail;
static bool far;
static const char record[RECORD] = "record";

typedef void commit_fn(size_t at);

static void check(bool is_good)
{
	if (!is_good) {
		perror("commit");
		abort();
	}
}

static char *store(size_t at)
{
	return memcpy((char *)pm_base(mapping) + at, record, RECORD);
}

static void by_msync(size_t at)
{
	char *to = store(at), *page = to - at % PAGE;
	check(!msync(page, (size_t)(to - page) + RECORD, MS_SYNC));
}

static void by_persist(size_t at)
{
	check(!pm_persist(mapping, store(at), RECORD));
}

static void by_commit(size_t at)
{
	check(!pm_commit(mapping, &(struct pm_range){store(at), RECORD}, 1));
}

static void by_dsync(size_t at)
{
	/* musl has no wrapper. The two words of the offset: on a 64-bit machine the first holds all of it. */
	struct iovec v = {(void *)(uintptr_t)record, RECORD};
	check(syscall(SYS_pwritev2, fd, &v, 1, (unsigned long)at, 0, RWF_DSYNC) == (long)RECORD);
}

static void by_fdatasync(size_t at)
{
	check(pwrite(fd, record, RECORD, (off_t)at) == (ssize_t)RECORD && !fdatasync(fd));
}

/* The device's own write. */
static void by_direct(size_t at)
{
	static _Alignas(4096) char page[PAGE];
	check(pwrite(direct, page, PAGE, (off_t)(at / PAGE * PAGE)) == (ssize_t)PAGE);
}

static commit_fn *commit;

static void *commit_records(void *arg)
{
	for (size_t i = 0; i < commits_each; i++)
		commit(far ? (size_t)arg * 64 * PAGE : atomic_fetch_add(&tail, 1) % (SIZE / RECORD) * RECORD);
	return NULL;
}

static void run(void *arg, size_t operations)
{
	pthread_t thread[MOST_THREADS];
	commit = *(commit_fn **)arg;
	commits_each = operations / threads;
	for (size_t i = 1; i < threads; i++)
		check(!pthread_create(&thread[i], NULL, commit_records, (void *)i));
	commit_records(NULL);
	for (size_t i = 1; i < threads; i++)
		pthread_join(thread[i], NULL);
}

static int make_log(const char *path, int flags)
{
	struct pm_options options = {
		.size = sizeof(options), .length = SIZE, .mode = 0600, .flags = PM_CREATE | PM_EXCLUSIVE | PM_PREPARE};
	struct pm_mapping *made;
	if (pm_map(path, &options, &made))
		return -1;
	return pm_unmap(made) ? -1 : open(path, O_RDWR | O_CLOEXEC | flags);
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What do threads that commit at once gain by sharing a write-back?");
	const char *directory = argc > 1 ? argv[1] : ".";
	char path[4096];
	struct pm_options options = {
		.size = sizeof(options), .length = SIZE, .mode = 0600, .flags = PM_CREATE | PM_EXCLUSIVE | PM_PREPARE};
	snprintf(path, sizeof(path), "%s/commit.%d", directory, (int)getpid());
	fd = make_log(path, 0);
	if (fd < 0 || unlink(path))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	direct = make_log(path, O_DIRECT | O_DSYNC);
	if (unlink(path) || pm_map(path, &options, &mapping) || unlink(path))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	bench_machine(directory);
	static commit_fn *const ways[] = {by_commit, by_persist, by_msync, by_dsync, by_fdatasync, by_direct};
	const struct competitor all[] = {
		{"pm_commit", run, (void *)(uintptr_t)&ways[0]},
		{"pm_persist", run, (void *)(uintptr_t)&ways[1]},
		{"an msync each", run, (void *)(uintptr_t)&ways[2]},
		{"pwritev2 RWF_DSYNC", run, (void *)(uintptr_t)&ways[3]},
		{"pwrite, fdatasync", run, (void *)(uintptr_t)&ways[4]},
		/* The last: not every file system has it. */
		{"a page, O_DIRECT and O_DSYNC", run, (void *)(uintptr_t)&ways[5]},
	};
	for (int i = 0; i < 2; i++) {
		far = i;
		for (threads = 1; threads <= MOST_THREADS; threads *= 2) {
			char question[64];
			snprintf(question, sizeof(question), "%u threads, %s", threads,
			         far ? "pages far apart" : "one log");
			/* Its threads come and go one by one, so a round must be long, for each of them. */
			bench_compare(question, all, sizeof(all) / sizeof(all[0]) - (direct < 0),
			              threads <= 4 ? 256 : threads * EACH, 13);
		}
	}
	close(fd);
	if (direct >= 0)
		close(direct);
	return pm_unmap(mapping) ? 1 : 0;
}
