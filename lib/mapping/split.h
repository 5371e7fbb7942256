/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PM_SPLIT_H
#define PM_SPLIT_H

#include "mapping/mapping.h"

/* Maps the range of pm_resize() anew if the application has split the mapping, and gives the old one up. */
int pm_mapping_map_anew(struct pm_mapping *, void **ret, size_t length);

#endif
