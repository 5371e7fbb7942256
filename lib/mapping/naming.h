/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PM_NAMING_H
#define PM_NAMING_H

#include "facts/subject.h"
#include "mapping/mapping.h"

/* Remembers the file's name, and sets its row. */
void pm_mapping_name_at_first(struct pm_mapping *, pm_evidence_table, const struct pm_subject *);
/* Takes the present path of a moved file as its path from now on. */
void pm_mapping_acknowledge_name(struct pm_mapping *);
/*
 * Whether an overlay copied the file up, so that its descriptor and its path lead to another file than the mapped one.
 */
bool pm_mapping_is_of_another(struct pm_mapping *);

#endif
