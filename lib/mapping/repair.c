/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing without the risk of a store, and clearing bad blocks, both by write(2). On a DAX file the kernel's copy
 * (fs/dax.c dax_iomap_rw) checks the list of bad blocks first. It clears the blocks whose whole page is written, where
 * the platform can (drivers/nvdimm/pmem.c pmem_recovery_write, Linux 5.19), and fails otherwise. Through the page cache
 * the block driver clears what is written back (pmem_do_write). No hole is punched: the file keeps its extents, and a
 * clearing that fails takes no other block away.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "durability/folios.h"
#include "error.h"
#include "facts/evidence.h"
#include "facts/extents.h"
#include "facts/filesystem.h"
#include "facts/health.h"
#include "facts/subject.h"
#include "file/forbidden.h"
#include "mapping/calls.h"
#include "mapping/gate.h"
#include "sys/sys.h"

#define SECTOR 512u /* of the list: its content is lost as a whole */

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The part of the range that the file has now. */
static int gather_present(struct pm_mapping *m, const char *call, uint64_t offset, uint64_t length,
                          struct pm_subject *s)
{
	struct pm_file now = pm_file_facts(&m->file);
	struct statx fresh;
	int rc = pm_kept_file_stat(&m->file.identity, &fresh);
	if (rc == -EBADF)
		return pm_gate_leave(m, call, rc);
	if (rc)
		return pm_fail(rc, call, m->name, "statx failed: %s", pm_strerror(rc));
	now.stx.stx_size = fresh.stx_size;
	now.stx.stx_attributes = fresh.stx_attributes;
	now.stx.stx_attributes_mask = fresh.stx_attributes_mask;
	if (S_ISREG(now.stx.stx_mode)) {
		pm_gate_note_end(m, fresh.stx_size, atomic_load(&m->medium.resized));
		if (fresh.stx_size < offset + length)
			return pm_gate_cut_off(m, call);
	}
	pm_assess_subject(&now, &m->mapped.requested, (struct pm_span){offset, length}, true, s);
	s->name = &m->file.place; /* outlives this call */
	return 0;
}

static int find_bad(struct pm_subject *s, uint64_t *first, uint64_t *bytes)
{
	pm_evidence_table e;
	pm_evidence_clear(e);
	pm_evidence_file_system(e, s);
	/* On an unknown file system extents need not be places on the disk that statx(2) names. */
	if (e[PM_EV_FILE_SYSTEM].state == PM_UNKNOWN && !e[PM_EV_FILE_SYSTEM].error)
		return -EOPNOTSUPP;
	return pm_bad_blocks_find(e, s, first, bytes);
}

/*
 * Whether write(2) does there what it should. It cannot be told not to grow a file, so a file that is truncated from
 * now on becomes longer again, as by any write(2).
 */
static int may_write(struct pm_mapping *m, const char *call, struct pm_subject *s)
{
	pm_evidence_table e;
	if (!S_ISREG(s->stx.stx_mode))
		return 0;
	/* Only with these is the description one that the caller opened; pwrite(2) "Bugs": it would append. */
	int flags = m->flags & (PM_LEASE | PM_BORROW_FD) ? PM_RETRY(pm_sys->fcntl_getfl(m->medium.fd)) : 0;
	if (flags < 0)
		return pm_fail(flags, call, m->name, "the flags of the descriptor cannot be read (F_GETFL): %s",
		               pm_strerror(flags));
	if (flags & (O_APPEND | O_DIRECT))
		return pm_fail(-EINVAL, call, m->name, "the descriptor was opened with O_APPEND or O_DIRECT");
	if (!(s->stx.stx_attributes & s->stx.stx_attributes_mask & STATX_ATTR_DAX))
		return 0;
	/*
	 * On Linux 6.1 write(2) leaves the mapping with the old blocks, and the next store never returns from its fault
	 * (XFS).
	 */
	pm_evidence_clear(e);
	pm_evidence_extents(e, s);
	if (e[PM_EV_UNSHARED].state == PM_NO)
		return pm_fail(-EBUSY, call, m->name,
		               "the range shares extents with another file: first store to each page of it");
	return 0;
}

/* A page with a bad block is written whole or not at all; the kernel blames the source (fs/dax.c dax_iomap_iter). */
static bool has_bad_page(const struct pm_subject *s)
{
	uint64_t first, bytes;
	struct pm_subject pages = *s;
	pages.end = s->offset + s->length;
	return !find_bad(&pages, &first, &bytes) && bytes;
}

/*
 * The limit is asked for only now: write(2) checks it even where the file is longer (fs/read_write.c
 * generic_write_check_limits).
 */
static int fail_write(struct pm_mapping *m, const char *call, uint64_t offset, size_t length, int rc)
{
	const struct pm_file named = {.call = call, .name = m->name};
	if (rc == -EFBIG && pm_file_within_limit(&named, offset + length))
		return rc;
	const char *what = pm_file_what_forbids(m->file.fd, rc, PM_CHANGE_CONTENT);
	return pm_fail(rc, call, m->name, "the range at %llu cannot be written: %s%s%s", (unsigned long long)offset,
	               pm_strerror(rc), what ? ": " : "", what ? what : pm_what_helps(rc));
}

static int write_locked(struct pm_mapping *m, const char *call, const void *source, uint64_t offset, size_t length)
{
	struct pm_subject s;
	int rc = gather_present(m, call, offset, length, &s);
	if (!rc)
		rc = may_write(m, call, &s);
	if (rc)
		return rc;
	rc = pm_medium_write(&m->medium, source, offset, length);
	if (rc == -EFAULT && has_bad_page(&s))
		rc = -EIO;
	return rc ? fail_write(m, call, offset, length, rc) : 0;
}

