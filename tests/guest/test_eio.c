/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device fails under live mappings, and heals. Runs in the guest: test_eio FILE, with eio.sh beside it, which
 * breaks and heals the device when the files /tmp/break and /tmp/heal appear.
 */
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#define SIZE ((size_t)1 << 20)
#define PAGE ((size_t)4096)

static int events;
static struct pm_event last_event;

static void on_event(struct pm_mapping *mapping, const struct pm_event *event, void *arg)
{
	(void)mapping;
	(void)arg;
	if (event->kind != PM_EVENT_WRITE_BACK_FAILED)
		return;
	events++;
	last_event = *event;
}

static struct pm_mapping *map(const char *path, unsigned flags)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags, .length = SIZE, .on_event = on_event};
	struct pm_mapping *m;
	if (pm_map(path, &o, &m)) {
		printf("%s\n", pm_error_detail());
		exit(1);
	}
	return m;
}

/* What is on the disk, past the page cache. */
static char on_disk(const char *path, size_t offset)
{
	void *buffer;
	int fd = open(path, O_RDONLY | O_DIRECT);
	char c = 0;
	if (fd >= 0 && !posix_memalign(&buffer, PAGE, PAGE) && pread(fd, buffer, PAGE, (off_t)offset) == (ssize_t)PAGE)
		c = *(char *)buffer;
	close(fd);
	return c;
}

static bool tells_failure(int fd)
{
	return sync_file_range(fd, INT64_MAX - 1, 1, SYNC_FILE_RANGE_WAIT_BEFORE) == -1 && errno == EIO;
}

/*
 * The kernel forgets an error: the reason for the latch. Each description reports it once: the use of an error_fd.
 */
static void check_kernel(const char *path)
{
	int fd = open(path, O_RDWR), observer = open(path, O_RDONLY);
	char *raw = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ask("break");
	raw[8 * PAGE] = 'R';
	CHECK(!tells_failure(observer));
	CHECK(msync(raw + 8 * PAGE, PAGE, MS_SYNC) != 0);
	CHECK(msync(raw + 8 * PAGE, PAGE, MS_SYNC) == 0);
	CHECK(!tells_failure(fd));
	CHECK(tells_failure(observer));
	CHECK(!tells_failure(observer));
	close(observer);
	printf("raw msync: an error, then 0 with the data not on the disk\n");
	ask("heal");
	CHECK(on_disk(path, 8 * PAGE) != 'R');
	munmap(raw, SIZE);
	close(fd);
}

static void check_library(const char *path)
{
	struct pm_mapping *m = map(path, 0), *other = map(path, 0);
	char *base = pm_base(m);
	memset(base, 'A', SIZE);
	CHECK(pm_sync(m) == 0);
	ask("break");
	base[0] = base[2 * PAGE] = 'B';
	CHECK(pm_persist(m, base, 1) == -EIO);
	CHECK(pm_persist(m, base, 1) == -EIO);
	CHECK(pm_persist(m, base + 4 * PAGE, 1) == -EIO);
	CHECK(pm_drain(other) == -EIO);
	struct pm_mapping *late = map(path, 0);
	CHECK(pm_sync(late) == -EIO);
	CHECK(events == 3 && last_event.error == -EIO && last_event.reason == PM_REASON_WRITE_BACK_FAILED);
	CHECK(pm_clear_error(m) != 0);
	ask("heal");
	CHECK(pm_persist(m, base, 1) == -EIO);
	CHECK(pm_clear_error(m) == 0);
	CHECK(pm_persist(m, base, 1) == 0);
	CHECK(on_disk(path, 0) == base[0] && on_disk(path, 2 * PAGE) == base[2 * PAGE]);
	CHECK(pm_drain(other) == -EIO);
	/* Its description was not told yet. */
	CHECK(pm_clear_error(other) == 0);
	CHECK(pm_persist(other, pm_base(other), 1) == 0);
	CHECK(pm_unmap(late) == -EIO);
	CHECK(pm_unmap(other) == 0);
	CHECK(pm_unmap(m) == 0);
}

static bool holds(const char *path, char value)
{
	return on_disk(path, 32 * PAGE) == value && on_disk(path, 200 * PAGE) == value;
}

