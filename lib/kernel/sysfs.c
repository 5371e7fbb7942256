/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kernel/magic.h"
#include "kernel/sysfs.h"
#include "sys/sys.h"

static bool is_of_proc(const char *path)
{
	return !strncmp(path, "/proc/", 6);
}

static int check_magic(const struct statfs *fs, const char *path)
{
	return (uint32_t)fs->f_type == (is_of_proc(path) ? PROC_SUPER_MAGIC : SYSFS_MAGIC) ? 0 : -ENOSYS;
}

static int check_open(int fd, const char *path)
{
	struct statfs fs;
	int rc = PM_RETRY(pm_sys->fstatfs(fd, &fs));
	return rc ? rc : check_magic(&fs, path);
}

int pm_sysfs_open(const char *path, int flags)
{
	int fd = PM_RETRY(pm_sys->openat(AT_FDCWD, path, flags | O_CLOEXEC, 0));
	int rc = fd < 0 ? fd : check_open(fd, path);
	if (fd >= 0 && rc)
		pm_sys->close(fd);
	return rc ? rc : fd;
}

/*
 * The device numbers of the sysfs and the procfs that were met last, plus one: no other file system has them as long as
 * these are mounted.
 */
static _Atomic uint64_t known[2];

static int check_path(const char *path)
{
	struct statfs fs;
	int rc = PM_RETRY(pm_sys->statfs(path, &fs));
	return rc ? rc : check_magic(&fs, path);
}

static int check_link(const char *path)
{
	int fd = PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0));
	int rc = fd < 0 ? fd : check_open(fd, path);
	if (fd >= 0)
		pm_sys->close(fd);
	return rc;
}

static int check_entry(const char *path, const struct statx *stx)
{
	uint64_t device = ((uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor) + 1;
	bool proc = is_of_proc(path);
	if (atomic_load(&known[proc]) == device)
		return 0;
	int rc = S_ISLNK(stx->stx_mode) ? check_link(path) : check_path(path);
	if (!rc)
		atomic_store(&known[proc], device);
	return rc;
}

int pm_sysfs_stat(const char *path, struct statx *stx)
{
	int rc = PM_RETRY(pm_sys->statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, stx));
	return rc ? rc : check_entry(path, stx);
}

ssize_t pm_sysfs_link(const char *path, char *text, size_t size)
{
	struct statx stx;
	int rc = pm_sysfs_stat(path, &stx);
	return rc ? rc : PM_RETRY(pm_sys->readlinkat(AT_FDCWD, path, text, size));
}

int pm_end_text(char *text, ssize_t got)
{
	while (got > 0 && text[got - 1] == '\n')
		got--;
	if (got >= 0)
		text[got] = 0;
	return (int)got;
}

int pm_read_text(const char *path, char *text, size_t size)
{
	int fd = pm_sysfs_open(path, O_RDONLY);
	if (fd < 0)
		return fd;
	ssize_t got = PM_RETRY(pm_sys->read(fd, text, size - 1));
	pm_sys->close(fd);
	return pm_end_text(text, got);
}
