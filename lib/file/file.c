/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "error.h"
#include "facts/evidence.h"
#include "facts/region.h"
#include "file/file.h"
#include "kernel/limits.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

int pm_file_fail(const struct pm_file *f, int rc, const char *what)
{
	char limit[120];
	bool is_descriptor = rc == -EMFILE || rc == -ENFILE;
	bool is_named = is_descriptor && pm_limit_name(limit, sizeof(limit), PM_RESOURCE_DESCRIPTOR, 0, rc);
	const char *why = is_named ? limit : pm_strerror(rc);
	/* Only these calls were given a length. */
	return pm_fail(rc, f->call, f->name, "%s: %s%s%s", what, why, pm_what_helps(rc),
	               rc == -ENOSPC ? ", or ask for less" : "");
}

int pm_file_within_limit(const struct pm_file *f, uint64_t end)
{
	uint64_t limit = UINT64_MAX;
	PM_RETRY(pm_sys->getrlimit_fsize(&limit));
	if (end <= limit)
		return 0;
	return pm_fail(-EFBIG, f->call, f->name,
	               "the file must be written up to %llu, and RLIMIT_FSIZE is %llu: raise the limit (setrlimit(2), "
	               "ulimit -f)",
	               (unsigned long long)end, (unsigned long long)limit);
}

uint32_t pm_file_f_type(struct pm_file *f)
{
	struct statfs stfs;
	if (!f->f_type && !PM_RETRY(pm_sys->fstatfs(f->fd, &stfs)))
		f->f_type = (uint32_t)stfs.f_type;
	return f->f_type;
}

/* On hugetlbfs the block is the page, and munmap(2) accepts no less. */
static void find_huge_pages(struct pm_file *f)
{
	if (f->stx.stx_blksize > f->unit && pm_has_quirk(pm_file_f_type(f), PM_FS_HUGE_PAGES))
		f->unit = f->stx.stx_blksize;
}

int pm_file_stat(struct pm_file *f)
{
	int rc = PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &f->stx));
	if (rc)
		return pm_file_fail(f, rc, "statx failed");
	f->size = f->stx.stx_size;
	f->unit = (size_t)sysconf(_SC_PAGESIZE);
	f->backing = PM_BACKING_FILE;
	if (S_ISDIR(f->stx.stx_mode))
		return pm_fail(-EISDIR, f->call, f->name, "a directory cannot be mapped");
	if (S_ISREG(f->stx.stx_mode)) {
		find_huge_pages(f);
		return 0;
	}
	if (S_ISBLK(f->stx.stx_mode)) {
		/* lseek(2) would move the position of a description that may be the caller's. */
		f->size = 0;
		rc = PM_RETRY(pm_sys->ioctl(f->fd, BLKGETSIZE64, &f->size));
		return rc ? pm_file_fail(f, rc, "the size of the block device cannot be read") : 0;
	}
	rc = S_ISCHR(f->stx.stx_mode) ? pm_device_dax_align(&f->stx, &f->unit, &f->size) : -ENODEV;
	if (rc == -ENODEV)
		return pm_fail(rc, f->call, f->name, "neither a regular file nor a block device nor a device-dax node");
	if (rc)
		return pm_fail(-ENODEV, f->call, f->name, "/sys does not tell whether the node is of device-dax: %s",
		               pm_strerror(rc));
	f->backing = PM_BACKING_DEVICE_DAX;
	return 0;
}
