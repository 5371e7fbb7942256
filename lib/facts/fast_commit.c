/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether an ext4 commits by fast_commit, which breaks MAP_SYNC: the write fault asks whether the inode is in the list
 * of inodes to be committed fast (fs/ext4/inode.c ext4_inode_datasync_dirty), and no inode enters that list once any
 * file was changed in a way that a fast commit cannot record (fs/ext4/fast_commit.c ext4_fc_mark_ineligible). So a
 * block that was allocated for the store belongs to no file after a power failure.
 *
 * Neither the mount options nor sysfs show it. /proc/fs/ext4/DEVICE/fc_info counts what was committed fast and what
 * could not be, only where fast_commit is on: more than 0 means yes. If everything is 0, the library does something
 * that is counted at once: it collapses a range of an unnamed file. If it can create no such file, it changes the
 * mapped file without a change of its content, and syncs it. Of several commits at the same moment the kernel counts
 * one, so the library repeats this.
 *
 * A file system keeps fast_commit on or off while it is mounted, and its directory in sysfs is another one after the
 * next mount (fs/kernfs/dir.c __kernfs_new_node). So the answer is remembered by the number of that directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts/device.h"
#include "facts/evidence.h"
#include "facts/fast_commit.h"
#include "facts/subject.h"
#include "kernel/quirks.h"
#include "kernel/sysfs.h"
#include "kernel/trusted_sync.h"
#include "sys/sys.h"

#define SOURCE "/proc/fs/ext4/DEVICE/fc_info"
#define TRIES 8
#define MOUNTS 8