/* Two distant ranges, and one that is only recorded; and then a commit of another mapping of the file. */
static void check_commit(const char *path)
{
	struct pm_mapping *m = map(path, 0), *other = map(path, 0);
	char *base = pm_base(m);
	const struct pm_range ranges[] = {{base + 32 * PAGE, 1}, {base + 200 * PAGE, 1}}, more = {pm_base(other), 1};
	base[32 * PAGE] = base[200 * PAGE] = 'I';
	CHECK(pm_commit(m, ranges, 2) == 0);
	CHECK(holds(path, 'I'));
	ask("break");
	base[32 * PAGE] = base[200 * PAGE] = base[100 * PAGE] = 'J';
	CHECK(pm_flush(m, base + 100 * PAGE, 1) == 0);
	CHECK(pm_commit(m, ranges, 2) == -EIO);
	CHECK(strstr(pm_error_detail(), "pm_commit"), "%s", pm_error_detail());
	CHECK(pm_commit(m, ranges, 2) == -EIO && pm_commit(m, ranges, 1) == -EIO && pm_drain(m) == -EIO);
	CHECK(pm_commit(other, &more, 1) == -EIO);
	CHECK(pm_publish64(m, (uint64_t *)(void *)base, 1) == -EIO && *base != 1);
	ask("heal");
	CHECK(pm_commit(m, ranges, 2) == -EIO && !holds(path, 'J'));
	CHECK(pm_clear_error(m) == 0 && pm_commit(m, ranges, 2) == 0);
	CHECK(holds(path, 'J') && on_disk(path, 100 * PAGE) == 'J');
	CHECK(pm_commit(other, &more, 1) == -EIO);
	CHECK(pm_clear_error(other) == 0 && pm_commit(other, &more, 1) == 0);
	CHECK(pm_unmap(other) == 0 && pm_unmap(m) == 0);
}

static int load(void *at)
{
	return *(volatile char *)at;
}

/*
 * A page that cannot be read is the medium's failure, for a mapping to write and for one to read, and to PM_PREPARE; a
 * healed one loads. Each call returns, on every kernel.
 */
static void check_reads(const char *path)
{
	struct pm_fault f;
	struct pm_options o = {.size = sizeof(o), .flags = PM_PREPARE};
	struct pm_mapping *none;
	CHECK(pm_guard_install() == 0);
	for (unsigned i = 0; i < 2; i++) {
		int fd = open(path, O_RDONLY);
		CHECK(fsync(fd) == 0);
		ask("break");
		CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
		struct pm_mapping *m = map(path, i ? PM_READ_ONLY : 0);
		char *at = (char *)pm_base(m) + 16 * PAGE;
		CHECK(pm_guarded(m, load, at, &f, sizeof(f)) == -EIO, "%s", pm_error_detail());
		CHECK(f.error == -EIO && f.offset == 16 * PAGE, "%d at %llu", f.error, (unsigned long long)f.offset);
		CHECK(strstr(pm_error_detail(), "the medium failed"), "%s", pm_error_detail());
		CHECK(pm_map(path, &o, &none) == -EIO);
		CHECK(strstr(pm_error_detail(), "the medium failed"), "%s", pm_error_detail());
		ask("heal");
		CHECK(pm_guarded(m, load, at, &f, sizeof(f)) >= 0, "%s", pm_error_detail());
		CHECK(pm_unmap(m) == 0);
		close(fd);
	}
	CHECK(pm_guard_remove() == 0);
}

/* One description has one report: of the program's fsync(2) and the library's calls, the first one receives it. */
static void check_borrowed(const char *path)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_BORROW_FD, .on_event = on_event};
	struct pm_mapping *m;
	int fd = open(path, O_RDWR);
	CHECK(pm_map_fd(fd, &o, &m) == 0);
	char *at = (char *)pm_base(m) + 8 * PAGE;
	ask("break");
	*at = 'F';
	CHECK(fsync(fd) != 0);
	CHECK(pm_persist(m, at, 1) == 0);
	*at = 'G';
	CHECK(pm_persist(m, at, 1) == -EIO);
	CHECK(fsync(fd) == 0);
	ask("heal");
	CHECK(on_disk(path, 8 * PAGE) != 'F' && on_disk(path, 8 * PAGE) != 'G');
	CHECK(pm_clear_error(m) == 0);
	CHECK(on_disk(path, 8 * PAGE) == 'G');
	CHECK(pm_unmap(m) == 0);
	CHECK(close(fd) == 0);
}

/* ---- Threads that drain at once ---- */

#define THREADS 8u
#define RUNS 4u /* of each second thread, too far apart to be written as one */
#define PAGES_STORED (THREADS / 2 * (1 + RUNS))
#define ROUNDS 20

struct drainer {
	pthread_t thread;
	pthread_barrier_t *gate;
	struct pm_mapping *mapping;
	size_t page[RUNS];
	size_t pages;
	char stored;
	int flushed, rc, later[3];
};

