/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel between the library and the fake machine, for one file: it knows what of it the medium holds. A page reaches
 * it by a write-back that succeeded, a line by the CPU's and a fence. What a write-back could not write is clean from
 * then on, and lost, until it is stored to or faulted in for writing (mm/filemap.c); the size and the entry are durable
 * when they were synced.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sweeping.h"
#include "sweeping_internal.h"
#include "unit.h"

#define MAPS_MOST 16
#define LINES_MOST 256
#define ROOM (SWEEP_PAGES * 65536u)

struct range {
	uint64_t offset;
	size_t length;
};

static struct {
	pthread_mutex_t lock;
	uint64_t inode; /* 0: the file does not exist yet */
	const char *path;
	struct map {
		char *base; /* NULL: a free place */
		size_t length;
		uint64_t offset;
	} maps[MAPS_MOST];
	bool entry, size; /* are durable */
	bool caches_are_durable;
	bool lost[SWEEP_PAGES], in_cache[SWEEP_PAGES];
	struct range lines[LINES_MOST];
	unsigned line_count;
	bool fails, is_shared;
} k = {.lock = PTHREAD_MUTEX_INITIALIZER};
/* By offset in the file: the medium, the device's volatile cache, memory when a page was lost, lines on their way. */
static char medium[ROOM], cache[ROOM], at_loss[ROOM], pending[ROOM];
static size_t page;

static struct machine kernel;

static uint64_t inode_of(int fd)
{
	struct stat st;
	return fd >= 0 && !fstat(fd, &st) ? st.st_ino : 0;
}

static bool is_ours(int fd)
{
	return k.inode && inode_of(fd) == k.inode;
}

/* ---- Pages; with the lock held ---- */

static void write_page(unsigned n, const char *content)
{
	if (k.lost[n] && !memcmp(content, at_loss + n * page, page))
		return;
	k.lost[n] = false;
	memcpy(cache + n * page, content, page);
	k.in_cache[n] = true;
}

static void lose_page(unsigned n, const char *content)
{
	/* Clean pages have nothing to lose. */
	if (k.lost[n] || !memcmp(content, medium + n * page, page))
		return;
	k.lost[n] = true;
	memcpy(at_loss + n * page, content, page);
}

/* Whole pages of the file as memory has them: page by page through the descriptor, or a mapping. */
static void write_out(int fd, const char *mapped, uint64_t offset, size_t length, int error)
{
	char bytes[65536];
	struct stat st;
	uint64_t end = stat(k.path, &st) ? 0 : (uint64_t)st.st_size;
	end = end < offset + length ? end : offset + length;
	memset(bytes, 0, page);
	for (uint64_t n = offset / page; n < SWEEP_PAGES && n * page < end; n++) {
		const char *content = bytes;
		if (mapped)
			content = mapped + (n * page - offset);
		else if (pread(fd, bytes, page, (off_t)(n * page)) <= 0)
			continue;
		if (!error)
			write_page((unsigned)n, content);
		else if (error == -EIO || error == -ENOSPC)
			lose_page((unsigned)n, content);
	}
}

static void flush_device(void)
{
	for (unsigned n = 0; n < SWEEP_PAGES; n++)
		if (k.in_cache[n]) {
			memcpy(medium + n * page, cache + n * page, page);
			/* A line on its way does not bring back what was there before. */
			memcpy(pending + n * page, cache + n * page, page);
		}
	memset(k.in_cache, 0, sizeof(k.in_cache));
}

static struct map *map_of(const void *address)
{
	for (unsigned i = 0; i < MAPS_MOST; i++)
		if (k.maps[i].base && (uintptr_t)address - (uintptr_t)k.maps[i].base < k.maps[i].length)
			return &k.maps[i];
	return NULL;
}

static void note_map(void *base, size_t length, uint64_t offset)
{
	for (unsigned i = 0; i < MAPS_MOST; i++)
		if (!k.maps[i].base) {
			k.maps[i] = (struct map){base, length, offset};
			return;
		}
	abort();
}

/* ---- Its calls ---- */

static int kernel_msync(void *address, size_t length)
{
	int rc = k.fails ? -EIO : kernel.below->msync(address, length);
	pthread_mutex_lock(&k.lock);
	k.fails = false;
	struct map *map = map_of(address);
	if (map) {
		write_out(-1, address, map->offset + (uint64_t)((char *)address - map->base), length, rc);
		if (!rc) {
			flush_device();
			k.size = true;
		}
	}
	pthread_mutex_unlock(&k.lock);
	return rc;
}

static int synced(int fd, int rc, bool size)
{
	pthread_mutex_lock(&k.lock);
	if (is_ours(fd)) {
		write_out(fd, NULL, 0, SWEEP_PAGES * page, rc);
		if (!rc) {
			flush_device();
			k.size |= size;
			k.is_shared = k.is_shared && !atomic_load(&fake.populated);
		}
	}
	pthread_mutex_unlock(&k.lock);
	return rc;
}

