/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SIGBUS, caught in a range of addresses for as long as a function runs. Knows nothing of files. What the handler
 * touches is the stack, one thread-local pointer and what was there before it: that makes it async-signal-safe.
 */
#ifndef PM_SIGBUS_H
#define PM_SIGBUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pm_caught {
	int code; /* si_code; 0: nothing was caught */
	uintptr_t address;
	unsigned lsb; /* of a memory error: it concerns 1 << lsb bytes */
};

/* As the public functions of like name; they leave the sentence. */
int pm_sigbus_install(void);
int pm_sigbus_remove(void);
bool pm_sigbus_installed(void);

/*
 * Runs function(arg) and stores its value. Where a fault in [low, low + length) ends it, *value is left as it is. News
 * of a memory error that nobody has touched yet (BUS_MCEERR_AO) does not end it. Returns 0, or -errno if nothing ran.
 */
int pm_sigbus_run(const void *low, size_t length, int (*function)(void *), void *arg, int *value,
                  struct pm_caught *);

#endif
