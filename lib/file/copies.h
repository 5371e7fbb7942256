/* SPDX-License-Identifier: BSD-3-Clause */
/* How much of a shared file the file system copies at a time. */
#ifndef PM_FILE_COPIES_H
#define PM_FILE_COPIES_H

#include "file/file.h"

/*
 * A fault that takes a shared block apart allocates for that block alone from now on. 0, or -errno without a sentence;
 * then it may allocate for its neighbours as well. It costs one call where that is so already. may_fail: the call that
 * asks for it may yet fail, and would take it back.
 */
int pm_file_copy_singly(struct pm_file *, bool may_fail);
void pm_file_copy_as_before(struct pm_file *);

#endif
