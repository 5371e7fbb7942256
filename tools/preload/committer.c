/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A write fault on a MAP_SYNC mapping asks the file system whether a change of the file is in no journal yet, by any
 * process and in any block or in its size: what fdatasync(2) would commit (fs/ext4/inode.c ext4_set_iomap and
 * ext4_inode_datasync_dirty, fs/xfs/xfs_iomap.c xfs_bmbt_to_iomap: IOMAP_F_DIRTY). If so the kernel calls it before
 * the page gets writable (fs/dax.c dax_finish_sync_fault); if not, the fault is all. A file system that was shut down,
 * or whose journal failed, fails the fault.
 *
 * So one page of the file is mapped once more. Its entry is taken away (MADV_DONTNEED, which drops no byte of a shared
 * mapping), and comes back by a write fault that begins after the call of the program (MADV_POPULATE_WRITE, which
 * returns an error where a store would raise SIGBUS). The lock keeps another thread's fault from putting it there,
 * which may have asked the file system earlier. It is not a page of the program's own mapping: where the program
 * unmapped that without the C library, MADV_DONTNEED would drop whatever is there now.
 *
 * On DAX no populating is repeated for ever (pm_quirk(3), "kernel-repeats-reads"): no fault there reads and asks to be
 * taken again (fs/dax.c dax_iomap_pte_fault).
 */
#include <sys/mman.h>
#include <unistd.h>

#include "committer.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

bool committer_begin(struct committer *c, const struct map_call *call)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct map_call one = {.length = page,
	                       .protection = PROT_READ | PROT_WRITE,
	                       .flags = MAP_SHARED_VALIDATE | MAP_SYNC,
	                       .fd = call->fd,
	                       .offset = call->offset};
	c->page = calls_mmap(&one);
	if (c->page == MAP_FAILED)
		return false;
	pthread_mutex_init(&c->lock, NULL);
	/* Of mlockall(2): a locked page keeps its entry. */
	munlock(c->page, page);
	if (!madvise(c->page, page, MADV_DONTFORK) && committer_commit(c))
		return true;
	committer_end(c);
	return false;
}

void committer_end(struct committer *c)
{
	munmap(c->page, (size_t)sysconf(_SC_PAGESIZE));
	pthread_mutex_destroy(&c->lock);
}

bool committer_commit(struct committer *c)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	pthread_mutex_lock(&c->lock);
	bool is_committed = !madvise(c->page, page, MADV_DONTNEED) && !madvise(c->page, page, MADV_POPULATE_WRITE);
	pthread_mutex_unlock(&c->lock);
	return is_committed;
}
