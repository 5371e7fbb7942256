/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a store could still need the file system: FIEMAP (ioctl_fiemap, Documentation/filesystems/fiemap.rst) shows
 * holes, unwritten and shared extents to every process that has the file open.
 */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "facts/evidence.h"
#include "facts/extents.h"
#include "facts/subject.h"
#include "kernel/fiemap.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

#define SOURCE_FIEMAP "ioctl(FS_IOC_FIEMAP)"

/* fs/xfs/libxfs/xfs_fs.h: geometry version 4, 112 bytes, u32 flags at byte 92, reflink is bit 20. */
#define XFS_GEOMETRY _IOC(_IOC_READ, 'X', 124, 112)
#define XFS_GEOMETRY_FLAGS 92
#define XFS_GEOMETRY_REFLINK (1u << 20)

#ifndef FS_XFLAG_REALTIME
#define FS_XFLAG_REALTIME 0x00000001
#endif

#define NOWHERE UINT64_MAX

/* The first part with a defect; from NOWHERE if there is none. */
struct defect {
	uint64_t from, to;
};

/* The first of each kind in the extents that were seen. */
struct defects {
	struct defect hole, unwritten, shared;
	uint64_t until; /* where those extents end */
};

/* Extents come in order; a part that adjoins the first one belongs to it. */
static void note(struct defect *first, uint64_t from, uint64_t to)
{
	if (first->from == NOWHERE)
		*first = (struct defect){from, to};
	else if (first->to == from)
		first->to = to;
}

static int inspect(void *arg, const struct fiemap_extent *x)
{
	struct defects *d = arg;
	if (x->fe_logical > d->until)
		note(&d->hole, d->until, x->fe_logical);
	uint64_t end = x->fe_logical + x->fe_length;
	if (x->fe_flags & PM_EXTENT_NOT_WRITTEN)
		note(&d->unwritten, x->fe_logical, end);
	if (x->fe_flags & FIEMAP_EXTENT_SHARED)
		note(&d->shared, x->fe_logical, end);
	if (end > d->until)
		d->until = end;
	return 0;
}

static int scan_extents(const struct pm_subject *s, uint64_t end, struct defects *d)
{
	int rc = pm_each_extent(s->fd, s->offset, end, inspect, d);
	if (!rc && d->until < end)
		note(&d->hole, d->until, end);
	return rc;
}

static void set_row(struct pm_evidence *row, const struct defect *d)
{
	pm_evidence_set(row, d->from == NOWHERE ? PM_YES : PM_NO, 0, SOURCE_FIEMAP, NULL);
	row->value = d->from == NOWHERE ? 0 : d->from;
}

void pm_evidence_extents(pm_evidence_table e, struct pm_subject *s)
{
	const struct defect none = {NOWHERE, NOWHERE};
	struct defects d = {none, none, none, s->offset};
	uint64_t size = s->stx.stx_size, end = s->end < size ? s->end : size;
	int rc = S_ISREG(s->stx.stx_mode) ? scan_extents(s, end, &d) : -EOPNOTSUPP;
	/* Behind the end of a file that ends inside the range there is no block that a store could reach. */
	if (size < s->end)
		note(&d.hole, size, s->end);
	s->found.hole_end = d.hole.to;
	s->found.shared_end = d.shared.to;
	if (rc) {
		pm_evidence_set(&e[PM_EV_ALLOCATED], PM_UNKNOWN, -rc, SOURCE_FIEMAP, NULL);
		pm_evidence_set(&e[PM_EV_EXTENTS_WRITTEN], PM_UNKNOWN, -rc, SOURCE_FIEMAP, NULL);
		pm_evidence_set(&e[PM_EV_UNSHARED], PM_UNKNOWN, -rc, SOURCE_FIEMAP, NULL);
		return;
	}
	set_row(&e[PM_EV_ALLOCATED], &d.hole);
	set_row(&e[PM_EV_EXTENTS_WRITTEN], &d.unwritten);
	set_row(&e[PM_EV_UNSHARED], &d.shared);
}

int pm_data_elsewhere(pm_evidence_table e, const struct pm_subject *s)
{
	struct fsxattr attributes = {0};
	if (e[PM_EV_FILE_SYSTEM].state == PM_UNKNOWN && e[PM_EV_FILE_SYSTEM].error)
		return -e[PM_EV_FILE_SYSTEM].error;
	if (!pm_has_quirk(s->found.file_system, PM_FS_REALTIME_DEVICE))
		return 0;
	int rc = PM_RETRY(pm_sys->ioctl(s->fd, FS_IOC_FSGETXATTR, &attributes));
	return rc ? rc : attributes.fsx_xflags & FS_XFLAG_REALTIME ? -EXDEV : 0;
}

void pm_evidence_shareable(pm_evidence_table e, const struct pm_subject *s)
{
	struct pm_evidence *row = &e[PM_EV_SHAREABLE];
	uint64_t geometry[112 / sizeof(uint64_t)] = {0};
	uint32_t flags;
	if (e[PM_EV_FILE_SYSTEM].state != PM_YES)
		return;
	if (pm_has_quirk(s->found.file_system, PM_FS_NEVER_SHARES)) {
		pm_evidence_set(row, PM_NO, 0, e[PM_EV_FILE_SYSTEM].source, "the file system has no reflink");
	} else if (pm_has_quirk(s->found.file_system, PM_FS_TELLS_SHARING)) {
		int rc = PM_RETRY(pm_sys->ioctl(s->fd, XFS_GEOMETRY, geometry));
		memcpy(&flags, (char *)geometry + XFS_GEOMETRY_FLAGS, sizeof(flags));
		enum pm_state state = rc ? PM_UNKNOWN : flags & XFS_GEOMETRY_REFLINK ? PM_YES : PM_NO;
		pm_evidence_set(row, state, -rc, "ioctl(XFS_IOC_FSGEOMETRY)", NULL);
	} else {
		pm_evidence_set(row, PM_UNKNOWN, 0, "not known for this file system", NULL);
	}
}
