/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every unit test program shares: a directory for its files, fresh for each test, the fake machine taken down
 * after it, and its rules checked.
 */
#ifndef UNIT_H
#define UNIT_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "fake.h"
#include "pmdirect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A case named like the program's suite; tests are added to it. */
TCase *unit_case(const char *name);
/* Runs what was added: the program's exit status. */
int unit_run(void);

/* Path of a file in the test's directory; one of 32 buffers used in turn. */
const char *unit_path(const char *name);
/* Makes a file of that size there, filled with a pattern: its path. */
const char *unit_file(const char *name, uint64_t size);
char unit_pattern(uint64_t offset);
bool unit_has_pattern(const char *bytes, uint64_t offset, uint64_t length);
bool unit_is_zero(const char *bytes, uint64_t length);
uint64_t unit_size_of(const char *path);
bool unit_exists(const char *path);
/*
 * Whether the descriptor becomes readable. It waits in turns of 10 ms, so a process that other programs keep from
 * running waits longer than timeout_ms.
 */
bool unit_is_readable(int fd, int timeout_ms);
size_t unit_page(void);
/* Open descriptors of the process. */
unsigned unit_open_files(void);
/* Under an emulator of the CPU some calls do less than Linux. */
bool unit_is_emulated(void);

/* Maps or fails the test. */
struct pm_mapping *unit_map(const char *path, const struct pm_options *);
/* The report of a mapping. */
const struct pm_report *unit_query(struct pm_mapping *);
/* The same of a mapping that is made for it, in a place of its own. */
const struct pm_report *unit_report(const char *path, const struct pm_options *);
/* Never across two pages, which would cost a call. */
struct unit_options {
	_Alignas(128) struct pm_options o;
};
#define UNIT_OPTIONS(...) (&(struct unit_options){{.size = sizeof(struct pm_options), __VA_ARGS__}}.o)

/*
 * How often a loop repeats itself that does so as often on the host. In guests, where each round costs a hundred times
 * as much, it is the part that PMDIRECT_TEST_PART says, three at least.
 */
unsigned unit_rounds(unsigned on_host);
/* For loops over all places, or all pairs: 1 on the host, every third in guests. */
unsigned unit_stride(void);

/* A number from a seed that the program prints when it starts; CK_RUN_SEED repeats it. */
uint32_t unit_random(void);

/* For loops: Check notes every assertion that holds, at some cost. */
#define unit_expect(condition)                                                                               \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			ck_abort_msg("%s", #condition);                                                      \
	} while (0)

#define unit_ok(call)                                                                                        \
	do {                                                                                                 \
		int rc_ = (call);                                                                            \
		if (rc_)                                                                                     \
			ck_abort_msg("%s: %d, %s", #call, rc_, pm_error_detail());                           \
	} while (0)

#endif
