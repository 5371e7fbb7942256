/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "providers/providers.h"
#include "sys/sys.h"

static int (*backtrace_of_libunwind)(void **frame, int most); /* unw_backtrace(3) */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic(const char *) state = "not needed yet";

static void load_libunwind(void)
{
	void *library = pm_sys->dlopen(PM_LIBUNWIND_PATH);
	if (library)
		backtrace_of_libunwind = (__typeof__(backtrace_of_libunwind))dlsym(library, "unw_backtrace");
	atomic_store(&state, !library ? "not installed" : backtrace_of_libunwind ? "loaded" : "not used: too old");
}

bool pm_libunwind_loaded(const char **reason)
{
	*reason = atomic_load(&state);
	return !strcmp(*reason, "loaded");
}

/* The object that this code is in: its frames say nothing about the application. */
static bool inside_library(void *address)
{
	Dl_info here, there;
	return dladdr((void *)(uintptr_t)inside_library, &here) && dladdr(address, &there) &&
	       here.dli_fbase == there.dli_fbase;
}

static void describe(void *address, char *where, size_t where_size)
{
	Dl_info info;
	if (!dladdr(address, &info)) {
		snprintf(where, where_size, "%p", address);
		return;
	}
	const char *slash = strrchr(info.dli_fname, '/');
	const char *object = slash ? slash + 1 : info.dli_fname;
	const char *symbol = info.dli_sname;
	size_t offset = (size_t)((char *)address - (char *)(symbol ? info.dli_saddr : info.dli_fbase));
	snprintf(where, where_size, "%s+0x%zx (%s)", symbol ? symbol : object, offset, object);
}

/*
 * libunwind opens a pipe when it first reads memory, and keeps it. If the program has closed one of the first three
 * descriptors, the pipe would get that number, and output of the program would fill it.
 */
static bool may_open_pipe(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (pm_sys->fcntl_getfl(fd) == -EBADF)
			return false;
	return true;
}

unsigned pm_libunwind_call_site(void **frame, unsigned most, char *where, size_t where_size)
{
	void *stack[64];
	pthread_once(&once, load_libunwind);
	int depth = backtrace_of_libunwind && may_open_pipe() ? backtrace_of_libunwind(stack, 64) : 0;
	int first = 0;
	while (first < depth && inside_library(stack[first]))
		first++;
	/* In a static program everything is one object: then the whole stack is the application's. */
	if (first == depth)
		first = 0;
	unsigned count = 0;
	for (; first < depth && count < most; first++)
		frame[count++] = stack[first];
	where[0] = 0;
	if (count)
		describe(frame[0], where, where_size);
	return count;
}
