/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mapping that the application has split: madvise(2), mprotect(2) or mlock(2) on a part make areas of it, and
 * mremap(2) grows one area only (mm/mremap.c vma_to_resize: EFAULT). Then the whole is mapped anew and the advice is
 * given again, and if every part is locked in memory, so is the new mapping. A protection or a lock of only a part is
 * refused, as is a part that the application unmapped or mapped something else over: it has a reason for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"
#include "kernel/limits.h"
#include "kernel/sysfs.h"
#include "mapping/area.h"
#include "mapping/split.h"
#include "sys/sys.h"

#define LINE_SIZE 512

struct walk {
	struct pm_mapping *m;
	char *fresh;      /* NULL: only inspect */
	uint64_t at, end; /* the part of the area that is the mapping's */
	bool inside, is_protected;
	bool is_another; /* an area is of another file, or of another part of it */
	uint64_t next;   /* where the next area begins if nothing is missing */
	char device[16];
	unsigned long long inode;
	uint64_t locked; /* bytes */
};

/* As a line of smaps tells it. */
struct area {
	uint64_t start, end, offset;
	char protection[5], device[16];
	unsigned long long inode;
};

struct advice {
	const char *flag; /* of VmFlags: Linux Documentation/filesystems/proc.rst */
	int advice;
};

static const struct advice advices[] = {
	{" dd", MADV_DONTDUMP},   {" rr", MADV_RANDOM},     {" sr", MADV_SEQUENTIAL}, {" dc", MADV_DONTFORK},
	{" wf", MADV_WIPEONFORK}, {" nh", MADV_NOHUGEPAGE}, {" hg", MADV_HUGEPAGE},
};

/* What the inode of the mapping is called there is known of none: an overlay shows that of the file below. */
static void compare_file(struct walk *w, const struct area *a, uint64_t low)
{
	bool is_first = !w->device[0];
	if (is_first) {
		memcpy(w->device, a->device, sizeof(w->device));
		w->inode = a->inode;
	}
	w->is_another |= a->inode != w->inode || strcmp(a->device, w->device) ||
	                 a->offset + (w->at - a->start) != w->m->medium.offset + (w->at - low);
}

static void meet_area(struct walk *w, const struct area *a)
{
	uint64_t low = (uintptr_t)w->m->medium.map, high = low + w->m->medium.map_length;
	w->at = a->start > low ? a->start : low;
	w->end = a->end < high ? a->end : high;
	w->inside = w->at < w->end;
	if (!w->inside)
		return;
	bool writes = a->protection[1] == 'w', may_write = !(w->m->flags & PM_READ_ONLY);
	w->is_protected |= a->protection[0] != 'r' || writes != may_write || a->protection[2] == 'x';
	compare_file(w, a, low);
	w->next = w->next == w->at ? w->end : 0;
}

static void meet_flags(struct walk *w, const char *line)
{
	w->locked += strstr(line, " lo") ? w->end - w->at : 0;
	for (size_t i = 0; w->fresh && i < sizeof(advices) / sizeof(advices[0]); i++)
		if (strstr(line, advices[i].flag))
			PM_RETRY(pm_sys->madvise(w->fresh + (w->at - (uintptr_t)w->m->medium.map),
			                         (size_t)(w->end - w->at), advices[i].advice));
}

static void meet_line(struct walk *w, const char *line)
{
	struct area a;
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %15s %llu", &a.start, &a.end, a.protection, &a.offset,
	           a.device, &a.inode) == 6)
		meet_area(w, &a);
	else if (w->inside && !strncmp(line, "VmFlags:", 8))
		meet_flags(w, line);
}

/* Line by line: the table is as long as the process has areas. */
static int walk_areas(struct walk *w)
{
	char line[LINE_SIZE], buffer[4096];
	size_t used = 0;
	ssize_t got;
	int fd = pm_sysfs_open("/proc/self/smaps", O_RDONLY);
	if (fd < 0)
		return fd;
	while ((got = PM_RETRY(pm_sys->read(fd, buffer, sizeof(buffer)))) > 0) {
		for (ssize_t i = 0; i < got; i++) {
			if (buffer[i] != '\n') {
				used += used < sizeof(line) - 1;
				line[used - 1] = buffer[i];
				continue;
			}
			line[used] = 0;
			used = 0;
			meet_line(w, line);
		}
	}
	pm_sys->close(fd);
	return (int)got;
}

/* What prevents mapping anew; 0: nothing. */
static int refuse(const struct pm_mapping *m, const struct walk *w, int rc)
{
	bool differs = w->locked && w->locked != m->medium.map_length;
	bool is_whole = w->next == (uintptr_t)m->medium.map + m->medium.map_length;
	const char *what = w->is_another  ? "mmap(2) with MAP_FIXED"
	                   : !is_whole    ? "munmap(2)"
	                   : w->is_protected ? "mprotect(2)"
	                   : differs         ? "mlock(2) or munlock(2)"
	                                     : NULL;
	if (rc)
		return pm_fail(rc, "pm_resize", m->name,
		               "parts of the mapping differ (mlock, mprotect, madvise), and /proc/self/smaps cannot be "
		               "read: %s",
		               pm_strerror(rc));
	if (!what)
		return 0;
	return pm_fail(
		-EINVAL, "pm_resize", m->name,
		"%s was called on a part of the mapping, which cannot be resized until that call is undone",
		what);
}

/* EAGAIN: RLIMIT_MEMLOCK; EPERM: it is 0 (mm/mmap.c do_mmap). */
static int fail_to_lock(const struct pm_mapping *m, size_t length, int rc)
{
	uint64_t most = rc == -EAGAIN || rc == -EPERM ? pm_number_after("/proc/self/limits", "Max locked memory")
	                                              : UINT64_MAX;
	if (most == UINT64_MAX)
		return pm_area_no_room(m->name, "pm_resize", "mmap", length, length, rc);
	return pm_fail(rc, "pm_resize", m->name,
	               "the mapping is locked in memory, and a second one of %zu bytes beside its %zu would exceed "
	               "RLIMIT_MEMLOCK, which is %llu: raise it, or munlock(2) the mapping first",
	               length, m->medium.map_length, (unsigned long long)most);
}

int pm_mapping_map_anew(struct pm_mapping *m, void **ret, size_t length)
{
	struct walk check = {.m = m, .next = (uintptr_t)m->medium.map}, advise = {.m = m};
	void *map = NULL;
	int prot = PROT_READ | (m->flags & PM_READ_ONLY ? 0 : PROT_WRITE);
	int flags = m->terms.is_synchronous ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED;
	int rc = walk_areas(&check);
	rc = refuse(m, &check, rc);
	if (rc)
		return rc;
	/*
	 * If the process locks all that it maps (mlockall(2) MCL_FUTURE), the kernel locks it anyway, MCL_ONFAULT or
	 * not.
	 */
	flags |= check.locked ? MAP_LOCKED : 0;
	rc = PM_RETRY(pm_sys->mmap(&map, length, prot, flags, m->file.fd, m->medium.offset));
	if (rc && check.locked)
		return fail_to_lock(m, length, rc);
	if (rc)
		return pm_area_no_room(m->name, "pm_resize", "mmap", length, length, rc);
	advise.fresh = map;
	walk_areas(&advise);
	rc = pm_sys->munmap(m->medium.map, m->medium.map_length);
	if (rc) {
		pm_sys->munmap(map, length);
		return pm_fail(rc, "pm_resize", m->name, "munmap failed: %s", pm_strerror(rc));
	}
	*ret = map;
	return 0;
}
