/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts/evidence.h"
#include "kernel/identity.h"
#include "kernel/sysfs.h"
#include "observe/openers.h"
#include "sys/sys.h"

/* Of the targets of every scan. It is held while an entry is compared with them, never during a whole scan. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void pm_openers_of(struct pm_openers *o, int fd, const struct statx *stx)
{
	o->fd = fd;
	o->inode = stx->stx_ino;
	o->major = stx->stx_dev_major;
	o->minor = stx->stx_dev_minor;
}

static struct statx numbers_of(const struct pm_openers *o)
{
	return (struct statx){.stx_ino = o->inode, .stx_dev_major = o->major, .stx_dev_minor = o->minor};
}

void pm_openers_announce(struct pm_openers *o, bool is_open)
{
	o->opened_before_baseline |= is_open && !o->baseline_done;
	atomic_store(&o->scan_due, true);
}

void pm_openers_none(struct pm_openers *o)
{
	pthread_mutex_lock(&lock);
	o->has_result = false;
	pthread_mutex_unlock(&lock);
	atomic_store(&o->scan_due, false);
	o->writer = o->direct_writer = false;
	o->baseline_done = true;
}

/* ---- A scan ---- */

static bool is_writer(const struct pm_scan *scan, const char *entry, bool *is_direct)
{
	char path[128], text[256];
	unsigned flags = 0;
	snprintf(path, sizeof(path), "%sinfo/%.20s", scan->directory, entry);
	const char *at = pm_read_text(path, text, sizeof(text)) > 0 ? strstr(text, "flags:") : NULL;
	if (!at || sscanf(at, "flags: %o", &flags) != 1 || (flags & O_ACCMODE) == O_RDONLY)
		return false;
	*is_direct = flags & O_DIRECT;
	return true;
}

/* With the lock held. If the kernel does not say whether it is the file, it counts as another. */
static void compare(struct pm_scan *scan, struct pm_openers *o, const char *entry, const char *path)
{
	bool is_direct;
	struct statx file = numbers_of(o);
	if (pm_is_same_file(o->fd, &file, path) <= 0)
		return;
	/*
	 * A child of this process inherits the library's own description; where kcmp(2) cannot tell, it counts as that.
	 */
	if (PM_RETRY(pm_sys->kcmp_file(scan->process, atoi(entry), o->fd)))
		return;
	if (!is_writer(scan, entry, &is_direct))
		return;
	o->found = true;
	o->found_direct |= is_direct;
}

static void visit_descriptor(void *arg, const char *entry)
{
	struct pm_scan *scan = arg;
	struct statx other;
	char path[128];
	snprintf(path, sizeof(path), "%s/%.20s", scan->directory, entry);
	/* Without asking a server, which may not answer. */
	if (PM_RETRY(pm_sys->statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, &other)))
		return;
	pthread_mutex_lock(&lock);
	for (struct pm_openers *o = scan->targets; o; o = o->next) {
		struct statx file = numbers_of(o);
		if (pm_has_same_numbers(&file, &other))
			compare(scan, o, entry, path);
	}
	pthread_mutex_unlock(&lock);
}

static bool has_targets(const struct pm_scan *scan)
{
	pthread_mutex_lock(&lock);
	bool has_some = scan->targets;
	pthread_mutex_unlock(&lock);
	return has_some;
}

static void visit_process(void *arg, const char *entry)
{
	struct pm_scan *scan = arg;
	char self[24];
	if (entry[0] < '1' || entry[0] > '9' || !has_targets(scan))
		return;
	if (scan->before_each)
		scan->before_each();
	ssize_t got = PM_RETRY(pm_sys->readlinkat(AT_FDCWD, "/proc/self", self, sizeof(self) - 1));
	self[got > 0 ? got : 0] = 0;
	if (!strcmp(entry, self))
		return;
	scan->process = atoi(entry);
	snprintf(scan->directory, sizeof(scan->directory), "/proc/%.20s/fd", entry);
	pm_sys->each_entry(scan->directory, visit_descriptor, scan);
}

bool pm_scan_add(struct pm_scan *scan, struct pm_openers *o)
{
	pthread_mutex_lock(&lock);
	bool is_added = !o->scan && !o->has_result && atomic_exchange(&o->scan_due, false);
	if (is_added) {
		o->scan = scan;
		o->next = scan->targets;
		o->found = o->found_direct = false;
		scan->targets = o;
	}
	pthread_mutex_unlock(&lock);
	return is_added;
}

void pm_scan_run(struct pm_scan *scan)
{
	pm_sys->each_entry("/proc", visit_process, scan);
	pthread_mutex_lock(&lock);
	for (struct pm_openers *o = scan->targets; o; o = o->next) {
		o->has_result = true;
		o->scan = NULL;
	}
	scan->targets = NULL;
	pthread_mutex_unlock(&lock);
}

void pm_openers_end(struct pm_openers *o)
{
	pthread_mutex_lock(&lock);
	struct pm_openers **at = o->scan ? &o->scan->targets : NULL;
	while (at && *at && *at != o)
		at = &(*at)->next;
	if (at && *at)
		*at = o->next;
	o->scan = NULL;
	pthread_mutex_unlock(&lock);
}

/* ---- Its result ---- */

bool pm_openers_have_result(struct pm_openers *o)
{
	pthread_mutex_lock(&lock);
	bool has_result = o->has_result;
	pthread_mutex_unlock(&lock);
	return has_result;
}

/*
 * A process that had the file open before pm_map() is not reported. A process that the baseline finds may have opened
 * the file after that: it is reported if an open was announced by then.
 */
enum pm_reason pm_openers_take(struct pm_openers *o)
{
	pthread_mutex_lock(&lock);
	bool has_result = o->has_result, found = o->found, direct = o->found_direct;
	o->has_result = false;
	pthread_mutex_unlock(&lock);
	if (!has_result)
		return PM_REASON_NONE;
	bool is_told = o->baseline_done || o->opened_before_baseline;
	bool new_direct = direct && !o->direct_writer, new_writer = found && !o->writer;
	o->writer = found;
	o->direct_writer = direct;
	o->baseline_done = true;
	if (!is_told || (!new_direct && !new_writer))
		return PM_REASON_NONE;
	return new_direct ? PM_REASON_OPENED_DIRECT : PM_REASON_OPENED_WRITING;
}
