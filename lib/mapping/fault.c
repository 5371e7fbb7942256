/* SPDX-License-Identifier: BSD-3-Clause */
/* The cause of a fault in a mapping: the signal only says where it was. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "error.h"
#include "facts/evidence.h"
#include "facts/extents.h"
#include "facts/subject.h"
#include "file/forbidden.h"
#include "file/no_block.h"
#include "kernel/populate.h"
#include "kernel/sigbus.h"
#include "mapping/calls.h"
#include "mapping/gate.h"
#include "sys/sys.h"

int pm_guard_install(void)
{
	return pm_sigbus_install();
}

int pm_guard_remove(void)
{
	return pm_sigbus_remove();
}

/* Whether a store to that range needed a block: for a hole, or to replace a shared one. */
static enum pm_state needed_block(const struct pm_mapping *m, const struct statx *stx, uint64_t start, uint64_t length)
{
	static const enum pm_evidence_row rows[] = {PM_EV_ALLOCATED, PM_EV_EXTENTS_WRITTEN, PM_EV_UNSHARED};
	enum pm_state needed = PM_NO;
	pm_evidence_table e;
	struct pm_subject s = {.backing = pm_mapping_backing(m), .fd = m->file.fd, .stx = *stx, .offset = start,
	                       .length = length, .end = start + length};
	if (m->flags & (PM_READ_ONLY | PM_PRIVATE))
		return PM_NO;
	/* For the copy that it makes of the page: whether the store was the first to a clean page is not known. */
	if (pm_file_copies_each_store(m->file.fd))
		needed = PM_UNKNOWN;
	pm_evidence_clear(e);
	pm_evidence_extents(e, &s);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (e[rows[i]].state == PM_NO)
			return PM_YES;
		needed = e[rows[i]].state == PM_UNKNOWN ? PM_UNKNOWN : needed;
	}
	return needed;
}

/*
 * Why the store cannot be made: an attribute, or the block that it needed. The file system is asked for that block by
 * the rules that held for the store (reserves, quotas). Never makes the file longer. PM_BLOCK_IS_THERE: the page had no
 * block, and another process has given space back since.
 */
static int why_no_store(struct pm_mapping *m, const struct statx *stx, uint64_t offset, uint64_t page)
{
	uint64_t start = offset - offset % PM_LARGEST_FOLIO;
	uint64_t length = stx->stx_size - start < PM_LARGEST_FOLIO ? stx->stx_size - start : PM_LARGEST_FOLIO;
	if (pm_file_is_fixed(stx) && !(m->flags & (PM_READ_ONLY | PM_PRIVATE)))
		return -EPERM;
	if (needed_block(m, stx, start, length) == PM_NO)
		return 0;
	bool needed = needed_block(m, stx, offset - offset % page, page) == PM_YES;
	pm_turns_take(&m->observed.turns);
	pm_own_write_begin(&m->observed.sources);
	int rc = pm_file_why_no_block(m->file.fd, stx, offset - offset % page, page);
	pm_own_write_end(&m->observed.sources);
	pm_turns_give(&m->observed.turns);
	return needed || rc < 0 ? rc : 0;
}

/* Takes the fault again, without a signal (Linux 5.14). -EFAULT: it cannot be served. */
static int access_again(const struct pm_mapping *m, const struct pm_fault *f, uint64_t page)
{
	int advice = m->flags & (PM_READ_ONLY | PM_PRIVATE) ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
	char *start = (char *)f->address - (uintptr_t)f->address % page;
	return pm_populate(start, (size_t)page, advice, pm_file_is_direct(&m->file));
}

/*
 * Whether the access can be made now. Between the fault and the questions another process may have filled the hole,
 * given space back, or cut the file and made it longer. Then nothing in the file shows what the fault met. 0: the
 * access still fails.
 */
static int find_whether_it_is_over(const struct pm_mapping *m, const struct pm_fault *f, bool has_block, uint64_t page)
{
	const char *call = "pm_guarded";
	unsigned long long offset = f->offset;
	if (f->code != BUS_ADRERR)
		return 0;
	int rc = access_again(m, f, page);
	if (!rc || (has_block && rc == -EINVAL))
		return pm_fail(-EAGAIN, call, m->name,
		               "the access at offset %llu failed, and can be made now: %s: make it again", offset,
		               has_block ? "the page has a block by now"
		                         : "another process may have changed the file");
	bool stores = !(m->flags & (PM_READ_ONLY | PM_PRIVATE));
	if (rc == -EFAULT && stores && pm_file_copies_each_store(m->file.fd))
		return pm_fail(-EIO, call, m->name,
		               "the access at offset %llu failed: a quota refused a store the copy that the file "
		               "system makes of each page, or the medium failed; which is unknown",
		               offset);
	if (rc == -EFAULT || rc == -EHWPOISON)
		return 0;
	return pm_fail(-EIO, call, m->name,
	               "the access at offset %llu failed; whether the medium did is unknown, as the page cannot be "
	               "accessed again to find out (madvise: %s)",
	               offset, pm_strerror(rc));
}

