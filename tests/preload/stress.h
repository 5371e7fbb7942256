/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STRESS_H
#define STRESS_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../tools/preload/ledger.h"

#define PAGE 4096
#define PAGES 8

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s: line %d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));     \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

/* What accelerate mode must do with pages that come and go. fd: of PAGES pages. No other thread runs. */
void stress_lines(struct ledger *ledger, int fd);

#endif
