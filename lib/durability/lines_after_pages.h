/* SPDX-License-Identifier: BSD-3-Clause */
/* PM_CACHE_LINE of a mapping that was demoted to pages and promoted again. */
#ifndef PM_LINES_AFTER_PAGES_H
#define PM_LINES_AFTER_PAGES_H

#include "durability/engine.h"

/* Completes what was recorded meanwhile too. */
extern const struct pm_strategy pm_strategy_line_after_page;

#endif
