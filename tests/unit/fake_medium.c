/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A medium with bad blocks, as Linux has it on pmem: nothing of a page with one can be read, a whole page written over
 * it clears it where the platform can (drivers/nvdimm/pmem.c pmem_recovery_write; pmem_do_write behind a page cache).
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <unistd.h>

#include "fake.h"
#include "fake_internal.h"

#define BAD_MOST (sizeof(fake.bad) / sizeof(fake.bad[0]))
#define SECTOR 512u

static uint64_t page_of(uint64_t offset)
{
	return offset / (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Whether the pages of the range have what is bad at i and not in the page cache. */
static bool meets(unsigned i, uint64_t offset, size_t size)
{
	uint64_t first = fake.bad[i].offset, length = fake.bad[i].length;
	return size && length && !fake.bad[i].written && page_of(first) <= page_of(offset + size - 1) &&
	       page_of(first + length - 1) >= page_of(offset);
}

static ssize_t fake_pread(int fd, void *buffer, size_t size, uint64_t offset)
{
	if (fd >= FAKE_VIRTUAL_FD)
		return fake_virtual_pread(fd, buffer, size);
	for (unsigned i = 0; i < BAD_MOST; i++)
		if (meets(i, offset, size))
			return -EIO;
	/* Never more than half, as read(2) may. */
	return pm_sys_linux.pread(fd, buffer, (size + 1) / 2, offset);
}

/* What is left of it lies behind the page that was written. */
static void clear(unsigned i, uint64_t end)
{
	uint64_t bad_end = fake.bad[i].offset + fake.bad[i].length;
	fake.bad[i].length = bad_end > end ? bad_end - end : 0;
	fake.bad[i].offset = end;
}

/* Meets a bad block: page by page, at most the first. */
static ssize_t write_over(unsigned i, int fd, const void *buffer, size_t size, uint64_t offset)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	bool direct = fake.machine.dax == PM_YES;
	if (offset % page || size < page)
		return direct ? -EFAULT : -EIO;
	if (direct && fake.keeps_bad)
		return -EFAULT;
	if (direct)
		clear(i, offset + page);
	else
		fake.bad[i].written = true;
	return pm_sys_linux.pwrite(fd, buffer, page, offset);
}

static ssize_t fake_pwrite(int fd, const void *buffer, size_t size, uint64_t offset)
{
	for (unsigned i = 0; i < BAD_MOST; i++)
		if (meets(i, offset, size))
			return write_over(i, fd, buffer, size, offset);
	/* Never more than half, as write(2) may. */
	return pm_sys_linux.pwrite(fd, buffer, (size + 1) / 2, offset);
}

static ssize_t fake_pwritev2_append(int fd, const void *buffer, size_t size)
{
	return pm_sys_linux.pwritev2_append(fd, buffer, (size + 1) / 2);
}

static int fake_fadvise_dontneed(int fd)
{
	if (fake.machine.dax == PM_YES)
		fake_violation("a DAX file has no page cache to drop");
	return pm_sys_linux.fadvise_dontneed(fd);
}

bool fake_write_back_bad(void)
{
	bool failed = false;
	for (unsigned i = 0; i < BAD_MOST; i++) {
		if (!fake.bad[i].written)
			continue;
		failed |= fake.keeps_bad;
		fake.bad[i].length = fake.keeps_bad ? fake.bad[i].length : 0;
		fake.bad[i].written = false;
	}
	return failed;
}

const char *fake_bad_list(char *text, size_t size)
{
	static char last[256];
	const struct fake_health *h = fake.machine.health;
	uint64_t begin = h && h->physical ? h->physical[0] : 0;
	size_t used = 0;
	if (!h || !h->keeps_list)
		return NULL;
	text[0] = 0;
	for (unsigned i = 0; i < BAD_MOST; i++)
		if (fake.bad[i].length)
			used += (size_t)snprintf(text + used, size - used, "%llu %llu\n",
			                         (unsigned long long)(begin + fake.bad[i].offset) / SECTOR,
			                         (unsigned long long)fake.bad[i].length / SECTOR);
	if (fake.list_is_old && last[0])
		return last;
	snprintf(last, sizeof(last), "%s", text);
	return text;
}

/* ---- Write-back of a range ---- */

static int fake_sync_file_range(int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	if (fake.machine.is_device_dax || fake.machine.is_block_device)
		fake_violation("sync_file_range of a device");
	/* To the kernel it would mean: to the end of the file. */
	if (!length && flags)
		fake_violation("sync_file_range of an empty range");
	return fake.really_syncs ? pm_sys_linux.sync_file_range(fd, offset, length, flags) : 0;
}

/* What a filter or shim ignores never reaches the kernel, right or wrong. */
static int fake_wrong_sync(unsigned call)
{
	return fake.machine.ignores & call ? 0 : pm_sys_linux.wrong_sync(call);
}

const struct pm_sys fake_answers_of_medium = {
	.pread = fake_pread,
	.pwrite = fake_pwrite,
	.pwritev2_append = fake_pwritev2_append,
	.fadvise_dontneed = fake_fadvise_dontneed,
	.sync_file_range = fake_sync_file_range,
	.wrong_sync = fake_wrong_sync,
};

/* ---- Hints of the inode ---- */

int fake_set_hints(const struct fsxattr *set)
{
	if (fake.machine.hints_errno)
		return -fake.machine.hints_errno;
	fake.machine.xflags = set->fsx_xflags & ~(uint32_t)(FS_XFLAG_DAX | FS_XFLAG_REALTIME);
	fake.machine.cow_size = set->fsx_cowextsize;
	return 0;
}
