/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "facts/text.h"
#include "observe/log.h"
#include "sys/trace.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held while the function runs */
static _Atomic(pm_log_fn *) log_function;
static void *log_arg;

void pm_set_log(pm_log_fn *function, void *arg)
{
	pthread_mutex_lock(&lock);
	log_function = function;
	log_arg = arg;
	pthread_mutex_unlock(&lock);
}

void pm_log_event(const char *name, const struct pm_event *event)
{
	char text[1024];
	pm_trace_event(name, event->kind, event->reason, event->offset, event->length);
	if (!atomic_load_explicit(&log_function, memory_order_relaxed))
		return;
	int used = snprintf(text, sizeof(text), "%.400s: ", name);
	pm_explain_event(event, text + used, sizeof(text) - (size_t)used);
	pm_text_one_line(text, sizeof(text));
	pthread_mutex_lock(&lock);
	if (log_function)
		log_function(text, log_arg);
	pthread_mutex_unlock(&lock);
}
