/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Catches SIGBUS in a range of addresses while a function runs. It knows nothing of files. The handler touches only the
 * stack, one thread-local pointer and the previous disposition, so it is async-signal-safe.
 */
#ifndef PM_SIGBUS_H
#define PM_SIGBUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parts.h"

struct pm_caught {
	int code; /* si_code; 0: nothing was caught */
	uintptr_t address;
	unsigned lsb; /* of a memory error: it concerns 1 << lsb bytes */
};

/* These do what the public functions of the same name do, and leave the sentence. */
int pm_sigbus_install(void);
int pm_sigbus_remove(void);
bool pm_sigbus_installed(void);

/*
 * Runs function(arg) and stores its value. If a fault in a part of [low, low + length) ends it, *value keeps its old
 * content. A memory error that no access has met yet (BUS_MCEERR_AO) does not end it. Returns 0, or -errno if nothing
 * ran.
 */
int pm_sigbus_run(const void *low, size_t length, const struct pm_parts *, int (*function)(void *), void *arg,
                  int *value, struct pm_caught *);

#endif
