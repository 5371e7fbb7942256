/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A library whose handlers of fork(2) map: its constructor runs before that of the companion. Before the fork another
 * thread does it, and is waited for, as one is that has the library's lock meanwhile.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

/* Anonymous memory, memory in its place, and a page of the file. */
static void map_all(void)
{
	const char *path = getenv("AT_FORK_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	at = mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	at = mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (at == MAP_FAILED || munmap(at, PAGE))
		abort();
	close(fd);
}

static void *map_in_thread(void *arg)
{
	map_all();
	return arg;
}

static void map_elsewhere(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, map_in_thread, NULL) || pthread_join(thread, NULL))
		abort();
}

__attribute__((constructor)) static void begin(void)
{
	pthread_atfork(map_elsewhere, map_all, map_all);
}

/* A program that calls it is linked with the library. */
void at_fork_is_needed(void);
void at_fork_is_needed(void) {}
