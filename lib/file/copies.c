/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why it matters: a write fault under MAP_SYNC lets go of the page's lock while it syncs the file, and then maps the
 * block that it found before (fs/dax.c dax_finish_sync_fault, dax_insert_pfn_mkwrite). It does not ask whether that is
 * still the block of the file. If another fault has copied the page to another block meanwhile, be it through another
 * mapping, the store and all that follow go to a block that is free: the mapping shows them until its page tables are
 * dropped, and no sync writes them.
 *
 * A page that no other file shares is copied too where blocks were allocated ahead for it, which XFS does for 32 blocks
 * around a shared one (fs/xfs/xfs_reflink.c xfs_find_trim_cow_extent, xfs_get_cowextsz_hint). With a cowextsize of one
 * block a page is copied once after it was shared. It is shared only while no fault is under way (XFS_MMAPLOCK), so
 * both faults then find the same block.
 */
#include <errno.h>
#include <linux/fs.h>

#include "file/copies.h"
#include "sys/sys.h"

static int set(struct pm_file *f, struct fsxattr *attributes, uint32_t flag, uint32_t size)
{
	attributes->fsx_xflags = (attributes->fsx_xflags & ~(uint32_t)FS_XFLAG_COWEXTSIZE) | flag;
	attributes->fsx_cowextsize = size;
	return PM_RETRY(pm_sys->ioctl(f->fd, FS_IOC_FSSETXATTR, attributes));
}

int pm_file_copy_singly(struct pm_file *f, bool may_fail)
{
	struct fsxattr now = {0};
	int rc = PM_RETRY(pm_sys->ioctl(f->fd, FS_IOC_FSGETXATTR, &now));
	if (rc)
		return rc;
	/* The larger of the two sizes counts. A DAX file system has blocks of one page. */
	if (now.fsx_xflags & FS_XFLAG_EXTSIZE && now.fsx_extsize > f->unit)
		return -EINVAL;
	uint32_t flag = now.fsx_xflags & FS_XFLAG_COWEXTSIZE, size = now.fsx_cowextsize;
	if (flag && size == f->unit)
		return 0;
	rc = set(f, &now, FS_XFLAG_COWEXTSIZE, (uint32_t)f->unit);
	if (!rc && may_fail) {
		f->copied_singly = true;
		f->cow_flag = flag;
		f->cow_size = size;
	}
	return rc;
}

void pm_file_copy_as_before(struct pm_file *f)
{
	struct fsxattr now = {0};
	if (f->copied_singly && !PM_RETRY(pm_sys->ioctl(f->fd, FS_IOC_FSGETXATTR, &now)))
		set(f, &now, f->cow_flag, f->cow_size);
	f->copied_singly = false;
}
