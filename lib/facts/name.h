/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a path leads to the file. */
#ifndef PM_NAME_H
#define PM_NAME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "facts/evidence.h"
#include "facts/subject.h"

/* The file's name and birth when it was mapped. */
struct pm_name {
	int fd;     /* O_PATH: the kernel shows the path by it; 0: by the file's own descriptor */
	char *path; /* the path from the kernel, to be freed; NULL: not known, for a positive errno: */
	int error;
	bool path_differs;   /* the kernel shows another path than the created one: FUSE by paths, after link(2) */
	bool now_is_removed; /* the file had no name any more */
	bool was_linked;     /* the file was seen with a link */
	bool has_birth;
	struct statx_timestamp birth;
};

/* The file that a name belongs to. */
struct pm_named_file {
	int fd;
	const struct statx *stx;
	uint32_t f_type; /* of its file system; 0: not known */
};

/* Remembers the name that the kernel reports for an open file. */
void pm_name_remember(struct pm_name *, int fd, const struct statx *);
void pm_name_forget(struct pm_name *, const struct pm_named_file *);
/*
 * For a file that was opened without a name and has an entry in the directory now. By the descriptor that it was opened
 * with, the kernel goes on to report no path (fs/dcache.c d_mark_tmpfile).
 */
void pm_name_follow(struct pm_name *, int directory_fd, const char *entry, const struct pm_named_file *);
/* Notes that the row, which was just filled, shows links. */
void pm_name_note(struct pm_name *, const struct pm_evidence *named);
/* Whether the descriptor leads to another file than when the name was remembered. */
bool pm_name_is_reborn(const struct pm_name *, const struct statx *);

/* Fills the row from what was just remembered; by_path: the file was just opened by its path. */
void pm_evidence_named_at_first(pm_evidence_table, const struct pm_subject *, bool by_path);
void pm_evidence_named(pm_evidence_table, const struct pm_subject *);

#endif
