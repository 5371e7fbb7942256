/* SPDX-License-Identifier: BSD-3-Clause */
#include "here.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "futex.h"
#include "real.h"

/* In a page that the kernel empties in each child that has memory of its own (MADV_WIPEONFORK): a child is noticed
 * however it was made, and finds the lock open. */
struct here {
	_Atomic uint32_t is_known; /* 0: a new process, 1: this one, 2: a thread is at it */
	_Atomic uint32_t lock;     /* 0: open, 1: held, 2: threads wait */
};

static struct here *here;
static struct here fallback; /* Linux before 4.14: fork(3) alone is noticed */
static _Atomic bool is_changing;
/*
 * Of the thread that forks, which has the lock. Handlers of pthread_atfork(3) run before it is taken and after it is
 * left: the companion's are the first that are registered (calls_libc.c). An executable may register some before any
 * library begins (.preinit_array): those run in between, and may map and unmap.
 */
static __thread bool is_forking __attribute__((tls_model("initial-exec")));
static sigset_t before_fork;

void here_begin(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *page = REAL(mmap)(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool is_wiped = page != MAP_FAILED && !madvise(page, size, MADV_WIPEONFORK);
	here = is_wiped ? page : &fallback;
	here_known();
}

/* Called before a sanitizer has begun, too. */
__attribute__((no_sanitize("thread", "address"))) bool here_is_known(void)
{
	return atomic_load_explicit(&here->is_known, memory_order_acquire) == 1;
}

bool here_claim(void)
{
	uint32_t is_new = 0;
	if (atomic_compare_exchange_strong(&here->is_known, &is_new, 2))
		return true;
	while (!here_is_known())
		sched_yield();
	return false;
}

void here_known(void)
{
	atomic_store(&here->is_known, 1);
}

/* ---- The lock ---- */

void here_lock(sigset_t *before)
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

void here_unlock(const sigset_t *before)
{
	if (!is_forking)
		open_lock();
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

bool here_was_changing(void)
{
	return atomic_exchange(&is_changing, false);
}

/* ---- fork(2) ---- */

void here_fork_begin(void)
{
	sigset_t before;
	here_lock(&before);
	before_fork = before;
	atomic_store(&is_changing, false);
	is_forking = true;
}

void here_fork_end(void)
{
	sigset_t before = before_fork;
	is_forking = false;
	here_unlock(&before);
}

void here_forked_begin(void)
{
	/* The kernel has emptied the other one, and a handler may have begun with it. */
	if (here == &fallback) {
		atomic_store(&here->lock, 0);
		atomic_store(&here->is_known, 0);
	}
}

void here_forked_end(void)
{
	sigset_t before = before_fork;
	is_forking = false;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

bool here_is_forking(void)
{
	return is_forking;
}
