/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A flush records pages. A drain wants all that is recorded written, a commit its own ranges. One thread at a time, the
 * leader, writes for all that wait, and tells them.
 *
 * One leader for many is faster: every msync costs a flush of the device's cache, and threads that sync one file at
 * once wait for each other's pages inside the kernel. The kernel also interrupts every other CPU that runs a thread of
 * the process, for each page that it writes (mm/rmap.c folio_mkclean): while the others sleep there is none. So the
 * leader writes nothing before the others have come, no thread starts the write of its own page before it waits, except
 * the first of two (leader.c), and no second group gathers meanwhile: each of these took longer, by a fourth to a half.
 * And only one at a time knows what failed:
 *
 *   The kernel reports an error once per file description, whichever pages failed (mm/filemap.c
 *   file_check_and_advance_wb_err): of two msyncs at once one may return the error of the other, and the other success.
 *   Where a page finds no block ext4 drops the page, and only the call that tried to write it learns of it
 *   (fs/ext4/inode.c mpage_release_unused_pages).
 *   After a failure the kernel has marked the pages clean (Documentation/core-api/errseq.rst), so a second msync
 *   returns 0 with the data not on the medium.
 *
 * So the first error is latched until the recovery (alone.c), and is told to the calls the leader wrote for and to
 * those that wait: a drain may wait for a leader that took the pages which its thread recorded.
 *
 * The leader makes the fewest calls that make the pages durable. One run of pages is one msync. Distant runs are each
 * written by sync_file_range and committed together by the msync of the last, where that is known to work
 * (writeback_calls.c); one msync over all would write what other threads stored in between. Elsewhere one msync spans
 * what was recorded: skipping clean pages is cheap (mm/filemap.c filemap_fdatawrite_wbc). Ranges of commits cost an
 * msync each.
 */
#include <errno.h>
#include <linux/major.h>
#include <stddef.h>
#include <string.h>

#include "durability/direct.h"
#include "durability/folios.h"
#include "durability/leader.h"
#include "durability/page.h"
#include "durability/writeback_calls.h"
#include "sys/sys.h"
#include "sys/trace.h"

void pm_page_init(struct pm_writeback *w)
{
	*w = (struct pm_writeback){.error = 0};
	pthread_mutex_init(&w->lock, NULL);
}

void pm_page_destroy(struct pm_writeback *w)
{
	pthread_mutex_destroy(&w->lock);
	pm_page_set_free(&w->recorded);
}

/* ---- What is to be written ---- */

/* The caller holds nothing meanwhile: an access that faults leaves nothing behind. */
void pm_page_write_lines(struct pm_medium *m, const void *address, size_t length)
{
	if (!m->flush_caches_before_msync)
		return;
	PM_EACH_PART(part, &m->parts, (uintptr_t)address, (uintptr_t)address + length)
		m->cpu->persist((const void *)part.low, part.high - part.low);
}

static void reach_to(struct pm_writeback *w, uint64_t end)
{
	uint64_t known = atomic_load(&w->furthest);
	while (known < end && !atomic_compare_exchange_weak(&w->furthest, &known, end))
		;
}

static size_t place_of(const struct pm_medium *m, const void *address)
{
	return (size_t)((uintptr_t)address - (uintptr_t)m->map);
}

/*
 * The pages come first: a leader takes them before it takes how far they reach. What a leader does not take of the
 * latter is left to the drain that this thread calls next, which asks for the file's end even if it finds no page.
 */
static void record_pages(struct pm_medium *m, const void *address, size_t length)
{
	size_t at = place_of(m, address);
	pm_page_set_add(&m->writeback.recorded, at, length);
	reach_to(&m->writeback, at + length);
}

void pm_page_demoted(struct pm_writeback *w)
{
	atomic_store(&w->all, true);
}

void pm_page_promoted(struct pm_writeback *w)
{
	atomic_store(&w->all, false);
}

