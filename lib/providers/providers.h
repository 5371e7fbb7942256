/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Libraries that are loaded when they are first needed, by the path that they had when this library was built. A
 * program that maps a plain file never pays for them. Each has a native substitute.
 */
#ifndef PM_PROVIDERS_H
#define PM_PROVIDERS_H

#include <stdbool.h>
#include <stddef.h>

/* libpmem: deep flush on direct mappings, and a second opinion on eADR. */
struct pm_libpmem {
	/* pmem_deep_drain(3); 0 or -errno. */
	int (*deep_drain)(const void *address, size_t length);
};

/*
 * Loads libpmem at the first call; NULL where it is not available. reason, if not NULL, receives static text that says
 * what is used and why.
 */
const struct pm_libpmem *pm_libpmem_load(const char **reason);
/* The same without loading: NULL unless it was loaded before. */
const struct pm_libpmem *pm_libpmem_loaded(const char **reason);

/*
 * Stores return addresses of the caller's stack, the application's first, in frame[0 .. most-1], and returns how many.
 * where receives the first as text. Loads libunwind at the first call; 0 where it is not available.
 */
unsigned pm_libunwind_call_site(void **frame, unsigned most, char *where, size_t where_size);
bool pm_libunwind_loaded(const char **reason);

#endif
