/* SPDX-License-Identifier: BSD-3-Clause */
/* What facts are gathered about: an open file, and the part of it that is mapped or would be. */
#ifndef PM_SUBJECT_H
#define PM_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "facts/evidence.h"
#include "pmdirect.h"

struct pm_name;

/* What gathering finds, beside the rows. */
struct pm_findings {
	bool emergency;                /* the file system became read-only for good; may be set beforehand */
	uint64_t hole_end, shared_end; /* where the first hole and the first shared part end */
	bool is_device_asked;          /* pm_device_find() was called */
	int device_error;              /* what it returned */
	uint64_t device_entry;         /* the number of its entry in /sys/dev/block; 0: not gathered, or none */
	uint32_t file_system;          /* its f_type, unless that is a server's; else 0 */
	enum pm_state fsync_complete;  /* the row of that name */
	bool no_outer_journal;         /* an ext4 whose journal lies on no other device */
	bool fsync_may_skip_inode;     /* an ext4, or a file system that may be one, whose row is not yes */
	unsigned region;               /* the number of the nd region, else PM_NO_REGION */
	bool caches_may_stay;          /* a direct file whose CPU caches are not known to survive */
};

#define PM_NO_REGION ~0u

struct pm_subject {
	enum pm_backing backing;
	int fd; /* -1 for anonymous memory */
	struct statx stx;
	uint64_t offset, length;    /* of the file, in whole mapping units; length > 0 */
	uint64_t end;               /* of the file: the end of the range that the caller asked for */
	size_t unit;                /* mappings begin and end at multiples of it */
	bool writable;
	enum pm_access access;
	bool is_borrowed;           /* fd is the caller's, and no other description may be opened */
	bool just_opened;           /* for writing, by the current call */
	bool is_anew;               /* nothing that can change is taken from an earlier look */
	unsigned syncs;             /* the PM_CALL_... of sys.h that make the mapping durable, as far as known by now */
	unsigned syncs_of_lines;    /* of them those that made durable what lines depend on */
	bool unseen;                /* nothing may be changed, not even without a trace in the content */
	void *map;                  /* for residency; NULL if not mapped */
	uint64_t bytes_beyond;      /* write-backs wrote of large folios, beyond what they were asked for */
	bool is_partial;            /* of map something was given up */
	bool uses_libpmem;          /* the mapping uses libpmem */
	bool lease_held;            /* by the mapping; if not, */
	int lease_error;            /* the positive errno of the last attempt; 0: there was none */
	enum pm_state watched;      /* by inotify; no: only by looks, and */
	int watch_error;            /* the positive errno that says why */
	int file_error;             /* the positive errno of a statx(2) that failed: then stx is older */
	const struct pm_name *name; /* NULL: not remembered, and not needed */
	struct pm_findings found;
};

#endif
