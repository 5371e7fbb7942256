/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A write fault on a MAP_SYNC mapping asks the file system whether a change of the file is in no journal yet, by any
 * process and in any block or in its size: what fdatasync(2) would commit (fs/ext4/inode.c ext4_set_iomap and
 * ext4_inode_datasync_dirty, fs/xfs/xfs_iomap.c xfs_bmbt_to_iomap: IOMAP_F_DIRTY). If so the kernel calls it before
 * the page gets writable (fs/dax.c dax_finish_sync_fault); if not, the fault is all. A file system that was shut down,
 * or whose journal failed, fails the fault.
 *
 * So the page's entry is taken away (MADV_DONTNEED, which drops no byte of a shared mapping), and comes back by a write
 * fault that begins after the call of the program (MADV_POPULATE_WRITE, which returns an error where a store would
 * raise SIGBUS). Another thread's fault meanwhile may have asked the file system earlier: there must be none.
 *
 * On DAX no populating is repeated for ever (PM_KERNEL_REPEATS_READS of kernel/quirks.c): no fault there reads and asks
 * to be taken again (fs/dax.c dax_iomap_pte_fault). The kernel locks no page of DAX in memory (mm/mlock.c mlock_fixup),
 * so mlockall(2) keeps no entry there.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "committer.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

bool committer_commit(void *page)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	return !madvise(page, size, MADV_DONTNEED) && !madvise(page, size, MADV_POPULATE_WRITE);
}
