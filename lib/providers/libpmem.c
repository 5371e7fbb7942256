/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The constructor of libpmem walks sysfs with fchdir(2), which would misdirect relative opens of other threads. So it
 * is loaded in a thread that has a working directory of its own (unshare(2) CLONE_FS needs no privilege).
 *
 * PMEM_* variables in the environment can make libpmem leave flushes out. With any of them set libpmem is not used, so
 * the environment cannot raise a promise.
 */
#include <dlfcn.h>
#include <errno.h>
#include <libpmem.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "providers/providers.h"
#include "sys/sys.h"

static __typeof__(pmem_deep_drain) *libpmem_deep_drain;

static int deep_drain(const void *address, size_t length)
{
	return libpmem_deep_drain(address, length) ? -errno : 0;
}

static struct pm_libpmem provider = {.deep_drain = deep_drain};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic(const char *) state = "not needed yet";
static _Atomic(const struct pm_libpmem *) loaded;

static bool environment_interferes(void)
{
	for (char **variable = environ; variable && *variable; variable++)
		if (!strncmp(*variable, "PMEM_", 5))
			return true;
	return false;
}

/* Runs in the loading thread; returns a text for the report. */
static void *load(void *unused)
{
	(void)unused;
	if (pm_sys->unshare(CLONE_FS))
		return (void *)"not loaded: unshare(CLONE_FS) is not permitted";
	void *library = pm_sys->dlopen(PM_LIBPMEM_PATH);
	if (!library)
		return (void *)"not installed";
	libpmem_deep_drain = (__typeof__(libpmem_deep_drain))dlsym(library, "pmem_deep_drain");
	__typeof__(pmem_has_auto_flush) *has_auto_flush =
		(__typeof__(has_auto_flush))dlsym(library, "pmem_has_auto_flush");
	if (!libpmem_deep_drain || !has_auto_flush)
		return (void *)"not used: too old";
	atomic_store(&loaded, &provider);
	return (void *)(has_auto_flush() == 1 ? "loaded; sees eADR" : "loaded; sees no eADR");
}

static void load_libpmem(void)
{
	pthread_t thread;
	pthread_attr_t attributes;
	sigset_t all;
	void *text = (void *)"not loaded: no thread";
	/* No handler of the application must run in this thread. */
	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setsigmask_np(&attributes, &all);
	if (environment_interferes())
		text = (void *)"not used: PMEM_ variables in the environment";
	else if (!pthread_create(&thread, &attributes, load, NULL))
		pthread_join(thread, &text);
	pthread_attr_destroy(&attributes);
	atomic_store(&state, (const char *)text);
}

const struct pm_libpmem *pm_libpmem_load(const char **reason)
{
	pthread_once(&once, load_libpmem);
	return pm_libpmem_loaded(reason);
}

const struct pm_libpmem *pm_libpmem_loaded(const char **reason)
{
	if (reason)
		*reason = atomic_load(&state);
	return atomic_load(&loaded);
}
