/* SPDX-License-Identifier: BSD-3-Clause */
/* The allocations and threads of the library, by the linker's --wrap: counted, and broken where that is asked for. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sweeping.h"

static struct {
	atomic_uint until, made;
	atomic_long left;
} memory, threads;
static atomic_bool has_failed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *memory);
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __real_pthread_join(pthread_t, void **);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *memory);
char *__wrap_strdup(const char *text);
int __wrap_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_join(pthread_t, void **);

static bool strikes(atomic_uint *until)
{
	bool now = atomic_load(until) && atomic_fetch_sub(until, 1) == 1;
	if (now)
		atomic_store(&has_failed, true);
	return now;
}

static bool breaks(void)
{
	atomic_fetch_add(&memory.made, 1);
	if (!strikes(&memory.until))
		return false;
	errno = ENOMEM;
	return true;
}

static void *count(void *allocated)
{
	if (allocated)
		atomic_fetch_add(&memory.left, 1);
	return allocated;
}

void *__wrap_malloc(size_t size)
{
	return breaks() ? NULL : count(__real_malloc(size));
}

void *__wrap_calloc(size_t number, size_t size)
{
	return breaks() ? NULL : count(__real_calloc(number, size));
}

void *__wrap_realloc(void *old, size_t size)
{
	if (breaks())
		return NULL;
	void *allocated = __real_realloc(old, size);
	return old ? allocated : count(allocated);
}

void __wrap_free(void *allocated)
{
	if (allocated)
		atomic_fetch_sub(&memory.left, 1);
	__real_free(allocated);
}

char *__wrap_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = __wrap_malloc(size);
	return copy ? memcpy(copy, text, size) : NULL;
}

int __wrap_asprintf(char **text, const char *format, ...)
{
	va_list args;
	if (breaks())
		return -1;
	va_start(args, format);
	int length = vasprintf(text, format, args);
	va_end(args);
	if (length >= 0)
		count(*text);
	return length;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg)
{
	atomic_fetch_add(&threads.made, 1);
	if (strikes(&threads.until))
		return EAGAIN;
	int rc = __real_pthread_create(thread, attributes, run, arg);
	atomic_fetch_add(&threads.left, !rc);
	return rc;
}

int __wrap_pthread_join(pthread_t thread, void **value)
{
	int rc = __real_pthread_join(thread, value);
	atomic_fetch_sub(&threads.left, !rc);
	return rc;
}

void allocations_fail(unsigned nth)
{
	atomic_store(&has_failed, false);
	atomic_store(&memory.made, 0);
	atomic_store(&memory.until, nth);
}

void threads_fail(unsigned nth)
{
	atomic_store(&has_failed, false);
	atomic_store(&threads.made, 0);
	atomic_store(&threads.until, nth);
}

bool allocations_have_failed(void)
{
	return atomic_load(&has_failed);
}

unsigned allocations_made(void)
{
	return atomic_load(&memory.made);
}

unsigned threads_made(void)
{
	return atomic_load(&threads.made);
}

long allocations_left(void)
{
	return atomic_load(&memory.left);
}

long threads_left(void)
{
	return atomic_load(&threads.left);
}
