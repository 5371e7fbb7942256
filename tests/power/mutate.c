/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Breaks the library on purpose, in the way that PMDIRECT_MUTATION names, so that the power failure test can
 * show that it notices; mark-starts breaks nothing, and shows what happened. Everything else is the program and the
 * library as they are: only entries of the table of system calls are exchanged, before main().
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/machine.h"

/* ---- no-writeback: a drain that does nothing ---- */

static int skip_msync(void *address, size_t length)
{
	(void)address;
	(void)length;
	return 0;
}

/* ---- the same for files; no-fsync: name, size and blocks are left to chance; no-syncfs: the path ---- */

static int skip_fsync(int fd)
{
	(void)fd;
	return 0;
}

/* ---- no-map-sync: a direct mapping whose faults do not commit, over blocks that were not prepared ---- */

static int map_without_sync(void **address, size_t length, int prot, int flags, int fd, uint64_t offset)
{
	/*
	 * The trials on a page of the file and on a byte of memory are left alone: they show that the flag is
	 * ignored.
	 */
	bool trial = length <= (size_t)sysconf(_SC_PAGESIZE);
	return pm_sys_linux.mmap(address, length, prot, trial ? flags : flags & ~MAP_SYNC, fd, offset);
}

static int skip_populate(void *address, size_t length, int advice)
{
	return advice == MADV_POPULATE_WRITE ? 0 : pm_sys_linux.madvise(address, length, advice);
}

/* Else the library would see what was left out, and take the kernel's write-back. */
static int pretend_written(int fd, unsigned long request, void *arg)
{
	if (request != FS_IOC_FIEMAP)
		return pm_sys_linux.ioctl(fd, request, arg);
	struct fiemap *map = arg;
	map->fm_mapped_extents = 1;
	map->fm_extents[0] = (struct fiemap_extent){
		.fe_logical = map->fm_start, .fe_length = map->fm_length, .fe_flags = FIEMAP_EXTENT_LAST};
	return 0;
}

/* ---- believe-msync: whether the file system can still be written to is not asked ---- */

static int still_writable(int fd)
{
	(void)fd;
	return 0;
}

/* ---- hide-shared: what a clone shares looks like the file's own ---- */

static int hide_shared(int fd, unsigned long request, void *arg)
{
	int rc = pm_sys_linux.ioctl(fd, request, arg);
	struct fiemap *map = arg;
	for (unsigned i = 0; request == FS_IOC_FIEMAP && !rc && i < map->fm_mapped_extents; i++)
		map->fm_extents[i].fe_flags &= ~(uint32_t)FIEMAP_EXTENT_SHARED;
	return rc;
}

/* ---- believe-faults: a write fault is taken to zero what it allocates, as since Linux 6.2 ---- */

static int pretend_newer(struct utsname *name)
{
	int rc = pm_sys_linux.uname(name);
	strcpy(name->release, "6.2");
	return rc;
}

/* ---- unshare-by-fallocate: extents are taken apart by a call instead of by write faults ---- */

static struct {
	char *base;
	int fd;
	uint64_t offset;
} mapped_last;

static int note_mapping(void **address, size_t length, int prot, int flags, int fd, uint64_t offset)
{
	int rc = pm_sys_linux.mmap(address, length, prot, flags, fd, offset);
	if (!rc)
		mapped_last = (__typeof__(mapped_last)){*address, fd, offset};
	return rc;
}

static int unshare_by_fallocate(void *address, size_t length, int advice)
{
	if (advice != MADV_POPULATE_WRITE)
		return pm_sys_linux.madvise(address, length, advice);
	off_t at = (off_t)(mapped_last.offset + (uint64_t)((char *)address - mapped_last.base));
	return fallocate(mapped_last.fd, FALLOC_FL_UNSHARE_RANGE, at, (off_t)length) ? -errno : 0;
}

/* ---- believe-fast-commit: an ext4 looks as on a kernel without fast commits ---- */

