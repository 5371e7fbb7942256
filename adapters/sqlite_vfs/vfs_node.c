/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfs_node.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfs_sqlite.h"

#define BUCKETS 64u

struct pmdirect_node {
	struct pmdirect_node *next;
	dev_t dev;
	ino_t ino;
	bool read_only;
	int fd;
	unsigned users;
	int watch; /* -1: none */
	bool failed;
	uint64_t changes, synced;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pmdirect_node *buckets[BUCKETS];
static unsigned unused; /* nodes without a user that are still open */
static int inotify = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned forks; /* that led to this process */

/* ---- Forks ------------------------------------------------------------------------------------- */

/* What the child reads from the instance that it inherits the parent would miss. */
static void begin_child(void)
{
	forks++;
	inotify = -1;
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct pmdirect_node *node = buckets[i]; node; node = node->next)
			node->watch = -1;
}

static void take_lock(void)
{
	pthread_mutex_lock(&lock);
}

static void release_lock(void)
{
	pthread_mutex_unlock(&lock);
}

static void release_lock_of_child(void)
{
	begin_child();
	release_lock();
}

static void listen_to_forks(void)
{
	pthread_atfork(take_lock, release_lock, release_lock_of_child);
}

unsigned pmdirect_node_forks(void)
{
	pthread_once(&once, listen_to_forks);
	return forks;
}

/* ---- Descriptors ------------------------------------------------------------------------------- */

/* Descriptors below 3 belong to the program, which may write messages there. */
static int open_above_stderr(const char *path, int flags)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
			return -1;
	return open(path, flags | O_CLOEXEC | O_NONBLOCK);
}

/* Whether the process has another descriptor of that file; if that cannot be found out, it has. */
static bool is_open_elsewhere(const struct pmdirect_node *node)
{
	DIR *all = opendir("/proc/self/fd");
	const struct dirent *entry;
	bool found = false;
	if (!all)
		return true;
	while (!found && (entry = readdir(all))) {
		struct stat st;
		char *end;
		long fd = strtol(entry->d_name, &end, 10);
		found = !*end && fd != node->fd && fd != dirfd(all) && !fstat((int)fd, &st) && st.st_dev == node->dev &&
		        st.st_ino == node->ino;
	}
	closedir(all);
	return found;
}

static struct pmdirect_node **find(dev_t dev, ino_t ino, bool read_only)
{
	struct pmdirect_node **at = &buckets[(ino ^ dev) % BUCKETS];
	while (*at && ((*at)->dev != dev || (*at)->ino != ino || (*at)->read_only != read_only))
		at = &(*at)->next;
	return at;
}

/*
 * SQLite's unix VFS takes the first lock through a new descriptor with this mutex held (os_unix.c fillInUnixFile), so
 * that none comes between the search and the close.
 */
static sqlite3_mutex *opening_mutex(void)
{
	return sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_VFS1);
}

static void close_if_possible(struct pmdirect_node **at)
{
	struct pmdirect_node *node = *at;
	sqlite3_mutex *opening = opening_mutex();
	sqlite3_mutex_enter(opening);
	bool possible = !is_open_elsewhere(node);
	if (possible)
		close(node->fd);
	sqlite3_mutex_leave(opening);
	if (!possible)
		return;
	if (node->watch >= 0)
		inotify_rm_watch(inotify, node->watch);
	*at = node->next;
	free(node);
	unused--;
}

/* Closes what had to stay open earlier. */
static void sweep(void)
{
	for (unsigned i = 0; i < BUCKETS && unused; i++) {
		struct pmdirect_node **at = &buckets[i];
		while (*at) {
			struct pmdirect_node *node = *at;
			if (!node->users)
				close_if_possible(at);
			if (*at == node)
				at = &node->next;
		}
	}
}

static struct pmdirect_node *make(const char *path, bool read_only)
{
	struct stat st;
	struct pmdirect_node *node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	node->fd = open_above_stderr(path, read_only ? O_RDONLY : O_RDWR);
	if (node->fd < 0 || fstat(node->fd, &st)) {
		free(node);
		return NULL;
	}
	node->dev = st.st_dev;
	node->ino = st.st_ino;
	node->read_only = read_only;
	node->watch = -1;
	node->users = 1;
	struct pmdirect_node **at = &buckets[(st.st_ino ^ st.st_dev) % BUCKETS];
	node->next = *at;
	*at = node;
	return node;
}

