/* SPDX-License-Identifier: BSD-3-Clause */
#include "facts/evidence.h"
#include "facts/policy.h"
#include "facts/subject.h"
#include "observe/changes.h"
#include "sys/sys.h"

/* From yes to no. Unknown is neither, and what was known before stays. */
static bool is_lost(enum pm_state *seen, enum pm_state now)
{
	bool lost = *seen == PM_YES && now == PM_NO;
	*seen = now == PM_UNKNOWN ? *seen : now;
	return lost;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

struct pm_file_change *pm_changes_add(struct pm_changes *c, enum pm_reason reason)
{
	struct pm_file_change *change = &c->change[c->count < PM_CHANGES ? c->count++ : PM_CHANGES - 1];
	*change = (struct pm_file_change){.reason = reason, .offset = c->range.offset, .length = c->range.length};
	return change;
}

/* Adds a change of the part [from, to) of the file, as far as it lies in the range. */
static void add_narrowed(struct pm_changes *c, enum pm_reason reason, uint64_t from, uint64_t to)
{
	struct pm_file_change *change = pm_changes_add(c, reason);
	uint64_t end = change->offset + change->length;
	change->offset = from < change->offset ? change->offset : least(from, end);
	change->length = to < change->offset ? 0 : least(to, end) - change->offset;
}

static uint64_t end_in(struct pm_span range, const struct statx *stx)
{
	uint64_t range_end = range.offset + range.length;
	return S_ISREG(stx->stx_mode) && stx->stx_size < range_end ? stx->stx_size : range_end;
}

/* Blocks that are gone: one change for each cause. Whether IN_MODIFY is explained by it. */
static bool compare_extents(struct pm_snapshot *seen, const struct pm_evidence *e, const struct pm_subject *s,
                            struct pm_changes *ret)
{
	struct statx now;
	struct pm_span range = ret->range;
	uint64_t end = end_in(range, &s->stx);
	bool hole = is_lost(&seen->allocated, e[PM_EV_ALLOCATED].state) && seen->is_taken;
	/* A truncation between the questions for the size and for the extents looks like a hole. */
	if (hole && !PM_RETRY(pm_sys->statx(s->fd, "", AT_EMPTY_PATH, &now)))
		end = end_in(range, &now);
	bool truncated = seen->is_taken && end < seen->end && end < range.offset + range.length;
	seen->end = end;
	if (truncated)
		add_narrowed(ret, PM_REASON_TRUNCATED, end, UINT64_MAX);
	if (hole && !truncated)
		add_narrowed(ret, PM_REASON_HOLE, e[PM_EV_ALLOCATED].value, s->found.hole_end);
	if (is_lost(&seen->unshared, e[PM_EV_UNSHARED].state) && seen->is_taken)
		add_narrowed(ret, PM_REASON_SHARED, e[PM_EV_UNSHARED].value, s->found.shared_end);
	return truncated || hole;
}

/* A name that is lost, or lost in another way than before. */
static void compare_name(struct pm_snapshot *seen, const struct pm_evidence *named, struct pm_changes *ret)
{
	enum pm_reason now = pm_reason_of_name(named);
	if (now != PM_REASON_NONE && now != seen->name)
		pm_changes_add(ret, now);
	seen->name = named->state == PM_UNKNOWN ? seen->name : now;
}

static void compare_medium(struct pm_snapshot *seen, const struct pm_evidence *e, struct pm_changes *ret)
{
	enum pm_state bad = e[PM_EV_BAD_BLOCKS].state, flag = e[PM_EV_DAX_FLAG].state;
	if (is_lost(&seen->dax, e[PM_EV_DAX].state))
		pm_changes_add(ret, PM_REASON_PAGE_CACHE);
	if (seen->bad != PM_YES && bad == PM_YES)
		add_narrowed(ret, PM_REASON_BAD_BLOCKS, e[PM_EV_BAD_BLOCKS].value, UINT64_MAX);
	seen->bad = bad == PM_UNKNOWN ? seen->bad : bad;
	if (seen->dax_flag != PM_UNKNOWN && flag != PM_UNKNOWN && flag != seen->dax_flag)
		pm_changes_add(ret, PM_REASON_DAX_FLAG);
	seen->dax_flag = flag == PM_UNKNOWN ? seen->dax_flag : flag;
}

static void compare_file_system(struct pm_snapshot *seen, const struct pm_evidence *e, struct pm_changes *ret)
{
	bool is_immutable = e[PM_EV_WRITABLE].error == PM_IMMUTABLE, is_gone = e[PM_EV_FS_ONLINE].error == ENODEV;
	if (is_lost(&seen->writable, e[PM_EV_WRITABLE].state))
		pm_changes_add(ret, is_immutable ? PM_REASON_IMMUTABLE : PM_REASON_READ_ONLY);
	if (is_lost(&seen->fs_online, e[PM_EV_FS_ONLINE].state))
		pm_changes_add(ret, is_gone ? PM_REASON_DEVICE_GONE : PM_REASON_SHUT_DOWN)
			->error = -e[PM_EV_FS_ONLINE].error;
}

/*
 * inotify announces no range. If the file grew or shrank behind the range, the change is of that part: what another
 * process appends to its log is not in this range.
 */
static void add_modified(const struct pm_snapshot *seen, const struct pm_subject *s, struct pm_changes *ret)
{
	struct pm_file_change *change = pm_changes_add(ret, PM_REASON_MODIFIED);
	uint64_t size = s->stx.stx_size, before = seen->size, end = change->offset + change->length;
	if (size == before || size < end || before < end)
		return;
	change->offset = least(size, before);
	change->length = size > before ? size - before : before - size;
}

struct pm_changes pm_changes_find(struct pm_snapshot *seen, const struct pm_evidence *e, const struct pm_subject *s,
                                  struct pm_span range, bool is_modified)
{
	struct pm_changes found = {.range = range};
	/* After a copy-up the facts are of the copy, not of what is mapped. */
	bool is_copy = pm_reason_of_name(&e[PM_EV_NAMED]) == PM_REASON_COPIED_UP;
	bool is_explained = is_copy || compare_extents(seen, e, s, &found);
	compare_name(seen, &e[PM_EV_NAMED], &found);
	compare_medium(seen, e, &found);
	compare_file_system(seen, e, &found);
	if (seen->is_taken && is_modified && !is_explained)
		add_modified(seen, s, &found);
	seen->size = s->stx.stx_size;
	seen->is_taken = true;
	return found;
}

void pm_snapshot_take(struct pm_snapshot *seen, const struct pm_evidence *e, const struct pm_subject *s,
                      struct pm_span range)
{
	seen->is_taken = false;
	pm_changes_find(seen, e, s, range, false);
	seen->size = s->stx.stx_size;
	/* The file system has served the call that takes the snapshot. */
	if (seen->fs_online == PM_UNKNOWN)
		seen->fs_online = PM_YES;
}
