/* SPDX-License-Identifier: BSD-3-Clause */
/* After a write-back failed. */
#ifndef PM_RECOVER_H
#define PM_RECOVER_H

#include "durability/engine.h"

/*
 * Makes every cached page dirty again, keeping its content, and writes all back. On success the latched error is
 * cleared.
 */
int pm_page_recover(struct pm_medium *);

#endif
