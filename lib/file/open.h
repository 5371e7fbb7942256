/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening and creating the file under a mapping. */
#ifndef PM_FILE_OPEN_H
#define PM_FILE_OPEN_H

#include "file/file.h"

/*
 * Opens path as the options say. A missing file is created without a name where that is possible (f->unnamed),
 * otherwise by its name, with a write lease if the kernel grants one. On failure nothing is open and nothing was
 * created.
 */
int pm_file_open(struct pm_file *, const char *path, const struct pm_options *);
/*
 * Gives an unnamed file its name. If another process was faster, or the file cannot be named, f->again is set: the
 * caller closes everything and opens the file anew.
 */
int pm_file_link(struct pm_file *, const struct pm_options *);
/*
 * Opens path only for gathering, without a trace as far as possible. For a missing file with PM_CREATE an unnamed
 * temporary file in its directory stands in (f->created); -EOPNOTSUPP where there is none.
 */
int pm_file_open_unseen(struct pm_file *, const char *path, const struct pm_options *);
/*
 * Opens the file behind fd anew, to have a description of the library's own. With PM_BORROW_FD fd itself serves, and
 * pm_file_close() leaves it as it was.
 */
int pm_file_reopen(struct pm_file *, int fd, const struct pm_options *);

/* Borrows fd only for gathering. Fails where pm_file_reopen() would, and where fd is not open for reading. */
int pm_file_borrow_unseen(struct pm_file *, int fd, const struct pm_options *);

#endif
