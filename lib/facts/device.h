/* SPDX-License-Identifier: BSD-3-Clause */
/* The block device of a file's file system, as its entry in sysfs shows it, and what it was found to lack. */
#ifndef PM_DEVICE_H
#define PM_DEVICE_H

#include <stdbool.h>

#include "facts/subject.h"

/* Finds the entry of a regular file's device, once for each subject. Returns 0 or -errno. */
int pm_device_find(struct pm_subject *);

#define PM_DEVICE_LINK 256
/* Where that entry leads to in sysfs: the last part is the name of the device. Returns 0 or -errno. */
int pm_device_link(struct pm_subject *, char text[static PM_DEVICE_LINK]);

enum pm_device_part { PM_DEVICE_REGION = 1, PM_DEVICE_BAD_BLOCKS = 2 };
/* Whether the device is known to lack that part. */
bool pm_device_lacks(const struct pm_subject *, enum pm_device_part);
/* It lacks the part from now on. */
void pm_device_lacked(const struct pm_subject *, enum pm_device_part);

#endif
