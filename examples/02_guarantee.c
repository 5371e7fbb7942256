/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Insist on user-space durability. Where it cannot be had, pm_map() fails, says why in a sentence and leaves
 * no file behind. Usage: guarantee FILE; exits with 0 if granted, 3 if refused.
 */
#include <pmdirect.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct pm_options options = {.size = sizeof(options), .sync = PM_GUARANTEE, .direct = PM_GUARANTEE,
	                             .flags = PM_CREATE, .length = 1 << 20};
	struct pm_mapping *mapping;

	if (argc != 2)
		return fprintf(stderr, "usage: %s FILE\n", argv[0]), 2;
	int rc = pm_map(argv[1], &options, &mapping);
	if (rc == -PM_ENOTSYNC || rc == -PM_ENOTDIRECT || rc == -PM_EVOLATILE) {
		printf("refused: %s\n", pm_error_detail());
		return 3;
	}
	if (rc)
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	printf("granted: %s\n", pm_granularity_name(pm_granularity_of(mapping)));
	return pm_unmap(mapping) ? 1 : 0;
}
