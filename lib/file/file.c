/* SPDX-License-Identifier: BSD-3-Clause */
/* What every part of the file layer needs: the attributes, closing, and making the file durable. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "error.h"
#include "facts/evidence.h"
#include "facts/name.h"
#include "facts/region.h"
#include "file/file.h"
#include "kernel/quirks.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

int pm_file_fail(const struct pm_file *f, int rc, const char *what)
{
	return pm_fail(rc, f->call, f->name, "%s: %s%s", what, pm_strerror(rc), pm_what_helps(rc));
}

int pm_file_within_limit(const struct pm_file *f, uint64_t end)
{
	uint64_t limit = UINT64_MAX;
	PM_RETRY(pm_sys->getrlimit_fsize(&limit));
	if (end <= limit)
		return 0;
	return pm_fail(-EFBIG, f->call, f->name,
	               "the file must be written up to %llu, and RLIMIT_FSIZE is %llu: raise the limit (setrlimit(2), ulimit -f)",
	               (unsigned long long)end, (unsigned long long)limit);
}

/* On hugetlbfs the block is the page, and munmap(2) accepts no less. */
static void look_for_huge_pages(struct pm_file *f)
{
	struct statfs stfs;
	if (f->stx.stx_blksize > f->unit && !PM_RETRY(pm_sys->fstatfs(f->fd, &stfs)) && pm_has_quirk((uint32_t)stfs.f_type, PM_FS_HUGE_PAGES))
		f->unit = f->stx.stx_blksize;
}

int pm_file_look(struct pm_file *f)
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
		look_for_huge_pages(f);
		return 0;
	}
	if (S_ISBLK(f->stx.stx_mode)) {
		int64_t end = PM_RETRY(pm_sys->lseek_end(f->fd));
		f->size = end < 0 ? 0 : (uint64_t)end;
		return end < 0 ? pm_file_fail(f, (int)end, "cannot determine the size of the block device") : 0;
	}
	size_t align = S_ISCHR(f->stx.stx_mode) ? pm_device_dax_align(&f->stx, &f->size) : 0;
	if (!align)
		return pm_fail(-ENODEV, f->call, f->name, "neither a regular file nor a block device nor a device-dax node");
	f->unit = align;
	f->backing = PM_BACKING_DEVICE_DAX;
	return 0;
}

void pm_file_close_directory(struct pm_file *f)
{
	pm_file_drop_beside(f);
	if (f->directory_fd >= 0)
		pm_sys->close(f->directory_fd);
	f->directory_fd = -1;
	free(f->entry);
	f->entry = NULL;
	f->sync_all = false;
}

void pm_file_close(struct pm_file *f)
{
	pm_file_close_directory(f);
	pm_name_forget(&f->place, &f->stx);
	pm_file_release(f);
	bool ours = f->fd >= 0 && (!f->kept || pm_kept_file_release(&f->identity));
	if (ours && f->callers)
		PM_RETRY(pm_sys->fcntl_setown(f->fd, &f->owner));
	else if (ours)
		pm_sys->close(f->fd);
	f->fd = -1;
}

/* The directory alone cannot be synced. This was not foreseen, so whether syncfs(2) is ignored was not asked before. */
static int sync_file_system(const struct pm_file *f)
{
	if (!f->sync_all) {
		struct pm_ignored found = pm_syncs_ignored(PM_CALL_SYNCFS);
		if (found.state != PM_NO)
			return found.error ? -found.error : -EOPNOTSUPP;
	}
	return PM_RETRY(pm_sys->syncfs(f->fd));
}

int pm_file_publish(struct pm_file *f)
{
	int rc = pm_sync_file(f->fd, f->fsync_complete, f->read_only);
	f->suspect = rc;
	if (rc)
		return pm_file_fail(f, rc, "fsync failed");
	if (f->directory_fd < 0 && !f->sync_all)
		return 0;
	/* EBADF: a directory that could not be opened for reading. EINVAL: a file system without this call. */
	rc = f->sync_all ? -EBADF : pm_sync_directory(f->directory_fd, f->fsync_complete);
	if (rc == -EBADF || rc == -EINVAL)
		rc = sync_file_system(f);
	return rc ? pm_file_fail(f, rc, "the directory cannot be synced") : 0;
}
