/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rows of the evidence: facts, each with its source. A row that was not gathered, or whose source did not answer,
 * is unknown.
 */
#ifndef PM_EVIDENCE_H
#define PM_EVIDENCE_H

#include <errno.h>

#include "pmdirect.h"

typedef struct pm_evidence pm_evidence_table[PM_EVIDENCE_ROWS];

enum pm_backing {
	PM_BACKING_FILE, /* regular file or block device */
	PM_BACKING_DEVICE_DAX,
	PM_BACKING_PRIVATE, /* copy on write */
	PM_BACKING_ANONYMOUS,
};

/* The error of the row about the name, where the file has none: what became of it. */
enum pm_name_end {
	PM_NAME_REMOVED = ENOENT,
	PM_NAME_REPLACED = EEXIST, /* another file has its path */
	PM_NAME_MOVED = EREMCHG,
	PM_NAME_NEVER = ENOLINK,
	PM_NAME_COPIED_UP = ESTALE,
	PM_NAME_MOUNTED_OVER = EBUSY, /* a mount hides it; the path leads to another file, or to none */
};

/* The error of PM_EV_WRITABLE where the file is immutable or append-only, whatever its file system is. */
#define PM_IMMUTABLE EPERM

/* Sets a row. source must be static text. */
void pm_evidence_set(struct pm_evidence *row, enum pm_state state, int error, const char *source, const char *text);
void pm_evidence_clear(pm_evidence_table);

#endif
