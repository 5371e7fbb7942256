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
#include "here.h"
#include "inside.h"
#include "place.h"
#include "question.h"
#include "real.h"
#include "stack.h"
#include "table.h"

enum { NOT_BEGUN = 0, BEGINS, SERVES, OFF };

static _Atomic int state;
static struct ledger *ledger;

/* ---- Children ---- */

static void become_child_alone(void)
{
	if (!here_claim())
		return;
	inside_enter();
	if (here_was_changing()) {
		table_drop();
		place_lost_mapping();
	}
	place_forked();
	file_forked();
	if (ledger->accelerate)
		accelerate_forked(here_is_forking());
	inside_leave();
	here_known();
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
	here_forked_begin();
	become_child();
	here_forked_end();
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
		here_begin();
		place_begin(ledger);
		question_begin(ledger);
		pthread_atfork(here_fork_begin, here_fork_end, child_of_fork);
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
	if (atomic_load(&state) == SERVES && here_is_known())
		place_end();
}

/* Called before a sanitizer has begun, too. */
#define EARLY __attribute__((no_sanitize("thread", "address")))

EARLY bool companion_serves(void)
{
	if (atomic_load_explicit(&state, memory_order_acquire) != SERVES || inside_is())
		return false;
	if (!here_is_known()) {
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
