/* SPDX-License-Identifier: BSD-3-Clause */
/* The faults of pages, taken by a call and not by accesses: MADV_POPULATE_READ and MADV_POPULATE_WRITE (Linux 5.14). */
#ifndef PM_POPULATE_H
#define PM_POPULATE_H

#include <stdbool.h>
#include <stddef.h>

/* Of whole pages. -EFAULT: one of them cannot be accessed. is_direct: of a DAX file. */
int pm_populate(char *at, size_t length, int advice, bool is_direct);

/*
 * The page tables of a prepared range, which is synced. On a direct medium a later store takes no fault. In the page
 * cache a write fault makes its page dirty (mm/memory.c fault_dirty_shared_page), and the first write-back would write
 * the whole range once more: so only loads are served, and the first store to each page still takes a fault. Where no
 * write-back exists (tmpfs, hugetlbfs) a page that is populated for loads takes stores as well (mm/mmap.c
 * vma_set_page_prot). What fails is served by later faults.
 */
void pm_populate_prepared(char *at, size_t length, bool is_direct);

#endif
