/* SPDX-License-Identifier: BSD-3-Clause */
/* Competitors measured turn by turn in one run: medians and ratios, so that a noisy machine cannot favour one. */
#ifndef PM_BENCH_H
#define PM_BENCH_H

#include <stddef.h>

struct competitor {
	const char *name;
	void (*run)(void *arg, size_t operations);
	void *arg;
};

struct bench_result {
	double cost, ratio; /* medians: ns an operation, and that divided by the first competitor's of the same round */
};

void bench_measure(const struct competitor *, size_t count, size_t operations, int rounds, struct bench_result *ret);

/* Prints a line for each: median ns an operation, and its ratio to the first. */
void bench_compare(const char *question, const struct competitor *, size_t count, size_t operations, int rounds);

/* Prints what the machine is: kernel, CPU, file. */
void bench_machine(const char *path);

#endif
