/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "place.h"

static struct ledger *ledger;
static _Atomic(struct ledger_process *) process; /* NULL: none yet; a child gets one with its first row */

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
void place_begin(struct ledger *shared)
{
	ledger = shared;
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

void place_lost_mapping(void)
{
	atomic_fetch_add_explicit(&ledger->maps_lost, 1, memory_order_relaxed);
}

struct ledger_process *place_of_process(void)
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

void place_forked(void)
{
	atomic_store(&process, NULL);
}

void place_end(void)
{
	struct ledger_process *p = atomic_load(&process);
	/* A child of vfork(2) has the memory of its parent. */
	if (!p || syscall(SYS_getpid) != p->pid)
		return;
	note_written(&p->ended);
	atomic_store(&p->state, PROCESS_ENDED);
}

int place_expect(int32_t pid, const char *program)
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

void place_unexpect(int place)
{
	if (place >= 0)
		atomic_store(&ledger->process[place].state, PROCESS_FREE);
}

static bool has_begun(int32_t pid)
{
	return find_process(pid, PROCESS_COVERED) || find_process(pid, PROCESS_ENDED);
}

/* The child may begin at the same time: one of the two sees what the other wrote. */
void place_spawned(int32_t pid, const char *program)
{
	int error = errno, place = place_expect(pid, program);
	uint32_t is_expected = PROCESS_EXPECTED;
	if (place >= 0 && has_begun(pid))
		atomic_compare_exchange_strong(&ledger->process[place].state, &is_expected, PROCESS_FREE);
	errno = error;
}
