/* SPDX-License-Identifier: BSD-3-Clause */
/* From the mapped part of a file to the evidence about it, and from there to a decision. Changes nothing. */
#ifndef PM_ASSESS_H
#define PM_ASSESS_H

#include "durability/writeback_calls.h"
#include "facts/evidence.h"
#include "facts/policy.h"
#include "facts/subject.h"
#include "file/file.h"
#include "observe/changes.h"
#include "observe/lease.h"
#include "observe/sources.h"

/* What is, or would be, mapped, and what was asked for. */
struct pm_mapped {
	struct pm_span range;
	struct pm_file *file; /* its attributes are taken anew by each assessment; NULL: anonymous memory */
	struct pm_requested requested;
	unsigned syncs;      /* the PM_CALL_... of sys.h that the mapping has needed until now */
	unsigned syncs_of_lines; /* those that it needs for lines besides */
	bool is_prepared;
	bool is_copied_ahead; /* the file system must be kept from it (file/copies.h) while extents may be shared */
	bool is_path_unsynced; /* it is not known whether the path that leads to the file is durable */
	bool is_emergency;   /* the file system went read-only for good, which not every assessment would see */
};

/* The request, for a file or (NULL) for anonymous memory. */
struct pm_requested pm_assess_request(const struct pm_options *, const struct pm_file *);
/* The PM_CALL_... of sys.h that a mapping of the file will make. */
unsigned pm_assess_syncs(const struct pm_file *, const struct pm_options *);
unsigned pm_assess_syncs_of_lines(const struct pm_file *);
/* The subject of the evidence: the range in whole mapping units. */
void pm_assess_subject(const struct pm_file *, const struct pm_requested *, struct pm_span, bool is_writable,
                       struct pm_subject *);
/* The range that the options mean, checked against the file's end; leaves the sentence. */
int pm_assess_range(const struct pm_file *, const struct pm_options *, struct pm_span *ret);

/* Whether pm_map() prepares the file. A created file on a direct medium is prepared unless PM_SPARSE forbids it. */
bool pm_assess_will_prepare(const struct pm_options *, bool is_created, pm_evidence_table);
/* Sets the rows of the extents to what growing and preparing will make of them. */
void pm_assess_assume(pm_evidence_table, const struct pm_options *, bool is_grown, bool is_prepared);
/* Leaves the sentence of a decision that refuses; returns its error. */
int pm_assess_refuse(const struct pm_file *, const struct pm_decision *);

/*
 * Of a live mapping, as long as it is or (length) is to be: gathers what the decision needs and what may have changed,
 * and decides. The watch and the lease are shown as facts. *ret is set only on success; -errno: descriptors or memory
 * ran out.
 */
int pm_assess(struct pm_mapped *, struct pm_medium *, uint64_t length, const struct pm_lease *,
              const struct pm_sources *, pm_evidence_table, struct pm_subject *, struct pm_decision *ret);

#endif
