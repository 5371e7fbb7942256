/* SPDX-License-Identifier: BSD-3-Clause */
/* What has changed since the last look: the evidence against a snapshot of what was seen before. */
#ifndef PM_CHANGES_H
#define PM_CHANGES_H

#include "facts/evidence.h"
#include "facts/subject.h"

struct pm_snapshot {
	bool is_taken; /* there is something to compare with: */
	enum pm_state unshared, allocated, dax, dax_flag, writable, fs_online, bad;
	enum pm_reason name; /* what became of it; PM_REASON_NONE: the file has it, as far as is known */
	uint64_t end;        /* of the file, where it is inside the range; else of the range */
	uint64_t size;       /* of the file */
};

/* The range of the file that a mapping shows. */
struct pm_span {
	uint64_t offset, length;
};

/* A change of the file, in a part of it. */
struct pm_file_change {
	enum pm_reason reason;
	int error; /* negative, 0 if none */
	uint64_t offset, length;
};

/* More than a look can find: at most one of each kind. */
#define PM_CHANGES 16

struct pm_changes {
	struct pm_span range;
	unsigned count;
	struct pm_file_change change[PM_CHANGES];
};

/* Adds a change of the whole range. */
struct pm_file_change *pm_changes_add(struct pm_changes *, enum pm_reason);
/* What has changed. is_modified: the file was written, as announced. */
struct pm_changes pm_changes_find(struct pm_snapshot *, const struct pm_evidence *, const struct pm_subject *,
                                  struct pm_span, bool is_modified);
/* The next pm_changes_find() compares with this. */
void pm_snapshot_take(struct pm_snapshot *, const struct pm_evidence *, const struct pm_subject *, struct pm_span);

#endif
