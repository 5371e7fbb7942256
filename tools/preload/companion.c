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
#include "real.h"
#include "stack.h"
#include "table.h"

#define QUESTIONS 16 /* about further ranges of a file */

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
static struct here fallback;                     /* Linux before 4.14: fork(3) alone is noticed */
static _Atomic(struct ledger_process *) process; /* NULL: none yet; a child gets one with its first row */
static _Atomic bool is_changing, was_torn, is_unheard;

/* ---- The lock ---- */

void companion_lock(sigset_t *before)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
	uint32_t open = 0;
	if (!atomic_compare_exchange_strong(&here->lock, &open, 1)) {
		int error = errno;
		while (atomic_exchange(&here->lock, 2))
			futex_wait(&here->lock, 2, 0, FUTEX_PRIVATE_FLAG);
		errno = error;
	}
	atomic_store_explicit(&is_changing, true, memory_order_relaxed);
}

void companion_unlock(const sigset_t *before)
{
	atomic_store_explicit(&is_changing, false, memory_order_relaxed);
	if (atomic_exchange(&here->lock, 0) == 2) {
		int error = errno;
		futex_wake(&here->lock, FUTEX_PRIVATE_FLAG);
		errno = error;
	}
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

static sigset_t before_fork;

static void prepare_fork(void)
{
	sigset_t before;
	companion_lock(&before);
	before_fork = before;
}

static void end_fork(void)
{
	sigset_t before = before_fork;
	companion_unlock(&before);
}

/* ---- Processes ---- */

static void note_written(_Atomic uint64_t *ret)
{
	char text[512];
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/io", O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	long n = syscall(SYS_read, fd, text, sizeof(text) - 1);
	syscall(SYS_close, fd);
	text[n > 0 ? n : 0] = 0;
	char *at = strstr(text, "\nwrite_bytes: ");
	if (!at)
		return;
	uint64_t bytes = 0;
	for (at += strlen("\nwrite_bytes: "); *at >= '0' && *at <= '9'; at++)
		bytes = bytes * 10 + (uint64_t)(*at - '0');
	atomic_store(ret, bytes + 1);
}

/* A free place, filled by the caller; NULL: no room. */
static struct ledger_process *claim_process(void)
{
	uint32_t used = atomic_load(&ledger->processes);
	for (uint32_t i = 0; i < LEDGER_PROCESSES; i++) {
		uint32_t is_free = PROCESS_FREE;
		struct ledger_process *p = &ledger->process[i];
		if (!atomic_compare_exchange_strong(&p->state, &is_free, PROCESS_CLAIMED))
			continue;
		while (used <= i && !atomic_compare_exchange_weak(&ledger->processes, &used, i + 1))
			;
		return p;
	}
	atomic_fetch_add(&ledger->processes_lost, 1);
	return NULL;
}

static struct ledger_process *find_process(int32_t pid, enum process_state wanted)
{
	uint32_t used = atomic_load(&ledger->processes);
	for (uint32_t i = 0; i < used; i++)
		if (atomic_load(&ledger->process[i].state) == wanted && ledger->process[i].pid == pid)
			return &ledger->process[i];
	return NULL;
}

static void fill_process(struct ledger_process *p)
{
	p->pid = (int32_t)syscall(SYS_getpid);
	p->parent = (int32_t)syscall(SYS_getppid);
	atomic_store(&p->rows, 0);
	atomic_store(&p->begun, 0);
	atomic_store(&p->ended, 0);
	long n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", p->program, sizeof(p->program) - 1);
	p->program[n > 0 ? n : 0] = 0;
}

/* The place that run, or the image before this one, made for it; and the end of the image before. */
static void begin_process(void)
{
	int32_t pid = (int32_t)syscall(SYS_getpid);
	struct ledger_process *old = find_process(pid, PROCESS_COVERED);
	if (old)
		atomic_store(&old->state, PROCESS_ENDED);
	struct ledger_process *p = find_process(pid, PROCESS_EXPECTED);
	bool is_next_image = old && p;
	if (!p)
		p = claim_process();
	if (!p)
		return;
	fill_process(p);
	note_written(&p->begun);
	if (is_next_image)
		atomic_store(&old->ended, atomic_load(&p->begun));
	atomic_store(&p->state, PROCESS_COVERED);
	atomic_store(&process, p);
	atomic_fetch_add(&ledger->covered, 1);
	struct ledger_process *late = find_process(pid, PROCESS_EXPECTED);
	if (late)
		atomic_store(&late->state, PROCESS_FREE);
}

/* A child of fork(2) has a place if there is something to say of it. */
static struct ledger_process *this_process(void)
{
	struct ledger_process *p = atomic_load(&process), *none = NULL;
	if (p)
		return p;
	p = claim_process();
	if (!p)
		return NULL;
	fill_process(p);
	atomic_store(&p->begun, 1);
	if (!atomic_compare_exchange_strong(&process, &none, p)) {
		atomic_store(&p->state, PROCESS_FREE);
		return none;
	}
	atomic_store(&p->state, PROCESS_COVERED);
	return p;
}

static void become_child(void)
{
	uint32_t is_new = 0;
	if (!atomic_compare_exchange_strong(&here->is_known, &is_new, 2)) {
		while (atomic_load(&here->is_known) != 1)
			sched_yield();
		return;
	}
	inside_enter();
	if (atomic_exchange(&is_changing, false)) {
		atomic_store(&was_torn, true);
		table_drop();
		companion_lost();
	}
	atomic_store(&process, NULL);
	file_forked();
	if (ledger->accelerate)
		accelerate_forked();
	inside_leave();
	atomic_store(&here->is_known, 1);
}

static void child_of_fork(void)
{
	sigset_t before = before_fork;
	atomic_store(&is_changing, false);
	atomic_store(&here->lock, 0);
	atomic_store(&here->is_known, 0);
	become_child();
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
	int nobody = NOT_BEGUN, error = errno;
	if (!atomic_compare_exchange_strong(&state, &nobody, BEGINS))
		return;
	inside_enter();
	real_find();
	const char *path = secure_getenv(LEDGER_ENV);
	if (path)
		attach(path);
	if (ledger) {
		make_here();
		begin_process();
		pthread_atfork(prepare_fork, end_fork, child_of_fork);
		if (ledger->stacks && !stack_begin())
			atomic_store(&ledger->has_no_stacks, 1);
		if (ledger->accelerate)
			accelerate_begin();
	}
	inside_leave();
	atomic_store(&state, ledger ? SERVES : OFF);
	errno = error;
}

__attribute__((constructor(101))) static void constructor(void)
{
	begin();
}

/* Of exit(3). What a process that ends otherwise wrote is known to run alone, if it is its child. */
__attribute__((destructor)) static void destructor(void)
{
	struct ledger_process *p = atomic_load(&process);
	if (atomic_load(&state) != SERVES || !atomic_load(&here->is_known) || !p)
		return;
	if (syscall(SYS_getpid) != p->pid)
		return; /* a child of vfork(2) */
	note_written(&p->ended);
	atomic_store(&p->state, PROCESS_ENDED);
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
	if (atomic_load_explicit(&state, memory_order_acquire) == NOT_BEGUN)
		begin();
	return companion_serves();
}

bool companion_accelerates(void)
{
	return ledger->accelerate;
}

/* ---- Rows and questions ---- */

void companion_lost(void)
{
	atomic_fetch_add_explicit(&ledger->maps_lost, 1, memory_order_relaxed);
}

struct ledger_row *companion_row(const struct file *file, const struct ledger_row *parent)
{
	struct ledger_process *p = this_process();
	uint32_t number = atomic_load(&ledger->rows);
	do
		if (!p || number >= LEDGER_ROWS) {
			atomic_fetch_add(&ledger->rows_lost, 1);
			return NULL;
		}
	while (!atomic_compare_exchange_weak(&ledger->rows, &number, number + 1));
	struct ledger_row *row = &ledger->row[number];
	row->process = (uint32_t)(p - ledger->process);
	row->parent_row = parent ? (uint32_t)(parent - ledger->row) + 1 : 0;
	if (parent) {
		atomic_store(&row->is_writable, atomic_load(&parent->is_writable));
		atomic_store(&row->is_sync, atomic_load(&parent->is_sync));
		atomic_store(&row->longest, atomic_load(&parent->longest));
	}
	row->major = file->major;
	row->minor = file->minor;
	row->inode = file->inode;
	atomic_fetch_add(&p->rows, 1);
	atomic_store(&row->state, ROW_USED);
	return row;
}

/* Run may be gone: a program that became a daemon outlives it. Then no question is waited for any more. */
static void ask(_Atomic uint32_t *question)
{
	int error = errno;
	atomic_store(question, QUESTION_ASKED);
	atomic_fetch_add(&ledger->questions, 1);
	futex_wake(&ledger->questions, 0);
	for (int i = 0; i < 50 && !atomic_load(&is_unheard) && atomic_load(question) == QUESTION_ASKED; i++) {
		futex_wait(question, QUESTION_ASKED, 100, 0);
		if (i == 49 || (syscall(SYS_kill, ledger->run, 0) && errno == ESRCH))
			atomic_store(&is_unheard, true);
	}
	errno = error;
}

/* A program that maps a file again and again waits for run once, or as often as the range is another one. */
static bool is_answered(struct ledger_row *row, uint64_t length, uint64_t offset)
{
	uint32_t question = atomic_load(&row->question);
	if (question == QUESTION_ASKED)
		return true; /* another thread maps it at the same time */
	bool is_same = atomic_load(&row->length) == length && atomic_load(&row->offset) == offset;
	return question == QUESTION_ANSWERED &&
	       (is_same || atomic_load(&row->is_final) || atomic_fetch_add(&row->questions, 1) >= QUESTIONS);
}

void companion_ask(struct ledger_row *row, int fd, void *address, uint64_t length, uint64_t offset)
{
	if (is_answered(row, length, offset))
		return;
	row->fd = fd;
	atomic_store(&row->address, (uintptr_t)address);
	atomic_store(&row->length, length);
	atomic_store(&row->offset, offset);
	ask(&row->question);
}

void companion_site(struct ledger_row *row, void *address)
{
	for (unsigned i = 0; i < LEDGER_SITES; i++) {
		struct ledger_site *site = &row->sites[i];
		uint64_t found = atomic_load_explicit(&site->address, memory_order_acquire), none = 0;
		bool is_new = !found && atomic_compare_exchange_strong(&site->address, &none, (uintptr_t)address);
		if (!is_new && (found ? found : none) != (uintptr_t)address)
			continue;
		atomic_fetch_add_explicit(&site->calls, 1, memory_order_relaxed);
		if (!is_new)
			return;
		inside_enter();
		site->frames = stack_take(address, site->frame, LEDGER_FRAMES);
		inside_leave();
		if (!site->frames)
			site->frame[site->frames++] = (uintptr_t)address;
		ask(&site->question);
		return;
	}
	atomic_fetch_add_explicit(&row->other_sites, 1, memory_order_relaxed);
}

/* ---- execve(2) ---- */

int companion_expect(int32_t pid, const char *program)
{
	struct ledger_process *p = claim_process();
	if (!p)
		return -1;
	p->pid = pid;
	p->parent = (int32_t)syscall(SYS_getppid);
	size_t length = strnlen(program, sizeof(p->program) - 1);
	memcpy(p->program, program, length);
	p->program[length] = 0;
	atomic_store(&p->state, PROCESS_EXPECTED);
	return (int)(p - ledger->process);
}

void companion_unexpect(int place)
{
	if (place >= 0)
		atomic_store(&ledger->process[place].state, PROCESS_FREE);
}

static bool has_begun(int32_t pid)
{
	return find_process(pid, PROCESS_COVERED) || find_process(pid, PROCESS_ENDED);
}

/* The child may begin at the same time: one of the two sees what the other wrote. */
void companion_spawned(int32_t pid, const char *program)
{
	int error = errno, place = companion_expect(pid, program);
	uint32_t is_expected = PROCESS_EXPECTED;
	if (place >= 0 && has_begun(pid))
		atomic_compare_exchange_strong(&ledger->process[place].state, &is_expected, PROCESS_FREE);
	errno = error;
}
