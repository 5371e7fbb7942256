/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PM_SHAPE_H
#define PM_SHAPE_H

#include "facts/subject.h"
#include "mapping/mapping.h"

/* Grows, prepares and syncs the file as the options ask; then gathers the facts again, and may refuse. */
int pm_mapping_shape_file(struct pm_mapping *, const struct pm_options *, pm_evidence_table, struct pm_subject *);
/* -EOPNOTSUPP: the backing has no medium that PM_FROM_MEDIUM could show. */
int pm_shape_check_medium(const struct pm_file *, const struct pm_evidence *);

#endif