/*
 * The file answers: it ends before, forbids the store, or has no block for it; or the access can be made now. 0: none
 * of these.
 */
static int find_cause_in_file(struct pm_mapping *m, const struct pm_fault *f, const struct statx *stx,
                              unsigned resized)
{
	const char *call = "pm_guarded";
	unsigned long long offset = f->offset;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	pm_gate_note_end(m, stx->stx_size, resized);
	if (offset - offset % page >= stx->stx_size) {
		pm_medium_report_end(&m->medium);
		return pm_fail(-EIO, call, m->name, "offset %llu is past the end of the file (truncated to %llu)",
		               offset, (unsigned long long)stx->stx_size);
	}
	int rc = why_no_store(m, stx, offset, page);
	if (rc == -EPERM)
		return pm_fail(rc, call, m->name,
		               "offset %llu cannot be stored to: the file was made immutable or append-only "
		               "(chattr +i, +a)",
		               offset);
	if (rc < 0)
		return pm_fail(rc, call, m->name, "a store at offset %llu found no free block: %s%s", offset,
		               pm_strerror(rc), pm_what_helps(rc));
	return find_whether_it_is_over(m, f, rc == PM_BLOCK_IS_THERE, page);
}

/* 0: nothing but the medium is left. */
static int stat_and_find_cause(struct pm_mapping *m, const struct pm_fault *f)
{
	const char *call = "pm_guarded";
	unsigned resized = atomic_load(&m->medium.resized);
	struct statx stx;
	int rc = m->file.fd < 0 ? -ENODEV : pm_kept_file_stat(&m->file.identity, &stx);
	if (rc == -EBADF)
		return pm_gate_leave(m, call, rc);
	if (rc && m->file.fd >= 0)
		return pm_fail(-EIO, call, m->name,
		               "offset %llu cannot be accessed: the file system does not answer: %s",
		               (unsigned long long)f->offset, pm_strerror(rc));
	return !rc && S_ISREG(stx.stx_mode) ? find_cause_in_file(m, f, &stx, resized) : 0;
}

/* How often the file is asked before the medium is blamed. */
#define ATTEMPTS 8

/*
 * Finds the error, and leaves the sentence. Asks more than once before it blames the medium: the access that is made
 * again may meet a hole that another process fills, or an end that it moves, before the file is asked. Twenty processes
 * on one file under a quota have met that twice in turn.
 */
static int find_cause(struct pm_mapping *m, const struct pm_fault *f)
{
	const char *call = "pm_guarded";
	unsigned long long offset = f->offset, length = f->length;
	if (f->code == BUS_MCEERR_AR || f->code == BUS_MCEERR_AO)
		return pm_fail(-EHWPOISON, call, m->name, "%s at offset %llu: %llu bytes around it are lost",
		               pm_strerror(EHWPOISON), offset, length);
	int rc = 0;
	for (int i = 0; i < ATTEMPTS && !rc; i++)
		rc = stat_and_find_cause(m, f);
	return rc ? rc
	          : pm_fail(-EIO, call, m->name, "the medium failed at offset %llu (si_code %d)", offset, f->code);
}

int pm_mapping_guarded(struct pm_mapping *m, pm_guarded_fn *function, void *arg, struct pm_fault *ret)
{
	struct pm_caught caught;
	int value = 0;
	if (!pm_sigbus_installed())
		return pm_fail(-EINVAL, "pm_guarded", m->name, "pm_guard_install() was not called");
	int rc = pm_sigbus_run(m->medium.map, pm_mapping_area(m), &m->medium.parts, function, arg, &value,
	                       &caught);
	if (rc)
		return pm_fail(rc, "pm_guarded", m->name, "the signal mask cannot be set: %s", pm_strerror(rc));
	if (!caught.code)
		return value;
	pm_walk_give_up();
	/* The first mapped page may begin before the mapping's offset. */
	ret->offset = m->mapped.range.offset + (caught.address - (uintptr_t)m->base);
	ret->length = caught.lsb ? (uint64_t)1 << caught.lsb : (uint64_t)sysconf(_SC_PAGESIZE);
	ret->address = (void *)caught.address;
	ret->code = caught.code;
	ret->error = find_cause(m, ret);
	return ret->error;
}
