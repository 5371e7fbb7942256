/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why a store found no block. A fault only says that it failed (SIGBUS; EFAULT of MADV_POPULATE_WRITE), whether for
 * lack of space, a quota, an attribute or a failing medium. fallocate(2) asks for the same block by the same rules, and
 * returns the reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "file/forbidden.h"
#include "file/no_block.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

static bool is_reason(int rc)
{
	return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;
}

/* FALLOC_FL_KEEP_SIZE, and not beyond the end: the file does not grow. */
static int ask_for_blocks(int fd, const struct statx *stx, uint64_t start, uint64_t end)
{
	end = end < stx->stx_size ? end : stx->stx_size;
	return start < end ? PM_RETRY(pm_sys->fallocate_keep_size(fd, start, end - start)) : 0;
}

/* Without fallocate(2) only the file system's counter of free blocks shows it; the counter does not know quotas. */
static int ask_counter(int fd)
{
	struct statfs stfs;
	return !PM_RETRY(pm_sys->fstatfs(fd, &stfs)) && stfs.f_blocks && !stfs.f_bavail ? -ENOSPC : 0;
}

bool pm_file_copies_each_store(int fd)
{
	struct statfs stfs;
	return !PM_RETRY(pm_sys->fstatfs(fd, &stfs)) && pm_has_quirk((uint32_t)stfs.f_type, PM_FS_COPIES_EACH_STORE);
}

int pm_file_why_no_block(int fd, const struct statx *stx, uint64_t offset, uint64_t length)
{
	struct statx now;
	if (!PM_RETRY(pm_sys->statx(fd, "", AT_EMPTY_PATH, &now)) && pm_file_is_fixed(&now))
		return -EPERM;
	int rc = ask_for_blocks(fd, stx, offset, offset + length);
	if (!rc) {
		uint64_t start = offset - offset % PM_LARGEST_FOLIO, end = offset + length + PM_LARGEST_FOLIO - 1;
		rc = ask_for_blocks(fd, stx, start, end - end % PM_LARGEST_FOLIO);
	}
	if (rc == -EOPNOTSUPP || rc == -ENOSYS)
		return ask_counter(fd);
	/* fallocate(2) is content with the blocks that are there, which the store would not use. */
	if (!rc && pm_file_copies_each_store(fd) && ask_counter(fd))
		return -ENOSPC;
	return is_reason(rc) ? rc : rc ? 0 : PM_BLOCK_IS_THERE;
}
