/* SPDX-License-Identifier: BSD-3-Clause */
/* One byte made durable in an existing file, by the library. Failing writes mark the part that cost.py counts. */
#include <pmdirect.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct pm_mapping *mapping;
	if (argc != 2 || write(-1, "begin", 5) != -1 || pm_map(argv[1], NULL, &mapping))
		return 1;
	*(char *)pm_base(mapping) = 1;
	if (pm_persist(mapping, pm_base(mapping), 1) || pm_unmap(mapping))
		return 1;
	return write(-1, "end", 3) != -1;
}
