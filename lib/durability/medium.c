/* SPDX-License-Identifier: BSD-3-Clause */
/* What strategies share: the kernel's write-back, reading and writing by it, and the way beyond the persistence domain. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "durability/strategy.h"
#include "kernel/magic.h"
#include "kernel/sysfs.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

/* Documentation/ABI/testing/sysfs-bus-nvdimm: reads 1 where flush hints exist; writing 1 uses them. */
static int region_deep_flush(unsigned region)
{
	char path[64], answer = 0;
	if (region == ~0u)
		return -EOPNOTSUPP;
	snprintf(path, sizeof(path), "/sys/bus/nd/devices/region%u/deep_flush", region);
	int fd = pm_sysfs_open(path, O_RDONLY);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOSYS ? -EOPNOTSUPP : fd;
	ssize_t got = PM_RETRY(pm_sys->read(fd, &answer, 1));
	pm_sys->close(fd);
	if (got != 1 || answer != '1')
		return -EOPNOTSUPP;
	fd = pm_sysfs_open(path, O_WRONLY);
	if (fd < 0)
		return fd;
	ssize_t put = PM_RETRY(pm_sys->write(fd, "1", 1));
	pm_sys->close(fd);
	return put == 1 ? 0 : put < 0 ? (int)put : -EIO;
}

#define SETTLED 3 /* beyond enum pm_state */

/* Whether a sync of the range does all it needs: where that was settled as well, blocks may have been taken away since. */
static bool is_believed(const struct pm_medium *m, uint64_t offset, size_t length)
{
	unsigned char state = atomic_load(&m->syncs_inodes);
	return state == SETTLED ? pm_is_written(m->fd, offset, length) : state != PM_NO;
}

/*
 * Where syncs may leave the inode out everything is written first (trusted_sync.c), until there comes a moment from which on that
 * is not needed: the inode is synced, and all of the range was written before.
 */
static int sync_inodes(struct pm_medium *m, uint64_t offset, size_t length)
{
	if (is_believed(m, offset, length))
		return 0;
	bool settles = pm_is_written(m->fd, m->offset, m->map_length);
	int rc = PM_RETRY(pm_sys->syncfs(m->fd));
	atomic_store(&m->syncs_inodes, settles && !rc ? SETTLED : PM_NO);
	return rc;
}

void pm_medium_note_end(struct pm_medium *m, uint64_t end)
{
	uint64_t known = atomic_load(&m->end);
	while (end < m->reach && end < known && !atomic_compare_exchange_weak(&m->end, &known, end))
		;
}

void pm_medium_set_reach(struct pm_medium *m, uint64_t reach)
{
	m->reach = reach;
	atomic_store(&m->end, UINT64_MAX);
	atomic_store(&m->writeback.cut, false);
	atomic_store(&m->writeback.furthest, 0);
}

int pm_medium_look(struct pm_medium *m)
{
	struct statx now;
	/* Nothing is written through the descriptor of a node, nor asked of it; but it is synced where it is read-only. */
	if (!m->identity || (m->node && !m->read_only))
		return 0;
	int rc = pm_kept_file_look(m->identity, &now);
	if (!rc && S_ISREG(now.stx_mode))
		pm_medium_note_end(m, now.stx_size);
	return rc;
}

void pm_medium_unsettle(struct pm_medium *m)
{
	if (atomic_load(&m->syncs_inodes) == SETTLED)
		atomic_store(&m->syncs_inodes, PM_NO);
}

int pm_medium_fdatasync(struct pm_medium *m)
{
	int rc = sync_inodes(m, m->offset, m->map_length);
	return rc ? rc : PM_RETRY(pm_sys->fdatasync(m->fd));
}

int pm_medium_msync(struct pm_medium *m, uintptr_t low, uintptr_t high)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	low &= ~(page - 1);
	high = (high + page - 1) & ~(page - 1);
	int rc = sync_inodes(m, m->offset + (low - (uintptr_t)m->map), high - low);
	if (!rc)
		rc = PM_RETRY(pm_sys->msync((void *)low, high - low));
	return m->node ? rc : pm_synced(m->fd, rc);
}

