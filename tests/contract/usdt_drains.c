/* SPDX-License-Identifier: BSD-3-Clause */
/* Drains a page some hundred times a second until its input ends: for usdt.py. Usage: usdt_drains FILE */
#include <poll.h>
#include <pmdirect.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct pm_options options = {.size = sizeof(options), .flags = PM_CREATE, .sync = PM_AVOID, .length = 65536};
	struct pollfd input = {.fd = 0, .events = POLLIN};
	struct pm_mapping *m;
	if (argc != 2 || pm_map(argv[1], &options, &m)) {
		fprintf(stderr, "%s\n", pm_error_detail());
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	while (!poll(&input, 1, 2)) {
		memset(pm_base(m), 1, 8);
		if (pm_persist(m, pm_base(m), 8))
			return 1;
	}
	return pm_unmap(m) ? 1 : 0;
}
