/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdlib.h>

#include "latch.h"

#define BUCKETS 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pm_latch *bucket[BUCKETS];

static struct pm_latch **find(uint64_t device, uint64_t inode)
{
	struct pm_latch **at = &bucket[(inode ^ device) % BUCKETS];
	while (*at && ((*at)->device != device || (*at)->inode != inode))
		at = &(*at)->next;
	return at;
}

struct pm_latch *pm_latch_join(const struct statx *stx, struct pm_latch_user *user, bool *alone)
{
	uint64_t device = (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor;
	pthread_mutex_lock(&lock);
	struct pm_latch **at = find(device, stx->stx_ino), *latch = *at;
	*alone = !latch;
	if (!latch && (latch = malloc(sizeof(*latch)))) {
		*latch = (struct pm_latch){.device = device, .inode = stx->stx_ino};
		*at = latch;
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
	if (!latch->users) {
		*find(latch->device, latch->inode) = latch->next;
		free(latch);
	}
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

bool pm_latch_alone(struct pm_latch *latch)
{
	pthread_mutex_lock(&lock);
	bool alone = !latch->users->next;
	pthread_mutex_unlock(&lock);
	return alone;
}

uint64_t pm_latch_others_end(struct pm_latch *latch, const struct pm_latch_user *self)
{
	uint64_t end = 0;
	pthread_mutex_lock(&lock);
	for (struct pm_latch_user *user = latch->users; user; user = user->next)
		if (user != self && user->end > end)
			end = user->end;
	pthread_mutex_unlock(&lock);
	return end;
}

void pm_latch_set_end(struct pm_latch_user *user, uint64_t end)
{
	pthread_mutex_lock(&lock);
	user->end = end;
	pthread_mutex_unlock(&lock);
}
