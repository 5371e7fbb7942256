/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "file.h"
#include "futex.h"
#include "inside.h"
#include "place.h"
#include "question.h"
#include "stack.h"

#define QUESTIONS 16 /* about further ranges of a file */
#define WAITS 50     /* for run, of 100 ms each */

static struct ledger *ledger;
static _Atomic bool is_unheard; /* run is gone */

void question_begin(struct ledger *shared)
{
	ledger = shared;
}

struct ledger_row *question_row(const struct file *file, const struct ledger_row *parent)
{
	struct ledger_process *p = place_of_process();
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
	for (int i = 0; i < WAITS && !atomic_load(&is_unheard) && atomic_load(question) == QUESTION_ASKED; i++) {
		futex_wait(question, QUESTION_ASKED, 100, 0);
		if (i + 1 == WAITS || (syscall(SYS_kill, ledger->run, 0) && errno == ESRCH))
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

void question_map(struct ledger_row *row, int fd, void *address, uint64_t length, uint64_t offset)
{
	if (is_answered(row, length, offset))
		return;
	row->fd = fd;
	atomic_store(&row->address, (uintptr_t)address);
	atomic_store(&row->length, length);
	atomic_store(&row->offset, offset);
	ask(&row->question);
}

void question_site(struct ledger_row *row, void *address)
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
