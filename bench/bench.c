/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>

#include "bench.h"

#define MOST_ROUNDS 1000
#define MOST_COMPETITORS 8

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), compare);
	return values[count / 2];
}

void bench_measure(const struct competitor *c, size_t count, size_t operations, int rounds, struct bench_result *ret)
{
	static double cost[MOST_COMPETITORS][MOST_ROUNDS], ratio[MOST_COMPETITORS][MOST_ROUNDS];
	if (count > MOST_COMPETITORS || rounds > MOST_ROUNDS)
		abort();
	for (size_t i = 0; i < count; i++)
		c[i].run(c[i].arg, operations);
	for (int round = 0; round < rounds; round++) {
		/*
		 * The order turns, and turns round: nobody always goes first, or finds the caches as the same one left
		 * them.
		 */
		for (size_t k = 0; k < count; k++) {
			size_t i = (k + (size_t)round / 2) % count;
			i = round % 2 ? count - 1 - i : i;
			double start = now();
			c[i].run(c[i].arg, operations);
			cost[i][round] = (now() - start) / (double)operations;
		}
		for (size_t i = 0; i < count; i++)
			ratio[i][round] = cost[i][round] / cost[0][round];
	}
	for (size_t i = 0; i < count; i++)
		ret[i] = (struct bench_result){median(cost[i], rounds), median(ratio[i], rounds)};
}

void bench_compare(const char *question, const struct competitor *c, size_t count, size_t operations, int rounds)
{
	struct bench_result result[MOST_COMPETITORS];
	bench_measure(c, count, operations, rounds, result);
	printf("%s\n", question);
	for (size_t i = 0; i < count; i++)
		printf("  %-28s %12.1f ns   x%.3f\n", c[i].name, result[i].cost, result[i].ratio);
}

static void print_cpu(void)
{
	char line[256];
	FILE *f = fopen("/proc/cpuinfo", "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "model name", 10)) {
			printf("CPU%s", strchr(line, ':'));
			break;
		}
	if (f)
		fclose(f);
}

void bench_machine(const char *path)
{
	struct utsname name;
	struct statfs stfs;
	if (!uname(&name))
		printf("kernel: %s %s\n", name.release, name.machine);
	print_cpu();
	if (path && !statfs(path, &stfs))
		printf("file: %s, f_type 0x%lx\n", path, (unsigned long)stfs.f_type);
}
