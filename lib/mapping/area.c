/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "durability/folios.h"
#include "error.h"
#include "facts/evidence.h"
#include "facts/subject.h"
#include "file/forbidden.h"
#include "kernel/limits.h"
#include "kernel/quirks.h"
#include "mapping/area.h"
#include "sys/sys.h"

#define HUGE_PAGE ((uintptr_t)2 << 20)
#define MAP_ANYTHING (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

void *pm_area_huge_page_hint(uint64_t offset, size_t length)
{
	void *room = NULL;
	if (length < HUGE_PAGE || PM_RETRY(pm_sys->mmap(&room, length + HUGE_PAGE, PROT_NONE, MAP_ANYTHING, -1, 0)))
		return NULL;
	uintptr_t at = (uintptr_t)room, wanted = offset & (HUGE_PAGE - 1);
	uintptr_t skew = (wanted - at) & (HUGE_PAGE - 1);
	PM_RETRY(pm_sys->munmap(room, length + HUGE_PAGE));
	return (void *)(at + skew);
}

/* ---- Why there is no room ---- */

int pm_area_no_room(const char *name, const char *call, const char *what, size_t length, size_t added, int rc)
{
	char limit[120];
	const char *why = pm_limit_name(limit, sizeof(limit), PM_RESOURCE_MEMORY, added, rc) ? limit : pm_strerror(rc);
	return pm_fail(rc, call, name, "%s of %zu bytes failed: %s", what, length, why);
}

int pm_area_try_room(const char *name, const char *call, const char *what, size_t length, size_t added)
{
	void *map = NULL;
	char limit[120];
	int rc = PM_RETRY(pm_sys->mmap(&map, added, PROT_NONE, MAP_ANYTHING, -1, 0));
	if (!rc) {
		PM_RETRY(pm_sys->munmap(map, added));
		return 0;
	}
	const char *why = pm_limit_name(limit, sizeof(limit), PM_RESOURCE_MEMORY, added, rc) ? limit
	                  : rc == -ENOMEM ? "the process has no free range of addresses of that size"
	                                  : pm_strerror(rc);
	return pm_fail(rc, call, name, "%s of %zu bytes failed: %s", what, length, why);
}

/* ---- Mapping ---- */

/* Why a file refuses to be mapped, and what the caller can do; NULL: the error says everything. */
static const char *why_unmappable(int rc, bool shared_to_write, int fd)
{
	switch (rc) {
	case -ENODEV:
		return "the file system has no shared mappings of this file (as sysfs, FUSE with direct_io and 9p "
		       "without a cache): "
		       "use read(2) and write(2), or PM_PRIVATE where that is possible";
	case -EPERM:
	case -EACCES:
		return shared_to_write ? pm_file_what_forbids(fd, rc, PM_CHANGE_CONTENT) : NULL;
	case -ETXTBSY:
		return "the file is swap space in use: swapoff(8) first, or map it with PM_READ_ONLY";
	case -EINVAL:
		return shared_to_write ? "the file system has no shared mappings to write by: map it with PM_READ_ONLY "
		                         "or PM_PRIVATE"
		                       : NULL;
	default:
		return NULL;
	}
}

static bool is_of_huge_pages(const struct pm_file *f, const struct pm_requested *requested)
{
	return requested->backing == PM_BACKING_FILE && f->unit > (size_t)sysconf(_SC_PAGESIZE);
}

int pm_area_set_access(char *map, size_t from, size_t to, int prot)
{
	return from < to ? PM_RETRY(pm_sys->mprotect(map + from, to - from, prot)) : 0;
}

/*
 * The reserve is one mapping of the file, of which the part behind the end is inaccessible. So nothing is ever mapped
 * over anything, and a growth that fails leaves no hole: a failing mmap(2) with MAP_FIXED unmaps what was there. To map
 * a hugetlbfs for writing makes the file longer (fs/hugetlbfs/inode.c hugetlbfs_file_mmap), and takes huge pages for
 * all of it.
 */
static int map_reserve(const struct pm_subject *s, bool is_huge, size_t reserve, int prot, int flags, void **map,
                       const char **later)
{
	int first = is_huge ? PROT_NONE : prot;
	size_t length = (size_t)s->length;
	int rc = PM_RETRY(pm_sys->mmap(map, reserve, first, flags | (is_huge ? MAP_NORESERVE : 0), s->fd, s->offset));
	if (rc)
		return rc;
	*later = "mprotect";
	rc = is_huge ? pm_area_set_access(*map, 0, length, prot)
	             : pm_area_set_access(*map, length, reserve, PROT_NONE);
	if (rc)
		PM_RETRY(pm_sys->munmap(*map, reserve));
	return rc;
}