/*
 * sync_file_range(2) writes the pages of a range and waits for them, and leaves out what makes them durable: the
 * metadata, and the flush of the device's cache. A later msync does that for them too if it does it for the whole file,
 * whatever range it is called with, and if all it needs of them has happened by the time their write-back ends:
 *
 *   ext4   fs/ext4/fsync.c ext4_sync_file: the range is only waited for; the commit is of the inode's last transaction,
 *       and a flush follows if that brings none. An unwritten extent is converted in a transaction before its pages
 *       leave write-back: fs/ext4/page-io.c ext4_end_io_end.
 *   ext4 without a journal, ext2 (they have its magic)   ext4_fsync_nojournal, fs/ext2/file.c ext2_fsync: the range is
 *       only waited for; then come the blocks that point to data, of the whole file (fs/buffer.c sync_mapping_buffers),
 *       the inode, and a flush. An inode that only had extents converted is left out whatever is synced: see trusted_sync.c.
 *   XFS    fs/xfs/xfs_file.c xfs_file_fsync: likewise, the log up to the inode's last change, or a flush;
 *       fs/xfs/xfs_aops.c xfs_end_ioend converts before it ends write-back.
 *   btrfs  fs/btrfs/file.c btrfs_sync_file writes the whole file anyway: one call is all there is to win.
 *   others are not known; an overlay's descriptor has no pages of its own to write.
 *
 * Errors come with the wait, by the descriptor's own account (fs/sync.c, file_check_and_advance_wb_err). Before
 * Linux 5.2 WRITE_AND_WAIT skips pages that write-back is at already: WB_SYNC_NONE.
 */
static enum pm_state look_if_apart(const struct pm_medium *m)
{
	struct utsname name;
	int major, minor;
	if (m->node || m->read_only || (m->file_system != EXT4_SUPER_MAGIC && m->file_system != XFS_SUPER_MAGIC))
		return PM_NO;
	if (PM_RETRY(pm_sys->uname(&name)) || sscanf(name.release, "%d.%d", &major, &minor) != 2 || major < 5 ||
	    (major == 5 && minor < 2))
		return PM_NO;
	/* A sandbox may refuse it with any error, or have it succeed without doing anything. */
	return pm_syncs_ignored(PM_CALL_SYNC_FILE_RANGE).state == PM_NO ? PM_YES : PM_NO;
}

static bool is_known(struct pm_medium *m)
{
	unsigned char apart = atomic_load(&m->apart);
	if (apart == PM_UNKNOWN)
		atomic_store(&m->apart, apart = (unsigned char)look_if_apart(m));
	return apart == PM_YES;
}

bool pm_medium_writes_apart(struct pm_medium *m)
{
	/* Where everything is to be written first there is nothing left to be written apart. */
	return is_known(m) && is_believed(m, m->offset, m->map_length);
}

/*
 * On XFS a page that cannot be written is noted in the file, be it that its block is not to be had (fs/iomap/buffered-io.c)
 * or that the device fails, and every description of the file tells that once (lib/errseq.c, mm/filemap.c
 * file_check_and_advance_wb_err). What is not noted there fails each call that is concerned: a log that was shut down
 * (fs/xfs/xfs_file.c xfs_file_fsync), and the flush that each makes itself. Not so on ext4: where a block is not to be had
 * the page is dropped, and only the call that tried to write it knows (fs/ext4/inode.c mpage_release_unused_pages).
 */
int pm_medium_observer(struct pm_medium *m)
{
	struct statx now;
	char path[40];
	/* fs/sync.c: where a file has no more than 2^32 pages the question below is not answered. */
	if (sizeof(void *) < 8 || m->leased || m->file_system != XFS_SUPER_MAGIC || !is_known(m))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->fd);
	int fd = PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
	if (fd < 0 || (!PM_RETRY(pm_sys->statx_now(fd, &now)) && pm_kept_file_is_of(m->identity, &now)))
		return fd;
	pm_sys->close(fd);
	return -1;
}

int pm_medium_failed_since(int fd)
{
	/* Where no file has pages. */
	return PM_RETRY(pm_sys->sync_file_range(fd, INT64_MAX - 1, 1, SYNC_FILE_RANGE_WAIT_BEFORE));
}

/*
 * On a direct medium the kernel knows which pages were stored to since its last write-back, by anybody: the fault that
 * makes one writable marks it, with MAP_SYNC as well (fs/dax.c dax_insert_pfn_mkwrite), and msync writes the lines of
 * those back (dax_writeback_one). A clean line costs 15 to 20 ns to walk over, a gigabyte so 0.3 s (bench/whole_sync,
 * Cascade Lake), where an msync that finds nothing costs microseconds. It costs more for each page that it does
 * find: the page is protected again, and the next store to it faults. So short mappings are walked, which is over
 * within a millisecond or few and leaves their pages writable.
 */