/* Each thread stores to its own page, so that it knows what it must have lost. */
static void *drain(void *arg)
{
	struct drainer *d = arg;
	char *base = pm_base(d->mapping);
	for (size_t i = 0; i < d->pages; i++) {
		base[d->page[i]] = d->stored;
		d->flushed |= pm_flush(d->mapping, base + d->page[i], 1);
	}
	/* From here on any of them may fail, and poison the mapping for a thread that has not begun. */
	pthread_barrier_wait(d->gate);
	d->rc = pm_drain(d->mapping);
	d->later[0] = pm_flush(d->mapping, base + d->page[0], 1);
	d->later[1] = pm_drain(d->mapping);
	d->later[2] = pm_persist(d->mapping, base + d->page[0], 1);
	return NULL;
}

static void drain_at_once(struct pm_mapping *m, struct drainer d[static THREADS], char stored)
{
	pthread_barrier_t gate;
	pthread_barrier_init(&gate, NULL, THREADS);
	for (size_t i = 0; i < THREADS; i++) {
		d[i] = (struct drainer){.gate = &gate, .mapping = m, .pages = i % 2 ? RUNS : 1, .stored = stored};
		for (size_t run = 0; run < RUNS; run++)
			d[i].page[run] = run * (SIZE / RUNS) + i * PAGE;
		if (pthread_create(&d[i].thread, NULL, drain, &d[i]))
			exit(1);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(d[i].thread, NULL);
	pthread_barrier_destroy(&gate);
}

/* The kernel reports the error to one of the waiting calls; all have lost their pages. */
static void check_all_failed(const struct drainer d[static THREADS], int round)
{
	for (size_t i = 0; i < THREADS; i++) {
		CHECK(d[i].flushed == 0, "thread %zu in round %d: %d", i, round, d[i].flushed);
		CHECK(d[i].rc == -EIO, "thread %zu in round %d: %d", i, round, d[i].rc);
		for (size_t j = 0; j < 3; j++)
			CHECK(d[i].later[j] == -EIO, "thread %zu in round %d, later call %zu: %d", i, round, j,
			      d[i].later[j]);
	}
}

static void check_none_failed(const struct drainer d[static THREADS])
{
	for (size_t i = 0; i < THREADS; i++)
		CHECK(!d[i].rc && !d[i].later[0] && !d[i].later[1] && !d[i].later[2], "thread %zu: %d", i, d[i].rc);
}

/* Pages with what was stored. */
static size_t count_on_disk(const char *path, const struct drainer d[static THREADS])
{
	size_t count = 0;
	for (size_t i = 0; i < THREADS; i++)
		for (size_t run = 0; run < d[i].pages; run++)
			count += on_disk(path, d[i].page[run]) == d[i].stored;
	return count;
}

static bool is_on_disk(const char *path, const char *base)
{
	bool all = true;
	for (size_t at = 0; at < SIZE; at += PAGE)
		all &= on_disk(path, at) == base[at];
	return all;
}

/* A failure is forgotten with the last mapping, so each round meets its own. */
static void check_threads(const char *path)
{
	struct drainer d[THREADS];
	struct pm_mapping *m = map(path, 0);
	memset(pm_base(m), 'a', SIZE);
	CHECK(pm_sync(m) == 0);
	ask("break");
	for (int round = 0; round < ROUNDS; round++) {
		drain_at_once(m, d, (char)('b' + round));
		check_all_failed(d, round);
		CHECK(pm_unmap(m) == -EIO);
		m = map(path, 0);
	}
	drain_at_once(m, d, 'y');
	check_all_failed(d, ROUNDS);
	ask("heal");
	/* The first to fail has lost its pages; what a poisoned mapping kept from being written may come later. */
	CHECK(count_on_disk(path, d) < PAGES_STORED);
	CHECK(pm_drain(m) == -EIO);
	CHECK(pm_clear_error(m) == 0);
	CHECK(is_on_disk(path, pm_base(m)));
	/* And once more, with what threads have found out about each other by now. */
	drain_at_once(m, d, 'z');
	check_none_failed(d);
	CHECK(count_on_disk(path, d) == PAGES_STORED);
	ask("break");
	drain_at_once(m, d, 'Y');
	check_all_failed(d, ROUNDS + 1);
	ask("heal");
	CHECK(pm_clear_error(m) == 0);
	drain_at_once(m, d, 'Z');
	check_none_failed(d);
	CHECK(is_on_disk(path, pm_base(m)));
	CHECK(pm_unmap(m) == 0);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	CHECK(pm_unmap(map(argv[1], PM_CREATE | PM_PREPARE)) == 0);
	check_kernel(argv[1]);
	check_library(argv[1]);
	check_commit(argv[1]);
	check_borrowed(argv[1]);
	check_reads(argv[1]);
	check_threads(argv[1]);
	printf("%d failures\n", failures);
	return failures != 0;
}
