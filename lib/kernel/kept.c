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
#define BUCKETS 4096u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pm_kept *owned[BUCKETS], *lent[BUCKETS]; /* lent: by the caller, each in a struct pm_kept_file */

static struct pm_kept_file *lent_file(struct pm_kept *k)
{
	return (struct pm_kept_file *)((char *)k - offsetof(struct pm_kept_file, kept));
}

/* With the lock held. The caller may lend one number ten thousand times, so of these no chain is walked. */
static void take_out_number(struct pm_kept *k)
{
	struct pm_kept **at = k->borrowed ? lent_file(k)->link : &owned[(unsigned)k->place % BUCKETS];
	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
	if (k->borrowed && k->next)
		lent_file(k->next)->link = at;
	k->place = 0;
}

/* With the lock held. The kernel gives out only a free number, so the descriptor that was kept before was closed. */
static void take_out_others(struct pm_kept *k, int place)
{
	for (struct pm_kept *next; k; k = next) {
		next = k->next;
		if (k->place == place)
			take_out_number(k);
	}
}

static void enter_number(struct pm_kept *k, int fd, bool marked, bool borrowed)
{
	int place = fd + 1;
	unsigned bucket = (unsigned)place % BUCKETS;
	struct pm_kept **head = borrowed ? &lent[bucket] : &owned[bucket];
	pthread_mutex_lock(&lock);
	/* The program took the former number away, and nothing was entered under it since. */
	if (k->place)
		take_out_number(k);
	take_out_others(owned[bucket], place);
	if (!borrowed)
		take_out_others(lent[bucket], place);
	*k = (struct pm_kept){.next = *head, .place = place, .marked = marked, .borrowed = borrowed};
	*head = k;
	if (borrowed) {
		lent_file(k)->link = head;
		if (k->next)
			lent_file(k->next)->link = &k->next;
	}
	pthread_mutex_unlock(&lock);
}

/* The number; negative if it belonged to another descriptor by then. */
static int take_number(struct pm_kept *k)
{
	pthread_mutex_lock(&lock);
	int fd = pm_kept_fd(k);
	if (fd >= 0)
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
	enter_number(k, fd, !pm_sys->fcntl_setsig(fd, MARK), false);
	return fd;
}

bool pm_is_kept(const struct pm_kept *k)
{
	int fd = pm_kept_fd(k);
	return fd >= 0 && (!k->marked || has_mark(fd));
}

void pm_kept_close(struct pm_kept *k)
{
	/* Each unmapping closes ten, of which most mappings have none. */
	if (!k->place)
		return;
	bool marked = k->marked;
	int fd = take_number(k);
	if (fd >= 0 && (!marked || has_mark(fd)))
		pm_sys->close(fd);
}

void pm_kept_file_keep(struct pm_kept_file *id, int fd, const struct statx *stx, bool borrowed)
{
	id->inode = stx->stx_ino;
	id->major = stx->stx_dev_major;
	id->minor = stx->stx_dev_minor;
	enter_number(&id->kept, fd, false, borrowed);
}

static bool is_file_of(const struct pm_kept_file *id, const struct statx *stx)
{
	return stx->stx_ino == id->inode && stx->stx_dev_major == id->major && stx->stx_dev_minor == id->minor;
}

int pm_kept_file_check(struct pm_kept_file *id, const struct statx *now, int rc)
{
	if (rc == -EBADF || !id->kept.place || (!rc && !is_file_of(id, now)))
		atomic_store(&id->lost, true);
	return atomic_load(&id->lost) ? -EBADF : rc;
}

int pm_kept_file_stat(struct pm_kept_file *id, struct statx *now)
{
	int fd = pm_kept_fd(&id->kept);
	if (fd < 0 || atomic_load(&id->lost))
		return pm_kept_file_check(id, now, -EBADF);
	return pm_kept_file_check(id, now, PM_RETRY(pm_sys->statx_now(fd, now)));
}

bool pm_kept_file_release(struct pm_kept_file *id)
{
	struct statx now;
	int rc = pm_kept_file_stat(id, &now);
	/* A file that does not answer is not proven to be another one. */
	return take_number(&id->kept) >= 0 && rc != -EBADF;
}
