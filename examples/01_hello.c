/* SPDX-License-Identifier: BSD-3-Clause */
/* The smallest program: a greeting that survives a power failure. Usage: hello FILE */
#include <pmdirect.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char greeting[] = "hello, durable world";
	struct pm_options options = {.size = sizeof(options), .flags = PM_CREATE, .length = 4096};
	struct pm_mapping *mapping;

	if (argc != 2)
		return fprintf(stderr, "usage: %s FILE\n", argv[0]), 2;
	if (pm_map(argv[1], &options, &mapping))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	memcpy(pm_base(mapping), greeting, sizeof(greeting));
	if (pm_persist(mapping, pm_base(mapping), sizeof(greeting)))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	printf("durable by %s\n", pm_granularity_name(pm_granularity_of(mapping)));
	return pm_unmap(mapping) ? 1 : 0;
}
