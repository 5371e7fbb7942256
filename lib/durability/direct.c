/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "durability/deep.h"
#include "durability/direct.h"
#include "durability/writeback_calls.h"
#include "kernel/sysfs.h"
#include "sys/sys.h"

/*
 * On a direct medium the kernel knows which pages were stored to since its last write-back, by any process: the fault
 * that makes a page writable marks it, with MAP_SYNC as well (fs/dax.c dax_insert_pfn_mkwrite), and msync writes the
 * lines of marked pages back (dax_writeback_one). Walking over a clean line costs 15 to 20 ns, over a gigabyte 0.3 s
 * (bench/whole_sync, Cascade Lake); an msync that finds nothing costs microseconds. It costs more for each page that it
 * does find: it protects the page again, and the next store to the page faults. So short mappings are walked, which
 * takes a few milliseconds at most and leaves their pages writable.
 */
bool pm_kernel_writes_lines(const struct pm_medium *m)
{
	/*
	 * A partition has no dax directory: its disk has. Stacked devices have none, so what root has set on them is
	 * not seen.
	 */
	static const char *const places[] = {"", "../"};
	char path[80], answer = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%sdax/write_cache", m->device_major, m->device_minor,
		         places[i]);
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
 * The fault that lets a store in has committed the metadata that the store needs (dax_finish_sync_fault). No fault of
 * the application commits what another process did by write(2) or fallocate(2): there a load shows the new data over an
 * extent that may be in no journal yet. An msync of any part of the file commits the whole inode (fs/ext4/fsync.c
 * ext4_sync_file, fs/xfs/xfs_file.c xfs_file_fsync), and flushes the device. It takes the right to write from the pages
 * of its range. The last page is chosen: the first is often the one stored to most.
 *
 * Syncs of a DAX file need no leader (leader.c). A leader keeps one call from consuming the error of another, which
 * cannot happen here: each call writes its own pages or waits for them (dax_writeback_one), and an error of the
 * journal is returned to every later call (fs/jbd2/journal.c jbd2_log_wait_commit, fs/xfs/xfs_file.c xfs_file_fsync).
 * Without a journal PM_CACHE_LINE is not promised.
 */
int pm_commit_inode(struct pm_medium *m)
{
	uintptr_t end = (uintptr_t)m->map + m->map_length;
	if (m->device_dax || m->is_device)
		return 0;
	bool by_address = !m->read_only && pm_parts_hold(&m->parts, end - 1, end);
	return by_address ? pm_write_back(m, end - 1, end) : pm_write_back_file(m);
}

/*
 * A store by lines moves the file's time only where it meets a write fault (file_update_time). Moving it helps backups
 * and is no promise: a failure is ignored. Both times are moved: setting one needs the owner, and setting the
 * modification time alone is announced as a write (include/linux/fsnotify.h fsnotify_change).
 */
void pm_touch(struct pm_medium *m)
{
	if (!m->device_dax && !m->is_device && !m->read_only)
		PM_RETRY(pm_sys->futimens_now(m->fd));
}

static void write_all_lines(struct pm_medium *m)
{
	PM_EACH_PART(part, &m->parts, (uintptr_t)m->map, (uintptr_t)m->map + m->map_length)
		m->cpu->persist((const void *)part.low, part.high - part.low);
}

static int sync_lines(struct pm_medium *m)
{
	bool kernel_knows = !m->device_dax && !m->is_device && !m->read_only && m->map_length >= PM_KERNEL_KNOWS_FROM;
	pm_touch(m);
	if (!kernel_knows || !pm_kernel_writes_lines(m)) {
		write_all_lines(m);
		return pm_commit_inode(m);
	}
	/* Completes what this thread flushed. */
	m->cpu->fence();
	int rc = pm_write_back(m, (uintptr_t)m->map, (uintptr_t)m->map + m->map_length);
	/* Switched off meanwhile, the kernel may have skipped some lines, and has marked their pages clean. */
	if (!rc && !pm_kernel_writes_lines(m))
		write_all_lines(m);
	return rc;
}

int pm_sync_lines(struct pm_medium *m)
{
	pm_walk_begin(&m->walks);
	int rc = sync_lines(m);
	pm_walk_end(&m->walks);
	return rc;
}

/* ---- Cache lines ---- */

static int flush_lines(struct pm_medium *m, const void *address, size_t length)
{
	return m->cpu->write_back(address, length);
}

static int drain_lines(struct pm_medium *m)
{
	return m->cpu->fence();
}

static int persist_lines(struct pm_medium *m, const void *address, size_t length)
{
	return m->cpu->persist(address, length);
}

static int commit_lines(struct pm_medium *m, const struct pm_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ranges[i].length)
			m->cpu->write_back(ranges[i].address, ranges[i].length);
	return drain_lines(m);
}

const struct pm_strategy pm_strategy_cacheline = {
	.granularity = PM_CACHE_LINE,
	.flush = flush_lines,
	.drain = drain_lines,
	.persist = persist_lines,
	.commit = commit_lines,
	.deepen = pm_deepen,
	.sync = pm_sync_lines,
};

/* ---- Bytes ---- */

static int flush_bytes(struct pm_medium *m, const void *address, size_t length)
{
	(void)m;
	(void)address;
	(void)length;
	return 0;
}

static int persist_bytes(struct pm_medium *m, const void *address, size_t length)
{
	(void)address;
	(void)length;
	return drain_lines(m);
}

static int commit_bytes(struct pm_medium *m, const struct pm_range *ranges, size_t count)
{
	(void)ranges;
	(void)count;
	return drain_lines(m);
}

/* The msync of a deep flush writes no CPU caches back on such a region (dax/write_cache is 0). */
static int deepen_bytes(struct pm_medium *m, const void *address, size_t length)
{
	m->cpu->write_back(address, length);
	m->cpu->fence();
	return pm_deepen(m, address, length);
}

static int sync_bytes(struct pm_medium *m)
{
	m->cpu->fence();
	pm_touch(m);
	return pm_commit_inode(m);
}

const struct pm_strategy pm_strategy_fence = {
	.granularity = PM_BYTE,
	.flush = flush_bytes,
	.drain = drain_lines,
	.persist = persist_bytes,
	.commit = commit_bytes,
	.deepen = deepen_bytes,
	.sync = sync_bytes,
};
