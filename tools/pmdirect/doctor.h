/* SPDX-License-Identifier: BSD-3-Clause */
/* The findings of pmdirect doctor, and the parts that make them. */
#ifndef DOCTOR_H
#define DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "output.h"

/* In the order of their weight. */
enum level {
	LEVEL_OK,      /* as it should be */
	LEVEL_NOTE,    /* worth knowing */
	LEVEL_UNKNOWN, /* not known to this user, or at all */
	LEVEL_WARNING, /* durable, but slower or more fragile than it could be */
	LEVEL_BAD      /* what a program takes for durable may be lost */
};

struct doctor {
	struct output *out;
	bool is_table; /* two lines a finding, instead of columns */
	enum level worst;
	bool has_unknown;
};

/* False: form->columns names none, and a line on stderr says so. */
bool findings_begin(struct doctor *d, struct output *out, const struct form *form);
void findings_list_columns(void);

/*
 * area: "cpu", "region" ...; subject: which one. evidence and advice are a sentence each, without a full stop; advice
 * may be "".
 */
__attribute__((format(printf, 6, 7))) void finding(struct doctor *d, enum level level, const char *area,
                                                   const char *subject, const char *advice, const char *evidence, ...);

void doctor_cpu(struct doctor *d);
void doctor_kernel(struct doctor *d);
void doctor_regions(struct doctor *d);
void doctor_mounts(struct doctor *d);
void doctor_disks(struct doctor *d);

/* Of a file of sysfs, its first line without the line end; false: it cannot be read. */
bool sysfs_line(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Calls act for each entry of a directory, in the order of names. How many; -1: there is no such directory. */
int for_each_entry(const char *directory, void (*act)(struct doctor *d, const char *name), struct doctor *d);

#endif
