/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernel/identity.h"
#include "shared_file.h"
#include "sys/sys.h"

#define BUCKETS 4096u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t is_cut = PTHREAD_COND_INITIALIZER; /* one that was making its file shorter has ended */
static struct pm_shared_file *bucket[BUCKETS];           /* each in the order of its numbers */
static uint64_t made, cuts;

/* The first entry of these numbers behind that one. */
static struct pm_shared_file **find_entry(uint64_t device, uint64_t inode, uint64_t after)
{
	struct pm_shared_file **at = &bucket[(inode ^ inode >> 12 ^ device) % BUCKETS];
	while (*at && ((*at)->device != device || (*at)->inode != inode || (*at)->number <= after))
		at = &(*at)->next;
	return at;
}

static void drop_if_unused(struct pm_shared_file *shared)
{
	if (shared->users || shared->pins)
		return;
	*find_entry(shared->device, shared->inode, shared->number - 1) = shared->next;
	free(shared);
}

/*
 * With the lock held, which it releases meanwhile: the question may reach a server. So the entry is pinned, and its
 * file held by a descriptor with O_PATH. Closing such a descriptor drops no record locks, unlike any other.
 */
static int is_of_file(struct pm_shared_file *shared, int fd, const struct statx *stx)
{
	char path[40];
	struct statx now;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", shared->users->fd);
	int other = PM_RETRY(pm_sys->openat(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0));
	shared->pins++;
	pthread_mutex_unlock(&lock);
	int same = other < 0 ? other : PM_RETRY(pm_sys->statx(other, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, &now));
	/* The program closed that mapping's descriptor, and its number leads to another file. */
	if (!same && !pm_has_same_numbers(stx, &now))
		same = -ESTALE;
	same = same < 0 ? same : pm_is_same_inode(fd, other);
	if (other >= 0)
		pm_sys->close(other);
	pthread_mutex_lock(&lock);
	shared->pins--;
	return same;
}

/*
 * With the lock held, which it releases meanwhile: the entry of the file. NULL: there is none; or the kernel does not
 * say, which *sure tells. An entry whose last user left while it was pinned does not count any more.
 */
static struct pm_shared_file *find_same(uint64_t device, int fd, const struct statx *stx, bool *unsure)
{
	struct pm_shared_file *shared = *find_entry(device, stx->stx_ino, 0);
	uint64_t after = 0;
	if (!shared)
		return NULL;
	pthread_mutex_unlock(&lock);
	bool own = pm_has_own_numbers(fd, stx);
	pthread_mutex_lock(&lock);
	while ((shared = *find_entry(device, stx->stx_ino, after))) {
		after = shared->number;
		if (!shared->users)
			continue;
		int same = own ? 1 : is_of_file(shared, fd, stx);
		if (same > 0 && shared->users)
			return shared;
		*unsure |= same < 0 && shared->users;
		drop_if_unused(shared);
	}
	return NULL;
}

/* Whether the entry is of the file, or of what may be the same one. */
static bool concerns(const struct pm_shared_file *other, const struct pm_shared_file *shared)
{
	return other == shared || other->unsure || shared->unsure;
}

/* With the lock held: another one makes the file shorter. */
static bool is_being_cut(const struct pm_shared_file *shared, const struct pm_file_user *self)
{
	struct pm_shared_file *other;
	for (uint64_t after = 0; (other = *find_entry(shared->device, shared->inode, after)); after = other->number)
		if (concerns(other, shared) && other->is_cut && !self->cuts)
			return true;
	return false;
}

/* With the lock held, which it releases meanwhile; the entry stays, since self uses it. */
static void wait_for_cut(const struct pm_shared_file *shared, const struct pm_file_user *self)
{
	int cancel_state;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	while (is_being_cut(shared, self))
		pthread_cond_wait(&is_cut, &lock);
	pthread_setcancelstate(cancel_state, NULL);
}

