/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the library promises cache lines, msync(2) of a short range commits the inode if need be (committer.c), and
 * writes the lines of the range back. Everything else is the kernel's.
 *
 * What the kernel's msync(2) does on DAX, and this does as well, for what any process did to the file before: the
 * size and the blocks are in the journal; the lines of the range are on the medium. Caches are coherent, so it does not
 * matter which CPU has stored, or through which mapping. So the companion has a mapping of its own for it: the
 * program may unmap, move and protect its own meanwhile. A page must be in the page table for its lines to be written
 * back: that is asked of the kernel (MADV_POPULATE_READ), which refuses where the file no longer has the page or the
 * medium cannot be read.
 *
 * Locks. The first is of the marks that are not used, and of the library's calls that take locks. That of a mark,
 * inside it, is held by a thread at lines. While either is held signals are blocked and the thread cannot be cancelled.
 * Marks are in static memory, and a thread that waited for one asks the table again. fork(2) takes none: between its
 * handlers and another thread that waits for one here, each could wait for the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accelerate.h"
#include "committer.h"
#include "file.h"
#include "inside.h"
#include "memory.h"
#include "table.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif
#define MARKS 1024
/* Each page and line of a range is walked, however few were stored to: a longer one is for the kernel, which knows. */
#define LONGEST ((size_t)2 << 20)

struct mark {
	pthread_mutex_t lock;
	struct pm_mapping *mapping;  /* NULL: it has ended */
	enum why_kernel ended;       /* why */
	_Atomic uintptr_t low, high; /* of the companion's mapping */
	uint64_t offset;             /* of low, in the file */
	size_t left;                 /* bytes of the program's mapping, in whole pages */
	struct mark *next_free;
};

/* What a thread gives up for the time in which another one may wait for it. */
struct stillness {
	sigset_t signals;
	int cancelling, error;
};

static struct mark marks[MARKS], *free_marks;
static _Atomic unsigned used_marks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool is_off;    /* a child in which a lock may be held for ever */
static _Atomic bool is_making; /* a mapping of the companion's, which no mark has yet */
static _Atomic int resizes;    /* calls that may make a file shorter, now */

static void be_still(struct stillness *before)
{
	sigset_t all;
	before->error = errno;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before->signals);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before->cancelling);
	inside_enter();
}

static void move_again(const struct stillness *before)
{
	inside_leave();
	errno = before->error;
	pthread_sigmask(SIG_SETMASK, &before->signals, NULL);
	pthread_setcancelstate(before->cancelling, NULL);
}

static void enter_library(struct stillness *before)
{
	be_still(before);
	pthread_mutex_lock(&lock);
}

static void leave_library(const struct stillness *before)
{
	pthread_mutex_unlock(&lock);
	move_again(before);
}

/* ---- Processes ---- */

static bool is_open(pthread_mutex_t *one)
{
	return !pthread_mutex_trylock(one) && !pthread_mutex_unlock(one);
}

/*
 * A child must not use its parent's mappings (pm(7), Forks). Nothing new is begun in one that was not made by fork(3),
 * or while another thread was in the library.
 */
void accelerate_forked(bool by_fork)
{
	bool is_whole = by_fork && is_open(&lock) && memory_is_whole();
	for (unsigned i = 0; i < atomic_load(&used_marks); i++) {
		struct mark *m = &marks[i];
		is_whole = is_whole && is_open(&m->lock);
		pthread_mutex_init(&m->lock, NULL);
		m->mapping = NULL;
		m->ended = WHY_CHILD;
		atomic_store(&m->low, 0);
		atomic_store(&m->high, 0);
	}
	/* By threads of the parent. */
	atomic_store(&resizes, 0);
	atomic_store(&is_making, false);
	if (!is_whole)
		atomic_store(&is_off, true);
}

/* ---- The companion's mappings ---- */

