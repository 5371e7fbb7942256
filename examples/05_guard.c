/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another process cuts off a file that is mapped. Without a guard the next access behind its end kills the program; in
 * a guard it is an error. Usage: guard FILE
 */
#include <pmdirect.h>
#include <stdio.h>
#include <unistd.h>

#define SIZE 65536

struct job {
	struct pm_mapping *mapping;
	unsigned long sum;
};

/* Left in the middle when an access fails: it holds nothing that would have to be given back. */
static int add_up(void *arg)
{
	struct job *job = arg;
	const unsigned char *bytes = pm_base(job->mapping);
	for (size_t i = 0; i < pm_length(job->mapping); i++)
		job->sum += bytes[i];
	return 0;
}

int main(int argc, char **argv)
{
	struct pm_options options = {.size = sizeof(options), .flags = PM_CREATE, .length = SIZE};
	struct job job = {NULL, 0};
	struct pm_fault fault;

	if (argc != 2)
		return fprintf(stderr, "usage: %s FILE\n", argv[0]), 2;
	if (pm_guard_install() || pm_map(argv[1], &options, &job.mapping))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	if (pm_guarded(job.mapping, add_up, &job, &fault, sizeof(fault)) == 0)
		printf("all is there, the sum is %lu\n", job.sum);
	if (truncate(argv[1], SIZE / 4))
		return perror(argv[1]), 1;
	if (pm_guarded(job.mapping, add_up, &job, &fault, sizeof(fault)) < 0)
		printf("lost from offset %llu: %s\n", (unsigned long long)fault.offset, pm_error_detail());
	pm_unmap(job.mapping);
	return pm_guard_remove() ? 1 : 0;
}
