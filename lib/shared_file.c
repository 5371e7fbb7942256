/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernel/identity.h"
#include "shared_file.h"
#include "sys/sys.h"

#define BUCKETS 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pm_latch *bucket[BUCKETS]; /* each in the order of its numbers */
static uint64_t made;

/* The first latch of these numbers behind that one. */
static struct pm_latch **find(uint64_t device, uint64_t inode, uint64_t after)
{
	struct pm_latch **at = &bucket[(inode ^ device) % BUCKETS];
	while (*at && ((*at)->device != device || (*at)->inode != inode || (*at)->number <= after))
		at = &(*at)->next;
	return at;
}

static void drop_if_unused(struct pm_latch *latch)
{
	if (latch->users || latch->pins)
		return;
	*find(latch->device, latch->inode, latch->number - 1) = latch->next;
	free(latch);
}

/*
 * With the lock held, which it releases meanwhile: the question may reach a server. So the latch is pinned, and its
 * file held by a descriptor with O_PATH. Closing such a descriptor drops no record locks, unlike any other.
 */
static int is_of_file(struct pm_latch *latch, int fd, const struct statx *stx)
{
	char path[40];
	struct statx now;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", latch->users->fd);
	int other = PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0));
	latch->pins++;
	pthread_mutex_unlock(&lock);
	int same = other < 0 ? other : PM_RETRY(pm_sys->statx(other, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, &now));
	/* The program closed that mapping's descriptor, and its number leads to another file. */
	if (!same && !pm_has_same_numbers(stx, &now))
		same = -ESTALE;
	same = same < 0 ? same : pm_is_same_inode(fd, other);
	if (other >= 0)
		pm_sys->close(other);
	pthread_mutex_lock(&lock);
	latch->pins--;
	return same;
}

/*
 * With the lock held, which it releases meanwhile: the latch of the file. NULL: there is none; or the kernel does not
 * say, which *sure tells. A latch whose last user left while it was pinned does not count any more.
 */
static struct pm_latch *find_same(uint64_t device, int fd, const struct statx *stx, bool *unsure)
{
	struct pm_latch *latch = *find(device, stx->stx_ino, 0);
	uint64_t after = 0;
	if (!latch)
		return NULL;
	pthread_mutex_unlock(&lock);
	bool own = pm_has_own_numbers(fd, stx);
	pthread_mutex_lock(&lock);
	while ((latch = *find(device, stx->stx_ino, after))) {
		after = latch->number;
		if (!latch->users)
			continue;
		int same = own ? 1 : is_of_file(latch, fd, stx);
		if (same > 0 && latch->users)
			return latch;
		*unsure |= same < 0 && latch->users;
		drop_if_unused(latch);
	}
	return NULL;
}

struct pm_latch *pm_latch_join(const struct statx *stx, struct pm_latch_user *user, bool *alone)
{
	uint64_t device = (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor;
	bool unsure = false;
	pthread_mutex_lock(&lock);
	struct pm_latch *latch = find_same(device, user->fd, stx, &unsure);
	*alone = !unsure && !latch;
	if (!latch && (latch = malloc(sizeof(*latch)))) {
		*latch = (struct pm_latch){.device = device, .inode = stx->stx_ino, .number = ++made, .unsure = unsure};
		*find(device, stx->stx_ino, UINT64_MAX) = latch;
	}
	if (latch) {
		user->next = latch->users;
		latch->users = user;
	}
	pthread_mutex_unlock(&lock);
	return latch;
}

void pm_latch_leave(struct pm_latch *latch, struct pm_latch_user *user)
{
	pthread_mutex_lock(&lock);
	struct pm_latch_user **at = &latch->users;
	while (*at != user)
		at = &(*at)->next;
	*at = user->next;
	drop_if_unused(latch);
	pthread_mutex_unlock(&lock);
}

void pm_latch_fail(struct pm_latch *latch, unsigned failures, int error)
{
	pthread_mutex_lock(&lock);
	if (atomic_load(&latch->failures) == failures) {
		atomic_store(&latch->error, error);
		atomic_store(&latch->failures, failures + 1);
	}
	pthread_mutex_unlock(&lock);
}

/* With the lock held: the furthest user except self, of the file or of what may be the same file. */
static struct pm_latch_user *find_furthest(const struct pm_latch *latch, const struct pm_latch_user *self, bool *sure)
{
	struct pm_latch *other;
	struct pm_latch_user *furthest = NULL;
	for (uint64_t after = 0; (other = *find(latch->device, latch->inode, after)); after = other->number) {
		if (other != latch && !other->unsure && !latch->unsure)
			continue;
		for (struct pm_latch_user *user = other->users; user; user = user->next) {
			if (user == self || (furthest && user->end <= furthest->end))
				continue;
			furthest = user;
			*sure = other == latch;
		}
	}
	return furthest;
}

uint64_t pm_latch_others_end(struct pm_latch *latch, const struct pm_latch_user *self, bool *sure)
{
	pthread_mutex_lock(&lock);
	const struct pm_latch_user *furthest = find_furthest(latch, self, sure);
	uint64_t end = furthest ? furthest->end : 0;
	pthread_mutex_unlock(&lock);
	return end;
}

void pm_latch_set_end(struct pm_latch_user *user, uint64_t end)
{
	pthread_mutex_lock(&lock);
	user->end = end;
	pthread_mutex_unlock(&lock);
}

void pm_errors_add(struct pm_errors *e, int error)
{
	if (e->latch)
		pm_latch_fail(e->latch, atomic_load(&e->error_seen), error);
}

bool pm_errors_mark_reported(struct pm_errors *e)
{
	unsigned failures = atomic_load(&e->latch->failures);
	return atomic_exchange(&e->error_reported, failures) != failures;
}
