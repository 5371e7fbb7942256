/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A list in the order of the addresses, with shorter lists above it that each have a quarter of the places below. Its
 * writers hold the lock. A reader that loads a field which was filled anew also sees the removal that came before it:
 * fields are stored with release and loaded with acquire.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "places.h"

#define LEVELS 12u
#define FIRST 16u /* places that need no memory */
#define SLAB 32u

struct pm_place {
	_Atomic uintptr_t low;
	_Atomic size_t length;
	void *_Atomic owner;
	unsigned height; /* the lists that the place is in; 0: none */
	struct pm_place *free_next;
	struct pm_place *rest; /* what was cut off it, under the lock */
	struct pm_place *_Atomic next[LEVELS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pm_place head, first[FIRST], *free_places;
static unsigned used_first;
static uint32_t dice = 2463534242u;
static _Atomic uint64_t removals;

static struct pm_place *next_of(const struct pm_place *p, unsigned level)
{
	return atomic_load_explicit(&p->next[level], memory_order_acquire);
}

static void set_next(struct pm_place *p, unsigned level, struct pm_place *next)
{
	atomic_store_explicit(&p->next[level], next, memory_order_release);
}

/* ---- Memory, with the lock held ---- */

static void put_free(struct pm_place *p)
{
	p->free_next = free_places;
	free_places = p;
}

static struct pm_place *take_free(void)
{
	if (!free_places && used_first < FIRST)
		return &first[used_first++];
	struct pm_place *slab = free_places ? NULL : calloc(SLAB, sizeof(*slab));
	for (unsigned i = 0; slab && i < SLAB; i++)
		put_free(&slab[i]);
	struct pm_place *p = free_places;
	if (p)
		free_places = p->free_next;
	return p;
}

struct pm_place *pm_place_new(void)
{
	pthread_mutex_lock(&lock);
	struct pm_place *p = take_free();
	pthread_mutex_unlock(&lock);
	return p;
}

void pm_place_free(struct pm_place *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&lock);
	put_free(p);
	pthread_mutex_unlock(&lock);
}

/* ---- The lists, with the lock held ---- */

static unsigned throw_dice(void)
{
	unsigned height = 1;
	dice ^= dice << 13;
	dice ^= dice >> 17;
	dice ^= dice << 5;
	for (uint32_t rest = dice; height < LEVELS && !(rest & 3); rest >>= 2)
		height++;
	return height;
}

/* In each list the last place before the address. */
static void find_before(uintptr_t low, struct pm_place *before[LEVELS])
{
	struct pm_place *at = &head;
	for (unsigned level = LEVELS; level--;) {
		for (struct pm_place *next; (next = next_of(at, level)) && atomic_load(&next->low) < low;)
			at = next;
		before[level] = at;
	}
}

/* The lowest list first: a reader that meets the place above can go on below. */
static void put_in_lists(struct pm_place *p, uintptr_t low, size_t length, void *owner)
{
	struct pm_place *before[LEVELS];
	find_before(low, before);
	atomic_store_explicit(&p->low, low, memory_order_release);
	atomic_store_explicit(&p->length, length, memory_order_release);
	atomic_store_explicit(&p->owner, owner, memory_order_release);
	p->height = throw_dice();
	for (unsigned level = 0; level < p->height; level++) {
		set_next(p, level, next_of(before[level], level));
		set_next(before[level], level, p);
	}
}

static void take_out_of_lists(struct pm_place *p)
{
	struct pm_place *before[LEVELS];
	find_before(atomic_load(&p->low), before);
	for (unsigned level = p->height; level--;)
		set_next(before[level], level, next_of(p, level));
	p->height = 0;
	atomic_fetch_add(&removals, 1);
}

/*
 * A reader finds what is left at any time: one that passed the place of behind before it was there begins anew. Of all
 * places only one has something left behind the cut.
 */
static void take_away(struct pm_place *p, struct pm_place *behind, uintptr_t low, uintptr_t high)
{
	uintptr_t start = atomic_load(&p->low), end = start + atomic_load(&p->length);
	if (!p->height || start >= high || end <= low)
		return;
	if (end > high)
		put_in_lists(behind, high, end - high, atomic_load(&p->owner));
	atomic_fetch_add(&removals, 1);
	if (start < low)
		pm_place_set_length(p, low - start);
	else
		take_out_of_lists(p);
}

/* ---- For the mappings ---- */

void pm_place_add(struct pm_place *p, const void *low, size_t length, void *owner)
{
	pthread_mutex_lock(&lock);
	put_in_lists(p, (uintptr_t)low, length, owner);
	pthread_mutex_unlock(&lock);
}

void pm_place_cut(struct pm_place *p, struct pm_place *behind, const void *low, size_t length)
{
	pthread_mutex_lock(&lock);
	for (struct pm_place *one = p; one; one = one->rest)
		take_away(one, behind, (uintptr_t)low, (uintptr_t)low + length);
	behind->rest = p->rest;
	p->rest = behind;
	pthread_mutex_unlock(&lock);
}

void pm_place_set_length(struct pm_place *p, size_t length)
{
	atomic_store_explicit(&p->length, length, memory_order_release);
}

void pm_place_remove(struct pm_place *p)
{
	pthread_mutex_lock(&lock);
	take_out_of_lists(p);
	while (p->rest) {
		struct pm_place *one = p->rest;
		p->rest = one->rest;
		one->rest = NULL;
		take_out_of_lists(one);
		put_free(one);
	}
	pthread_mutex_unlock(&lock);
}

/* ---- Without the lock ---- */

/* false: a place was removed meanwhile. */
static bool walk(uintptr_t address, uint64_t seen, void **owner)
{
	struct pm_place *at = &head;
	for (unsigned level = LEVELS; level--;) {
		for (struct pm_place *next; (next = next_of(at, level));) {
			if (atomic_load_explicit(&next->low, memory_order_acquire) > address)
				break;
			if (atomic_load(&removals) != seen)
				return false;
			at = next;
		}
	}
	uintptr_t low = atomic_load_explicit(&at->low, memory_order_acquire);
	size_t length = atomic_load_explicit(&at->length, memory_order_acquire);
	void *found = atomic_load_explicit(&at->owner, memory_order_acquire);
	*owner = at != &head && address - low < length ? found : NULL;
	return atomic_load(&removals) == seen;
}

void *pm_place_find(const void *address)
{
	void *owner;
	while (!walk((uintptr_t)address, atomic_load(&removals), &owner))
		;
	return owner;
}
