/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of the guard share: a file to be cut off, functions to be guarded, faults that are only sent. */
#ifndef GUARDING_H
#define GUARDING_H

#include "unit.h"

#define GUARDING_PAGES 16u

extern const char *guarding_path; /* of so many pages */
extern int guarding_ran;          /* calls of the functions below */

/* Signals that were passed on to the handler before the library's, and the si_code of the last. */
extern atomic_uint guarding_passed_on;
extern int guarding_passed_code;

/* False where there can be no fault: the program is to be skipped. */
bool guarding_is_possible(void);
/* Makes the file, installs a handler that counts, and the guard over it. */
void guarding_start(void);
void guarding_cut(uint64_t size);
/* Of a mapping whose cut a fault has shown. Lines do not record what was flushed: it may have been beyond the end. */
void guarding_unmap_cut(struct pm_mapping *);

int guarding_load(void *at);  /* 8, or 9 for a 0 */
int guarding_store(void *at); /* 7 */

/* What the kernel would send, sent by ourselves: only a process to itself may. */
struct guarding_forged {
	int code;
	const void *address;
	short lsb; /* 0: not set */
};
int guarding_forge(void *forged); /* 7 */

/* That the fault is the one at that address of the mapping. */
void guarding_check(const struct pm_fault *, const struct pm_mapping *, const char *at, int error);

#endif
