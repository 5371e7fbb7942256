/* SPDX-License-Identifier: BSD-3-Clause */
/* The faults of pages, taken by a call and not by accesses: MADV_POPULATE_READ and MADV_POPULATE_WRITE (Linux 5.14). */
#ifndef PM_POPULATE_H
#define PM_POPULATE_H

#include <stdbool.h>
#include <stddef.h>

/* Of whole pages. -EFAULT: one of them cannot be accessed. is_direct: of a DAX file. */
int pm_populate(char *at, size_t length, int advice, bool is_direct);

#endif