static struct {
	pthread_mutex_t lock;
	struct {
		uint64_t entry;
		enum pm_state state;
	} slot[MOUNTS];
	unsigned next;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum pm_state recall(uint64_t entry)
{
	enum pm_state state = PM_UNKNOWN;
	pthread_mutex_lock(&known.lock);
	for (unsigned i = 0; entry && i < MOUNTS; i++)
		if (known.slot[i].entry == entry)
			state = known.slot[i].state;
	pthread_mutex_unlock(&known.lock);
	return state;
}

static void keep_state(uint64_t entry, enum pm_state state)
{
	if (!entry || state == PM_UNKNOWN)
		return;
	pthread_mutex_lock(&known.lock);
	unsigned i = known.next++ % MOUNTS;
	known.slot[i].entry = entry;
	known.slot[i].state = state;
	pthread_mutex_unlock(&known.lock);
}

/* ---- The counters ---- */

/* Linux before 5.10 has no such file in the directory of the file system, and no fast commits. */
static enum pm_state without_counters(const char *name, int rc)
{
	char path[96];
	struct statx stx;
	snprintf(path, sizeof(path), "/proc/fs/ext4/%.64s", name);
	return rc == -ENOENT && !pm_sysfs_stat(path, &stx) ? PM_NO : PM_UNKNOWN;
}

/*
 * "fc stats:", lines of a number and what it counts, and lines of a reason in quotes and a number (ext4_fc_info_show).
 * Yes: a number is above 0; no: none is; unknown: the text has another form.
 */
static enum pm_state count(char *text)
{
	static const char heading[] = "fc stats:\n";
	char *rest = NULL;
	bool commits = false, any = false;
	if (strncmp(text, heading, strlen(heading)))
		return PM_UNKNOWN;
	for (char *line = strtok_r(text + strlen(heading), "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const char *colon = line[0] == '"' ? strrchr(line, ':') : NULL;
		commits |= !!strstr(line, " commits");
		any |= strtol(colon ? colon + 1 : line, NULL, 10) != 0;
	}
	return !commits ? PM_UNKNOWN : any ? PM_YES : PM_NO;
}

/* As count(); *error is the positive errno where it cannot be read. *older: the kernel has no fast commits. */
static enum pm_state read_counters(const char *name, int *error, bool *older)
{
	char path[96], text[2048];
	snprintf(path, sizeof(path), "/proc/fs/ext4/%.64s/fc_info", name);
	int rc = pm_read_text(path, text, sizeof(text));
	*error = rc < 0 ? -rc : 0;
	*older = rc < 0 && without_counters(name, rc) == PM_NO;
	return rc < 0 ? PM_UNKNOWN : count(text);
}

/* ---- What is counted ---- */

#define BLOCKS 2 /* of the unnamed file */

/* An unnamed file of the same file system, in the directory of the file. */
static int open_trial(const struct pm_subject *s)
{
	char link[40], path[PATH_MAX];
	struct statx stx;
	uint64_t limit = UINT64_MAX;
	/* Beyond it the kernel would send SIGXFSZ. */
	PM_RETRY(pm_sys->getrlimit_fsize(&limit));
	if (limit < BLOCKS * (uint64_t)s->stx.stx_blksize)
		return -EFBIG;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", s->fd);
	ssize_t got = pm_sys->readlinkat(AT_FDCWD, link, path, sizeof(path) - 1);
	path[got > 0 ? got : 0] = 0;
	char *slash = strrchr(path, '/');
	if (!slash)
		return -ENOENT;
	slash[slash == path] = 0;
	int fd = PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
	if (fd < 0)
		return fd;
	int rc = PM_RETRY(pm_sys->statx(fd, "", AT_EMPTY_PATH, &stx));
	if (!rc && stx.stx_dev_major == s->stx.stx_dev_major && stx.stx_dev_minor == s->stx.stx_dev_minor)
		return fd;
	pm_sys->close(fd);
	return rc ? rc : -EXDEV;
}

/* In a file that is all holes. Returns whether it was done. */
static bool collapse(int fd, uint64_t block)
{
	return !PM_RETRY(pm_sys->ftruncate(fd, BLOCKS * block)) && !PM_RETRY(pm_sys->fallocate_collapse(fd, 0, block));
}

/* Changes the inode alone, and commits the change. */
static bool change(const struct pm_subject *s, int unnamed, int attempt)
{
	int rc = unnamed >= 0 ? PM_RETRY(pm_sys->ftruncate(unnamed, (uint64_t)attempt + 1))
	                      : PM_RETRY(pm_sys->fallocate_keep_size(s->fd, s->offset, s->unit));
	return !rc && !PM_RETRY(pm_sys->fsync(unnamed >= 0 ? unnamed : s->fd));
}

/* For counters that are all 0. */
static enum pm_state provoke(pm_evidence_table e, const struct pm_subject *s, const char *name, int *error)
{
	bool older;
	int unnamed = open_trial(s);
	bool may_change = s->writable && !s->unseen && e[PM_EV_ALLOCATED].state == PM_YES;
	if (unnamed < 0 && !may_change) {
		*error = -unnamed;
		return PM_UNKNOWN;
	}
	bool certain = unnamed >= 0 && collapse(unnamed, s->stx.stx_blksize);
	enum pm_state state = PM_NO;
	for (int i = 0; i < (certain ? 1 : TRIES) && state == PM_NO; i++) {
		state = change(s, unnamed, i) || certain ? read_counters(name, error, &older) : PM_UNKNOWN;
	}
	if (unnamed >= 0)
		pm_sys->close(unnamed);
	return state;
}

static uint64_t number_of(const char *name)
{
	char path[96];
	struct statx stx;
	snprintf(path, sizeof(path), "/sys/fs/ext4/%.64s", name);
	return pm_sysfs_stat(path, &stx) ? 0 : stx.stx_ino;
}

static enum pm_state ask_mount(pm_evidence_table e, struct pm_subject *s, int *error)
{
	char link[PM_DEVICE_LINK];
	bool older = false;
	int rc = pm_device_link(s, link);
	if (rc) {
		*error = -rc;
		return PM_UNKNOWN;
	}
	const char *slash = strrchr(link, '/'), *name = slash ? slash + 1 : link;
	uint64_t entry = number_of(name);
	enum pm_state state = recall(entry);
	if (state != PM_UNKNOWN)
		return state;
	state = read_counters(name, error, &older);
	if (state == PM_NO)
		state = provoke(e, s, name, error);
	if (older)
		state = PM_NO;
	*error = state == PM_UNKNOWN ? *error : 0;
	keep_state(entry, state);
	return state;
}

void pm_evidence_fast_commit(pm_evidence_table e, struct pm_subject *s)
{
	struct pm_evidence *row = &e[PM_EV_FAST_COMMIT];
	const struct pm_evidence *fs = &e[PM_EV_FILE_SYSTEM];
	int error = 0;
	if (fs->state == PM_YES && !pm_has_quirk((uint32_t)fs->value, PM_FS_FAST_COMMIT))
		pm_evidence_set(row, PM_NO, 0, fs->source, "only ext4 has it");
	else if (fs->state == PM_YES && e[PM_EV_FSYNC_COMPLETE].state == PM_NO)
		pm_evidence_set(row, PM_NO, 0, e[PM_EV_FSYNC_COMPLETE].source, "no journal");
	else if (fs->state == PM_YES) {
		enum pm_state state = ask_mount(e, s, &error);
		pm_evidence_set(row, state, error, SOURCE, NULL);
	} else {
		pm_evidence_set(row, PM_UNKNOWN, fs->error, fs->source, NULL);
	}
}
