/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel of the sweep tells of other processes: announcements of what they do, and which of them has the file
 * open.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "sweeping.h"
#include "sweeping_internal.h"
#include "unit.h"

static struct machine others;
static int holder, announcing = -1;

/* A pipe: the end of an instance of inotify(7) takes the kernel many milliseconds. */
static int kernel_inotify(void)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	if (announcing >= 0)
		close(announcing);
	announcing = ends[1];
	return ends[0];
}

#define WATCH 1 /* The sweep has one file. */

static int kernel_inotify_add(int fd, const char *path, uint32_t mask)
{
	(void)fd;
	(void)path;
	(void)mask;
	return WATCH;
}

static int kernel_inotify_remove(int fd, int watch)
{
	(void)fd;
	return watch == WATCH ? 0 : -EINVAL;
}

static int kernel_same_inode(const char *path, const char *other)
{
	(void)path;
	(void)other;
	return 1;
}

/* Of all processes only the one that has the file open. The real list is as long as the machine is busy. */
static int kernel_each_entry(const char *directory, void (*visit)(void *arg, const char *entry), void *arg)
{
	static const char *const no_processes[] = {"cpuinfo", "self", "sys"};
	char number[24];
	if (strcmp(directory, "/proc"))
		return others.below->each_entry(directory, visit, arg);
	for (size_t i = 0; i < COUNT(no_processes); i++)
		visit(arg, no_processes[i]);
	snprintf(number, sizeof(number), "%d", holder);
	if (holder)
		visit(arg, number);
	return 0;
}

void others_start(void)
{
	holder = 0;
	machine_put_at(&counting_below, &others,
	               MACHINE(.inotify = kernel_inotify, .inotify_add = kernel_inotify_add,
	                       .inotify_remove = kernel_inotify_remove, .same_inode = kernel_same_inode,
	                       .each_entry = kernel_each_entry));
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
