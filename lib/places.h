/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which mapping an address lies in. Any number of threads ask without a lock, while other threads add and remove
 * places; each takes as many steps as the logarithm of their number.
 *
 * A place is never given back to malloc(3): a thread that still stands on one that was removed finds a place there, and
 * the number of removals tells it to begin anew.
 */
#ifndef PM_PLACES_H
#define PM_PLACES_H

#include <stddef.h>
#include <stdint.h>

struct pm_place;

/* One for a mapping to come; NULL: no memory. */
struct pm_place *pm_place_new(void);
void pm_place_free(struct pm_place *);
/* The addresses are nothing else's. */
void pm_place_add(struct pm_place *, const void *low, size_t length, void *owner);
void pm_place_set_length(struct pm_place *, size_t length);
/*
 * Addresses are the owner's no more. behind becomes the place of what is left behind them, and is freed by
 * pm_place_remove() with the place that it was cut off.
 */
void pm_place_cut(struct pm_place *, struct pm_place *behind, const void *low, size_t length);
void pm_place_remove(struct pm_place *);
/* The owner of the place that the address lies in; NULL: it lies in none. */
void *pm_place_find(const void *address);

#endif
