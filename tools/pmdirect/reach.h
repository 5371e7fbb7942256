/* SPDX-License-Identifier: BSD-3-Clause */
/* A way to the file that another process has mapped. */
#ifndef REACH_H
#define REACH_H

#include <stdbool.h>
#include <sys/stat.h>

#include "area.h"

struct reached {
	char path[4200]; /* which open(2) follows to the file */
	struct statx stx;
	bool is_to_be_shown; /* the numbers of the device are made up: reach_is_mapped() tells whether it is the file */
};

/* 0, or a negative errno. Opens nothing. */
int reach(const struct area *area, struct reached *ret);
/* Whether the descriptor is that of the mapped file: maps a page of it and compares. */
bool reach_is_mapped(const struct area *area, int fd);

#endif
