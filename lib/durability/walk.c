/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>

#include "durability/walk.h"

static __thread struct {
	struct pm_walks *of; /* NULL: this thread does not walk */
	unsigned phase, depth;
} own __attribute__((tls_model("initial-exec")));

void pm_walks_init(struct pm_walks *w)
{
	*w = (struct pm_walks){.phase = 0};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->over_cond, NULL);
}

void pm_walks_destroy(struct pm_walks *w)
{
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->over_cond);
}

void pm_walk_begin(struct pm_walks *w)
{
	if (own.of && ++own.depth)
		return;
	pthread_mutex_lock(&w->lock);
	own.of = w;
	own.phase = w->phase;
	own.depth = 1;
	w->count[own.phase]++;
	pthread_mutex_unlock(&w->lock);
}

void pm_walk_end(struct pm_walks *w)
{
	if (--own.depth)
		return;
	pthread_mutex_lock(&w->lock);
	own.of = NULL;
	w->count[own.phase]--;
	pthread_cond_broadcast(&w->over_cond);
	pthread_mutex_unlock(&w->lock);
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
	pthread_mutex_lock(&w->lock);
	unsigned before = w->phase;
	w->phase = !before;
	while (w->count[before])
		pthread_cond_wait(&w->over_cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
}
