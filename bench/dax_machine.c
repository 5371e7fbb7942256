/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "dax_machine.h"
#include "machine/machine.h"

#define ATTRIBUTE_FD 1000000
#define SMAPS_FD 2000000

static int fake_statx(int dir_fd, const char *path, int flags, struct statx *stx)
{
	/*
	 * An ext4 with a journal, of a kernel without fast commits: its directories are there, and nothing is counted.
	 */
	if (!strcmp(path, "/sys/fs/ext4/pmem0") || !strcmp(path, "/proc/fs/ext4/pmem0") ||
	    !strcmp(path, "/proc/fs/jbd2/pmem0-8")) {
		*stx = (struct statx){.stx_ino = 1};
		return 0;
	}
	int rc = pm_sys_linux.statx(dir_fd, path, flags, stx);
	if (!strncmp(path, "/sys/dev/block/", 15))
		rc = 0;
	stx->stx_attributes_mask |= STATX_ATTR_DAX;
	stx->stx_attributes |= STATX_ATTR_DAX;
	stx->stx_dev_major = 259; /* BLOCK_EXT_MAJOR, as pmem devices have; 0 would be of no device */
	return rc;
}

static int fake_statx_now(int fd, struct statx *stx)
{
	int rc = pm_sys_linux.statx_now(fd, stx);
	stx->stx_dev_major = 259;
	return rc;
}

static int fake_fstatfs(int fd, struct statfs *stfs)
{
	int rc = fd < ATTRIBUTE_FD ? pm_sys_linux.fstatfs(fd, stfs) : 0;
	stfs->f_type = fd < ATTRIBUTE_FD ? EXT4_SUPER_MAGIC : fd == SMAPS_FD ? PROC_SUPER_MAGIC : SYSFS_MAGIC;
	return rc;
}

static int fake_statfs(const char *path, struct statfs *stfs)
{
	bool proc = !strncmp(path, "/proc/", 6);
	if (!proc && strncmp(path, "/sys/", 5))
		return pm_sys_linux.statfs(path, stfs);
	*stfs = (struct statfs){.f_type = proc ? PROC_SUPER_MAGIC : SYSFS_MAGIC};
	return 0;
}

static _Thread_local void *mapped; /* with MAP_SYNC, last */

static int fake_mmap(void **address, size_t length, int prot, int flags, int fd, uint64_t offset)
{
	if ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE) {
		/* The trial on memory of the library's own, which has no size: refused, as it must be. */
		struct statx stx;
		if (pm_sys_linux.statx(fd, "", AT_EMPTY_PATH, &stx) || !stx.stx_size)
			return -EOPNOTSUPP;
		int rc = pm_sys_linux.mmap(address, length, prot, MAP_SHARED, fd, offset);
		mapped = *address;
		return rc;
	}
	return pm_sys_linux.mmap(address, length, prot, flags, fd, offset);
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	struct fiemap *map = arg;
	if (request != FS_IOC_FIEMAP)
		return pm_sys_linux.ioctl(fd, request, arg);
	map->fm_mapped_extents = 1;
	map->fm_extents[0] = (struct fiemap_extent){.fe_logical = map->fm_start, .fe_length = map->fm_length,
	                                            .fe_flags = FIEMAP_EXTENT_LAST};
	return 0;
}

static ssize_t fake_readlinkat(int dir_fd, const char *path, char *buffer, size_t size)
{
	static const char link[] = "../../devices/ndbus0/region0/namespace0.0/block/pmem0";
	if (strncmp(path, "/sys/", 5))
		return pm_sys_linux.readlinkat(dir_fd, path, buffer, size);
	size_t length = sizeof(link) - 1 < size ? sizeof(link) - 1 : size;
	memcpy(buffer, link, length);
	return (ssize_t)length;
}

/* Attributes by the end of their path; the descriptor tells which was opened. */
static const struct {
	const char *path, *text;
} attributes[] = {
	{"/sys/bus/nd/devices/ndbus0/provider", "ACPI.NFIT\n"},
	{"/sys/bus/nd/devices/region0/devtype", "nd_pmem\n"},
	{"/sys/bus/nd/devices/region0/persistence_domain", "memory_controller\n"},
	{"/sys/bus/nd/devices/region0/read_only", "0\n"},
	{"/sys/bus/nd/devices/region0/mapping0", "nmem0,0,1048576,0\n"},
	{"/sys/bus/nd/devices/nmem0/nfit/flags", ""},
	{"/sys/fs/ext4/pmem0/journal_task", "1\n"},
};

static int fake_openat(int dir_fd, const char *path, int flags, unsigned mode)
{
	for (int i = 0; i < (int)(sizeof(attributes) / sizeof(attributes[0])); i++)
		if (!strcmp(path, attributes[i].path))
			return ATTRIBUTE_FD + i;
	if (!strcmp(path, "/proc/self/smaps") || (flags & O_PATH && !strncmp(path, "/proc/fs/", 9)))
		return SMAPS_FD;
	if (flags & O_PATH && !strncmp(path, "/sys/", 5))
		return ATTRIBUTE_FD;
	return pm_sys_linux.openat(dir_fd, path, flags, mode);
}

static ssize_t fake_read(int fd, void *buffer, size_t size)
{
	if (fd < ATTRIBUTE_FD)
		return pm_sys_linux.read(fd, buffer, size);
	char smaps[64];
	snprintf(smaps, sizeof(smaps), "%08" PRIxPTR "-\nVmFlags: sf \n", (uintptr_t)mapped);
	const char *text = fd == SMAPS_FD ? smaps : attributes[fd - ATTRIBUTE_FD].text;
	size_t length = strlen(text) < size ? strlen(text) : size;
	memcpy(buffer, text, length);
	return (ssize_t)length;
}

static int fake_close(int fd)
{
	return fd < ATTRIBUTE_FD ? pm_sys_linux.close(fd) : 0;
}

void dax_machine_install(void)
{
	static struct machine machine;
	machine_put(&machine, MACHINE(.statx = fake_statx, .statx_now = fake_statx_now, .fstatfs = fake_fstatfs,
	                              .statfs = fake_statfs, .mmap = fake_mmap, .ioctl = fake_ioctl,
	                              .readlinkat = fake_readlinkat, .openat = fake_openat, .read = fake_read,
	                              .close = fake_close));
}
