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
/* Of a device-dax node. -ENODEV: the character device is none; another error: /sys does not tell. */
int pm_device_dax_align(const struct statx *, size_t *align, uint64_t *size);

#endif
