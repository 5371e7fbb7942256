/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread has its signal mask from its first instruction on: glibc 2.32. */
#include "sys/sys.h"

int pm_thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	pthread_attr_t attributes;
	sigset_t all;
	sigfillset(&all);
	int rc = pthread_attr_init(&attributes);
	if (rc)
		return -rc;
	rc = pthread_attr_setsigmask_np(&attributes, &all);
	if (!rc)
		rc = pthread_create(thread, &attributes, run, arg);
	pthread_attr_destroy(&attributes);
	return -rc;
}
