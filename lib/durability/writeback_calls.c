/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "durability/writeback_calls.h"
#include "kernel/kept.h"
#include "kernel/quirks.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

int pm_medium_check(struct pm_medium *m)
{
	struct statx now;
	/*
	 * Nothing is written through the descriptor of a node, nor asked of it; but it is synced where it is read-only.
	 */
	if (!m->identity || (m->is_device && !m->read_only))
		return 0;
	for (;;) {
		unsigned resized = atomic_load(&m->resized);
		int rc = pm_kept_file_stat(m->identity, &now);
		if (rc || !S_ISREG(now.stx_mode) || pm_medium_note_end(m, now.stx_size, resized))
			return rc;
	}
}

/* Blocks may have been taken away since the range was found written. */
static bool is_fsync_complete(const struct pm_medium *m, uint64_t offset, size_t length)
{
	switch (atomic_load(&m->fsync)) {
	case PM_FSYNC_COMPLETE:
		return true;
	case PM_FSYNC_COMPLETE_WHILE_WRITTEN:
		return pm_extents_are_written(m->fd, offset, length);
	default:
		return false;
	}
}

/* The block that was not written when this was asked last most likely is not written now: that part is asked first. */
static bool is_all_written(struct pm_medium *m)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), start = m->offset, pages = m->map_length / page;
	uint64_t end = start + pages * page, first = start + atomic_load(&m->unwritten_part) * pages / 256 * page;
	uint64_t found = pm_first_unwritten(m->fd, first, end - first);
	if (found == end && first > start) {
		end = first;
		found = pm_first_unwritten(m->fd, start, end - start);
	}
	bool is_all = found == end;
	uint64_t part = is_all ? 0 : (found - start) / page * 256 / pages;
	atomic_store(&m->unwritten_part, (unsigned char)part);
	return is_all;
}

/*
 * Where fsync may skip the inode, syncfs writes everything first (trusted_sync.c). That ends when every block of the
 * range was written before a syncfs that succeeded: from then on the inode does not change.
 *
 * It cannot end for some pages alone: a block that is allocated for another page may move the entries of these into
 * another block of the extent tree, which only the inode leads to (fs/ext4/extents.c ext4_ext_split).
 */
int pm_complete_fsync(struct pm_medium *m, uint64_t offset, size_t length)
{
	if (is_fsync_complete(m, offset, length))
		return 0;
	unsigned resized = atomic_load(&m->resized);
	bool written = is_all_written(m);
	int rc = PM_RETRY(pm_sys->syncfs(m->fd));
	atomic_store(&m->fsync, written && !rc ? PM_FSYNC_COMPLETE_WHILE_WRITTEN : PM_FSYNC_NEEDS_SYNCFS);
	/* The mapping was made longer meanwhile, by blocks that are not written. */
	if (atomic_load(&m->resized) != resized)
		pm_forget_complete_fsync(m);
	return rc;
}

void pm_forget_complete_fsync(struct pm_medium *m)
{
	unsigned char found = PM_FSYNC_COMPLETE_WHILE_WRITTEN;
	atomic_compare_exchange_strong(&m->fsync, &found, PM_FSYNC_NEEDS_SYNCFS);
}

static int count_write_back(struct pm_medium *m, size_t length, int rc)
{
	pm_count(&m->counters.write_backs, 1);
	pm_count(&m->counters.bytes_written, length);
	if (rc)
		pm_count(&m->counters.errors, 1);
	return rc;
}

int pm_write_back_file(struct pm_medium *m)
{
	int rc = pm_complete_fsync(m, m->offset, m->map_length);
	if (!rc)
		rc = pm_flush_after_sync(m->fd, m->fsync_skips_flush, PM_RETRY(pm_sys->fdatasync(m->fd)));
	return count_write_back(m, m->map_length, rc);
}

/* mincore(2) fails with ENOMEM where nothing is mapped. */
static bool has_gap(uintptr_t low, uintptr_t high)
{
	unsigned char cached[4096];
	size_t step = sizeof(cached) * (size_t)sysconf(_SC_PAGESIZE);
	int rc = 0;
	for (; low < high && !rc; low += step)
		rc = PM_RETRY(pm_sys->mincore((void *)low, high - low < step ? high - low : step, cached));
	return rc == -ENOMEM;
}

/*
 * -ENOMEM of msync(2) has two meanings, and it does not say which (mm/msync.c): addresses of the range are not mapped,
 * or a write-back failed, of which the description reports nothing any more. So the call that meets it fails. From then
 * on the file is synced instead, whose error has one meaning; it also covers what was stored before it was unmapped.
 */
static void note_gap(struct pm_medium *m, uintptr_t low, uintptr_t high)
{
	if (has_gap(low, high) && pm_syncs_ignored(PM_CALL_FDATASYNC).state == PM_NO)
		atomic_store(&m->has_gap, true);
}

/* What was given up may be another file's by now, whose error this would be. */
static int msync_parts(struct pm_medium *m, uintptr_t low, uintptr_t high)
{
	int error = 0;
	PM_EACH_PART(part, &m->parts, low, high) {
		int rc = PM_RETRY(pm_sys->msync((void *)part.low, part.high - part.low));
		error = error ? error : rc;
	}
	return error;
}

