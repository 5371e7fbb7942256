/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sweep: a flow of calls into the library runs again and again, and each time another call of its table, the nth of
 * its kind, fails once with another error; or an allocation or the start of a thread does. Behind the fake machine
 * stands a kernel that keeps account of what the medium holds (sweeping_kernel.c), so that a 0 can be called false.
 */
#ifndef SWEEPING_H
#define SWEEPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fake.h"
#include "pmdirect.h"

/* ---- The driver, sweeping.c ---- */

struct sweep_flow {
	const char *name;
	void (*run)(void);
	bool on_plain;  /* machines with a page cache */
	bool on_direct; /* DAX machines */
	bool on_device;
	bool is_absent; /* the file, at first */
	bool threads;   /* has some of the library: how often a call is made is not certain */
	const struct fake_machine *only[4]; /* if any, on no other */
};

/* Every fault over the flow of this number, on each of its machines, in the process that has it. */
void sweep(const struct sweep_flow *flows, int number);
/*
 * Prints how many faults there were; if failed, in which case. To be called by main() at its end. A call of the table
 * that no flow has met is a failure, but for those that another program sweeps.
 */
int sweep_end(int failed, const enum fake_call *elsewhere, size_t count);
/* To be called by main() first: two processes run what follows, each with every second flow, until sweep_end(). */
#define SWEEP_PROCESSES 2u
void sweep_begin(void);

/* Names of the case under way, then the message; ends the test. */
void sweep_abort(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define sweep_expect(condition)                                                                              \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			sweep_abort("%s:%d: %s", __FILE__, __LINE__, #condition);                            \
	} while (0)

/*
 * What a flow is made of. Each makes the call, checks what it returned and what it left, and returns the same; a flow
 * ends at the first error. What was stored is expected on the medium from the call on that says so.
 */
extern struct pm_mapping *swept;
extern const char *swept_path;
int sweep_map(const struct pm_options *);
int sweep_map_fd(const struct pm_options *);
int sweep_borrow(const struct pm_options *); /* PM_BORROW_FD, of a descriptor that stays open */
int sweep_store(uint64_t at, size_t length); /* always 0 */
int sweep_flush(uint64_t at, size_t length);
int sweep_drain(void);
int sweep_persist(uint64_t at, size_t length);
int sweep_deep_persist(uint64_t at, size_t length);
int sweep_sync(void);
int sweep_commit(uint64_t at, uint64_t other, size_t length); /* two ranges */
int sweep_copy(uint64_t at, size_t length, unsigned flags);
int sweep_fill(uint64_t at, size_t length, unsigned flags);
int sweep_write(uint64_t at, size_t length);
int sweep_read(uint64_t at, size_t length);
int sweep_clear_bad_blocks(uint64_t at, size_t length);
int sweep_resize(uint64_t length);
int sweep_query(void);
int sweep_probe(const struct pm_options *);
int sweep_probe_fd(const struct pm_options *);
int sweep_event_fd(void);
/* Every event there is; 0. */
int sweep_events(void);
int sweep_clear_error(void);
int sweep_unmap(void);
/* Notes the result of a call of another kind, by its name. */
int sweep_result(const char *call, int rc);

/* ---- The kernel, sweeping_kernel.c ---- */

#define SWEEP_PAGES 48u /* of a file, at most */

/* Puts it before the fake machine, which has just been started; the file need not exist. */
void kernel_start(const char *path);
void kernel_stop(void);
/* Whether the medium holds these bytes there. */
bool kernel_holds(const char *bytes, uint64_t offset, size_t length);
/* Of a crash now: whether the file would be found, and whether with its size. */
bool kernel_holds_entry(void);
bool kernel_holds_size(void);
/* What munmap(2) was not let unmap. */
void kernel_unmap_rest(void);
/* The next msync(2) fails with EIO, beside the fault of the case. */
void kernel_fail_write_back(void);
/* Another process shares the extents: until they are taken apart and that is synced, lines do not reach the medium. */
void kernel_share(void);
/* By inotify(7). */
void kernel_announce(uint32_t mask);
/* The only process in /proc. */
void kernel_show_holder(int process);

/* ---- Allocations, sweeping_allocations.c ---- */

/* The nth from now on fails; 0: none. */
void allocations_fail(unsigned nth);
void threads_fail(unsigned nth);
bool allocations_have_failed(void);
/* Since the last call of allocations_fail(). */
unsigned allocations_made(void);
unsigned threads_made(void);
/* Not freed, not joined. */
long allocations_left(void);
long threads_left(void);

#endif