bool pm_medium_kernel_writes_lines(const struct pm_medium *m)
{
	/* A partition has no dax directory: its disk has. Devices upon devices have none: what they were told is not seen. */
	static const char *const places[] = {"", "../"};
	char path[80], answer = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%sdax/write_cache", m->device_major, m->device_minor, places[i]);
		int fd = pm_sysfs_open(path, O_RDONLY);
		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return false;
		ssize_t got = PM_RETRY(pm_sys->read(fd, &answer, 1));
		pm_sys->close(fd);
		return got == 1 && answer == '1';
	}
	return false;
}

/*
 * The fault that lets a store in has committed the metadata that the store needs (dax_finish_sync_fault). What another
 * process did by write(2) or fallocate(2) is committed by none of the application's faults: where it wrote, a load shows
 * the new data over an extent that may be in no journal yet. An msync of any part of the file commits the inode whole
 * (fs/ext4/fsync.c ext4_sync_file, fs/xfs/xfs_file.c xfs_file_fsync), and ends in a flush of the device. Of one page, it
 * takes the right to write from that page only. The last is taken: the first often is the one stored to most.
 */

/*
 * On DAX a sync need not stand in the list of drains (writeback.c): neither these, nor the one at a lease's return.
 * What that list is for, an error of one call that the kernel tells another, costs nobody his own there: the CPU of the
 * call writes each page, or the call waits until another has (dax_writeback_one), and fails by itself. What the journal
 * meets is told to every call from then on (fs/jbd2/journal.c jbd2_log_wait_commit, fs/xfs/xfs_file.c xfs_file_fsync);
 * without a journal lines are never promised, only trusted. Whether the file system can still be written to is asked here
 * as well; but not of a read-only descriptor, whose file system may be read-only by right.
 */
int pm_medium_commit(struct pm_medium *m)
{
	uintptr_t end = (uintptr_t)m->map + m->map_length;
	if (m->device_dax || m->node)
		return 0;
	return m->read_only ? pm_medium_fdatasync(m) : pm_medium_msync(m, end - 1, end);
}

/*
 * What was stored by lines moved the time of the file only where it met a write fault (file_update_time of the kernel's
 * fault). It is a help to others, not a promise: where it may not be done nothing fails. Both times are moved: to set one
 * takes the owner, and that of modification alone is announced as a write (include/linux/fsnotify.h fsnotify_change).
 */
void pm_medium_touch(struct pm_medium *m)
{
	if (!m->device_dax && !m->node && !m->read_only)
		PM_RETRY(pm_sys->touch(m->fd));
}

int pm_medium_sync_lines(struct pm_medium *m)
{
	bool kernel_knows = !m->device_dax && !m->node && !m->read_only && m->map_length >= PM_KERNEL_KNOWS_FROM;
	pm_medium_touch(m);
	if (!kernel_knows || !pm_medium_kernel_writes_lines(m)) {
		m->cpu->persist(m->map, m->map_length);
		return pm_medium_commit(m);
	}
	/* What this thread flushed is complete as well. */
	m->cpu->fence();
	int rc = pm_medium_msync(m, (uintptr_t)m->map, (uintptr_t)m->map + m->map_length);
	/* Switched off meanwhile: the kernel may have left some out, and has marked them clean. */
	if (!rc && !pm_medium_kernel_writes_lines(m))
		m->cpu->persist(m->map, m->map_length);
	return rc;
}

int pm_medium_deepen(struct pm_medium *m, const void *address, size_t length)
{
	if (m->device_dax)
		return region_deep_flush(m->region);
	int seen = pm_medium_look(m);
	if (seen)
		return seen;
	if (m->read_only)
		return pm_medium_fdatasync(m);
	if (!m->libpmem)
		return pm_medium_msync(m, (uintptr_t)address, (uintptr_t)address + length);
	int rc = sync_inodes(m, m->offset, m->map_length);
	/* For what it has not mapped itself this is an msync as well. */
	return rc ? rc : pm_synced(m->fd, m->libpmem->deep_drain(address, length));
}

int pm_medium_read(const struct pm_medium *m, void *destination, uint64_t offset, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t got = PM_RETRY(pm_sys->pread(m->fd, (char *)destination + done, length - done, offset + done));
		if (got <= 0)
			return got ? (int)got : -ENODATA;
		done += (size_t)got;
	}
	return 0;
}

int pm_medium_write(const struct pm_medium *m, const void *source, uint64_t offset, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t put = PM_RETRY(pm_sys->pwrite(m->fd, (const char *)source + done, length - done, offset + done));
		if (put <= 0)
			return put ? (int)put : -EIO;
		done += (size_t)put;
	}
	return 0;
}