/* ---- At a place of the caller's ---- */

/* -EEXIST: something is mapped in the range. Before Linux 4.17 the kernel takes the place for a hint. */
static int hold_place(void *at, size_t length)
{
	void *map = at;
	int rc = PM_RETRY(pm_sys->mmap(&map, length, PROT_NONE, MAP_ANYTHING | MAP_FIXED_NOREPLACE, -1, 0));
	if (rc || map == at)
		return rc;
	PM_RETRY(pm_sys->munmap(map, length));
	return -EEXIST;
}

int pm_area_take_wish(const struct pm_file *f, const struct pm_options *o, const struct pm_subject *s,
                      struct pm_area_wish *ret)
{
	*ret = (struct pm_area_wish){.address = o->address,
	                             .is_fixed = o->map_flags & (MAP_FIXED | MAP_FIXED_NOREPLACE),
	                             .replaces = !(o->map_flags & MAP_FIXED_NOREPLACE),
	                             .flags = o->map_flags & ~(MAP_FIXED | MAP_FIXED_NOREPLACE)};
	if (!ret->is_fixed)
		return 0;
	uintptr_t at = (uintptr_t)o->address;
	size_t unit = s->unit ? s->unit : (size_t)sysconf(_SC_PAGESIZE);
	if (at % unit)
		return pm_fail(-EINVAL, f->call, f->name, "options->address is not a multiple of %zu", unit);
	if (at > UINTPTR_MAX - s->length)
		return pm_fail(-ENOMEM, f->call, f->name, "options->address + length overflows");
	int rc = hold_place(o->address, (size_t)s->length);
	if (!rc)
		PM_RETRY(pm_sys->munmap(o->address, (size_t)s->length));
	if (!rc || (rc == -EEXIST && ret->replaces))
		return 0;
	char limit[120];
	const char *why = pm_limit_name(limit, sizeof(limit), PM_RESOURCE_MEMORY, (size_t)s->length, rc) ? limit
	                  : rc == -ENOMEM ? "the range is not within the addresses of a process"
	                                  : pm_strerror(rc);
	return pm_fail(rc, f->call, f->name, "nothing can be mapped at options->address: %s", why);
}

/*
 * The file is mapped elsewhere and then moved, with what it was mapped with (mm/mremap.c copy_vma). A failing mmap(2)
 * with MAP_FIXED unmaps what is there (mm/mmap.c mmap_region), and the kernel accepts no MAP_FIXED_NOREPLACE beside
 * MAP_SYNC (it is not in LEGACY_MAP_MASK).
 */
static int map_at_place(const struct pm_subject *s, int prot, int flags, const struct pm_area_wish *wish, void **map,
                        const char **later)
{
	size_t length = (size_t)s->length;
	void *elsewhere = NULL;
	int rc = wish->replaces ? 0 : hold_place(wish->address, length);
	if (rc)
		return rc;
	rc = PM_RETRY(pm_sys->mmap(&elsewhere, length, prot, flags, s->fd, s->offset));
	if (!rc) {
		*later = "mremap";
		rc = PM_RETRY(pm_sys->mremap_over(elsewhere, length, wish->address));
		if (rc)
			PM_RETRY(pm_sys->munmap(elsewhere, length));
	}
	if (rc && !wish->replaces)
		PM_RETRY(pm_sys->munmap(wish->address, length));
	*map = rc ? *map : wish->address;
	return rc;
}

/* ---- Folios of the page cache ---- */

/* Whether the file system may hold what the mapping writes in large folios. */
static bool has_large_folios(const struct pm_requested *requested, const struct pm_subject *s)
{
	bool is_cached = s->stx.stx_attributes_mask & ~s->stx.stx_attributes & STATX_ATTR_DAX;
	return requested->backing == PM_BACKING_FILE && S_ISREG(s->stx.stx_mode) && is_cached && s->writable &&
	       pm_has_quirk(s->found.file_system, PM_FS_LARGE_FOLIOS);
}

/* Readahead is what makes large folios of what is read (mm/readahead.c page_cache_ra_order). */
bool pm_area_advise(const struct pm_requested *requested, const struct pm_subject *s, void *map, size_t length)
{
	bool is_possible = has_large_folios(requested, s);
	bool is_random = requested->access == PM_ACCESS_UNSET ? is_possible : requested->access == PM_ACCESS_RANDOM;
	if (is_random || requested->access == PM_ACCESS_SEQUENTIAL)
		PM_RETRY(pm_sys->madvise(map, length, is_random ? MADV_RANDOM : MADV_SEQUENTIAL));
	return is_random && is_possible;
}

