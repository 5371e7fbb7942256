/* SPDX-License-Identifier: BSD-3-Clause */
/* pm_set_log(): one function a process that gets a sentence for each event. */
#ifndef PM_LOG_H
#define PM_LOG_H

#include "pmdirect.h"

/* No lock is held but the log's own. */
void pm_log_event(const char *name, const struct pm_event *);

#endif
