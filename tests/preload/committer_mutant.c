/* SPDX-License-Identifier: BSD-3-Clause */
/* In place of committer.c: the same without what it is there for. PMDIRECT_MUTATION says what is left out. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "committer.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* no-commit: the kernel is not asked. no-fault: the page stays mapped and writable, with one fault, the first. */
bool committer_commit(void *page)
{
	const char *mutation = getenv("PMDIRECT_MUTATION");
	bool is_asked = !mutation || strcmp(mutation, "no-commit") != 0;
	return !is_asked || !madvise(page, (size_t)sysconf(_SC_PAGESIZE), MADV_POPULATE_WRITE);
}
