/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the NVDIMMs of a region keep what is stored in them. */
#ifndef PM_ARMED_H
#define PM_ARMED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "facts/evidence.h"

/* Of two parts the one that promises less counts: no before unknown before yes; of two noes the one with a value. */
bool pm_evidence_is_worse(enum pm_state, uint64_t value, const struct pm_evidence *than);
/* Yes: all of them do. Value when no: 1 if one cannot. */
void pm_evidence_armed(struct pm_evidence *, unsigned region);
/* The number of the DIMM that holds the nth part of the region. Returns 0 or -errno. */
int pm_dimm_find(unsigned region, unsigned nth, unsigned *dimm);
/* An attribute of a DIMM, from the directory of the firmware table that describes it. Returns 0 or -errno. */
int pm_dimm_read(unsigned dimm, const char *name, char *text, size_t size);

#endif
