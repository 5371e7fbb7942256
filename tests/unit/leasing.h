/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of leases share: a mapping that has one, and other processes that open its file. */
#ifndef LEASING_H
#define LEASING_H

#include <errno.h>
#include <pthread.h>

#include "mapping/mapping.h"
#include "unit.h"

#define WAIT_MS 20000

extern const char *leased_path;
extern pthread_t main_thread;
/* Done by the library's thread, so that it does not change under its eyes. */
extern void (*_Atomic deed)(void);
void share_extents(void);

/* Another process that opens the file, says so, and closes it when it is told. */
struct intruder {
	pid_t pid;
	int says, told;
};
struct intruder intrude(int flags);
/* Whether it has the file open by now. */
bool is_in(struct intruder *, int timeout_ms);
/* The same, once it has the file open. */
struct intruder let_in(int flags);
void dismiss(struct intruder *);

/* A mapping of a file that others could share, with PM_LEASE. */
struct pm_mapping *lease(unsigned flags);
/* The same while the watcher sleeps: only the test observes it. */
struct pm_mapping *lease_unobserved(unsigned flags);
/* As the watcher does, a second after it did before. */
void observe(struct pm_mapping *);
/* Another process wants the lease by now. */
void wait_for_break(struct pm_mapping *);
/* The next event, for which it waits. */
struct pm_event next_event(struct pm_mapping *);
struct pm_event next_of(struct pm_mapping *, enum pm_event_kind);
/* The first call of that kind, with these flags if they matter; NULL if there is none. */
const struct fake_record *first_of(enum fake_call, unsigned long flags);

#endif
