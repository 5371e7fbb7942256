/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the file system and the file are still what they were, and the inode's DAX flag. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "facts/device.h"
#include "facts/evidence.h"
#include "facts/liveness.h"
#include "facts/name.h"
#include "facts/subject.h"
#include "kernel/sysfs.h"
#include "sys/sys.h"

/*
 * A private mapping is not tried with MAP_SYNC. After a shutdown the kernel refuses any new mapping, whatever its kind.
 */
static bool refuses_a_copy(const struct pm_subject *s)
{
	void *map = NULL;
	if (s->backing != PM_BACKING_PRIVATE)
		return false;
	int rc = PM_RETRY(pm_sys->mmap(&map, s->unit, PROT_READ, MAP_PRIVATE, s->fd, s->offset));
	if (!rc)
		PM_RETRY(pm_sys->munmap(map, s->unit));
	return rc == -EIO;
}

/*
 * A file system that was shut down answers with EIO: XFS to statx(2) (xfs_vn_getattr), ext4 to any new mmap(2)
 * (ext4_file_mmap). A device that was removed leaves its mount behind, and no entry in sysfs.
 */
static void alive(pm_evidence_table e, struct pm_subject *s)
{
	struct pm_evidence *row = &e[PM_EV_FS_ONLINE];
	struct statx directory;
	if (s->file_error == EIO || e[PM_EV_MAP_SYNC].error == EIO || refuses_a_copy(s)) {
		pm_evidence_set(row, PM_NO, EIO, "statx(2), mmap(2)", "the file system was shut down");
		return;
	}
	if (!s->stx.stx_dev_major) /* tmpfs, btrfs, overlay: no single device */
		return;
	int rc = pm_device_find(s);
	/* Without sysfs nothing is known. */
	if (rc == -ENOENT && pm_sysfs_stat("/sys/dev/block", &directory))
		return;
	enum pm_state state = !rc ? PM_YES : rc == -ENOENT ? PM_NO : PM_UNKNOWN;
	pm_evidence_set(row, state, rc == -ENOENT ? ENODEV : -rc, "/sys/dev/block/M:m",
	                state == PM_NO ? "the device is gone" : NULL);
}

static void dax_flag(pm_evidence_table e, const struct pm_subject *s)
{
	struct fsxattr attributes;
	int rc = PM_RETRY(pm_sys->ioctl(s->fd, FS_IOC_FSGETXATTR, &attributes));
	enum pm_state state = rc ? PM_UNKNOWN : attributes.fsx_xflags & FS_XFLAG_DAX ? PM_YES : PM_NO;
	pm_evidence_set(&e[PM_EV_DAX_FLAG], state, -rc, "ioctl(FS_IOC_FSGETXATTR)", NULL);
}

/*
 * A write fault checks the file as open(2) does (fs/ext4/inode.c ext4_page_mkwrite; XFS goes on writing). A file system
 * that became read-only by an error stays so, whatever the flags say (see emergency() in gather.c).
 */
static void writable(pm_evidence_table e, const struct pm_subject *s)
{
	static const uint64_t immutable = STATX_ATTR_IMMUTABLE, append = STATX_ATTR_APPEND;
	uint64_t attributes = s->stx.stx_attributes & s->stx.stx_attributes_mask;
	struct pm_evidence *row = &e[PM_EV_WRITABLE];
	if (row->state == PM_NO)
		return;
	if (s->found.emergency)
		pm_evidence_set(row, PM_NO, 0, "an earlier look", "emergency_ro");
	else if (s->writable && attributes & (immutable | append))
		pm_evidence_set(row, PM_NO, PM_IMMUTABLE, "statx(2) stx_attributes",
		                attributes & immutable ? "immutable" : "append-only");
}

/* After a copy-up the size is that of another file. */
static void in_file(pm_evidence_table e, const struct pm_subject *s)
{
	struct pm_evidence *row = &e[PM_EV_IN_FILE];
	if (s->file_error || e[PM_EV_NAMED].error == PM_NAME_COPIED_UP)
		return;
	pm_evidence_set(row, s->stx.stx_size < s->end ? PM_NO : PM_YES, 0, "statx(2) stx_size", NULL);
	row->value = s->stx.stx_size < s->end ? s->stx.stx_size : 0;
}

void pm_evidence_life(pm_evidence_table e, struct pm_subject *s)
{
	if (!S_ISREG(s->stx.stx_mode))
		return;
	alive(e, s);
	pm_evidence_named(e, s);
	writable(e, s);
	in_file(e, s);
	dax_flag(e, s);
}