/* A file that no connection uses is opened anew, also where its descriptor had to stay. */
static void reuse(struct pmdirect_node *node)
{
	if (node->users++)
		return;
	unused--;
	node->failed = false;
}

struct pmdirect_node *pmdirect_node_get(const char *path, bool read_only)
{
	struct stat st;
	struct pmdirect_node *node = NULL;
	pthread_mutex_lock(&lock);
	sweep();
	if (!stat(path, &st)) {
		node = *find(st.st_dev, st.st_ino, read_only);
		if (!S_ISREG(st.st_mode))
			errno = EINVAL;
		else if (!node)
			node = make(path, read_only);
		else
			reuse(node);
	}
	pthread_mutex_unlock(&lock);
	return node;
}

void pmdirect_node_put(struct pmdirect_node *node)
{
	pthread_mutex_lock(&lock);
	if (!--node->users) {
		struct pmdirect_node **at = &buckets[(node->ino ^ node->dev) % BUCKETS];
		while (*at != node)
			at = &(*at)->next;
		unused++;
		close_if_possible(at);
		sweep();
	}
	pthread_mutex_unlock(&lock);
}

int pmdirect_node_fd(const struct pmdirect_node *node)
{
	return node->fd;
}

/* ---- Changes by write(2) ----------------------------------------------------------------------- */

/* Two nodes of one file, one of them read-only, share a watch. */
static void count(int watch, bool overflow)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct pmdirect_node *node = buckets[i]; node; node = node->next)
			if (overflow || (node->watch == watch && watch >= 0))
				node->changes++;
}

/* The kernel queues an event before the call that caused it returns (fs/read_write.c vfs_write). */
static bool take_events(void)
{
	union {
		struct inotify_event event;
		char bytes[4096];
	} buffer;
	ssize_t got;
	while ((got = read(inotify, &buffer, sizeof(buffer))) > 0) {
		for (const char *at = buffer.bytes; at < buffer.bytes + got;) {
			const struct inotify_event *event = (const void *)at;
			count(event->wd, event->mask & IN_Q_OVERFLOW);
			at += sizeof(*event) + event->len;
		}
	}
	return got < 0 && (errno == EAGAIN || errno == EINTR);
}

bool pmdirect_node_watch(struct pmdirect_node *node)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", node->fd);
	pthread_mutex_lock(&lock);
	if (inotify < 0)
		inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (inotify >= 0 && node->watch < 0)
		node->watch = inotify_add_watch(inotify, path, IN_MODIFY);
	bool watched = node->watch >= 0;
	pthread_mutex_unlock(&lock);
	return watched;
}

bool pmdirect_node_changes(struct pmdirect_node *node, uint64_t *ret_changes)
{
	pthread_mutex_lock(&lock);
	bool known = node->watch >= 0 && take_events();
	*ret_changes = node->changes;
	pthread_mutex_unlock(&lock);
	return known;
}

bool pmdirect_node_is_synced(struct pmdirect_node *node, uint64_t changes)
{
	pthread_mutex_lock(&lock);
	bool synced = node->synced >= changes;
	pthread_mutex_unlock(&lock);
	return synced;
}

void pmdirect_node_synced(struct pmdirect_node *node, uint64_t changes)
{
	pthread_mutex_lock(&lock);
	if (node->synced < changes)
		node->synced = changes;
	pthread_mutex_unlock(&lock);
}

bool pmdirect_node_has_failed(struct pmdirect_node *node)
{
	pthread_mutex_lock(&lock);
	bool failed = node->failed;
	pthread_mutex_unlock(&lock);
	return failed;
}

void pmdirect_node_fail(struct pmdirect_node *node)
{
	pthread_mutex_lock(&lock);
	node->failed = true;
	pthread_mutex_unlock(&lock);
}
