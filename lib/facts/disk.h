/* SPDX-License-Identifier: BSD-3-Clause */
/* From a device down to what keeps its data. */
#ifndef PM_DISK_H
#define PM_DISK_H

#include "facts/descent.h"

/* directory: of the device, in sysfs. */
void pm_descend_device(const char *directory, unsigned depth, struct pm_descent *);
/* The same where it is known what that directory, a link, leads to; or got is a negative errno, which says why not. */
void pm_descend_link(const char *directory, const char *link, int got, unsigned depth, struct pm_descent *);

#endif