static struct mark *take_mark(void)
{
	struct mark *m = free_marks;
	if (m) {
		free_marks = m->next_free;
	} else if (used_marks < MARKS) {
		m = &marks[used_marks];
		pthread_mutex_init(&m->lock, NULL);
		atomic_fetch_add(&used_marks, 1);
	}
	return m;
}

static void put_mark(struct mark *m)
{
	m->next_free = free_marks;
	free_marks = m;
}

/* The library would move the file's times where it unmaps: it gives the pages up first, if there is memory for that. */
static void unmap(struct pm_mapping *mapping)
{
	void *base = pm_base(mapping);
	size_t length = (size_t)pm_length(mapping);
	int rc = pm_give_up(mapping, base, length);
	pm_unmap(mapping);
	if (rc != -ENOMEM)
		REAL(munmap)(base, length);
}

static struct pm_options options_of(const struct map_call *call)
{
	return (struct pm_options){.size = sizeof(struct pm_options),
	                           .flags = PM_BORROW_FD,
	                           .offset = call->offset,
	                           .length = call->length};
}

/* Whether there can be a mapping of the range, for which the library promises lines. */
static bool can_be_had(const struct map_call *call)
{
	struct statx stx;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	if (!(call->protection & PROT_WRITE) || call->offset & (page - 1))
		return false;
	/* Without its times: the next store would have to change them (fs/stat.c fill_mg_cmtime). */
	if (syscall(SYS_statx, call->fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &stx) || !S_ISREG(stx.stx_mode) ||
	    call->offset >= stx.stx_size || call->length > stx.stx_size - call->offset)
		return false;
	int mode = fcntl(call->fd, F_GETFL);
	if (mode < 0 || (mode & (O_ACCMODE | O_APPEND | O_DIRECT)) != O_RDWR)
		return false;
	static struct pm_report report; /* with the lock */
	struct pm_options options = options_of(call);
	pthread_mutex_lock(&lock);
	int rc = pm_probe_fd(call->fd, &options, &report, sizeof(report));
	bool has_lines = !rc && report.granularity >= PM_CACHE_LINE;
	pthread_mutex_unlock(&lock);
	return has_lines;
}

/* A child does not get it. The first commit shows whether the kernel can do it here. */
static struct pm_mapping *map(const struct file *file, const struct map_call *call)
{
	struct pm_mapping *mapping;
	struct pm_options options = options_of(call);
	if (pm_map_fd(call->fd, &options, &mapping))
		return NULL;
	void *base = pm_base(mapping);
	if (pm_granularity_of(mapping) >= PM_CACHE_LINE && file_of(call->fd) == file &&
	    !madvise(base, call->length, MADV_DONTFORK) && committer_commit(base))
		return mapping;
	unmap(mapping);
	return NULL;
}

static struct mark *make_mark(const struct file *file, const struct map_call *call, size_t rounded)
{
	struct mark *m = take_mark();
	struct pm_mapping *mapping = m ? map(file, call) : NULL;
	if (!mapping) {
		if (m)
			put_mark(m);
		return NULL;
	}
	pthread_mutex_lock(&m->lock);
	m->mapping = mapping;
	m->offset = call->offset;
	m->left = rounded;
	uintptr_t base = (uintptr_t)pm_base(mapping);
	atomic_store(&m->low, base);
	atomic_store(&m->high, base + (uintptr_t)pm_length(mapping));
	pthread_mutex_unlock(&m->lock);
	return m;
}

void *accelerate_map(struct file *file, const struct map_call *call, size_t rounded)
{
	struct stillness before;
	struct mark *made = NULL;
	if (atomic_load(&is_off))
		return NULL;
	be_still(&before);
	if (can_be_had(call) && file_sync(file, call->fd)) {
		pthread_mutex_lock(&lock);
		atomic_store(&is_making, true);
		made = make_mark(file, call, rounded);
		atomic_store(&is_making, false);
		pthread_mutex_unlock(&lock);
	}
	move_again(&before);
	return made;
}

