/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread inherits the signal mask of its creator, which blocks every signal meanwhile. */
#include "sys/sys.h"

int pm_thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	sigfillset(&all);
	int rc = pthread_sigmask(SIG_BLOCK, &all, &before);
	if (rc)
		return -rc;
	rc = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -rc;
}
