/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel makes the text of an attribute at each read from its beginning (fs/seq_file.c traverse). An attribute that
 * was removed answers ENODEV, also if a device of the same name or number has come since (fs/kernfs/file.c
 * kernfs_seq_start, which fails without an active reference). So what a descriptor answers is as true as what its path
 * would, if the path can lead to another device only after this one was removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "kernel/attribute.h"
#include "kernel/kept.h"
#include "kernel/sysfs.h"
#include "sys/sys.h"

#define MOST 3u /* of a process */
#define PATH_ROOM 128u

static atomic_uint users;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	struct pm_kept kept;
	unsigned readers; /* threads that read by the descriptor; until the last is done it stays open */
	bool is_used;     /* since another attribute found no place */
	char path[PATH_ROOM]; /* "": none, or one that was removed */
} slots[MOST];

void pm_attributes_hold(void)
{
	atomic_fetch_add(&users, 1);
}

void pm_attributes_release(void)
{
	if (atomic_fetch_sub(&users, 1) != 1)
		return;
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < MOST && !atomic_load(&users); i++) {
		pm_kept_close(&slots[i].kept);
		slots[i].path[0] = 0;
	}
	pthread_mutex_unlock(&lock);
}

/* With the lock held. MOST: there is none. */
static unsigned find(const char *path)
{
	unsigned i = 0;
	while (i < MOST && strcmp(slots[i].path, path) != 0)
		i++;
	return i;
}

static ssize_t read_first(int fd, char *text, size_t size)
{
	return PM_RETRY(pm_sys->pread(fd, text, size - 1, 0));
}

/* By the descriptor that is kept. One that does not answer is kept no longer. */
static ssize_t read_kept(const char *path, char *text, size_t size)
{
	pthread_mutex_lock(&lock);
	unsigned i = find(path);
	if (i < MOST)
		slots[i].readers++;
	pthread_mutex_unlock(&lock);
	if (i == MOST)
		return -EBADF;
	ssize_t got = pm_is_kept(&slots[i].kept) ? read_first(pm_kept_fd(&slots[i].kept), text, size) : -EBADF;
	pthread_mutex_lock(&lock);
	slots[i].readers--;
	slots[i].is_used = true;
	if (got < 0)
		slots[i].path[0] = 0;
	if (!slots[i].path[0] && !slots[i].readers)
		pm_kept_close(&slots[i].kept);
	pthread_mutex_unlock(&lock);
	return got;
}

/*
 * With the lock held: a place that is free, or whose attribute no look has read since the last one that found no place:
 * its disk was removed, or no mapping is on it. MOST: there is none.
 */
static unsigned find_place(void)
{
	unsigned place = MOST;
	for (unsigned i = 0; i < MOST && place == MOST; i++)
		if (!slots[i].readers && (!slots[i].is_used || !pm_is_kept(&slots[i].kept)))
			place = i;
	for (unsigned i = 0; i < MOST && place == MOST; i++)
		slots[i].is_used = false;
	return place;
}

/* Whether the descriptor stays open. Another thread may have kept one of this path meanwhile. */
static bool keep(const char *path, int fd)
{
	pthread_mutex_lock(&lock);
	unsigned i = find(path) < MOST ? MOST : find_place();
	if (i < MOST) {
		pm_kept_close(&slots[i].kept);
		pm_keep(&slots[i].kept, fd);
		slots[i].is_used = true;
		strcpy(slots[i].path, path);
	}
	pthread_mutex_unlock(&lock);
	return i < MOST;
}

static ssize_t read_anew(const char *path, char *text, size_t size)
{
	int fd = pm_sysfs_open(path, O_RDONLY);
	if (fd < 0)
		return fd;
	ssize_t got = read_first(fd, text, size);
	if (got < 0 || !keep(path, fd))
		pm_sys->close(fd);
	return got;
}

int pm_attribute_read(const char *path, char *text, size_t size)
{
	if (!atomic_load(&users) || strlen(path) >= PATH_ROOM)
		return pm_read_text(path, text, size);
	/* No other thread closes what this one reads by. */
	pm_attributes_hold();
	ssize_t got = read_kept(path, text, size);
	if (got < 0)
		got = read_anew(path, text, size);
	pm_attributes_release();
	return pm_end_text(text, got);
}