/* ---- What the leader writes ---- */

/* The ranges of commits first, then what is recorded. */
struct work {
	const struct pm_page_request *request; /* whose ranges come next; NULL: none has any more */
	size_t range;                          /* of them */
	bool recorded;                         /* what is recorded is to be written too */
	bool whole;                            /* the whole mapping is */
	bool apart;                            /* the walk has runs of ranges: nothing in between was asked for */
	bool more;                             /* is left behind the runs of the walk */
	bool exact;                            /* nothing tells what is dirty because of a store */
	bool between;                          /* the slices of a longer turn */
	int start_error;                       /* the first of a write that was started before */
	struct pm_page_request *led;
	struct pm_page_walk walk;
};

static void keep_first(int *error, int rc)
{
	*error = *error ? *error : rc;
}

static void note_wanted(struct work *work, const struct pm_page_request *led)
{
	for (work->request = led; led; led = led->next) {
		work->recorded |= led->wanted != PM_WANTED_RANGES;
		work->whole |= led->wanted == PM_WANTED_ALL;
		work->exact |= led->is_exact;
		keep_first(&work->start_error, led->start_error);
	}
}

/* Adds ranges as long as there is room. Whether all are added. */
static bool add_ranges(struct pm_medium *m, struct work *work)
{
	for (; work->request; work->request = work->request->next, work->range = 0) {
		for (; work->range < work->request->count; work->range++) {
			const struct pm_range *r = &work->request->ranges[work->range];
			if (r->length &&
			    !pm_page_walk_add(&m->writeback.recorded, &work->walk, place_of(m, r->address), r->length))
				return false;
		}
	}
	return true;
}

/*
 * Finds the next runs. False: there are none. Where the last walk said that no more is left, what was recorded since is
 * left to the next leader: the msync that ends the turn covers the last run of that walk.
 */
static bool find_more(struct pm_medium *m, struct work *work)
{
	struct pm_page_set *recorded = &m->writeback.recorded;
	work->walk.count = 0;
	if (!work->more)
		return false;
	work->more = false;
	bool last_range = add_ranges(m, work);
	work->apart = work->walk.count;
	if (work->apart) {
		pm_page_walk_close_gaps(recorded, &work->walk);
		work->more = !last_range || (work->recorded && !pm_page_set_is_empty(recorded));
	} else if (work->recorded) {
		pm_page_set_take(recorded, &work->walk);
		work->more = work->walk.more;
	}
	return work->walk.count;
}

#define SLICE ((size_t)1 << 20) /* bytes; what a disk of 1 GB/s writes in a millisecond */

static int write_for(struct pm_medium *, struct pm_page_request *led, bool between);

/*
 * Small commits that came meanwhile are written between two slices, and told: they need not wait for a write-back that
 * takes many times as long. A drain waits for its end, because the leader may have taken what the drain asks for. A
 * commit that fails is told at the end of the turn, as are all that come after a failure.
 */
static int serve_commits(struct pm_medium *m, const struct work *work)
{
	struct pm_page_request *commits = pm_leader_take_commits(&m->writeback, SLICE), *last = work->led;
	int rc = commits ? write_for(m, commits, true) : 0;
	if (!rc) {
		pm_leader_finish_each(&m->writeback, commits, 0);
		return 0;
	}
	while (last->next)
		last = last->next;
	last->next = commits;
	return rc;
}

/* Of pages. Where no thread ever waited for another, slices would serve none. */
static size_t slice_of(const struct pm_medium *m, const struct work *work)
{
	bool is_shared = atomic_load_explicit(&m->writeback.is_shared, memory_order_relaxed);
	return is_shared && !work->between ? SLICE >> m->writeback.recorded.shift : SIZE_MAX;
}

