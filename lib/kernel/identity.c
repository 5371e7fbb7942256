/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the kernel keeps the inodes itself, st_dev and st_ino are the kernel's. On FUSE, 9p and network file systems a
 * server makes the inode numbers up, and may give one number to two files: a bindfs over two disks does, and so does a
 * server of a directory that holds a mount. The kernel still tells such files apart: a watch of inotify(7) belongs to
 * an inode, and a second watch of the same inode has the same descriptor (fs/notify/inotify/inotify_user.c
 * inotify_update_existing_watch). Where the kernel makes the file handles itself, those tell it too, and at once: to
 * close an inotify instance takes some 10 ms.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "kernel/identity.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

bool pm_needs_block_device(uint32_t f_type)
{
	return pm_has_quirk(f_type, PM_FS_ON_BLOCK_DEVICE);
}

/*
 * v9fs_statfs passes on the server's f_type; v9fs_set_super gives the mount an anonymous device (fs/super.c
 * get_anon_bdev).
 */
bool pm_is_on_block_device(uint32_t f_type, const struct statx *stx)
{
	return pm_needs_block_device(f_type) && stx->stx_dev_major;
}

bool pm_has_own_numbers(int fd, const struct statx *stx)
{
	struct statfs fs;
	return !PM_RETRY(pm_sys->fstatfs(fd, &fs)) && pm_is_on_block_device((uint32_t)fs.f_type, stx);
}

bool pm_has_same_numbers(const struct statx *a, const struct statx *b)
{
	return a->stx_ino == b->stx_ino && a->stx_dev_major == b->stx_dev_major && a->stx_dev_minor == b->stx_dev_minor;
}

static int is_same_inode(int fd, const char *path)
{
	char own[40];
	struct statfs fs;
	snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
	if (!PM_RETRY(pm_sys->fstatfs(fd, &fs)) && pm_has_quirk((uint32_t)fs.f_type, PM_FS_HANDLES)) {
		int same = PM_RETRY(pm_sys->same_handle(own, path));
		if (same >= 0)
			return same;
	}
	return PM_RETRY(pm_sys->same_inode(own, path));
}

int pm_is_same_inode(int fd, int other)
{
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", other);
	return is_same_inode(fd, path);
}

int pm_is_entry(int fd, int directory_fd, const char *entry)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", directory_fd, entry);
	return is_same_inode(fd, path);
}

int pm_is_same_file(int fd, const struct statx *stx, const char *path)
{
	struct statx other;
	/* Without asking a server, which may not answer. */
	int rc = PM_RETRY(pm_sys->statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, &other));
	if (rc || !pm_has_same_numbers(stx, &other))
		return rc;
	return pm_has_own_numbers(fd, stx) ? 1 : is_same_inode(fd, path);
}
