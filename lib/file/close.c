/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <stdlib.h>

#include "facts/name.h"
#include "file/beside.h"
#include "file/claim.h"
#include "file/close.h"
#include "file/file.h"
#include "kernel/kept.h"
#include "sys/sys.h"

void pm_file_close_directory(struct pm_file *f)
{
	pm_file_drop_beside(f);
	if (f->directory_fd >= 0)
		pm_sys->close(f->directory_fd);
	f->directory_fd = -1;
	free(f->entry);
	f->entry = NULL;
	f->sync_all = false;
}

void pm_file_close(struct pm_file *f)
{
	pm_file_close_directory(f);
	pm_name_forget(&f->place, &(struct pm_named_file){f->fd, &f->stx, f->f_type});
	pm_file_release(f);
	bool ours = f->fd >= 0 && (!f->kept || pm_kept_file_release(&f->identity)) && !f->borrowed;
	if (ours && f->callers)
		PM_RETRY(pm_sys->fcntl_setown(f->fd, &f->owner));
	else if (ours)
		pm_sys->close(f->fd);
	f->fd = -1;
}