static int kernel_fsync(int fd)
{
	int rc = kernel.below->fsync(fd);
	struct stat st;
	if (!rc && !fstat(fd, &st) && S_ISDIR(st.st_mode))
		k.entry = true;
	return synced(fd, rc, true);
}

static int kernel_fdatasync(int fd)
{
	return synced(fd, kernel.below->fdatasync(fd), true);
}

static int kernel_syncfs(int fd)
{
	int rc = kernel.below->syncfs(fd);
	k.entry |= !rc;
	return synced(fd, rc, true);
}

static int kernel_sync_file_range(int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	int rc = kernel.below->sync_file_range(fd, offset, length, flags);
	pthread_mutex_lock(&k.lock);
	if (is_ours(fd) && length && flags & SYNC_FILE_RANGE_WAIT_AFTER)
		write_out(fd, NULL, offset, (size_t)length, rc);
	pthread_mutex_unlock(&k.lock);
	return rc;
}

static int kernel_openat(int directory, const char *path, int flags, unsigned mode)
{
	int fd = kernel.below->openat(directory, path, flags, mode);
	/* An unnamed file may become the file where there is none. */
	bool is_unnamed = (flags & O_TMPFILE) == O_TMPFILE && access(k.path, F_OK);
	if (fd >= 0 && (flags & O_CREAT || is_unnamed)) {
		k.inode = inode_of(fd);
		k.entry = k.size = false;
	}
	return fd;
}

static int resized(int fd, int rc)
{
	if (!rc && is_ours(fd))
		k.size = false;
	return rc;
}

static ssize_t kernel_append(int fd, const void *buffer, size_t size)
{
	ssize_t rc = kernel.below->pwritev2_append(fd, buffer, size);
	return rc < 0 ? rc : resized(fd, 0) + rc;
}

/* A sync of the directory before it says nothing of it. */
static int kernel_linkat(const char *path, int directory, const char *entry)
{
	int rc = kernel.below->linkat(path, directory, entry);
	k.entry = k.entry && rc;
	return rc;
}

static int kernel_ftruncate(int fd, uint64_t length)
{
	return resized(fd, kernel.below->ftruncate(fd, length));
}

static int kernel_fallocate(int fd, uint64_t offset, uint64_t length)
{
	return resized(fd, kernel.below->fallocate(fd, offset, length));
}

static int kernel_mmap(void **address, size_t length, int prot, int flags, int fd, uint64_t offset)
{
	int rc = kernel.below->mmap(address, length, prot, flags, fd, offset);
	pthread_mutex_lock(&k.lock);
	if (!rc && is_ours(fd) && (flags & MAP_TYPE) != MAP_PRIVATE)
		note_map(*address, length, offset);
	pthread_mutex_unlock(&k.lock);
	return rc;
}

static int kernel_mremap(void **address, size_t old_length, size_t new_length, int flags)
{
	pthread_mutex_lock(&k.lock);
	struct map *map = map_of(*address);
	int rc = kernel.below->mremap(address, old_length, new_length, flags);
	if (!rc && map) {
		map->base = *address;
		map->length = new_length;
	}
	pthread_mutex_unlock(&k.lock);
	return rc;
}

static int kernel_mremap_over(void *from, size_t length, void *to)
{
	pthread_mutex_lock(&k.lock);
	struct map *map = map_of(from);
	int rc = kernel.below->mremap_over(from, length, to);
	if (!rc && map)
		map->base = to;
	pthread_mutex_unlock(&k.lock);
	return rc;
}

static struct {
	void *address;
	size_t length;
} left;

static int kernel_munmap(void *address, size_t length)
{
	int rc = kernel.below->munmap(address, length);
	pthread_mutex_lock(&k.lock);
	struct map *map = map_of(address);
	if (!rc && map)
		map->base = NULL;
	left.address = rc ? address : left.address == address ? NULL : left.address;
	left.length = rc ? length : left.length;
	pthread_mutex_unlock(&k.lock);
	return rc;
}

/* What is inaccessible at the end of a mapping cannot be looked at. */
static int kernel_mprotect(void *address, size_t length, int prot)
{
	int rc = kernel.below->mprotect(address, length, prot);
	pthread_mutex_lock(&k.lock);
	struct map *map = map_of((char *)address - 1);
	if (!rc && map)
		map->length = (size_t)((char *)address - map->base) + (prot == PROT_NONE ? 0 : length);
	pthread_mutex_unlock(&k.lock);
	return rc;
}

