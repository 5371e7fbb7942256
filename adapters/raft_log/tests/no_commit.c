/* SPDX-License-Identifier: BSD-3-Clause */
/* pm_commit() of the mutant, by its compiler's arguments: it promises, and does nothing. */
#include <pmdirect.h>

int no_commit(struct pm_mapping *mapping, const struct pm_range *ranges, size_t count)
{
	(void)mapping;
	(void)ranges;
	(void)count;
	return 0;
}
