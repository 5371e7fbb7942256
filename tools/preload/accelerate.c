/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mapping for which the library promises cache lines is made by it, at the program's address and with its flags. Then
 * an msync(2) of a short range commits the inode if need be (committer.c), and writes the lines of the range back.
 * Everything else is the kernel's.
 *
 * What the kernel's msync(2) does on DAX, and this does as well, for what any process did to the file before: the
 * size and the blocks are in the journal; the lines of the range are on the medium. Caches are coherent, so it does not
 * matter which CPU has stored, or through which mapping. The page must be mapped here for its lines to be written
 * back: that is asked of the kernel (MADV_POPULATE_READ), which refuses where the file no longer has the page or the
 * medium cannot be read.
 *
 * Errors. The library opens and closes nothing of the file, and its sync of the file in pm_map_fd() takes no error from
 * the program: on DAX each call writes its own pages and fails by itself (fs/dax.c dax_writeback_one), and an error of
 * the journal is returned to every later call (fs/jbd2/journal.c jbd2_log_wait_commit).
 *
 * While a thread is at lines its signals are blocked, and it cannot be cancelled: it is waited for. A mark is never
 * given back to malloc(3): a thread may still hold one that the table has lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accelerate.h"
#include "committer.h"
#include "inside.h"
#include "memory.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif
#define MARKS 1024
/* Each page and line of a range is walked, however few were stored to: a longer one is for the kernel, which knows. */
#define LONGEST ((size_t)2 << 20)
/* Of mmap(2): those that the library takes, and those that the kernel ignores. */
#define TAKEN (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_POPULATE | MAP_NONBLOCK | MAP_LOCKED | MAP_NORESERVE)
#define IGNORED (MAP_DENYWRITE | MAP_EXECUTABLE)

struct mark {
	struct pm_mapping *mapping;
	struct committer committer;
	uintptr_t low, high; /* what the library makes durable */
	_Atomic unsigned process;
	_Atomic unsigned readers; /* threads that may be at its lines */
	_Atomic unsigned closed;  /* reasons why no further thread may be; a mark that is not used has one */
	struct mark *next_free;
};

/* What a thread gives up for the time in which another one may wait for it. */
struct stillness {
	sigset_t signals;
	int cancelling;
};

static struct mark marks[MARKS], *free_marks;
static _Atomic unsigned used_marks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the marks, and of the library's calls that take locks */
static _Atomic bool is_forking, is_off;
static _Atomic unsigned process; /* how many forks lie behind it */
static _Atomic int resizes;      /* calls that may make a file shorter, now */

static void be_still(struct stillness *before)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before->signals);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before->cancelling);
}

static void move_again(const struct stillness *before)
{
	pthread_setcancelstate(before->cancelling, NULL);
	pthread_sigmask(SIG_SETMASK, &before->signals, NULL);
}

static void enter_library(struct stillness *before)
{
	be_still(before);
	inside_enter();
	pthread_mutex_lock(&lock);
}

static void leave_library(const struct stillness *before)
{
	pthread_mutex_unlock(&lock);
	inside_leave();
	move_again(before);
}

/* ---- Processes ---- */

static struct stillness before_fork;

static void prepare_fork(void)
{
	struct stillness before;
	be_still(&before);
	pthread_mutex_lock(&lock);
	memory_lock();
	before_fork = before;
	atomic_store(&is_forking, true);
}

static void end_fork(void)
{
	struct stillness before = before_fork;
	atomic_store(&is_forking, false);
	memory_unlock();
	pthread_mutex_unlock(&lock);
	move_again(&before);
}

void accelerate_begin(void)
{
	pthread_atfork(prepare_fork, end_fork, end_fork);
}

/*
 * A child must not use its parent's mappings (pm(7), Forks): their syncs are the kernel's. Where it was made otherwise
 * than by fork(3) a lock of the library may be held for ever, and nothing new is begun.
 */
void accelerate_forked(void)
{
	atomic_fetch_add(&process, 1);
	atomic_store(&resizes, 0); /* by threads of the parent */
	if (!atomic_load(&is_forking))
		atomic_store(&is_off, true);
}

static bool is_of_this_process(const struct mark *m)
{
	return atomic_load_explicit(&m->process, memory_order_relaxed) ==
	       atomic_load_explicit(&process, memory_order_relaxed);
}

/* ---- Threads at lines ---- */

/* Either this thread sees that it may not, or the one that closed the mark sees this thread: all is in one order. */
static bool begin_lines(struct mark *m)
{
	atomic_fetch_add(&m->readers, 1);
	if (!atomic_load(&m->closed) && !atomic_load(&resizes))
		return true;
	atomic_fetch_sub(&m->readers, 1);
	return false;
}

static void end_lines(struct mark *m)
{
	atomic_fetch_sub(&m->readers, 1);
}

static void wait_for_readers(const struct mark *m)
{
	while (is_of_this_process(m) && atomic_load(&m->readers))
		sched_yield();
}

void accelerate_resize_begin(void)
{
	atomic_fetch_add(&resizes, 1);
	for (unsigned i = 0; i < atomic_load(&used_marks); i++)
		wait_for_readers(&marks[i]);
}

void accelerate_resize_end(void)
{
	atomic_fetch_sub(&resizes, 1);
}

/* ---- mmap(2) ---- */

