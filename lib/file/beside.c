/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <stdio.h>

#include "file/beside.h"
#include "file/file.h"
#include "kernel/identity.h"
#include "sys/sys.h"

void pm_file_name_beside(struct pm_file *f, unsigned n)
{
	snprintf(f->beside, NAME_MAX + 1, ".%.200s.pm-%u", f->entry, n);
}

void pm_file_drop_beside(struct pm_file *f)
{
	if (!f->entry || !f->beside[0])
		return;
	PM_RETRY(pm_sys->unlinkat(f->directory_fd, f->beside));
	f->beside[0] = 0;
}

bool pm_file_is_called(const struct pm_file *f, const char *entry)
{
	struct statx now;
	return !PM_RETRY(pm_sys->statx(f->directory_fd, entry, AT_SYMLINK_NOFOLLOW, &now)) &&
	       pm_has_same_numbers(&now, &f->stx);
}