/* With both locks held. */
static void end(struct mark *m, enum why_kernel why)
{
	if (!m->mapping)
		return;
	unmap(m->mapping);
	m->mapping = NULL;
	m->ended = why;
	atomic_store(&m->low, 0);
	atomic_store(&m->high, 0);
}

void accelerate_gone(void *mark, size_t length)
{
	struct mark *m = mark;
	struct stillness before;
	if (atomic_load(&is_off))
		return;
	enter_library(&before);
	pthread_mutex_lock(&m->lock);
	m->left -= length;
	bool is_free = !m->left;
	if (is_free)
		end(m, WHY_MAPPING);
	pthread_mutex_unlock(&m->lock);
	if (is_free)
		put_mark(m);
	leave_library(&before);
}

static bool touches(const struct mark *m, uintptr_t start, uintptr_t end)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t high = (atomic_load(&m->high) + page - 1) & ~(page - 1);
	return atomic_load(&m->low) < end && start < high;
}

static bool touches_any(uintptr_t start, uintptr_t end)
{
	for (unsigned i = 0; i < atomic_load(&used_marks); i++)
		if (touches(&marks[i], start, end))
			return true;
	return false;
}

void accelerate_covered(uintptr_t start, uintptr_t end_of_it)
{
	struct stillness before;
	bool may_touch = atomic_load(&is_making) || touches_any(start, end_of_it);
	if (!may_touch || atomic_load(&is_off))
		return;
	enter_library(&before);
	for (unsigned i = 0; i < atomic_load(&used_marks); i++) {
		pthread_mutex_lock(&marks[i].lock);
		if (touches(&marks[i], start, end_of_it))
			end(&marks[i], WHY_COVERED);
		pthread_mutex_unlock(&marks[i].lock);
	}
	leave_library(&before);
}

/* ---- msync(2) ---- */

/* Either a thread at lines is waited for here, or it sees that it may not begin. */
void accelerate_resize_begin(void)
{
	struct stillness before;
	atomic_fetch_add(&resizes, 1);
	be_still(&before);
	for (unsigned i = 0; i < atomic_load(&used_marks); i++) {
		pthread_mutex_lock(&marks[i].lock);
		pthread_mutex_unlock(&marks[i].lock);
	}
	move_again(&before);
}

void accelerate_resize_end(void)
{
	atomic_fetch_sub(&resizes, 1);
}

/* In this order: what is mapped when the lines are written back is what the journal has. */
static bool persist(struct mark *m, void *address, size_t length)
{
	return committer_commit((void *)m->low) && !madvise(address, length, MADV_POPULATE_READ) &&
	       !pm_persist(m->mapping, address, length);
}

/* With the mark's lock held: the piece stays, and the mark with it. */
static enum why_kernel sync_lines(struct mark *m, uintptr_t start, size_t length)
{
	struct piece p;
	if (!table_is_all(start, start + length, m) || !table_find(start, start + length, &p) || p.mark != m)
		return WHY_RANGE;
	if (!m->mapping)
		return m->ended;
	uint64_t from = p.offset + (start - p.start) - m->offset, all = m->high - m->low;
	if (from > all || length > all - from)
		return WHY_RANGE;
	if (pm_granularity_of(m->mapping) < PM_CACHE_LINE)
		return WHY_MAPPING;
	if (atomic_load(&resizes))
		return WHY_BUSY;
	return persist(m, (void *)(m->low + (uintptr_t)from), length) ? WHY_NOT : WHY_REFUSED;
}

enum why_kernel accelerate_msync(void *mark, uintptr_t start, uintptr_t end_of_it)
{
	struct mark *m = mark;
	struct stillness before;
	if (end_of_it - start > LONGEST)
		return WHY_LENGTH;
	pthread_testcancel(); /* msync(2) is a cancellation point */
	be_still(&before);
	pthread_mutex_lock(&m->lock);
	enum why_kernel why = sync_lines(m, start, end_of_it - start);
	pthread_mutex_unlock(&m->lock);
	move_again(&before);
	return why;
}