/* Whether the library can make exactly the mapping that the program wants. */
static bool can_be_had(const struct map_call *call)
{
	struct statx stx;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int others = call->flags & ~(MAP_TYPE | TAKEN | IGNORED), mode;
	if (call->protection != (PROT_READ | PROT_WRITE) || others || !call->length || call->offset & (page - 1))
		return false;
	/* Without its times: the next store would have to change them (fs/stat.c fill_mg_cmtime). */
	if (syscall(SYS_statx, call->fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &stx) || !S_ISREG(stx.stx_mode) ||
	    call->offset >= stx.stx_size || call->length > stx.stx_size - call->offset)
		return false;
	mode = fcntl(call->fd, F_GETFL);
	return mode >= 0 && (mode & O_ACCMODE) == O_RDWR;
}

/* Lets go of a mapping that stays the program's. Without memory to note that, the library keeps it, and is never asked
 * for it again. */
static void let_go(struct pm_mapping *mapping)
{
	if (!pm_give_up(mapping, pm_base(mapping), (size_t)pm_length(mapping)))
		pm_unmap(mapping);
}

static struct mark *take_mark(void)
{
	struct mark *m = free_marks;
	if (m) {
		free_marks = m->next_free;
	} else if (used_marks < MARKS) {
		m = &marks[used_marks];
		atomic_store(&m->closed, 1);
		atomic_fetch_add(&used_marks, 1);
	}
	return m;
}

static void put_mark(struct mark *m)
{
	m->next_free = free_marks;
	free_marks = m;
}

/* NULL: the mapping is the kernel's. */
static struct mark *mark_it(struct pm_mapping *mapping, const struct map_call *call)
{
	struct mark *m = pm_granularity_of(mapping) >= PM_CACHE_LINE ? take_mark() : NULL;
	if (m && !committer_begin(&m->committer, call)) {
		put_mark(m);
		m = NULL;
	}
	if (!m)
		return NULL;
	m->mapping = mapping;
	m->low = (uintptr_t)pm_base(mapping);
	m->high = m->low + (uintptr_t)pm_length(mapping);
	atomic_store(&m->process, atomic_load(&process));
	atomic_store(&m->readers, 0); /* of the parent's threads */
	atomic_store(&m->closed, 0);
	return m;
}

static bool map_by_library(const struct map_call *call, void **ret_address, void **ret_mark)
{
	struct pm_mapping *mapping;
	struct pm_options options = {.size = sizeof(options),
	                             .flags = PM_BORROW_FD,
	                             .offset = call->offset,
	                             .length = call->length,
	                             .map_flags = call->flags & TAKEN,
	                             .address = call->address};
	if (pm_map_fd(call->fd, &options, &mapping))
		return false;
	*ret_address = pm_base(mapping);
	*ret_mark = mark_it(mapping, call);
	if (*ret_mark)
		return true;
	let_go(mapping);
	/* With MAP_SYNC, for nothing, its stores would wait for the journal. */
	struct map_call plain = *call;
	plain.address = *ret_address;
	plain.flags = (call->flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED;
	calls_mmap(&plain);
	return true;
}

bool accelerate_map(const struct map_call *call, void **ret_address, void **ret_mark)
{
	struct stillness before;
	int error = errno;
	bool is_made = false;
	if (!atomic_load(&is_off) && can_be_had(call)) {
		enter_library(&before);
		is_made = map_by_library(call, ret_address, ret_mark);
		leave_library(&before);
	}
	errno = error;
	return is_made;
}

/* ---- munmap(2) and the like ---- */

static void give_up(struct mark *m, uintptr_t start, size_t length, bool is_last)
{
	atomic_fetch_add(&m->closed, 1);
	wait_for_readers(m);
	if (is_last) {
		committer_end(&m->committer);
		let_go(m->mapping);
		put_mark(m);
		return;
	}
	/* If there is no memory to note it, no thread may be at the lines again. */
	length = length > m->high - start ? m->high - start : length;
	if (!pm_give_up(m->mapping, (void *)start, length))
		atomic_fetch_sub(&m->closed, 1);
}

void accelerate_gone(void *mark, void *address, size_t length, bool is_last)
{
	struct mark *m = mark;
	struct stillness before;
	int error = errno;
	if (is_of_this_process(m)) {
		enter_library(&before);
		give_up(m, (uintptr_t)address, length, is_last);
		leave_library(&before);
	}
	errno = error;
}

/* ---- msync(2) ---- */

/* In this order: what is mapped when the lines are written back is what the journal has. */
static enum why_kernel sync_lines(struct mark *m, void *address, size_t length)
{
	uintptr_t start = (uintptr_t)address;
	if (start < m->low || start > m->high || length > m->high - start)
		return WHY_RANGE;
	if (pm_granularity_of(m->mapping) < PM_CACHE_LINE)
		return WHY_MAPPING;
	bool is_done = committer_commit(&m->committer) && !madvise(address, length, MADV_POPULATE_READ) &&
	               !pm_persist(m->mapping, address, length);
	return is_done ? WHY_NOT : WHY_REFUSED;
}

enum why_kernel accelerate_msync(void *mark, void *address, size_t length)
{
	struct mark *m = mark;
	struct stillness before;
	enum why_kernel why = WHY_BUSY;
	int error = errno;
	if (length > LONGEST)
		return WHY_LENGTH;
	if (!is_of_this_process(m))
		return WHY_CHILD;
	pthread_testcancel(); /* msync(2) is a cancellation point */
	be_still(&before);
	inside_enter();
	if (begin_lines(m)) {
		why = sync_lines(m, address, length);
		end_lines(m);
	}
	inside_leave();
	move_again(&before);
	errno = error;
	return why;
}
