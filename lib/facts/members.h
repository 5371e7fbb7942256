/* SPDX-License-Identifier: BSD-3-Clause */
/* The further devices of a file system. */
#ifndef PM_MEMBERS_H
#define PM_MEMBERS_H

#include <sys/stat.h>

#include "facts/descent.h"
#include "facts/mount.h"
#include "kernel/quirks.h"

/* All devices of a btrfs. */
void pm_descend_btrfs(const struct pm_mount_facts *, unsigned depth, struct pm_descent *);
/* Those of another file system beyond d->device, which its first device is. */
void pm_descend_members(const struct pm_file_system *, const struct pm_mount_facts *, const struct statx *,
                        unsigned depth, struct pm_descent *d);

#endif
