/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Competitors measured turn by turn in one run: medians and ratios, so that a noisy machine cannot favour one.
 *
 * Every program takes [--quick] [--json FILE] [DIRECTORY]. With --json what it prints is also appended to FILE, as an
 * object on a line of its own: the machine as {"machine": ...}, then the results, which bench/results.py reads. What is
 * ours is named after its function, "pm_...", or "pmdirect_vfs": nothing else begins so.
 */
#ifndef PM_BENCH_H
#define PM_BENCH_H

#include <stdbool.h>
#include <stddef.h>

struct competitor {
	const char *name;
	void (*run)(void *arg, size_t operations);
	void *arg;
};

/* Takes its options out of the arguments, and leaves the rest. What is asked is for the reader of the results. */
void bench_options(int *argc, char **argv, const char *question);

/* Fewer rounds are wanted than a good answer takes. */
bool bench_quick(void);

/* Prints what the machine is: kernel, CPU, and, of a directory, what the library finds out about a file in it. */
void bench_machine(const char *directory);

struct bench_result {
	double cost, ratio; /* medians: ns an operation, and that divided by the first competitor's of the same round */
};

/*
 * Of a program that asks, the rounds are in as many parts as there are competitors, and this is the number of the part,
 * from 0. A program that gives each competitor memory of its own gives it that of the next one in the next part: some
 * memory is faster, by where it lies in the caches and in the banks of the DRAM.
 */
size_t bench_turn(void);

/* In each part a run of each is not measured. With --quick it takes fewer rounds. */
void bench_measure(const struct competitor *, size_t count, size_t operations, int rounds, struct bench_result *ret);

/* What was measured last, into the file only: for a program that prints in its own way. */
void bench_write(const char *what, const struct competitor *, size_t count);

/* Measures, writes, and prints a line for each. */
void bench_compare(const char *what, const struct competitor *, size_t count, size_t operations, int rounds);

/* The same lines for figures that are not medians of rounds, such as percentiles; in ns, the ratios to the first. */
struct bench_figure {
	const char *name;
	double value;
};
void bench_figures(const char *what, const struct bench_figure *, size_t count);

/* Nanoseconds since some moment. */
double bench_now(void);

/* For qsort(3). */
int bench_order(const void *a, const void *b);

#endif
