/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does it cost to write a record of 100 bytes to a log in the page cache by a call, durable when it returns? The
 * mapping itself is not stored to. The log is written over, so that no record allocates. Each competitor has a file.
 *
 * Usage: record_write [--quick] [--json FILE] [DIRECTORY]
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
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"
#include "uring.h"

#define SIZE ((size_t)16 << 20)
#define PAGE ((size_t)4096)
#define RECORD ((size_t)100)
#define MOST_THREADS 16
#define MOST 8

struct log;
typedef bool write_fn(struct log *, unsigned thread, size_t number);

struct log {
	write_fn *write;
	int fd;
	struct pm_mapping *mapping;
	struct bench_ring *ring[MOST_THREADS];
	atomic_size_t tail; /* records */
	size_t each;        /* of a thread, in this round */
};

struct worker {
	struct log *log;
	unsigned number;
};

static unsigned thread_count;
static const char record[RECORD] = "record";
static _Alignas(4096) const char page[PAGE] = "page";

static void must(bool is_good, const char *what)
{
	if (is_good)
		return;
	perror(what);
	exit(1);
}

static size_t place_of(size_t number)
{
	return number % (SIZE / RECORD) * RECORD;
}

static bool by_pm_write(struct log *l, unsigned thread, size_t number)
{
	(void)thread;
	return !pm_write(l->mapping, (char *)pm_base(l->mapping) + place_of(number), record, RECORD);
}

static bool by_pwritev2(struct log *l, unsigned thread, size_t number)
{
	/* musl has no wrapper. The two words of the offset: on a 64-bit machine the first holds all of it. */
	struct iovec v = {(void *)(uintptr_t)record, RECORD};
	(void)thread;
	return syscall(SYS_pwritev2, l->fd, &v, 1, (unsigned long)place_of(number), 0, RWF_DSYNC) == (long)RECORD;
}

static bool by_pwrite(struct log *l, unsigned thread, size_t number)
{
	(void)thread;
	return pwrite(l->fd, record, RECORD, (off_t)place_of(number)) == (ssize_t)RECORD;
}

static bool by_fdatasync(struct log *l, unsigned thread, size_t number)
{
	return by_pwrite(l, thread, number) && !fdatasync(l->fd);
}

static bool by_ring(struct log *l, unsigned thread, size_t number)
{
	return bench_ring_write_dsync(l->ring[thread], l->fd, record, RECORD, place_of(number));
}

static bool by_linked(struct log *l, unsigned thread, size_t number)
{
	return bench_ring_write_and_sync(l->ring[thread], l->fd, record, RECORD, place_of(number));
}

/* What the device takes for a page, with no page cache before it. */
static bool by_direct_page(struct log *l, unsigned thread, size_t number)
{
	(void)thread;
	return pwrite(l->fd, page, PAGE, (off_t)(number % (SIZE / PAGE) * PAGE)) == (ssize_t)PAGE;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	for (size_t i = 0; i < w->log->each; i++)
		must(w->log->write(w->log, w->number, atomic_fetch_add(&w->log->tail, 1)), "record_write");
	return NULL;
}

static void run(void *arg, size_t operations)
{
	struct log *l = arg;
	struct worker worker[MOST_THREADS];
	pthread_t thread[MOST_THREADS];
	l->each = operations / thread_count;
	for (unsigned i = 0; i < thread_count; i++)
		worker[i] = (struct worker){l, i};
	for (unsigned i = 1; i < thread_count; i++)
		must(!pthread_create(&thread[i], NULL, work, &worker[i]), "a thread");
	work(&worker[0]);
	for (unsigned i = 1; i < thread_count; i++)
		pthread_join(thread[i], NULL);
}

/* A file of written blocks; on a file system without direct writes fd is -1. */
static struct log *new_log(const char *directory, write_fn *write, int flags)
{
	struct log *l = calloc(1, sizeof(*l));
	char path[4096];
	struct pm_options options = {.size = sizeof(options), .length = SIZE, .mode = 0600,
	                             .flags = PM_CREATE | PM_EXCLUSIVE | PM_PREPARE};
	snprintf(path, sizeof(path), "%s/record_write.%d", directory, (int)getpid());
	must(l != NULL, "memory");
	if (pm_map(path, &options, &l->mapping)) {
		fprintf(stderr, "%s\n", pm_error_detail());
		exit(1);
	}
	l->fd = open(path, O_RDWR | O_CLOEXEC | flags);
	l->write = write;
	must(!unlink(path), path);
	if (write == by_pm_write)
		return l;
	must(!pm_unmap(l->mapping), path);
	l->mapping = NULL;
	return l;
}

static bool has_rings(struct log *l)
{
	for (unsigned i = 0; i < MOST_THREADS; i++)
		if (!(l->ring[i] = bench_ring_new()))
			return false;
	return true;
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does it cost to write a durable record of 100 bytes by a call?");
	const char *directory = argc > 1 ? argv[1] : ".";
	bench_machine(directory);
	struct competitor all[MOST] = {
		{"pm_write", run, new_log(directory, by_pm_write, 0)},
		{"pwritev2 RWF_DSYNC", run, new_log(directory, by_pwritev2, 0)},
		{"pwrite, O_DSYNC", run, new_log(directory, by_pwrite, O_DSYNC)},
		{"pwrite, fdatasync", run, new_log(directory, by_fdatasync, 0)},
	};
	size_t count = 4;
	struct log *ring = new_log(directory, by_ring, 0), *linked = new_log(directory, by_linked, 0),
	           *direct = new_log(directory, by_direct_page, O_DIRECT | O_DSYNC);
	if (has_rings(ring) && has_rings(linked)) {
		all[count++] = (struct competitor){"io_uring, RWF_DSYNC", run, ring};
		all[count++] = (struct competitor){"io_uring, write and fdatasync linked", run, linked};
	}
	if (direct->fd >= 0)
		all[count++] = (struct competitor){"a page, O_DIRECT and O_DSYNC", run, direct};
	for (thread_count = 1; thread_count <= MOST_THREADS; thread_count *= 4) {
		char what[64];
		snprintf(what, sizeof(what), "write a durable record, threads: %u", thread_count);
		/* At least eight of each thread: its start takes as long as a write. */
		bench_compare(what, all, count, thread_count < 8 ? 32 : 8 * thread_count,
		              thread_count == 1 ? 31 : 11);
	}
	return pm_unmap(((struct log *)all[0].arg)->mapping) ? 1 : 0;
}