/* How many runs have so many pages. The last of them is cut there: its rest is returned, which may be empty. */
static struct pm_page_run cut_off(struct pm_page_run *run, size_t *count, size_t pages)
{
	struct pm_page_run rest = {0, 0};
	for (size_t i = 0; i < *count; i++) {
		size_t length = run[i].end - run[i].first;
		if (length > pages) {
			rest = (struct pm_page_run){run[i].first + pages, run[i].end};
			run[i].end = rest.first;
		}
		if (length >= pages)
			*count = i + 1;
		pages -= length < pages ? length : pages;
	}
	return rest;
}

static int start_part(struct pm_medium *m, struct pm_page_run run, size_t most)
{
	run.end = run.end - run.first < most ? run.end : run.first + most;
	return pm_write_runs(m, &run, 1, SYNC_FILE_RANGE_WRITE);
}

/* Starts several writes before it writes the first, and waits for it. The last run of all waits for the msync. */
static struct pm_page_run write_runs(struct pm_medium *m, struct work *work, int *error)
{
	struct pm_page_run *run = work->walk.run;
	size_t slice = slice_of(m, work);
	for (size_t left = work->walk.count;;) {
		size_t count = left;
		struct pm_page_run rest = cut_off(run, &count, slice), last = run[count - 1];
		bool is_end = !rest.end && count == left, ends_all = is_end && !work->more;
		if (count > 1)
			keep_first(error, pm_write_runs(m, run + 1, count - 1, SYNC_FILE_RANGE_WRITE));
		if (rest.end)
			keep_first(error, start_part(m, rest, slice));
		keep_first(error, pm_write_runs(m, run, count - ends_all, SYNC_FILE_RANGE_WRITE_AND_WAIT));
		if (!ends_all && !*error && slice != SIZE_MAX)
			keep_first(error, serve_commits(m, work));
		if (is_end)
			return last;
		run += count;
		left -= count;
		if (rest.end) {
			*--run = rest;
			left++;
		}
	}
}

/* A failure ends nothing: what can be written is written. */
static int write_apart(struct pm_medium *m, struct work *work)
{
	struct pm_page_run last;
	int error = 0;
	do
		last = write_runs(m, work, &error);
	while (find_more(m, work));
	keep_first(&error, pm_write_back_run(m, last));
	return error;
}

static bool is_longer_than_slice(const struct pm_medium *m, const struct work *work)
{
	size_t slice = slice_of(m, work);
	for (size_t i = 0; i < work->walk.count; i++)
		if (work->walk.run[i].end - work->walk.run[i].first > slice)
			return true;
	return false;
}

/* From the first page that the turn writes to the last, as far as they are known. */
static struct pm_page_run span_of(const struct pm_medium *m, const struct work *work)
{
	if (work->more)
		return (struct pm_page_run){0, m->map_length >> m->writeback.recorded.shift};
	return (struct pm_page_run){work->walk.run[0].first, work->walk.run[work->walk.count - 1].end};
}

/* Where syncfs, fdatasync or the span of a drain writes more anyway, one call is the least. */
static bool may_write_apart(const struct pm_medium *m, const struct work *work)
{
	return work->apart && !work->recorded && !m->read_only && atomic_load(&m->fsync) == PM_FSYNC_COMPLETE;
}

static int write_hull(struct pm_medium *m, struct work *work)
{
	const struct pm_page_walk *walk = &work->walk;
	struct pm_page_run hull = {.first = SIZE_MAX};
	int error = 0;
	if (work->whole)
		hull = (struct pm_page_run){.end = m->map_length >> m->writeback.recorded.shift};
	do {
		for (size_t i = 0; i < walk->count; i++) {
			if (may_write_apart(m, work)) {
				keep_first(&error, pm_write_back_run(m, walk->run[i]));
				continue;
			}
			hull.first = walk->run[i].first < hull.first ? walk->run[i].first : hull.first;
			hull.end = walk->run[i].end > hull.end ? walk->run[i].end : hull.end;
		}
	} while (find_more(m, work));
	if (hull.end)
		keep_first(&error, pm_write_back_run(m, hull));
	return error;
}

