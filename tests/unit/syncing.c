/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "durability/leader.h"
#include "syncing.h"

struct syncing kernel;
struct pm_mapping *syncing_mapping;
size_t syncing_page;
const uint32_t syncing_systems[4] = {XFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC, FUSE_SUPER_MAGIC};

static struct machine between;

uint32_t *counter(unsigned n)
{
	return (uint32_t *)(void *)((char *)pm_base(syncing_mapping) + n * syncing_page);
}

/* With the lock held. */
static uint32_t random_below(uint32_t end)
{
	kernel.random ^= kernel.random << 13;
	kernel.random ^= kernel.random >> 17;
	return (kernel.random ^= kernel.random << 5) % end;
}

/* With the lock held; it is let go while the page is held. Whether the page failed. */
static bool write_page(unsigned n)
{
	kernel.reached[n] = true;
	pthread_cond_broadcast(&kernel.changed);
	while (kernel.held[n])
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	kernel.reached[n] = false;
	uint32_t value = __atomic_load_n(counter(n), __ATOMIC_SEQ_CST);
	if (value == kernel.medium[n])
		return false;
	if ((kernel.fails_page && kernel.fails_page == n) ||
	    (kernel.fails_one_in && !random_below(kernel.fails_one_in))) {
		kernel.failures += !kernel.tells_writer;
		kernel.lost[n] = true;
		return true;
	}
	kernel.medium[n] = value;
	return false;
}

/* With the lock held. */
static int tell(void)
{
	int rc = kernel.told != kernel.failures ? -EIO : 0;
	kernel.told = kernel.failures;
	return rc;
}

/* With the lock held; it is let go. */
static void take_time(void)
{
	unsigned time = kernel.longest ? random_below(kernel.longest) : 0;
	pthread_mutex_unlock(&kernel.lock);
	if (time)
		usleep(time);
	pthread_mutex_lock(&kernel.lock);
}

/* With the lock held. Until the error is reported another call may receive it; it is reported before the flush. */
static int write_pages(size_t first, size_t end)
{
	bool failed = false;
	for (size_t n = first; n < end; n++)
		failed |= write_page((unsigned)n);
	kernel.pages += end - first;
	take_time();
	int rc = tell();
	take_time();
	return kernel.tells_writer && failed ? -ENOSPC : rc;
}

static int kernel_msync(void *address, size_t length)
{
	size_t first = (size_t)((char *)address - syncing_mapping->medium.map) / syncing_page;
	pthread_mutex_lock(&kernel.lock);
	kernel.syncs++;
	int rc = write_pages(first, first + length / syncing_page);
	pthread_mutex_unlock(&kernel.lock);
	return rc;
}

/* A file system that finds no block for a page tells this call. What fails later is told to one that waits. */
static int start(size_t first, size_t end)
{
	bool failed = false;
	pthread_mutex_lock(&kernel.lock);
	kernel.starts++;
	kernel.started = (unsigned)first;
	for (size_t n = first; n < end && kernel.starts_write; n++)
		failed |= write_page((unsigned)n);
	pthread_mutex_unlock(&kernel.lock);
	return kernel.tells_writer && failed ? -ENOSPC : 0;
}

static int kernel_sync_file_range(int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	(void)fd;
	bool asks = flags == SYNC_FILE_RANGE_WAIT_BEFORE;
	if (!length)
		return 0;
	if (flags == SYNC_FILE_RANGE_WRITE)
		return start(offset / syncing_page, (offset + length) / syncing_page);
	/* It waits for the pages of the range, if there can be any. */
	unit_expect(!asks || (offset == INT64_MAX - 1 && length == 1));
	pthread_mutex_lock(&kernel.lock);
	kernel.ranges += !asks;
	int rc = asks ? tell() : write_pages(offset / syncing_page, (offset + length) / syncing_page);
	pthread_mutex_unlock(&kernel.lock);
	return rc;
}

void syncing_start(uint32_t magic)
{
	const char *path = unit_file("file", 0);
	struct fake_machine machine = fake_plain;
	syncing_page = unit_page();
	ck_assert_int_eq(truncate(path, (off_t)(SYNCING_PAGES * syncing_page)), 0);
	machine.magic = magic;
	fake_start(&machine);
	counting.recording = false;
	atomic_store(&fake.watcher_sleeps, true);
	memset(&kernel, 0, sizeof(kernel));
	pthread_mutex_init(&kernel.lock, NULL);
	pthread_cond_init(&kernel.changed, NULL);
	kernel.random = unit_random() | 1;
	machine_put(&between, MACHINE(.msync = kernel_msync, .sync_file_range = kernel_sync_file_range));
	syncing_mapping = unit_map(path, NULL);
}

void syncing_stop(void)
{
	unit_ok(pm_unmap(syncing_mapping));
	machine_remove(&between);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}

int commit_page(unsigned n)
{
	return pm_commit(syncing_mapping, &(struct pm_range){counter(n), 1}, 1);
}

/* ---- Threads one by one ---- */

void *call_now(void *arg)
{
	struct caller *c = arg;
	__atomic_fetch_add(counter(c->n), 1, __ATOMIC_SEQ_CST);
	c->rc = c->commits ? commit_page(c->n) : pm_persist(syncing_mapping, counter(c->n), 1);
	atomic_store(&c->returned, true);
	return NULL;
}

void hold_page(unsigned n, bool held)
{
	pthread_mutex_lock(&kernel.lock);
	kernel.held[n] = held;
	pthread_cond_broadcast(&kernel.changed);
	pthread_mutex_unlock(&kernel.lock);
}

void begin_call(struct caller *c, unsigned n, bool commits)
{
	*c = (struct caller){.n = n, .commits = commits};
	ck_assert_int_eq(pthread_create(&c->thread, NULL, call_now, c), 0);
}

void begin_held(struct caller *c, unsigned n, bool commits)
{
	hold_page(n, true);
	begin_call(c, n, commits);
	pthread_mutex_lock(&kernel.lock);
	while (!kernel.reached[n])
		pthread_cond_wait(&kernel.changed, &kernel.lock);
	pthread_mutex_unlock(&kernel.lock);
}

void wait_until_waiting(unsigned wanted)
{
	for (unsigned found = 0; found < wanted; usleep(1000)) {
		pthread_mutex_lock(&syncing_mapping->medium.writeback.lock);
		found = 0;
		for (const struct pm_page_request *r = syncing_mapping->medium.writeback.waiting; r; r = r->next)
			found++;
		pthread_mutex_unlock(&syncing_mapping->medium.writeback.lock);
	}
}

int result_of(struct caller *c)
{
	pthread_join(c->thread, NULL);
	return c->rc;
}
