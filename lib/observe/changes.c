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

/* Narrows the event to the part [from, to) of the file, as far as it lies in the range. */
static void narrow(struct pm_event *event, uint64_t from, uint64_t to)
{
	uint64_t end = event->offset + event->length;
	event->offset = from < event->offset ? event->offset : least(from, end);
	event->length = to < event->offset ? 0 : least(to, end) - event->offset;
}

static uint64_t end_in(struct pm_span range, const struct statx *stx)
{
	uint64_t range_end = range.offset + range.length;
	return S_ISREG(stx->stx_mode) && stx->stx_size < range_end ? stx->stx_size : range_end;
}

/* Blocks that are gone: one event for each cause. Whether IN_MODIFY is explained by it. */
static bool compare_extents(struct pm_snapshot *seen, const struct pm_evidence *e, const struct pm_subject *s,
                            struct pm_span range, struct pm_event_batch *batch)
{
	struct statx now;
	uint64_t end = end_in(range, &s->stx);
	bool hole = is_lost(&seen->allocated, e[PM_EV_ALLOCATED].state) && seen->is_taken;
	/* A truncation between the questions for the size and for the extents looks like a hole. */
	if (hole && !PM_RETRY(pm_sys->statx(s->fd, "", AT_EMPTY_PATH, &now)))
		end = end_in(range, &now);
	bool truncated = seen->is_taken && end < seen->end && end < range.offset + range.length;
	seen->end = end;
	if (truncated)
		narrow(pm_event_batch_add(batch, PM_EVENT_TRUNCATED, PM_REASON_TRUNCATED), end, UINT64_MAX);
	if (hole && !truncated)
		narrow(pm_event_batch_add(batch, PM_EVENT_HOLE, PM_REASON_HOLE), e[PM_EV_ALLOCATED].value,
		       s->found.hole_end);
	if (is_lost(&seen->unshared, e[PM_EV_UNSHARED].state) && seen->is_taken)
		narrow(pm_event_batch_add(batch, PM_EVENT_SHARED, PM_REASON_SHARED), e[PM_EV_UNSHARED].value,
		       s->found.shared_end);
	return truncated || hole;
}

/* A name that is lost, or lost in another way than before. */
static void compare_name(struct pm_snapshot *seen, const struct pm_evidence *named, struct pm_event_batch *batch)
{
	enum pm_reason now = pm_reason_of_name(named);
	if (now != PM_REASON_NONE && now != seen->name)
		pm_event_batch_add(batch, PM_EVENT_NAME_LOST, now);
	seen->name = named->state == PM_UNKNOWN ? seen->name : now;
}

static void compare_medium(struct pm_snapshot *seen, const struct pm_evidence *e, struct pm_event_batch *batch)
{
	enum pm_state bad = e[PM_EV_BAD_BLOCKS].state, flag = e[PM_EV_DAX_FLAG].state;
	if (is_lost(&seen->dax, e[PM_EV_DAX].state))
		pm_event_batch_add(batch, PM_EVENT_PAGE_CACHE, PM_REASON_PAGE_CACHE);
	if (seen->bad != PM_YES && bad == PM_YES)
		narrow(pm_event_batch_add(batch, PM_EVENT_BAD_BLOCKS, PM_REASON_BAD_BLOCKS), e[PM_EV_BAD_BLOCKS].value,
		       UINT64_MAX);
	seen->bad = bad == PM_UNKNOWN ? seen->bad : bad;
	if (seen->dax_flag != PM_UNKNOWN && flag != PM_UNKNOWN && flag != seen->dax_flag)
		pm_event_batch_add(batch, PM_EVENT_DAX_FLAG, PM_REASON_DAX_FLAG);
	seen->dax_flag = flag == PM_UNKNOWN ? seen->dax_flag : flag;
}

static void compare_file_system(struct pm_snapshot *seen, const struct pm_evidence *e, struct pm_event_batch *batch)
{
	bool is_immutable = e[PM_EV_WRITABLE].error == PM_IMMUTABLE, is_gone = e[PM_EV_FS_ONLINE].error == ENODEV;
	if (is_lost(&seen->writable, e[PM_EV_WRITABLE].state))
		pm_event_batch_add(batch, PM_EVENT_READ_ONLY, is_immutable ? PM_REASON_IMMUTABLE : PM_REASON_READ_ONLY);
	if (is_lost(&seen->fs_online, e[PM_EV_FS_ONLINE].state))
		pm_event_batch_add(batch, PM_EVENT_FS_OFFLINE, is_gone ? PM_REASON_DEVICE_GONE : PM_REASON_SHUT_DOWN)
			->error = -e[PM_EV_FS_ONLINE].error;
}

/*
 * inotify announces no range. If the file grew or shrank behind the range, the event covers that part: what another
 * process appends to its log is not in this range.
 */
static void add_modified(const struct pm_snapshot *seen, const struct pm_subject *s, struct pm_span range,
                         struct pm_event_batch *batch)
{
	uint64_t size = s->stx.stx_size, before = seen->size, end = range.offset + range.length;
	struct pm_event *event = pm_event_batch_add(batch, PM_EVENT_MODIFIED, PM_REASON_MODIFIED);
	if (size == before || size < end || before < end)
		return;
	event->offset = least(size, before);
	event->length = size > before ? size - before : before - size;
}

void pm_changes_find(struct pm_snapshot *seen, const struct pm_evidence *e, const struct pm_subject *s,
                     struct pm_span range, bool is_modified, struct pm_event_batch *batch)
{
	/* After a copy-up the facts are of the copy, not of what is mapped. */
	bool is_copy = pm_reason_of_name(&e[PM_EV_NAMED]) == PM_REASON_COPIED_UP;
	bool is_explained = is_copy || compare_extents(seen, e, s, range, batch);
	compare_name(seen, &e[PM_EV_NAMED], batch);
	compare_medium(seen, e, batch);
	compare_file_system(seen, e, batch);
	if (seen->is_taken && is_modified && !is_explained)
		add_modified(seen, s, range, batch);
	if (!s->file_error)
		seen->size = s->stx.stx_size;
	seen->is_taken = true;
}

void pm_snapshot_take(struct pm_snapshot *seen, const struct pm_evidence *e, const struct pm_subject *s,
                      struct pm_span range)
{
	struct pm_event_batch none;
	pm_event_batch_begin(&none, &(struct pm_event_state){.length = 0});
	seen->is_taken = false;
	pm_changes_find(seen, e, s, range, false, &none);
	seen->size = s->stx.stx_size;
}
