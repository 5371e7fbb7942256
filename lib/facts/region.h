/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory region behind the file's device. */
#ifndef PM_REGION_H
#define PM_REGION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "facts/evidence.h"
#include "facts/subject.h"

void pm_evidence_region(pm_evidence_table, struct pm_subject *);
/* The alignment of a device-dax node, and its size; 0 if the file is no such node. */
size_t pm_device_dax_align(const struct statx *, uint64_t *size);

#endif
