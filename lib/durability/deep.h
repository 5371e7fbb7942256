/* SPDX-License-Identifier: BSD-3-Clause */
/* Beyond the persistence domain: a failure of the platform's power-fail flush is covered too. For direct media. */
#ifndef PM_DEEP_H
#define PM_DEEP_H

#include "durability/engine.h"

int pm_deepen(struct pm_medium *, const void *address, size_t length);

#endif
