/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "facts/evidence.h"

void pm_evidence_set(struct pm_evidence *row, enum pm_state state, int error, const char *source, const char *text)
{
	*row = (struct pm_evidence){.state = state, .error = error, .source = source};
	if (text)
		memcpy(row->text, text, strnlen(text, sizeof(row->text) - 1));
}

void pm_evidence_clear(pm_evidence_table e)
{
	for (int i = 0; i < PM_EVIDENCE_ROWS; i++)
		pm_evidence_set(&e[i], PM_UNKNOWN, 0, "not asked", NULL);
}
