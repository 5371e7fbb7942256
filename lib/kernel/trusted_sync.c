/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * On a file system that was made read-only under its open files (by the emergency remount of sysrq-u) ext4 returns 0
 * from msync and fsync without writing anything: fs/ext4/fsync.c ext4_sync_file. The pages stay dirty, and a power
 * failure takes them.
 *
 * The library asks after the sync: so it notices what the sync skipped, unless the file system was made writable again
 * in between. A file system that became read-only after a good sync counts as failed, which loses nothing.
 *
 * On an ext4 without a journal fsync and msync write the inode only if it is marked dirty (fs/ext4/fsync.c
 * ext4_fsync_nojournal). It is not marked when a block is allocated or an unwritten one converted: that changes the
 * buffer alone (ext4_mark_inode_dirty). The data is on the medium, and no metadata says that it belongs to the file.
 * Kernels from 2026 on do it right ("ext4: fix fsync(2) for nojournal mode"); a program cannot ask which ones. Before
 * Linux 6.6 they also leave out the flush of the device where the inode is not marked. syncfs(2) flushes the device
 * between the data and the buffers (ext4_sync_fs, fs/sync.c sync_filesystem), so a second one flushes what the first
 * one wrote.
 *
 * A filter of system calls (systemd-nspawn --suppress-sync=yes) or a preloaded shim (libeatmydata) returns 0 from syncs
 * without making them. It does not look at the arguments, so a sync that must fail succeeds as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "kernel/fiemap.h"
#include "kernel/quirks.h"
#include "kernel/sysfs.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

#define EXT4_NAME 65
/*
 * The name of the device, which is that of the ext4's directories in /sys/fs/ext4
 * (Documentation/ABI/testing/sysfs-fs-ext4) and /proc/fs/ext4.
 */
static int name_of_ext4(const struct statx *stx, char name[static EXT4_NAME])
{
	char path[64], link[256];
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", stx->stx_dev_major, stx->stx_dev_minor);
	ssize_t got = PM_RETRY(pm_sys->readlinkat(AT_FDCWD, path, link, sizeof(link) - 1));
	if (got < 0)
		return (int)got;
	link[got] = 0;
	const char *slash = strrchr(link, '/');
	snprintf(name, EXT4_NAME, "%.64s", slash ? slash + 1 : link);
	return 0;
}

/*
 * fs/jbd2/journal.c jbd2_journal_init_inode; fs/ext4/ext4.h EXT4_JOURNAL_INO. The journal has another inode only if it
 * was created under a mounted file system, until e2fsck(8) moves it.
 */
int pm_ext4_find_journal(const char *name)
{
	struct statx entry;
	char path[128];
	snprintf(path, sizeof(path), PM_JOURNALS "/%.64s-8", name);
	int rc = pm_sysfs_stat(path, &entry);
	if (rc)
		return rc;
	/* The name is as good as the link that it was read from. */
	snprintf(path, sizeof(path), "/sys/fs/ext4/%.64s", name);
	rc = pm_sysfs_stat(path, &entry);
	return rc == -ENOENT ? -ENODEV : rc;
}

static ssize_t read_journal_task(const char *name, char *text, size_t size)
{
	char task[128];
	snprintf(task, sizeof(task), "/sys/fs/ext4/%s/journal_task", name);
	int fd = pm_sysfs_open(task, O_RDONLY);
	if (fd < 0)
		return fd;
	ssize_t got = PM_RETRY(pm_sys->read(fd, text, size));
	pm_sys->close(fd);
	return got;
}

int pm_ext4_fsync_is_complete(const struct statx *stx, bool *no_outer_journal)
{
	static const char none[] = "<none>"; /* fs/ext4/sysfs.c journal_task_show */
	char name[EXT4_NAME], text[sizeof(none)];
	int rc = name_of_ext4(stx, name);
	if (rc)
		return rc;
	/* It has a journal; this question is the cheaper one. */
	bool inside = !pm_ext4_find_journal(name);
	if (no_outer_journal)
		*no_outer_journal = inside;
	if (inside)
		return PM_YES;
	ssize_t got = read_journal_task(name, text, sizeof(text));
	if (got <= 0)
		return got ? (int)got : -ENODATA;
	bool has_none = got >= (ssize_t)strlen(none) && !memcmp(text, none, strlen(none));
	if (no_outer_journal)
		*no_outer_journal = has_none;
	return has_none ? PM_NO : PM_YES;
}

#define NOT_WRITTEN (-ENODATA)

