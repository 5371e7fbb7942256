/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "kernel/populate.h"
#include "kernel/quirks.h"
#include "sys/sys.h"

#define STEP 4096u /* pages, an answer of mincore(2) */

/*
 * Before Linux 6.9 madvise(2) never returns where a page cannot be read: the kernel lets go of its lock for the read,
 * takes the fault again, and does not note that it has tried (mm/madvise.c madvise_populate). The fault of an access
 * notes it, also of an access that the kernel makes for a system call, which then fails.
 */
static int read_page(const char *at)
{
	int rc = PM_RETRY(pm_sys->rt_sigprocmask_reads(at));
	return rc == -EFAULT ? rc : 0;
}

/* What memory holds need not be read. Where mincore(2) fails, all of it is. */
static int read_pages_missing(const char *at, size_t pages, size_t page)
{
	unsigned char held[STEP];
	bool is_known = pages > 1 && !PM_RETRY(pm_sys->mincore((void *)at, pages * page, held));
	int rc = 0;
	for (size_t i = 0; i < pages && !rc; i++)
		if (!is_known || !(held[i] & 1))
			rc = read_page(at + i * page);
	return rc;
}

static int read_missing(const char *at, size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = length / page;
	int rc = 0;
	for (size_t done = 0; done < pages && !rc; done += STEP)
		rc = read_pages_missing(at + done * page, pages - done < STEP ? pages - done : STEP, page);
	return rc;
}

int pm_populate(char *at, size_t length, int advice, bool is_direct)
{
	int rc = 0;
	if (!is_direct && pm_has_quirk(PM_ANY_FILE_SYSTEM, PM_KERNEL_REPEATS_READS))
		rc = read_missing(at, length);
	return rc ? rc : PM_RETRY(pm_sys->madvise(at, length, advice));
}

void pm_populate_prepared(char *at, size_t length, bool is_direct)
{
	pm_populate(at, length, is_direct ? MADV_POPULATE_WRITE : MADV_POPULATE_READ, is_direct);
}
