/* SPDX-License-Identifier: BSD-3-Clause */
#include <pmdirect.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../tools/preload/committer.h"
#include "../../tools/preload/real.h"
#include "stand_in.h"

#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000
#endif
#define PAGE 4096
#define LIVES 0x6c697665u

struct pm_mapping {
	unsigned state;
	char *base;
	size_t length;
	bool is_given_up;
};

_Atomic(char *) stand_in_base;
_Atomic int stand_in_mappings, stand_in_at_lines;
_Atomic bool stand_in_refuses, stand_in_promises_pages, stand_in_naps;

static const struct pm_mapping *living(const struct pm_mapping *m)
{
	if (m->state != LIVES)
		abort();
	return m;
}

static void nap(unsigned microseconds)
{
	if (atomic_load(&stand_in_naps))
		usleep(microseconds);
}

/* Nothing is in the page below it: a test makes a mapping grow from there. */
static char *map_above_nothing(struct map_call *call)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct map_call room = {.length = page + call->length, .flags = MAP_PRIVATE | MAP_ANONYMOUS, .fd = -1};
	char *below = real_map(&room);
	if (below == MAP_FAILED)
		return below;
	call->address = below + page;
	call->flags |= MAP_FIXED;
	char *base = real_map(call);
	REAL(munmap)(below, base == MAP_FAILED ? room.length : page);
	return base;
}

int pm_map_fd(int fd, const struct pm_options *o, struct pm_mapping **ret)
{
	struct map_call call = {.length = (size_t)o->length, .protection = PROT_READ | PROT_WRITE, .flags = MAP_SHARED,
	                        .fd = fd, .offset = o->offset};
	char *base = map_above_nothing(&call);
	struct pm_mapping *m = base == MAP_FAILED ? NULL : calloc(1, sizeof(*m));
	if (!m)
		return -1;
	*m = (struct pm_mapping){.state = LIVES, .base = base, .length = call.length};
	nap(500);
	atomic_store(&stand_in_base, base);
	atomic_fetch_add(&stand_in_mappings, 1);
	*ret = m;
	return 0;
}

int pm_probe_fd(int fd, const struct pm_options *o, struct pm_report *report, size_t size)
{
	(void)fd, (void)o, (void)size;
	report->granularity = atomic_load(&stand_in_promises_pages) ? PM_PAGE : PM_CACHE_LINE;
	return 0;
}

void *pm_base(const struct pm_mapping *m)
{
	return living(m)->base;
}

uint64_t pm_length(const struct pm_mapping *m)
{
	return living(m)->length;
}

enum pm_granularity pm_granularity_of(const struct pm_mapping *m)
{
	return living(m)->state == LIVES ? PM_CACHE_LINE : PM_PAGE;
}

int pm_persist(struct pm_mapping *m, const void *address, size_t length)
{
	const volatile char *bytes = address;
	if (bytes < living(m)->base || bytes + length > m->base + m->length)
		abort();
	atomic_fetch_add(&stand_in_at_lines, 1);
	nap(50);
	for (size_t i = 0; i < length; i += PAGE)
		(void)bytes[i];
	atomic_fetch_sub(&stand_in_at_lines, 1);
	return 0;
}

int pm_give_up(struct pm_mapping *m, void *address, size_t length)
{
	if (address != living(m)->base || length != m->length)
		abort();
	m->is_given_up = true;
	return 0;
}

int pm_unmap(struct pm_mapping *m)
{
	if (!living(m)->is_given_up)
		abort();
	m->state = 0;
	atomic_fetch_sub(&stand_in_mappings, 1);
	free(m);
	return 0;
}

/* Empties memory that is no file's, as the companion's own does. */
bool committer_commit(void *page)
{
	nap(50);
	return !atomic_load(&stand_in_refuses) && !madvise(page, PAGE, MADV_DONTNEED);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

/* What was not given is read too, and means nothing to the call. */
__attribute__((no_sanitize("address"))) long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list list;
	va_start(list, number);
	for (size_t i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	long rc = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_statx && !rc) {
		struct statx *stx = (struct statx *)a[4];
		stx->stx_attributes |= STATX_ATTR_DAX;
		stx->stx_attributes_mask |= STATX_ATTR_DAX;
	}
	return rc;
}

int __real_pthread_sigmask(int how, const sigset_t *set, sigset_t *before);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *before);

/* The companion calls it wherever it takes or gives a lock. */
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
	static _Atomic unsigned calls;
	int rc = __real_pthread_sigmask(how, set, before);
	if (atomic_fetch_add(&calls, 1) % 7 == 0)
		nap(20);
	return rc;
}