static int find_written(void *arg, const struct fiemap_extent *x)
{
	uint64_t *until = arg;
	if (x->fe_logical > *until || x->fe_flags & PM_EXTENT_NOT_WRITTEN)
		return NOT_WRITTEN;
	*until = x->fe_logical + x->fe_length;
	return 0;
}

uint64_t pm_first_unwritten(int fd, uint64_t offset, uint64_t length)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = offset + length, until = offset;
	struct statx now;
	int rc = pm_each_extent(fd, offset, end, find_written, &until);
	if (until >= end)
		return end;
	if (rc && rc != NOT_WRITTEN)
		return offset;
	/* The file may end in the last page of the range, and have no block after that. */
	if (until + page <= end || PM_RETRY(pm_sys->statx_now(fd, &now)))
		return until;
	return now.stx_size + page > end && until >= now.stx_size ? end : until;
}

int pm_verify_sync(int fd, int rc)
{
	struct statfs now;
	if (rc)
		return rc;
	/*
	 * This sees through an overlay, whose own flags say nothing about the file system below (fs/overlayfs/inode.c).
	 */
	rc = PM_RETRY(pm_sys->faccessat2_write(fd));
	if (!rc || rc == -EROFS)
		return rc;
	/* The caller may not write any more, or Linux is before 5.8. */
	rc = PM_RETRY(pm_sys->fstatfs(fd, &now));
	return rc ? rc : now.f_flags & ST_RDONLY ? -EROFS : 0;
}

bool pm_fsync_skips_flush(bool may_skip_inode, uint32_t file_system)
{
	return may_skip_inode && (!file_system || pm_has_quirk(file_system, PM_FS_FSYNC_SKIPS_FLUSH));
}

int pm_flush_after_sync(int fd, bool skips_flush, int rc)
{
	return rc || !skips_flush ? rc : PM_RETRY(pm_sys->syncfs(fd));
}

/* Where a journal is not known to exist there may be none. */
static bool fsync_may_skip_inode(int fd, const struct statfs *stfs)
{
	struct statx stx;
	if (!pm_has_quirk((uint32_t)stfs->f_type, PM_FS_FSYNC_BY_JOURNAL))
		return false;
	if (PM_RETRY(pm_sys->statx(fd, "", AT_EMPTY_PATH, &stx)))
		return true;
	/*
	 * Otherwise the type is that of a server's file system (identity.h), whose own fsync(2) does what is needed
	 * there.
	 */
	return stx.stx_dev_major && pm_ext4_fsync_is_complete(&stx, NULL) != PM_YES;
}

/* What fsync(2) may leave out. */
struct skips {
	bool inode, flush;
};

static struct skips find_skips(int fd, enum pm_state fsync_complete)
{
	struct statfs stfs;
	if (fsync_complete == PM_YES)
		return (struct skips){false, false};
	if (PM_RETRY(pm_sys->fstatfs(fd, &stfs)))
		return (struct skips){true, true};
	bool inode = fsync_may_skip_inode(fd, &stfs);
	return (struct skips){inode, pm_fsync_skips_flush(inode, (uint32_t)stfs.f_type)};
}

int pm_sync_file(int fd, enum pm_state fsync_complete, bool read_only)
{
	struct skips skips = find_skips(fd, fsync_complete);
	int rc = skips.inode ? PM_RETRY(pm_sys->syncfs(fd)) : 0;
	if (!rc)
		rc = pm_flush_after_sync(fd, skips.flush, PM_RETRY(pm_sys->fsync(fd)));
	/* The file system of a read-only descriptor may be read-only by right: then all of it was synced before. */
	return read_only ? rc : pm_verify_sync(fd, rc);
}

int pm_sync_directory(int fd, enum pm_state fsync_complete)
{
	int rc = PM_RETRY(pm_sys->fsync(fd));
	return rc ? rc : pm_flush_after_sync(fd, find_skips(fd, fsync_complete).flush, 0);
}

struct pm_ignored pm_syncs_ignored(unsigned calls)
{
	static const char *const names[PM_CALLS_COUNT] = {"msync", "fsync", "fdatasync", "syncfs", "sync_file_range"};
	struct pm_ignored found = {.state = calls ? PM_NO : PM_UNKNOWN};
	for (unsigned i = 0; i < PM_CALLS_COUNT; i++) {
		unsigned call = calls & 1u << i;
		int refusal = call == PM_CALL_MSYNC ? -EINVAL : -EBADF;
		int rc = call ? PM_RETRY(pm_sys->wrong_sync(call)) : refusal;
		if (!rc)
			return (struct pm_ignored){PM_YES, 0, names[i]};
		if (rc != refusal)
			found = (struct pm_ignored){PM_UNKNOWN, -rc, names[i]};
	}
	return found;
}
