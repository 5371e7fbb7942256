/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PM_FROM_MEDIUM: makes a new mapping show what the medium holds. After a failed write-back the kernel marks the pages
 * clean and keeps them (Documentation/core-api/errseq.rst). A new process would see what was never written, and each of
 * its durability calls would succeed, since nothing is dirty.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "error.h"
#include "file/file.h"
#include "file/from_medium.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

#define STEP ((uint64_t)64 << 20) /* of a range that is inspected */
#define PAGES (STEP / 4096)
#define ATTEMPTS 10

/* The place of the first cached page of the range; the end of the range if there is none. */
static int find_cached(const struct pm_file *f, uint64_t offset, uint64_t end, uint64_t *first)
{
	unsigned char cached[PAGES];
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	for (*first = offset; *first < end; *first += STEP) {
		size_t length = end - *first < STEP ? (size_t)(end - *first) : (size_t)STEP;
		void *map = NULL;
		int rc = PM_RETRY(pm_sys->mmap(&map, length, PROT_READ, MAP_SHARED, f->fd, *first));
		if (rc)
			return rc;
		rc = PM_RETRY(pm_sys->mincore(map, length, cached));
		PM_RETRY(pm_sys->munmap(map, length));
		if (rc)
			return rc;
		for (size_t i = 0; i * page < length; i++)
			if (cached[i] & 1) {
				*first += i * page;
				return 0;
			}
	}
	*first = end;
	return 0;
}

/*
 * Another thread may read the pages at the same time. And the mappings of a process that has ended, and was waited for,
 * last as long as another process reads its /proc/PID/smaps, as ps(1) and monitors do (fs/proc/task_mmu.c m_start,
 * kernel/exit.c exit_mm). So after the second attempt there are pauses, each twice as long: a quarter of a second.
 */
static int drop(struct pm_file *f, uint64_t offset, uint64_t end, uint64_t *first)
{
	int rc = 0;
	*first = offset;
	for (int attempt = 0; attempt < ATTEMPTS && !rc && *first < end; attempt++) {
		if (attempt > 1)
			pm_sys->poll(NULL, 0, 1 << (attempt - 2));
		rc = PM_RETRY(pm_sys->fadvise_dontneed(f->fd));
		if (!rc)
			rc = find_cached(f, offset, end, first);
	}
	return rc;
}

/* To a process that may neither write the file nor owns it, mincore(2) says that every page is cached. */
static bool may_know(const struct pm_file *f)
{
	return f->stx.stx_uid == pm_sys->euid() || !PM_RETRY(pm_sys->faccessat2_write(f->fd));
}

/* Pages that are dirty cannot be dropped. */
static int fail_to_sync(const struct pm_file *f, const struct pm_ignored *ignored)
{
	if (ignored->state == PM_YES)
		return pm_fail(-EOPNOTSUPP, f->call, f->name,
		               "PM_FROM_MEDIUM: a shim or a filter of system calls ignores %s, so dirty pages stay "
		               "cached: run without it",
		               ignored->name);
	return pm_fail(-EOPNOTSUPP, f->call, f->name,
	               "PM_FROM_MEDIUM: pages stay cached, and it is not known whether %s is ignored: %s",
	               ignored->name, pm_strerror(-ignored->error));
}

int pm_file_from_medium(struct pm_file *f, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length, first;
	/* Dirty pages would stay, so they are written first; an error that no process received yet is returned here. */
	int rc = pm_sync_file(f->fd, f->fsync_complete, f->read_only);
	f->suspect = rc;
	if (rc == -EINVAL)
		return pm_file_fail(f, rc, "PM_FROM_MEDIUM: the file system has no fsync(2), and so nothing to drop");
	if (rc)
		return pm_file_fail(
			f, rc,
			"PM_FROM_MEDIUM: a write-back of the file failed, now or before; map again to drop the pages");
	rc = drop(f, offset, end, &first);
	if (rc)
		return pm_file_fail(f, rc, "PM_FROM_MEDIUM: the cached pages cannot be dropped, or not be looked for");
	if (first >= end)
		return 0;
	struct pm_ignored ignored = pm_syncs_ignored(PM_CALL_FSYNC);
	if (ignored.state != PM_NO)
		return fail_to_sync(f, &ignored);
	if (!may_know(f))
		return pm_fail(-EACCES, f->call, f->name,
		               "PM_FROM_MEDIUM: the kernel tells what is cached only to a process that owns the file "
		               "or may write to it");
	return pm_fail(-EBUSY, f->call, f->name,
	               "PM_FROM_MEDIUM: another mapping keeps the page at %llu cached: end every mapping of the file "
	               "first",
	               (unsigned long long)first);
}
