/* SPDX-License-Identifier: BSD-3-Clause */
/* What does it cost to ask a live mapping of 64 MiB what it is: for the verdict, and for the complete report? */
#include <fcntl.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define SIZE ((uint64_t)64 << 20)

static int fd;

static void run_fstat(void *arg, size_t operations)
{
	struct stat st;
	(void)arg;
	for (size_t i = 0; i < operations; i++)
		if (fstat(fd, &st))
			abort();
}

static void ask(struct pm_mapping *m, size_t operations, size_t size)
{
	struct pm_report report;
	for (size_t i = 0; i < operations; i++)
		if (pm_query(m, &report, size))
			abort();
}

static void run_verdict(void *arg, size_t operations)
{
	ask(arg, operations, offsetof(struct pm_report, evidence));
}

static void run_everything(void *arg, size_t operations)
{
	ask(arg, operations, sizeof(struct pm_report));
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does it cost to ask a live mapping what it is?");
	const char *directory = argc > 1 ? argv[1] : ".";
	char path[4096];
	struct pm_mapping *m;
	struct pm_options options = {.size = sizeof(options), .length = SIZE, .flags = PM_CREATE | PM_EXCLUSIVE};
	snprintf(path, sizeof(path), "%s/query.%d", directory, (int)getpid());
	if (pm_map(path, &options, &m))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	fd = open(path, O_RDONLY);
	memset(pm_base(m), 1, SIZE);
	if (fd < 0 || pm_sync(m))
		return unlink(path), 1;
	struct competitor all[] = {
		{"pm_query, the verdict", run_verdict, m},
		{"pm_query, all evidence", run_everything, m},
		{"fstat", run_fstat, NULL},
	};
	bench_machine(directory);
	bench_compare("asking a live mapping of 64 MiB, all in the page cache", all, 3, 100, 31);
	return unlink(path) || pm_unmap(m) ? 1 : 0;
}
