/* SPDX-License-Identifier: BSD-3-Clause */
/* Turns that a thread leads for itself alone. */
#ifndef PM_ALONE_H
#define PM_ALONE_H

#include "durability/engine.h"

/*
 * Makes every cached page dirty again, keeping its content, and writes all back. On success the latched error is
 * cleared.
 */
int pm_page_recover(struct pm_medium *);
/* Gives [low, high) up, for which there is room, while nothing is written. */
void pm_page_give_up(struct pm_medium *, struct pm_gaps *room, uintptr_t low, uintptr_t high);
/*
 * Syncs the file by the mapping's description, while nothing else is written: the kernel reports an error once for each
 * description. The error is the one of the sync, or the one that is latched.
 */
int pm_page_sync_file(struct pm_medium *, int (*sync)(void *), void *arg);

#endif