int pm_write_back(struct pm_medium *m, uintptr_t low, uintptr_t high)
{
	struct pm_part first;
	bool is_mapped = pm_parts_first(&m->parts, low, high, &first);
	if (!is_mapped || atomic_load_explicit(&m->has_gap, memory_order_relaxed)) {
		int synced = pm_write_back_file(m);
		return m->is_device ? synced : pm_verify_sync(m->fd, synced);
	}
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	low &= ~(page - 1);
	high = (high + page - 1) & ~(page - 1);
	int rc = pm_complete_fsync(m, m->offset + (low - (uintptr_t)m->map), high - low);
	if (!rc)
		rc = pm_flush_after_sync(m->fd, m->fsync_skips_flush, msync_parts(m, low, high));
	if (rc == -ENOMEM)
		note_gap(m, low, high);
	return count_write_back(m, high - low, m->is_device ? rc : pm_verify_sync(m->fd, rc));
}

/*
 * msync on a mapping of a read-only descriptor returns 0 and does nothing (mm/mmap.c clears VM_SHARED), so there the
 * file is synced instead, which works on any descriptor. A file system without fsync (EINVAL, fsync(2)) has nothing to
 * write back.
 */
int pm_write_back_run(struct pm_medium *m, struct pm_page_run run)
{
	if (m->read_only) {
		int rc = pm_write_back_file(m);
		return rc == -EINVAL ? 0 : rc;
	}
	unsigned shift = m->writeback.recorded.shift;
	return pm_write_back(m, (uintptr_t)m->map + (run.first << shift), (uintptr_t)m->map + (run.end << shift));
}

/*
 * sync_file_range(2) writes the pages of a range and waits for them. It leaves out what makes them durable: the
 * metadata, and the flush of the device's cache. A later msync makes up for both where it treats the whole file,
 * whatever its range, and where the metadata of a page is ready before the write-back of the page ends:
 *
 *   ext4   fs/ext4/fsync.c ext4_sync_file: msync only waits for its range. It commits the inode's last transaction, and
 *       flushes the device if that commit brings no flush. An unwritten extent is converted in a transaction before its
 *       pages leave write-back: fs/ext4/page-io.c ext4_end_io_end.
 *   ext4 without a journal, ext2 (they have its magic)   ext4_fsync_nojournal, fs/ext2/file.c ext2_fsync: msync only
 *       waits for its range. Then it writes the blocks that point to data, of the whole file (fs/buffer.c
 *       sync_mapping_buffers), the inode, and flushes the device. An inode that only had extents converted is skipped:
 *       trusted_sync.c.
 *   XFS    fs/xfs/xfs_file.c xfs_file_fsync: the same with the log up to the inode's last change, or a flush;
 *       fs/xfs/xfs_aops.c xfs_end_ioend converts before it ends write-back.
 *   btrfs  fs/btrfs/file.c btrfs_sync_file writes the whole file in any case: one msync is the least.
 *   Other file systems are not known. An overlay's descriptor has no pages of its own to write.
 *
 * Errors come with the wait, by the descriptor's own account (fs/sync.c, file_check_and_advance_wb_err).
 */
static enum pm_state find_whether_ranges_can_be_written(const struct pm_medium *m)
{
	if (m->is_device || m->read_only || !pm_has_quirk(m->file_system, PM_FS_RANGES))
		return PM_NO;
	/* A sandbox may refuse the call with any error, or have it succeed without doing anything. */
	return pm_syncs_ignored(PM_CALL_SYNC_FILE_RANGE).state == PM_NO ? PM_YES : PM_NO;
}

static bool ranges_are_known_to_work(struct pm_medium *m)
{
	unsigned char can = atomic_load(&m->can_write_ranges);
	if (can == PM_UNKNOWN)
		atomic_store(&m->can_write_ranges, can = (unsigned char)find_whether_ranges_can_be_written(m));
	return can == PM_YES;
}

bool pm_can_write_ranges(struct pm_medium *m, struct pm_page_run span)
{
	unsigned shift = m->writeback.recorded.shift;
	uint64_t at = m->offset + ((uint64_t)span.first << shift);
	/* Where syncfs writes everything first, no range is left to write. */
	return ranges_are_known_to_work(m) && is_fsync_complete(m, at, (span.end - span.first) << shift);
}

int pm_write_runs(struct pm_medium *m, const struct pm_page_run *run, size_t count, unsigned flags)
{
	unsigned shift = m->writeback.recorded.shift;
	int error = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t at = m->offset + ((uint64_t)run[i].first << shift);
		uint64_t length = (uint64_t)(run[i].end - run[i].first) << shift;
		int rc = PM_RETRY(pm_sys->sync_file_range(m->fd, at, length, flags));
		error = error ? error : rc;
		if (flags != SYNC_FILE_RANGE_WRITE)
			pm_count(&m->counters.bytes_written, length);
	}
	if (error)
		pm_count(&m->counters.errors, 1);
	return error;
}

int pm_read_error(int fd)
{
	/* Where no file has pages. */
	return PM_RETRY(pm_sys->sync_file_range(fd, INT64_MAX - 1, 1, SYNC_FILE_RANGE_WAIT_BEFORE));
}