/*
 * Each leader checks the file once: whether the descriptor leads to it, and where it ends. The check comes after the
 * msync where that is all there is, so that 0 means pages that the file had until then. What is written through the
 * descriptor needs the check before. A truncation in between is harmless there: ranges are written only on ext4 and
 * XFS, where the msync that follows commits the new size too, if pages went before they were written (ext4
 * i_datasync_tid, the XFS log item of the inode); and what was on the medium by then, and went with the truncation, was
 * durable when the call began to return.
 */
static int write_work(struct pm_medium *m, struct work *work)
{
	bool nothing = !work->whole && !work->walk.count;
	bool many = !work->whole && (work->walk.count > 1 || work->more || is_longer_than_slice(m, work));
	bool checks_first = many || m->read_only || nothing;
	int seen = checks_first ? pm_medium_check(m) : 0;
	if (seen || nothing)
		return seen;
	int rc = many && pm_can_write_ranges(m, span_of(m, work)) ? write_apart(m, work) : write_hull(m, work);
	if (!checks_first)
		seen = pm_medium_check(m);
	return seen == -EBADF ? seen : rc ? rc : seen;
}

static int write_for(struct pm_medium *m, struct pm_page_request *led, bool between)
{
	struct pm_writeback *w = &m->writeback;
	struct work work;
	memset(&work, 0, offsetof(struct work, walk));
	work.walk.block = 0;
	work.more = true;
	work.between = between;
	work.led = led;
	note_wanted(&work, led);
	bool found = find_more(m, &work);
	uint64_t furthest = work.recorded ? atomic_exchange(&w->furthest, 0) : 0;
	if (!found && !work.whole && !furthest)
		return 0;
	struct pm_folios_seen folios;
	pm_folios_look(m, work.whole || work.exact ? NULL : &work.walk, &folios);
	w->is_scattered = work.walk.count > 1;
	uint64_t took = pm_sys->now_ns();
	int rc = write_work(m, &work);
	keep_first(&rc, work.start_error);
	took = pm_sys->now_ns() - took;
	atomic_store_explicit(&w->turn_took, took, memory_order_relaxed);
	led->waited += took;
	if (!rc)
		pm_folios_settle(m, &folios);
	pm_trace_drain(m->map, took, rc);
	pm_medium_note_taken(m, m->offset + furthest);
	return rc;
}

int pm_page_write_all(struct pm_medium *m)
{
	return write_for(m, &(struct pm_page_request){.wanted = PM_WANTED_ALL}, false);
}

/*
 * The write of its own ranges, for a thread that gathers. An error is the turn's: only the call that tries to write a
 * page may learn of it. A folio that was not looked at yet is left to the turn, which looks at what is dirty. Writes to
 * a loop device are made by a thread of the kernel, which would have to be woken once more.
 */
static int start_own(struct pm_medium *m, const struct pm_page_request *r)
{
	struct work work;
	struct pm_folios_seen folios;
	memset(&work, 0, offsetof(struct work, walk));
	work.request = r;
	work.walk.count = 0;
	if (m->device_major == LOOP_MAJOR || !add_ranges(m, &work) || !work.walk.count)
		return 0;
	pm_folios_look(m, &work.walk, &folios);
	if (folios.count || atomic_load(&m->can_write_ranges) != PM_YES || pm_medium_check(m))
		return 0;
	/* A start may write a block that was not written; the turn would not see that the inode must follow. */
	if (!pm_can_write_ranges(m, span_of(m, &work)))
		return 0;
	return pm_write_runs(m, work.walk.run, work.walk.count, SYNC_FILE_RANGE_WRITE);
}

