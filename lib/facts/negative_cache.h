/* SPDX-License-Identifier: BSD-3-Clause */
/* What the device behind a file was found to lack. */
#ifndef PM_NEGATIVE_CACHE_H
#define PM_NEGATIVE_CACHE_H

#include <stdbool.h>

#include "facts/subject.h"

enum pm_device_part { PM_DEVICE_REGION = 1, PM_DEVICE_BAD_BLOCKS = 2 };
/* Whether the device is known to lack that part. */
bool pm_device_lacks(const struct pm_subject *, enum pm_device_part);
/* It lacks the part from now on. */
void pm_device_lacked(const struct pm_subject *, enum pm_device_part);

#endif
