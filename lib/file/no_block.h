/* SPDX-License-Identifier: BSD-3-Clause */
/* Why a store found no block. */
#ifndef PM_FILE_NO_BLOCK_H
#define PM_FILE_NO_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * The page cache of XFS takes blocks for a whole folio, up to 2 MiB from Linux 6.6 on (fs/iomap/buffered-io.c
 * iomap_page_mkwrite): a fault can fail for a folio where a single page would still find a block.
 */
#define PM_LARGEST_FOLIO ((uint64_t)2 << 20)
/*
 * Why a store into the range failed: -ENOSPC, -EDQUOT, -EFBIG, -EPERM (the file is immutable or append-only); 0: none
 * of these explains it. May allocate what is missing there, never beyond the end in stx.
 */
#define PM_BLOCK_IS_THERE 1 /* or the file system has the block now */
int pm_file_why_no_block(int fd, const struct statx *stx, uint64_t offset, uint64_t length);

/*
 * Whether the file system needs a block for a store to a page that has one already. Then a file that has all its blocks
 * does not show that the store found one, and what its quotas refuse is not told.
 */
bool pm_file_copies_each_store(int fd);

#endif
