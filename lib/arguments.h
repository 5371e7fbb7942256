/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PM_ARGUMENTS_H
#define PM_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "pmdirect.h"

/* Each returns 0, or -errno with the sentence of the call. */
int pm_null_argument(const char *call, const char *name, const char *what);
int pm_no_mapping(const char *call) __attribute__((cold));
/* Accepts options of any version of the struct, and none; *ret is a complete one of this version. */
int pm_take_options(const char *call, const char *path, const struct pm_options *, struct pm_options *ret);
int pm_check_report(const char *call, const char *name, const struct pm_report *, size_t size);

bool pm_is_event_size(size_t size);
bool pm_is_statistics_size(size_t size);
bool pm_is_fault_size(size_t size);

#endif
