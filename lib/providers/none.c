/* SPDX-License-Identifier: BSD-3-Clause */
/* A build without libpmem and libunwind: the native code serves. */
#include "providers/providers.h"

#define REASON "built without it"

const struct pm_libpmem *pm_libpmem_load(const char **reason)
{
	return pm_libpmem_loaded(reason);
}

const struct pm_libpmem *pm_libpmem_loaded(const char **reason)
{
	if (reason)
		*reason = REASON;
	return NULL;
}

bool pm_libunwind_loaded(const char **reason)
{
	*reason = REASON;
	return false;
}

unsigned pm_libunwind_call_site(void **frame, unsigned most, char *where, size_t where_size)
{
	(void)frame;
	(void)most;
	(void)where_size;
	where[0] = 0;
	return 0;
}