static int hide_counters(int dir_fd, const char *path, int flags, unsigned mode)
{
	const char *slash = strrchr(path, '/');
	return slash && !strcmp(slash, "/fc_info") ? -ENOENT : pm_sys_linux.openat(dir_fd, path, flags, mode);
}

/* ---- believe-flushes: what says that flushes are left out reads otherwise ---- */

static void overwrite(char *text, size_t size, const char *words, const char *with)
{
	char *at;
	while ((at = memmem(text, size, words, strlen(words))))
		memcpy(at, with, strlen(words));
}

static ssize_t believe(char *text, ssize_t got)
{
	overwrite(text, got > 0 ? (size_t)got : 0, "nobarrier", "something");
	overwrite(text, got > 0 ? (size_t)got : 0, "write through", "write back\n\n\n");
	return got;
}

static ssize_t read_believing(int fd, void *buffer, size_t size)
{
	return believe(buffer, pm_sys_linux.read(fd, buffer, size));
}

/* Of what stays open. */
static ssize_t pread_believing(int fd, void *buffer, size_t size, uint64_t offset)
{
	return believe(buffer, pm_sys_linux.pread(fd, buffer, size, offset));
}

static int statmount_believing(uint64_t id, struct pm_mount *mount)
{
	int rc = pm_sys_linux.statmount(id, mount);
	if (!rc && mount->options)
		overwrite(mount->options, strlen(mount->options), "nobarrier", "something");
	return rc;
}

/* ---- mark-starts: makes the file MARK when a thread starts a write, and sleeps before it is made durable ---- */

static _Thread_local bool has_started;

static int note_range(int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	has_started = flags == SYNC_FILE_RANGE_WRITE;
	return pm_sys_linux.sync_file_range(fd, offset, length, flags);
}

static int note_msync(void *address, size_t length)
{
	has_started = false;
	return pm_sys_linux.msync(address, length);
}

static int mark_start(const _Atomic uint32_t *word, uint32_t value, uint64_t most, uint32_t bits)
{
	if (has_started)
		close(open(getenv("MARK"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	has_started = false;
	return pm_sys_linux.futex_wait(word, value, most, bits);
}

/* ---- Which ---- */

static const struct {
	const char *name;
	struct pm_sys entries;
} mutations[] = {
	{"no-writeback", {.msync = skip_msync, .fdatasync = skip_fsync}},
	{"no-fsync", {.fsync = skip_fsync, .syncfs = skip_fsync}},
	{"no-syncfs", {.syncfs = skip_fsync}},
	{"no-map-sync", {.mmap = map_without_sync, .madvise = skip_populate, .ioctl = pretend_written}},
	{"believe-msync", {.faccessat2_write = still_writable}},
	{"hide-shared", {.ioctl = hide_shared}},
	{"believe-faults", {.uname = pretend_newer}},
	{"unshare-by-fallocate", {.mmap = note_mapping, .madvise = unshare_by_fallocate}},
	{"believe-fast-commit", {.openat = hide_counters}},
	{"mark-starts", {.sync_file_range = note_range, .msync = note_msync, .futex_wait = mark_start}},
	{"believe-flushes", {.read = read_believing, .pread = pread_believing, .statmount = statmount_believing}},
};
#define MUTATIONS (sizeof(mutations) / sizeof(mutations[0]))

__attribute__((constructor)) static void mutate(void)
{
	static struct machine mutant;
	const char *name = getenv("PMDIRECT_MUTATION");
	for (size_t i = 0; name && i < MUTATIONS; i++)
		if (!strcmp(name, mutations[i].name)) {
			machine_put(&mutant, &mutations[i].entries);
			return;
		}
	fprintf(stderr, "PMDIRECT_MUTATION must be one of:");
	for (size_t i = 0; i < MUTATIONS; i++)
		fprintf(stderr, " %s", mutations[i].name);
	fprintf(stderr, "\n");
	exit(2);
}
