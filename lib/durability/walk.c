/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stddef.h>

#include "durability/walk.h"

static __thread struct {
	struct pm_walks *of; /* NULL: this thread does not walk */
	unsigned phase, depth;
} own __attribute__((tls_model("initial-exec")));

/* Of all mappings: each holds it for an instant, and a mapping with a lock of its own would be larger. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t over_cond = PTHREAD_COND_INITIALIZER;

void pm_walk_begin(struct pm_walks *w)
{
	if (own.of && ++own.depth)
		return;
	pthread_mutex_lock(&lock);
	own.of = w;
	own.phase = w->phase;
	own.depth = 1;
	w->count[own.phase]++;
	pthread_mutex_unlock(&lock);
}

void pm_walk_end(struct pm_walks *w)
{
	if (--own.depth)
		return;
	pthread_mutex_lock(&lock);
	own.of = NULL;
	w->count[own.phase]--;
	pthread_cond_broadcast(&over_cond);
	pthread_mutex_unlock(&lock);
}

void pm_walk_give_up(void)
{
	if (!own.of)
		return;
	own.depth = 1;
	pm_walk_end(own.of);
}

void pm_walks_wait(struct pm_walks *w)
{
	pthread_mutex_lock(&lock);
	unsigned before = w->phase;
	w->phase = !before;
	while (w->count[before])
		pthread_cond_wait(&over_cond, &lock);
	pthread_mutex_unlock(&lock);
}