struct pm_shared_file *pm_shared_file_join(const struct statx *stx, struct pm_file_user *user, bool *alone)
{
	uint64_t device = (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor;
	bool unsure = false;
	pthread_mutex_lock(&lock);
	struct pm_shared_file *shared = find_same(device, user->fd, stx, &unsure);
	*alone = !unsure && !shared;
	if (!shared && (shared = malloc(sizeof(*shared)))) {
		*shared = (struct pm_shared_file){
			.device = device, .inode = stx->stx_ino, .number = ++made, .unsure = unsure};
		*find_entry(device, stx->stx_ino, UINT64_MAX) = shared;
	}
	if (shared) {
		user->next = shared->users;
		user->at = &shared->users;
		if (user->next)
			user->next->at = &user->next;
		shared->users = user;
		atomic_store(&user->is_poisoned, atomic_load(&shared->error_seq) > 0);
		wait_for_cut(shared, user);
	}
	pthread_mutex_unlock(&lock);
	return shared;
}

void pm_shared_file_leave(struct pm_shared_file *shared, struct pm_file_user *user)
{
	pthread_mutex_lock(&lock);
	*user->at = user->next;
	if (user->next)
		user->next->at = user->at;
	drop_if_unused(shared);
	pthread_mutex_unlock(&lock);
}

void pm_shared_file_fail(struct pm_shared_file *shared, unsigned failures, int error)
{
	pthread_mutex_lock(&lock);
	if (atomic_load(&shared->error_seq) == failures) {
		atomic_store(&shared->error, error);
		atomic_store(&shared->error_seq, failures + 1);
		for (struct pm_file_user *user = shared->users; user; user = user->next)
			atomic_store(&user->is_poisoned, true);
	}
	pthread_mutex_unlock(&lock);
}

/* With the lock held: the furthest user except self, of the file or of what may be the same file. */
static struct pm_file_user *find_furthest(const struct pm_shared_file *shared, const struct pm_file_user *self,
                                          bool *sure)
{
	struct pm_shared_file *other;
	struct pm_file_user *furthest = NULL;
	for (uint64_t after = 0; (other = *find_entry(shared->device, shared->inode, after)); after = other->number) {
		for (struct pm_file_user *user = concerns(other, shared) ? other->users : NULL; user;
		     user = user->next) {
			if (user == self || (furthest && user->end <= furthest->end))
				continue;
			furthest = user;
			*sure = other == shared;
		}
	}
	return furthest;
}

bool pm_shared_file_begin_cut(struct pm_shared_file *shared, struct pm_file_user *self, uint64_t end, bool *sure)
{
	pthread_mutex_lock(&lock);
	wait_for_cut(shared, self);
	const struct pm_file_user *furthest = find_furthest(shared, self, sure);
	self->cuts = !furthest || furthest->end <= end;
	shared->is_cut = self->cuts;
	bool begins = self->cuts;
	pthread_mutex_unlock(&lock);
	return begins;
}

void pm_shared_file_end_cut(struct pm_shared_file *shared, struct pm_file_user *self)
{
	pthread_mutex_lock(&lock);
	shared->is_cut = self->cuts = false;
	cuts++;
	pthread_cond_broadcast(&is_cut);
	pthread_mutex_unlock(&lock);
}

uint64_t pm_shared_files_cuts(void)
{
	pthread_mutex_lock(&lock);
	uint64_t now = cuts;
	pthread_mutex_unlock(&lock);
	return now;
}

void pm_shared_file_reach(struct pm_shared_file *shared, struct pm_file_user *self, uint64_t end)
{
	pthread_mutex_lock(&lock);
	wait_for_cut(shared, self);
	self->end = end;
	pthread_mutex_unlock(&lock);
}

void pm_shared_file_set_end(struct pm_file_user *user, uint64_t end)
{
	pthread_mutex_lock(&lock);
	user->end = end;
	pthread_mutex_unlock(&lock);
}

static unsigned seen_by(const struct pm_errors *e)
{
	pthread_mutex_lock(&lock);
	unsigned seen = e->error_seen;
	pthread_mutex_unlock(&lock);
	return seen;
}

int pm_errors_add(struct pm_errors *e, int error)
{
	if (e->shared)
		pm_shared_file_fail(e->shared, seen_by(e), error);
	return error;
}

void pm_errors_clear(struct pm_errors *e, unsigned failures)
{
	pthread_mutex_lock(&lock);
	e->error_seen = failures;
	atomic_store(&e->user.is_poisoned, atomic_load(&e->shared->error_seq) != failures);
	pthread_mutex_unlock(&lock);
}

bool pm_errors_mark_reported(struct pm_errors *e)
{
	unsigned failures = atomic_load(&e->shared->error_seq);
	return atomic_exchange(&e->error_reported, failures) != failures;
}
