/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two facts count together. The register, by number, says that the library has not received the number anew since. The
 * device and inode of a file say that the program has not. All anonymous inodes are one inode (fs/anon_inodes.c), so
 * there the mark is the signal that fcntl(2) F_SETSIG stores in the open file description: no other call reads it while
 * O_ASYNC is not set.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

#include "kernel/kept.h"
#include "sys/sys.h"

#define MARK SIGURG /* ignored by default, in case the program sets O_ASYNC */
#define BUCKETS 256u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pm_kept *bucket[BUCKETS];

/* With the lock held. */
static void take_out_number(struct pm_kept *k)
{
	struct pm_kept **at = &bucket[(unsigned)k->fd % BUCKETS];
	while (*at && *at != k)
		at = &(*at)->next;
	if (*at)
		*at = k->next;
	k->fd = 0;
}

static void enter_number(struct pm_kept *k, int fd, bool marked)
{
	pthread_mutex_lock(&lock);
	/* The kernel gives out only a free number, so the descriptor that was kept before was closed. */
	for (struct pm_kept *other = bucket[(unsigned)fd % BUCKETS], *next; other; other = next) {
		next = other->next;
		if (other->fd == fd)
			take_out_number(other);
	}
	*k = (struct pm_kept){.next = bucket[(unsigned)fd % BUCKETS], .fd = fd, .marked = marked};
	bucket[(unsigned)fd % BUCKETS] = k;
	pthread_mutex_unlock(&lock);
}

/* The number; 0 if it belonged to another descriptor by then. */
static int take_number(struct pm_kept *k)
{
	pthread_mutex_lock(&lock);
	int fd = k->fd;
	if (fd)
		take_out_number(k);
	pthread_mutex_unlock(&lock);
	return fd;
}

/* Any other failure says nothing against it. */
static bool has_mark(int fd)
{
	int mark = pm_sys->fcntl_getsig(fd);
	return mark == MARK || (mark < 0 && mark != -EBADF);
}

int pm_keep(struct pm_kept *k, int fd)
{
	if (fd < 0)
		return fd;
	/* A sandbox may refuse the mark: then the register alone serves. */
	enter_number(k, fd, !pm_sys->fcntl_setsig(fd, MARK));
	return fd;
}

bool pm_is_kept(const struct pm_kept *k)
{
	int fd = k->fd;
	return fd && (!k->marked || has_mark(fd));
}

void pm_kept_close(struct pm_kept *k)
{
	bool marked = k->marked;
	int fd = take_number(k);
	if (fd && (!marked || has_mark(fd)))
		pm_sys->close(fd);
}

void pm_kept_file_keep(struct pm_kept_file *id, int fd, const struct statx *stx)
{
	id->inode = stx->stx_ino;
	id->major = stx->stx_dev_major;
	id->minor = stx->stx_dev_minor;
	enter_number(&id->kept, fd, false);
}

bool pm_kept_file_is_of(const struct pm_kept_file *id, const struct statx *stx)
{
	return stx->stx_ino == id->inode && stx->stx_dev_major == id->major && stx->stx_dev_minor == id->minor;
}

int pm_kept_file_check(struct pm_kept_file *id, const struct statx *now, int rc)
{
	if (rc == -EBADF || !id->kept.fd || (!rc && !pm_kept_file_is_of(id, now)))
		atomic_store(&id->lost, true);
	return atomic_load(&id->lost) ? -EBADF : rc;
}

int pm_kept_file_stat(struct pm_kept_file *id, struct statx *now)
{
	int fd = id->kept.fd;
	if (!fd || atomic_load(&id->lost))
		return pm_kept_file_check(id, now, -EBADF);
	return pm_kept_file_check(id, now, PM_RETRY(pm_sys->statx_now(fd, now)));
}

bool pm_kept_file_release(struct pm_kept_file *id)
{
	struct statx now;
	int rc = pm_kept_file_stat(id, &now);
	/* A file that does not answer is not proven to be another one. */
	return take_number(&id->kept) && rc != -EBADF;
}
