/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accelerate.h"
#include "companion.h"
#include "file.h"
#include "futex.h"
#include "inside.h"
#include "place.h"
#include "question.h"
#include "real.h"
#include "stack.h"
#include "table.h"

enum { NOT_BEGUN = 0, BEGINS, SERVES, OFF };

/* In a page that the kernel empties in each child that has memory of its own (MADV_WIPEONFORK): a child is noticed
 * however it was made, and finds the lock open. */
struct here {
	_Atomic uint32_t is_known; /* 0: a new process, 1: this one, 2: a thread is at it */
	_Atomic uint32_t lock;     /* 0: open, 1: held, 2: threads wait */
};

static _Atomic int state;
static struct ledger *ledger;
static struct here *here;
static struct here fallback; /* Linux before 4.14: fork(3) alone is noticed */
static _Atomic bool is_changing;
/*
 * Of the thread that forks, which has the lock. Handlers of pthread_atfork(3) run before it is taken and after it is
 * left: the companion's are the first that are registered (calls_libc.c). An executable may register some before any
 * library begins (.preinit_array): those run in between, and may map and unmap.
 */
static __thread bool is_forking __attribute__((tls_model("initial-exec")));

/* ---- The lock ---- */

void companion_lock(sigset_t *before)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
	if (is_forking)
		return;
	uint32_t open = 0;
	if (!atomic_compare_exchange_strong(&here->lock, &open, 1)) {
		int error = errno;
		while (atomic_exchange(&here->lock, 2))
			futex_wait(&here->lock, 2, 0, FUTEX_PRIVATE_FLAG);
		errno = error;
	}
	atomic_store_explicit(&is_changing, true, memory_order_relaxed);
}

static void open_lock(void)
{
	atomic_store_explicit(&is_changing, false, memory_order_relaxed);
	if (atomic_exchange(&here->lock, 0) == 2) {
		int error = errno;
		futex_wake(&here->lock, FUTEX_PRIVATE_FLAG);
		errno = error;
	}
}

void companion_unlock(const sigset_t *before)
{
	if (!is_forking)
		open_lock();
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

static sigset_t before_fork;

static void prepare_fork(void)
{
	sigset_t before;
	companion_lock(&before);
	before_fork = before;
	atomic_store(&is_changing, false);
	is_forking = true;
}

static void end_fork(void)
{
	sigset_t before = before_fork;
	is_forking = false;
	companion_unlock(&before);
}

/* ---- Children ---- */

static void become_child_alone(void)
{
	uint32_t is_new = 0;
	if (!atomic_compare_exchange_strong(&here->is_known, &is_new, 2)) {
		while (atomic_load(&here->is_known) != 1)
			sched_yield();
		return;
	}
	inside_enter();
	if (atomic_exchange(&is_changing, false)) {
		table_drop();
		companion_lost();
	}
	place_forked();
	file_forked();
	if (ledger->accelerate)
		accelerate_forked(is_forking);
	inside_leave();
	atomic_store(&here->is_known, 1);
}

/* A handler must neither wait for its own thread here nor leave by siglongjmp(3). */
static void become_child(void)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	become_child_alone();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void child_of_fork(void)
{
	sigset_t before = before_fork;
	/* The kernel has emptied the other one, and a handler may have begun with it. */
	if (here == &fallback) {
		atomic_store(&here->lock, 0);
		atomic_store(&here->is_known, 0);
	}
	become_child();
	is_forking = false;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- Begin and end ---- */

static void attach(const char *path)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	void *memory = REAL(mmap)(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	if (memory == MAP_FAILED)
		return;
	struct ledger *l = memory;
	if (l->magic == LEDGER_MAGIC && l->version == LEDGER_VERSION && l->size_of_row == sizeof(struct ledger_row))
		ledger = l;
}

static void make_here(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *page = REAL(mmap)(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool is_wiped = page != MAP_FAILED && !madvise(page, size, MADV_WIPEONFORK);
	here = is_wiped ? page : &fallback;
	atomic_store(&here->is_known, 1);
}

static void begin(void)
{
	int not_begun = NOT_BEGUN, error = errno;
	if (!atomic_compare_exchange_strong(&state, &not_begun, BEGINS))
		return;
	inside_enter();
	real_find();
	const char *path = secure_getenv(LEDGER_ENV);
	if (path)
		attach(path);
	if (ledger) {
		make_here();
		place_begin(ledger);
		question_begin(ledger);
		pthread_atfork(prepare_fork, end_fork, child_of_fork);
		if (ledger->stacks && !stack_begin())
			atomic_store(&ledger->has_no_stacks, 1);
	}
	inside_leave();
	atomic_store(&state, ledger ? SERVES : OFF);
	errno = error;
}


/* Of exit(3). What a process that ends otherwise wrote is known to run alone, if it is its child. */
__attribute__((destructor)) static void destructor(void)
{
	if (atomic_load(&state) == SERVES && atomic_load(&here->is_known))
		place_end();
}

/* Called before a sanitizer has begun, too. */
#define EARLY __attribute__((no_sanitize("thread", "address")))

EARLY bool companion_serves(void)
{
	if (atomic_load_explicit(&state, memory_order_acquire) != SERVES || inside_is())
		return false;
	if (atomic_load_explicit(&here->is_known, memory_order_acquire) != 1) {
		int error = errno;
		become_child();
		errno = error;
	}
	return true;
}

EARLY bool companion_begins(void)
{
	/* An allocator may map a file before the C library has begun: then the constructor is still to come. */
	if (atomic_load_explicit(&state, memory_order_acquire) == NOT_BEGUN && environ)
		begin();
	return companion_serves();
}

bool companion_accelerates(void)
{
	return ledger->accelerate;
}

__attribute__((constructor(101))) static void constructor(void)
{
	companion_begins();
}

void companion_lost(void)
{
	atomic_fetch_add_explicit(&ledger->maps_lost, 1, memory_order_relaxed);
}
