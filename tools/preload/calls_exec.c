/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that begin another program. The environment is the caller's affair and is not changed: without LD_PRELOAD in it
 * the companion does not begin there. So the program is entered as expected, and run says if nothing came of it.
 */
#include <alloca.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "companion.h"
#include "place.h"
#include "real.h"

static int expect(const char *program)
{
	return companion_serves() ? place_expect(getpid(), program) : -1;
}

/* The call failed. */
static int failed(int place)
{
	int error = errno;
	place_unexpect(place);
	errno = error;
	return -1;
}

int execve(const char *path, char *const argv[], char *const envp[])
{
	int place = expect(path);
	REAL(execve)(path, argv, envp);
	return failed(place);
}

int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

int execvpe(const char *file, char *const argv[], char *const envp[])
{
	int place = expect(file);
	REAL(execvpe)(file, argv, envp);
	return failed(place);
}

int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

int fexecve(int fd, char *const argv[], char *const envp[])
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int place = expect(path);
	REAL(fexecve)(fd, argv, envp);
	return failed(place);
}

int execveat(int directory, const char *path, char *const argv[], char *const envp[], int flags)
{
	int place = expect(path);
	REAL(execveat)(directory, path, argv, envp, flags);
	return failed(place);
}

/* Arguments up to a NULL, that included. The first may be it, whatever the header says. */
#define COUNT_ARGUMENTS(ret, first)                                                                                    \
	do {                                                                                                           \
		va_list counted;                                                                                       \
		const char *volatile before = first;                                                                   \
		va_start(counted, first);                                                                              \
		for (ret = 2; before && va_arg(counted, char *); ret++)                                                \
			;                                                                                              \
		va_end(counted);                                                                                       \
	} while (0)

/* As an array on the stack: in a child of vfork(2) nothing may be allocated. list is behind the NULL afterwards. */
#define TAKE_ARGUMENTS(list, argv, first)                                                                              \
	do {                                                                                                           \
		size_t at = 0;                                                                                         \
		for (argv[at] = (char *)(uintptr_t)(first); argv[at];)                                                 \
			argv[++at] = va_arg(list, char *);                                                             \
	} while (0)

int execl(const char *path, const char *first, ...)
{
	size_t count;
	va_list list;
	COUNT_ARGUMENTS(count, first);
	char **argv = alloca(count * sizeof(*argv));
	va_start(list, first);
	TAKE_ARGUMENTS(list, argv, first);
	va_end(list);
	return execve(path, argv, environ);
}

int execlp(const char *file, const char *first, ...)
{
	size_t count;
	va_list list;
	COUNT_ARGUMENTS(count, first);
	char **argv = alloca(count * sizeof(*argv));
	va_start(list, first);
	TAKE_ARGUMENTS(list, argv, first);
	va_end(list);
	return execvpe(file, argv, environ);
}

int execle(const char *path, const char *first, ...)
{
	size_t count;
	va_list list;
	COUNT_ARGUMENTS(count, first);
	char **argv = alloca(count * sizeof(*argv));
	va_start(list, first);
	TAKE_ARGUMENTS(list, argv, first);
	char **envp = va_arg(list, char **);
	va_end(list);
	return execve(path, argv, envp);
}

static int spawned(int rc, pid_t child, pid_t *ret, const char *program)
{
	if (!rc && ret)
		*ret = child;
	if (!rc && companion_serves())
		place_spawned(child, program);
	return rc;
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *how,
                char *const argv[], char *const envp[])
{
	pid_t child;
	int rc = REAL(posix_spawn)(&child, path, actions, how, argv, envp);
	return spawned(rc, child, pid, path);
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *how,
                 char *const argv[], char *const envp[])
{
	pid_t child;
	int rc = REAL(posix_spawnp)(&child, file, actions, how, argv, envp);
	return spawned(rc, child, pid, file);
}
