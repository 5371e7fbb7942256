/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel of the sweep tells of other processes: announcements of what they do, and which of them has the file open. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "fake_internal.h"
#include "sweeping.h"
#include "sweeping_internal.h"

static const struct pm_sys *below;
static int holder, announcing = -1;

/* A pipe: the end of an instance of inotify(7) takes the kernel many milliseconds. */
static int kernel_inotify(void)
{
	struct fake_record r = {.call = FAKE_inotify, .fd = -1};
	int rc = fake_enter(&r), ends[2];
	if (rc)
		return rc;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	if (announcing >= 0)
		close(announcing);
	announcing = ends[1];
	return fake_opened(ends[0]);
}

#define WATCH 1 /* The sweep has one file. */

static int kernel_inotify_add(int fd, const char *path, uint32_t mask)
{
	struct fake_record r = {.call = FAKE_inotify_add, .fd = fd, .flags = mask};
	int rc = fake_enter(&r);
	(void)path;
	return rc ? rc : WATCH;
}

static int kernel_inotify_remove(int fd, int watch)
{
	struct fake_record r = {.call = FAKE_inotify_remove, .fd = fd};
	int rc = fake_enter(&r);
	return rc ? rc : watch == WATCH ? 0 : -EINVAL;
}

static int kernel_same_inode(const char *path, const char *other)
{
	struct fake_record r = {.call = FAKE_same_inode, .fd = -1};
	int rc = fake_enter(&r);
	(void)path;
	(void)other;
	return rc ? rc : 1;
}

struct visit {
	void (*visit)(void *arg, const char *entry);
	void *arg;
};

static void visit_what_is_no_process(void *arg, const char *entry)
{
	const struct visit *v = arg;
	if (entry[0] < '1' || entry[0] > '9')
		v->visit(v->arg, entry);
}

/* Of all processes only the one that has the file open. */
static int kernel_each_entry(const char *directory, void (*visit)(void *arg, const char *entry), void *arg)
{
	struct visit v = {visit, arg};
	char number[24];
	if (strcmp(directory, "/proc"))
		return below->each_entry(directory, visit, arg);
	int rc = below->each_entry("/proc", visit_what_is_no_process, &v);
	snprintf(number, sizeof(number), "%d", holder);
	if (!rc && holder)
		visit(arg, number);
	return rc;
}

void others_start(struct pm_sys *table, const struct pm_sys *fake_table)
{
	below = fake_table;
	holder = 0;
	table->inotify = kernel_inotify;
	table->inotify_add = kernel_inotify_add;
	table->inotify_remove = kernel_inotify_remove;
	table->same_inode = kernel_same_inode;
	table->each_entry = kernel_each_entry;
}

void others_stop(void)
{
	if (announcing >= 0)
		close(announcing);
	announcing = -1;
}

void kernel_show_holder(int process)
{
	holder = process;
}

void kernel_announce(uint32_t mask)
{
	struct inotify_event event = {.wd = WATCH, .mask = mask};
	if (announcing >= 0 && write(announcing, &event, sizeof(event)) < 0)
		return; /* the watcher has gone */
}