/* What this thread flushed is recorded, or a leader took it, or it is written. */
static int complete(struct pm_medium *m, struct pm_page_request *self)
{
	struct pm_writeback *w = &m->writeback;
	struct pm_page_request *led = pm_leader_ask(w, self);
	if (self->starts) {
		uint64_t began = pm_sys->now_ns();
		self->start_error = w->error ? 0 : start_own(m, self);
		self->waited = pm_sys->now_ns() - began;
		led = pm_leader_gather(w, self);
	}
	/* The latch changes only under a leader. */
	if (led)
		pm_leader_end_turn(w, led, w->error ? w->error : write_for(m, led, false));
	pm_count(&m->counters.drains, 1);
	if (self->waited)
		pm_count(&m->counters.waited, self->waited);
	return pm_leader_leave(self);
}

/* ---- The calls ---- */

static void count_asked(struct pm_medium *m, size_t length)
{
	pm_count(&m->counters.flushes, length > 0);
	pm_count(&m->counters.bytes_asked, length);
}

/* A large mapping is walked only where the kernel does not write lines. The caller asks again afterwards. */
static bool leaves_lines_to_kernel(struct pm_medium *m)
{
	bool leaves =
		m->flush_caches_before_msync && m->map_length >= PM_KERNEL_KNOWS_FROM && pm_kernel_writes_lines(m);
	if (!leaves)
		pm_page_write_lines(m, m->map, m->map_length);
	return leaves;
}

/* All that was stored, whether it is in memory or in the CPU's caches. */
static int walk_and_write_all(struct pm_medium *m)
{
	bool left = leaves_lines_to_kernel(m);
	reach_to(&m->writeback, m->reach - m->offset);
	int rc = complete(m, &(struct pm_page_request){.wanted = PM_WANTED_ALL});
	/* Switched off meanwhile, the kernel may have skipped some lines, and has marked their pages clean. */
	if (!rc && left && !pm_kernel_writes_lines(m))
		pm_page_write_lines(m, m->map, m->map_length);
	return rc;
}

static int sync_all(struct pm_medium *m)
{
	pm_walk_begin(&m->walks);
	int rc = walk_and_write_all(m);
	pm_walk_end(&m->walks);
	return rc;
}

static int write_ranges_of(struct pm_medium *m, struct pm_page_request request)
{
	for (size_t i = 0; i < request.count; i++)
		count_asked(m, request.ranges[i].length);
	return complete(m, &request);
}

int pm_page_write_range(struct pm_medium *m, const void *address, size_t length)
{
	const struct pm_range range = {address, length};
	return write_ranges_of(m, (struct pm_page_request){.wanted = PM_WANTED_RANGES, .ranges = &range, .count = 1,
	                                                   .is_exact = true});
}

int pm_page_drain(struct pm_medium *m)
{
	return atomic_load(&m->writeback.all) ? sync_all(m)
	                                      : complete(m, &(struct pm_page_request){.wanted = PM_WANTED_RECORDED});
}

static int flush(struct pm_medium *m, const void *address, size_t length)
{
	pm_page_write_lines(m, address, length);
	record_pages(m, address, length);
	count_asked(m, length);
	return 0;
}

static int persist(struct pm_medium *m, const void *address, size_t length)
{
	flush(m, address, length);
	return pm_page_drain(m);
}

static int commit(struct pm_medium *m, const struct pm_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ranges[i].length)
			pm_page_write_lines(m, ranges[i].address, ranges[i].length);
	return write_ranges_of(
		m, (struct pm_page_request){.wanted = PM_WANTED_RANGES, .ranges = ranges, .count = count});
}

/* msync ends in a flush of the device's volatile cache (fs/sync.c, ext4_sync_file, xfs_file_fsync). */
static int deepen(struct pm_medium *m, const void *address, size_t length)
{
	(void)m, (void)address, (void)length;
	return 0;
}

const struct pm_strategy pm_strategy_writeback = {
	.granularity = PM_PAGE,
	.flush = flush,
	.drain = pm_page_drain,
	.persist = persist,
	.commit = commit,
	.deepen = deepen,
	.sync = sync_all,
};