static int kernel_madvise(void *address, size_t length, int advice)
{
	int rc = kernel.below->madvise(address, length, advice);
	pthread_mutex_lock(&k.lock);
	struct map *map = map_of(address);
	if (!rc && map && advice == MADV_POPULATE_WRITE) {
		uint64_t first = (map->offset + (uint64_t)((char *)address - map->base)) / page;
		for (uint64_t n = first; n < SWEEP_PAGES && n < first + length / page; n++)
			k.lost[n] = false;
	}
	pthread_mutex_unlock(&k.lock);
	return rc;
}

/* The sweep does not wait for the library's threads. */
static int kernel_poll(struct pollfd *fds, unsigned count, int timeout_ms)
{
	return kernel.below->poll(fds, count, timeout_ms > 1 ? 1 : timeout_ms);
}

/* ---- The CPU ---- */

static void set_out(const char *lines, size_t length)
{
	pthread_mutex_lock(&k.lock);
	struct map *map = map_of(lines);
	if (map && k.line_count < LINES_MOST) {
		uint64_t offset = map->offset + (uint64_t)(lines - map->base);
		size_t room = map->length - (size_t)(lines - map->base);
		size_t size = length < room ? length : room;
		memcpy(pending + offset, lines, size);
		k.lines[k.line_count++] = (struct range){offset, size};
	}
	pthread_mutex_unlock(&k.lock);
}

static void fence(void)
{
	pthread_mutex_lock(&k.lock);
	for (unsigned i = 0; i < k.line_count && !k.is_shared; i++)
		memcpy(medium + k.lines[i].offset, pending + k.lines[i].offset, k.lines[i].length);
	k.line_count = 0;
	for (unsigned i = 0; k.caches_are_durable && i < MAPS_MOST; i++)
		if (k.maps[i].base)
			memcpy(medium + k.maps[i].offset, k.maps[i].base, k.maps[i].length);
	pthread_mutex_unlock(&k.lock);
}

static void start_cpu(void)
{
	const struct fake_region *region = fake.machine.region;
	k.caches_are_durable = region && region->persistence_domain && !strcmp(region->persistence_domain, "cpu_cache");
	fake.set_out = set_out;
	fake.fenced = fence;
}

/* ---- For the driver ---- */

static const struct pm_sys calls = {
	.msync = kernel_msync,
	.fsync = kernel_fsync,
	.fdatasync = kernel_fdatasync,
	.syncfs = kernel_syncfs,
	.sync_file_range = kernel_sync_file_range,
	.openat = kernel_openat,
	.ftruncate = kernel_ftruncate,
	.fallocate = kernel_fallocate,
	.pwritev2_append = kernel_append,
	.linkat = kernel_linkat,
	.mmap = kernel_mmap,
	.mremap = kernel_mremap,
	.mremap_over = kernel_mremap_over,
	.munmap = kernel_munmap,
	.madvise = kernel_madvise,
	.mprotect = kernel_mprotect,
	.poll = kernel_poll,
};

void kernel_start(const char *path)
{
	struct stat st;
	page = unit_page();
	k.path = path;
	memset(k.maps, 0, sizeof(k.maps));
	memset(k.lost, 0, sizeof(k.lost));
	memset(k.in_cache, 0, sizeof(k.in_cache));
	k.line_count = 0;
	k.entry = k.size = k.fails = k.is_shared = false;
	k.inode = stat(path, &st) ? 0 : st.st_ino;
	/* What the file holds now is on the medium; what comes later finds noughts there. */
	memset(medium, 0, SWEEP_PAGES * page);
	int fd = k.inode ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0 && (read(fd, medium, SWEEP_PAGES * page) < 0 || close(fd)))
		abort();
	start_cpu();
	others_start();
	machine_put(&kernel, &calls);
}

void kernel_stop(void)
{
	others_stop();
	fake.set_out = NULL;
	fake.fenced = NULL;
	machine_remove(&kernel);
}

bool kernel_holds(const char *bytes, uint64_t offset, size_t length)
{
	return !memcmp(medium + offset, bytes, length);
}

bool kernel_holds_entry(void)
{
	return k.entry;
}

bool kernel_holds_size(void)
{
	return k.size;
}

void kernel_unmap_rest(void)
{
	if (left.address)
		kernel.below->munmap(left.address, left.length);
	left.address = NULL;
}

void kernel_fail_write_back(void)
{
	k.fails = true;
}

void kernel_share(void)
{
	static const struct fake_extent shared = {.logical = 0, .length = 1 << 20, .flags = 0x2000 /* shared */};
	if (fake.machine.reflink != PM_YES)
		return;
	pthread_mutex_lock(&k.lock);
	atomic_store(&fake.populated, false);
	fake.machine.extents = &shared;
	fake.machine.extent_count = 1;
	k.is_shared = true;
	pthread_mutex_unlock(&k.lock);
}
