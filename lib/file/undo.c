/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A failing call takes back only what no other process can have by then. If the lease (claim.c) was refused, broken or
 * forced, the change stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "file/beside.h"
#include "file/claim.h"
#include "file/copies.h"
#include "file/file.h"
#include "file/undo.h"
#include "sys/sys.h"

/*
 * Linux removes a name, not a file: another process can rename(2) its own file over the name between a check and the
 * unlinkat(2). So the name is first moved aside, to one that no other program knows, without replacing anything. What
 * stands there is removed if it is the file, and moved back if not.
 */
static int move_aside(struct pm_file *f)
{
	int rc = -EEXIST;
	for (unsigned n = 0; rc == -EEXIST && n < PM_BESIDE_MAX; n++) {
		pm_file_name_beside(f, n);
		rc = PM_RETRY(pm_sys->renameat2_noreplace(f->directory_fd, f->entry, f->beside));
	}
	if (rc)
		f->beside[0] = 0;
	return rc;
}

/* Of a file that pm_file_is_alone(): its numbers are those of the local kernel, and no other file has them. */
static void remove_entry(struct pm_file *f)
{
	char text[NAME_MAX + 100];
	/* If it does not answer, the earlier answer stands. */
	struct statx now;
	if (!PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &now)))
		f->stx = now;
	int rc = pm_file_is_called(f, f->entry) ? move_aside(f) : -ENOENT;
	if (rc == -ENOENT) /* another process has moved it, or put another file in its place */
		return;
	if (rc) {
		snprintf(text, sizeof(text), "the file was created and stays, as it cannot be renamed: %s",
		         pm_strerror(rc));
		pm_fail_also(text);
		return;
	}
	if (pm_file_is_called(f, f->beside)) {
		pm_file_drop_beside(f);
		return;
	}
	rc = PM_RETRY(pm_sys->renameat2_noreplace(f->directory_fd, f->beside, f->entry));
	if (rc) {
		snprintf(text, sizeof(text),
		         "another process replaced the file meanwhile, and its file is called %.200s now: %s",
		         f->beside, pm_strerror(rc));
		pm_fail_also(text);
	}
	f->beside[0] = 0;
}

#define OTHERS "another descriptor has it open, perhaps one of this process" /* no lease says which process it is */

static void report_growth(const struct pm_file *f, uint64_t size)
{
	char text[160];
	snprintf(text, sizeof(text), "the file was grown to %llu bytes and stays so: " OTHERS,
	         (unsigned long long)size);
	pm_fail_also(size > f->original_size ? text : "blocks that were reserved behind its end may stay: " OTHERS);
}

/*
 * Blocks that were reserved beyond the end are released by setting the size that the file has. That cuts nothing while
 * no other process can change the size.
 */
static void undo_growth(struct pm_file *f)
{
	struct statx now;
	/* The kernel refused the growth before it changed the file. */
	bool knows = !PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &now));
	if (knows && now.stx_size == f->original_size && now.stx_blocks == f->original_blocks)
		return;
	bool untouched = pm_file_is_alone(f);
	if (!untouched) {
		pm_file_release(f);
		pm_file_claim(f);
	}
	if (!untouched && !pm_file_is_alone(f)) {
		report_growth(f, knows ? now.stx_size : f->original_size);
		return;
	}
	if (!PM_RETRY(pm_sys->statx(f->fd, "", AT_EMPTY_PATH, &now)))
		PM_RETRY(pm_sys->ftruncate(f->fd, untouched ? f->original_size : now.stx_size));
}

void pm_file_undo(struct pm_file *f)
{
	if (f->created && !f->unnamed) {
		if (!pm_file_is_alone(f))
			pm_fail_also("the file was created and stays: " OTHERS);
		else
			remove_entry(f);
	} else if (!f->created && f->grown) {
		undo_growth(f);
	}
	pm_file_copy_as_before(f);
	f->grown = false;
	pm_file_release(f);
}

bool pm_file_was_overtaken(const struct pm_file *f, int rc)
{
	struct statx now;
	return (rc == -ENOSPC || rc == -EDQUOT) && f->unnamed && f->entry &&
	       !PM_RETRY(pm_sys->statx(f->directory_fd, f->entry, AT_SYMLINK_NOFOLLOW, &now));
}
