/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In place of malloc(3) and what allocates by it, for all that is linked into the companion (the linker's --wrap). A
 * piece has a power of two of bytes and goes back to a list of its size; memory is never given back to the kernel. What
 * a mapping needs is some kilobytes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"
#include "real.h"

#define SMALLEST 6 /* a power of two, with the head */
#define LARGEST (sizeof(size_t) > 4 ? 40 : 31)
#define CHUNK ((size_t)1 << 18)

union head {
	struct {
		unsigned power;
		union head *next;
	} is;
	max_align_t unit;
};

void *__wrap_malloc(size_t size);
void __wrap_free(void *memory);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_asprintf(char **ret, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...) __attribute__((format(printf, 3, 4)));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static union head *unused[40];
static char *chunk;
static size_t left;

bool memory_is_whole(void)
{
	return !pthread_mutex_trylock(&lock) && !pthread_mutex_unlock(&lock);
}

static void *from_kernel(size_t size)
{
	void *made = REAL(mmap)(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return made == MAP_FAILED ? NULL : made;
}

static union head *new_piece(unsigned power)
{
	size_t size = (size_t)1 << power;
	if (size > CHUNK / 4)
		return from_kernel(size);
	if (left < size) {
		chunk = from_kernel(CHUNK);
		left = chunk ? CHUNK : 0;
	}
	if (!chunk)
		return NULL;
	left -= size;
	return (union head *)(void *)(chunk + left);
}

void *__wrap_malloc(size_t size)
{
	unsigned power = SMALLEST;
	while (power < LARGEST && ((size_t)1 << power) - sizeof(union head) < size)
		power++;
	if (power == LARGEST || ((size_t)1 << power) <= sizeof(union head))
		return errno = ENOMEM, NULL;
	pthread_mutex_lock(&lock);
	union head *piece = unused[power];
	if (piece)
		unused[power] = piece->is.next;
	else
		piece = new_piece(power);
	pthread_mutex_unlock(&lock);
	if (!piece)
		return errno = ENOMEM, NULL;
	piece->is.power = power;
	return piece + 1;
}

void __wrap_free(void *memory)
{
	if (!memory)
		return;
	union head *piece = (union head *)memory - 1;
	pthread_mutex_lock(&lock);
	piece->is.next = unused[piece->is.power];
	unused[piece->is.power] = piece;
	pthread_mutex_unlock(&lock);
}

void *__wrap_calloc(size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes))
		return errno = ENOMEM, NULL;
	void *made = __wrap_malloc(bytes);
	return made ? memset(made, 0, bytes) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
	void *made = __wrap_malloc(size);
	if (made && memory) {
		size_t had = ((size_t)1 << ((union head *)memory - 1)->is.power) - sizeof(union head);
		memcpy(made, memory, had < size ? had : size);
		__wrap_free(memory);
	}
	return made;
}

char *__wrap_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *made = __wrap_malloc(size);
	return made ? memcpy(made, text, size) : NULL;
}

static int print(char **ret, const char *format, va_list list)
{
	va_list again;
	va_copy(again, list);
	int length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	*ret = length < 0 ? NULL : __wrap_malloc((size_t)length + 1);
	return *ret ? vsnprintf(*ret, (size_t)length + 1, format, list) : -1;
}

int __wrap_asprintf(char **ret, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	int length = print(ret, format, list);
	va_end(list);
	return length;
}

int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...)
{
	va_list list;
	(void)flag;
	va_start(list, format);
	int length = print(ret, format, list);
	va_end(list);
	return length;
}
