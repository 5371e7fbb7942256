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

/* no-commit: the kernel is not asked. */
static bool is_asked(void)
{
	const char *mutation = getenv("PMDIRECT_MUTATION");
	return !mutation || strcmp(mutation, "no-commit") != 0;
}

bool committer_begin(struct committer *c, const struct map_call *call)
{
	struct map_call one = {.length = (size_t)sysconf(_SC_PAGESIZE),
	                       .protection = PROT_READ | PROT_WRITE,
	                       .flags = MAP_SHARED_VALIDATE | MAP_SYNC,
	                       .fd = call->fd,
	                       .offset = call->offset};
	c->page = calls_mmap(&one);
	return c->page != MAP_FAILED && committer_commit(c);
}

void committer_end(struct committer *c)
{
	munmap(c->page, (size_t)sysconf(_SC_PAGESIZE));
}

/* no-fault: the page stays mapped and writable, so there is no fault after the first. */
bool committer_commit(struct committer *c)
{
	return !is_asked() || !madvise(c->page, (size_t)sysconf(_SC_PAGESIZE), MADV_POPULATE_WRITE);
}