/* A number of an inode is used again; then the time of its birth is another. 0: that is not known. */
static uint64_t inode_number(const struct statx *stx)
{
	uint64_t device = (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor;
	uint64_t birth = (uint64_t)stx->stx_btime.tv_sec * 1000000007u + stx->stx_btime.tv_nsec;
	return stx->stx_mask & STATX_BTIME ? (device * 0x100000001b3u ^ stx->stx_ino) * 0x9e3779b97f4a7c15u ^ birth : 0;
}

void pm_area_split_folios(const struct pm_file *f, const struct pm_requested *requested, const struct pm_subject *s,
                          void *map)
{
	bool is_asked_for = requested->access == PM_ACCESS_RANDOM;
	const struct pm_folios_part part = {.map = map, .offset = s->offset, .length = (size_t)s->length,
	                                    .file = is_asked_for ? 0 : inode_number(&s->stx)};
	int rc = pm_folios_split(f->fd, part, is_asked_for ? UINT64_MAX : PM_FOLIOS_UNASKED);
	if (rc && is_asked_for)
		PM_RETRY(pm_sys->fadvise_dontneed(f->fd));
}

int pm_area_map(const struct pm_file *f, const struct pm_requested *requested, const struct pm_subject *s,
                bool is_synchronous, size_t reserve, const struct pm_area_wish *wish, void **map)
{
	int prot = PROT_READ | (s->writable ? PROT_WRITE : 0);
	int flags = is_synchronous ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED;
	if (requested->backing == PM_BACKING_PRIVATE)
		flags = MAP_PRIVATE;
	else if (requested->backing == PM_BACKING_ANONYMOUS)
		flags = MAP_PRIVATE | MAP_ANONYMOUS;
	size_t length = reserve ? reserve : (size_t)s->length;
	void *at = wish->address;
	flags |= wish->flags;
	const char *later = NULL; /* the call that failed after the file was mapped */
	int rc = wish->is_fixed ? map_at_place(s, prot, flags, wish, &at, &later)
	         : reserve      ? map_reserve(s, is_of_huge_pages(f, requested), reserve, prot, flags, &at, &later)
	                        : PM_RETRY(pm_sys->mmap(&at, length, prot, flags, s->fd, s->offset));
	if (!rc) {
		*map = at;
		return 0;
	}
	bool shared_to_write = s->writable && requested->backing == PM_BACKING_FILE;
	const char *why = later ? NULL : why_unmappable(rc, shared_to_write, s->fd);
	return why ? pm_fail(rc, f->call, f->name, "mmap failed: %s: %s", pm_strerror(rc), why)
	           : pm_area_no_room(f->name, f->call, later ? later : "mmap", length, length, rc);
}

int pm_area_try(const struct pm_file *f, const struct pm_requested *requested, struct pm_subject s, bool is_synchronous,
                uint64_t size)
{
	uint64_t there = (size + f->unit - 1) / f->unit * f->unit;
	bool is_huge = f->unit > (size_t)sysconf(_SC_PAGESIZE);
	const struct pm_area_wish anywhere = {.address = NULL};
	void *map = NULL;
	if (s.offset + s.length > there)
		s.length = there > s.offset ? there - s.offset : is_huge ? 0 : f->unit;
	int rc = s.length ? pm_area_map(f, requested, &s, is_synchronous, 0, &anywhere, &map) : 0;
	if (map)
		PM_RETRY(pm_sys->munmap(map, (size_t)s.length));
	return rc;
}

int pm_area_try_reserve(const struct pm_file *f, uint64_t reserve, uint64_t offset, uint64_t length, size_t *ret)
{
	uint64_t before = offset % f->unit;
	*ret = 0;
	if (!reserve)
		return 0;
	if (reserve < length)
		return pm_fail(-EINVAL, f->call, f->name, "the reserve of %llu bytes is smaller than the length, %llu",
		               (unsigned long long)reserve, (unsigned long long)length);
	if (reserve > PTRDIFF_MAX - 2 * f->unit)
		return pm_fail(-ENOMEM, f->call, f->name,
		               "the reserve of %llu bytes is more than a process can address",
		               (unsigned long long)reserve);
	if (offset > INT64_MAX - 2 * f->unit - reserve)
		return pm_fail(-EOVERFLOW, f->call, f->name, "offset + reserve overflows");
	size_t area = (size_t)((before + reserve + f->unit - 1) / f->unit * f->unit);
	int rc = pm_area_try_room(f->name, f->call, "the reserve", (size_t)reserve, area);
	*ret = rc ? 0 : area;
	return rc;
}