/*
 * With the lock of observations held, so that the change of this call is distinguished from those of other processes.
 */
static int write_file(struct pm_mapping *m, const char *call, const void *source, uint64_t offset, size_t length)
{
	pm_turns_take(&m->observed.turns);
	pm_own_write_begin(&m->observed.sources);
	int rc = write_locked(m, call, source, offset, length);
	pm_own_write_end(&m->observed.sources);
	pm_turns_give(&m->observed.turns);
	return rc;
}

/* Makes durable what was written, as far as the file still has it. */
static int finish_write(struct pm_mapping *m, const char *call, void *address, size_t length)
{
	uint64_t end = m->mapped.range.offset + (uint64_t)((char *)address - m->base) + length;
	int rc = pm_gate_leave(m, call, pm_page_write_range(&m->medium, address, length));
	return !rc && end > atomic_load(&m->medium.end) ? pm_gate_cut_off(m, call) : rc;
}

int pm_mapping_write(struct pm_mapping *m, void *destination, const void *source, size_t length)
{
	uint64_t offset = m->mapped.range.offset + (uint64_t)((char *)destination - m->base);
	int rc = write_file(m, "pm_write", source, offset, length);
	if (!rc)
		rc = finish_write(m, "pm_write", destination, length);
	if (!rc)
		pm_folios_split_range(&m->medium, destination, length);
	return rc;
}

/* ---- Clearing ---- */

/* What can still be read, including the copy in the page cache, and zeros for the rest. */
static int salvage(const struct pm_mapping *m, char *bytes, uint64_t from, uint64_t to)
{
	for (uint64_t at = from, next; at < to; at = next) {
		next = at - at % SECTOR + SECTOR < to ? at - at % SECTOR + SECTOR : to;
		int rc = pm_medium_read(&m->medium, bytes + (at - from), at, (size_t)(next - at));
		if (rc == -EIO)
			memset(bytes + (at - from), 0, (size_t)(next - at));
		else if (rc)
			return rc == -ENODATA ? -ERANGE : rc;
	}
	return 0;
}

/* Writes the pages that hold the bad blocks [first, first + bytes), as far as they lie in [low, high). */
static int rewrite(struct pm_mapping *m, char *page, uint64_t first, uint64_t bytes, uint64_t low, uint64_t high)
{
	const char *call = "pm_clear_bad_blocks";
	uint64_t size = page_bytes();
	for (uint64_t at = first - first % size; at < first + bytes; at += size) {
		uint64_t from = at > low ? at : low, to = at + size < high ? at + size : high;
		int rc = salvage(m, page, from, to);
		if (rc)
			return pm_fail(rc, call, m->name, "the page at %llu cannot be read: %s", (unsigned long long)at,
			               pm_strerror(rc));
		rc = write_file(m, call, page, from, (size_t)(to - from));
		if (rc == -EIO)
			return pm_fail(rc, call, m->name, "the bad block at %llu cannot be written%s",
			               (unsigned long long)(first > at ? first : at),
			               to - from < size ? ": the range does not hold its whole page" : "");
		if (rc)
			return rc;
	}
	return 0;
}

/* Where the kernel's list says nothing, nothing is claimed. */
static int find_bad_blocks(struct pm_mapping *m, uint64_t offset, uint64_t end, uint64_t *first, uint64_t *bytes)
{
	struct pm_subject s;
	pm_turns_take(&m->observed.turns);
	int rc = gather_present(m, "pm_clear_bad_blocks", offset, end - offset, &s);
	pm_turns_give(&m->observed.turns);
	if (rc)
		return rc;
	s.offset = offset;
	rc = find_bad(&s, first, bytes);
	if (!rc)
		return 0;
	bool none = rc == -ENODATA || rc == -ENOENT || rc == -EXDEV || rc == -EINVAL || rc == -ENOTTY;
	return pm_fail(none ? -EOPNOTSUPP : rc, "pm_clear_bad_blocks", m->name,
	               "the kernel does not report which blocks are bad: %s", pm_strerror(rc));
}

static int rewrite_all(struct pm_mapping *m, uint64_t low, uint64_t high, bool *any)
{
	char *page = malloc((size_t)page_bytes());
	uint64_t first, bytes;
	int rc = page ? 0 : pm_fail(-ENOMEM, "pm_clear_bad_blocks", m->name, "out of memory");
	for (uint64_t at = low; !rc && at < high; at = first + bytes) {
		rc = find_bad_blocks(m, at, high, &first, &bytes);
		if (rc || !bytes)
			break;
		*any = true;
		rc = rewrite(m, page, first, bytes, low, high);
	}
	free(page);
	return rc;
}

int pm_mapping_clear_bad_blocks(struct pm_mapping *m, void *address, size_t length)
{
	uint64_t low = m->mapped.range.offset + (uint64_t)((char *)address - m->base), first, bytes;
	bool any = false;
	int rc = rewrite_all(m, low, low + length, &any);
	if (rc || !any)
		return rc;
	rc = finish_write(m, "pm_clear_bad_blocks", address, length);
	if (!rc)
		rc = find_bad_blocks(m, low, low + length, &first, &bytes);
	if (rc || !bytes)
		return rc;
	return pm_fail(-EIO, "pm_clear_bad_blocks", m->name,
	               "the bad block at %llu was written, and is still on the kernel's list",
	               (unsigned long long)first);
}
