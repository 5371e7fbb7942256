/* SPDX-License-Identifier: BSD-3-Clause */
/* A program as others write it: knows the installed header and the library's name. Usage: consumer FILE */
#include <pmdirect.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct pm_options options = {.size = sizeof(options), .flags = PM_CREATE, .length = 4096};
	struct pm_mapping *mapping;
	char *base;

	if (argc != 2 || pm_map(argv[1], &options, &mapping)) {
		fprintf(stderr, "%s\n", pm_error_detail());
		return 1;
	}
	base = (char *)pm_base(mapping);
	if (pm_memcpy(mapping, base, "kept", 5, 0) || strcmp(base, "kept") != 0)
		return 1;
	printf("C: %s\n", pm_granularity_name(pm_granularity_of(mapping)));
	return pm_unmap(mapping) ? 1 : 0;
}
