/* SPDX-License-Identifier: BSD-3-Clause */
/* The health of the medium. */
#ifndef PM_HEALTH_H
#define PM_HEALTH_H

#include <stdint.h>

#include "facts/evidence.h"
#include "facts/subject.h"

/* Bad blocks of the range. */
void pm_evidence_bad_blocks(pm_evidence_table, const struct pm_subject *);
/* The other rows, after the region was found. */
void pm_evidence_health(pm_evidence_table, const struct pm_subject *);
/*
 * The first bad blocks of [offset, end) that lie together, by the kernel's list and the file's extents; *bytes is 0 if
 * there are none. The row of the file system must be filled. -errno: the kernel does not report them; -EOVERFLOW: the
 * list is longer than sysfs shows.
 */
int pm_bad_blocks_find(pm_evidence_table, const struct pm_subject *, uint64_t *first, uint64_t *bytes);

#endif
