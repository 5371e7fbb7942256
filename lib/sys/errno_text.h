/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PM_ERRNO_TEXT_H
#define PM_ERRNO_TEXT_H

/* What the libc calls an errno; NULL for none. The libc decides which file has it. */
const char *pm_errno_text(int code);

#endif
