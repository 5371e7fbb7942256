/* SPDX-License-Identifier: BSD-3-Clause */
/* Direct media: the CPU writes cache lines back, or its caches are in the persistence domain. */
#ifndef PM_DIRECT_H
#define PM_DIRECT_H

#include "durability/engine.h"

/* PM_CACHE_LINE: the lines are written back, then a fence. No system call. */
extern const struct pm_strategy pm_strategy_cacheline;
/* PM_BYTE (eADR): the CPU caches are in the persistence domain, a fence orders the stores. */
extern const struct pm_strategy pm_strategy_fence;

/*
 * Whether msync(2) writes the CPU caches of the medium back by now: the kernel does where dax/write_cache is 1
 * (drivers/dax/super.c dax_flush), which root may switch at any time.
 */
bool pm_kernel_writes_lines(const struct pm_medium *);
/* From so many bytes on asking the kernel costs less than walking over all lines. */
#define PM_KERNEL_KNOWS_FROM ((size_t)16 << 20)

/* Makes durable what any process did to the file by other means than stores: the metadata of the whole file. */
int pm_commit_inode(struct pm_medium *);
/*
 * Moves the modification time of a file that is mapped for writing, by a descriptor that was just shown to lead to it.
 */
void pm_touch(struct pm_medium *);
/* Everything that was stored, and what pm_commit_inode() covers. */
int pm_sync_lines(struct pm_medium *);

#endif
