/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "providers/providers.h"
#include "providers/unwind_pipe.h"
#include "sys/sys.h"

static int (*backtrace_of_libunwind)(void **frame, int most); /* unw_backtrace(3) */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(const char *) state = "not needed yet";

static int find_loaded(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *slash = strrchr(info->dlpi_name, '/'), *wanted = strrchr(PM_LIBUNWIND_PATH, '/');
	(void)size;
	(void)arg;
	return slash && !strncmp(slash, wanted, strlen(wanted));
}

static void load_libunwind(void)
{
	/* The numbers of a pipe that libunwind opened for the program cannot be found. */
	if (dl_iterate_phdr(find_loaded, NULL)) {
		atomic_store(&state, "not used: the program has loaded it");
		return;
	}
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

/* The return addresses on the stack; none where a number of libunwind's pipe may lead to another file. */
static int backtrace_safely(void **frame, int most)
{
	int depth = 0;
	pthread_once(&once, load_libunwind);
	if (!backtrace_of_libunwind || !may_open_pipe())
		return 0;
	pthread_mutex_lock(&lock);
	if (pm_unwind_pipe_is_safe()) {
		depth = backtrace_of_libunwind(frame, most);
		pm_unwind_pipe_find();
	} else {
		atomic_store(&state, "not used: its pipe is not known or was closed");
	}
	pthread_mutex_unlock(&lock);
	return depth;
}

unsigned pm_libunwind_call_site(void **frame, unsigned most, char *where, size_t where_size)
{
	void *stack[64];
	int depth = backtrace_safely(stack, 64);
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
