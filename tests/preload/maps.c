/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program for the companion: maps FILE OPERATION... Does each operation in turn, as any program would: it knows
 * nothing of the companion. An operation that fails where it must not ends the program with status 99.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "maps.h"

struct state state = {.fd = -1};

static void do_open(void)
{
	state.fd = open(state.path, O_RDWR | O_CREAT, 0600);
	MUST(state.fd >= 0);
	MUST(!ftruncate(state.fd, PAGES * PAGE));
}

static void do_map(void)
{
	state.base = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, state.fd, 0);
	MUST(state.base != MAP_FAILED);
}

static void do_map_read(void)
{
	state.base = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, state.fd, 0);
	MUST(state.base != MAP_FAILED);
}

static void do_writable(void)
{
	MUST(!mprotect(state.base, PAGES * PAGE, PROT_READ | PROT_WRITE));
}

static void do_private(void)
{
	MUST(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, state.fd, 0) != MAP_FAILED);
}

static void do_store(void)
{
	for (int i = 0; i < PAGES; i++)
		state.base[i * PAGE]++;
}

static void do_sync(void)
{
	MUST(!msync(state.base, PAGES * PAGE, MS_SYNC));
}

void do_sync_page(void)
{
	MUST(!msync(state.base + 2 * PAGE, PAGE, MS_SYNC));
}

static void do_sync_async(void)
{
	MUST(!msync(state.base, PAGE, MS_ASYNC));
}

/* Errors are the kernel's. */
static void do_sync_wrong(void)
{
	MUST(msync(state.base + 1, PAGE, MS_SYNC) == -1 && errno == EINVAL);
	MUST(msync(state.base, PAGE, MS_SYNC | MS_ASYNC) == -1 && errno == EINVAL);
}

/* Of the third page, a piece with two neighbours. */
static void do_unmap_page(void)
{
	MUST(!munmap(state.base + 2 * PAGE, PAGE));
}

static void do_sync_gap(void)
{
	MUST(msync(state.base + 2 * PAGE, PAGE, MS_SYNC) == -1 && errno == ENOMEM);
}

static void do_unmap(void)
{
	MUST(!munmap(state.base, PAGES * PAGE));
}

static void do_unmap_wrong(void)
{
	MUST(munmap(state.base + 1, PAGE) == -1 && errno == EINVAL);
}

/* Memory of no file at the third page. */
static void do_over(void)
{
	MUST(mmap(state.base + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
	          0) == state.base + 2 * PAGE);
}

static void do_sync_over(void)
{
	MUST(!msync(state.base + 2 * PAGE, PAGE, MS_SYNC));
}

static void do_move(void)
{
	void *there = mmap(NULL, 2 * PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(there != MAP_FAILED);
	state.base = mremap(state.base, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, there);
	MUST(state.base == there);
}

static void do_fsync(void)
{
	MUST(!fsync(state.fd));
}

static void do_fdatasync(void)
{
	MUST(!fdatasync(state.fd));
}

/* From ten places. */
static void do_fdatasyncs(void)
{
	int rc = fdatasync(state.fd);
	rc |= fdatasync(state.fd);
	rc |= fdatasync(state.fd);
	rc |= fdatasync(state.fd);
	rc |= fdatasync(state.fd);
	rc |= fdatasync(state.fd);
	rc |= fdatasync(state.fd);
	rc |= fdatasync(state.fd);
	rc |= fdatasync(state.fd);
	rc |= fdatasync(state.fd);
	MUST(!rc);
}

static void do_close(void)
{
	MUST(!close(state.fd));
	state.fd = -1;
}

static void do_dup(void)
{
	int fd = dup2(state.fd, 50);
	MUST(fd == 50 && !close(state.fd));
	state.fd = fd;
}

/* The number gets another file: what is written there is not written to this one. */
static void do_other_number(void)
{
	int fd = state.fd;
	MUST(!close(fd));
	char *path = malloc(strlen(state.path) + sizeof(".other"));
	MUST(path);
	strcat(strcpy(path, state.path), ".other");
	MUST(open(path, O_RDWR | O_CREAT, 0600) == fd);
	free(path);
	MUST(write(fd, "x", 1) == 1 && !fdatasync(fd));
}

static void do_writes(void)
{
	struct iovec parts = {state.path, 1};
	MUST(write(state.fd, "a", 1) == 1);
	MUST(pwrite(state.fd, "ab", 2, 0) == 2);
	MUST(writev(state.fd, &parts, 1) == 1);
	MUST(pwritev(state.fd, &parts, 1, 0) == 1);
}

static void do_changes(void)
{
	MUST(!ftruncate(state.fd, PAGES * PAGE));
	MUST(!truncate(state.path, PAGES * PAGE));
	MUST(!posix_fallocate(state.fd, 0, PAGE));
}

/* A record lock that another process sees. */
static void do_lock(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	MUST(!fcntl(state.fd, F_SETLK, &lock));
}

static void do_locked(void)
{
	int status;
	pid_t child = fork();
	MUST(child >= 0);
	if (!child) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
		_exit(fcntl(state.fd, F_GETLK, &lock) || lock.l_type == F_UNLCK);
	}
	MUST(waitpid(child, &status, 0) == child && !status);
}

/* The numbers that the next descriptors get, and those that are open. */
static void numbers_to(FILE *stream)
{
	int next = open("/dev/null", O_RDONLY);
	fprintf(stream, "%d:", next);
	for (int i = 0; i < 100; i++)
		if (fcntl(i, F_GETFD) >= 0)
			fprintf(stream, " %d", i);
	fprintf(stream, "\n");
	fflush(stream);
	close(next);
}

static void do_numbers(void)
{
	numbers_to(stdout);
}

/* Where stdout may be closed: only that it can be done. */
static void do_numbers_to_file(void)
{
	FILE *stream = fopen("/dev/null", "we");
	MUST(stream);
	numbers_to(stream);
	fclose(stream);
}

static void do_pause(void)
{
	char answer;
	MUST(write(STDOUT_FILENO, "pause\n", 6) == 6);
	MUST(read(STDIN_FILENO, &answer, 1) == 1);
}

static void do_mark(void)
{
	char *path = malloc(strlen(state.path) + sizeof(".mark"));
	MUST(path && open(strcat(strcpy(path, state.path), ".mark"), O_RDWR | O_CREAT, 0600) >= 0);
	free(path);
}

static void do_null_writes(void)
{
	static int null = -1;
	if (null < 0)
		null = open("/dev/null", O_WRONLY);
	MUST(write(null, "a", 1) == 1);
}

static void do_anonymous(void)
{
	void *there = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(there != MAP_FAILED && !mprotect(there, PAGE, PROT_NONE) && !munmap(there, PAGE));
}

static void do_read(void)
{
	char byte;
	MUST(pread(state.fd, &byte, 1, 0) == 1);
}

static const struct operation operations[] = {
	{"open", do_open},
	{"map", do_map},
	{"map-read", do_map_read},
	{"writable", do_writable},
	{"private", do_private},
	{"store", do_store},
	{"sync", do_sync},
	{"sync-page", do_sync_page},
	{"sync-async", do_sync_async},
	{"sync-wrong", do_sync_wrong},
	{"unmap-page", do_unmap_page},
	{"sync-gap", do_sync_gap},
	{"unmap", do_unmap},
	{"unmap-wrong", do_unmap_wrong},
	{"over", do_over},
	{"sync-over", do_sync_over},
	{"move", do_move},
	{"fsync", do_fsync},
	{"fdatasync", do_fdatasync},
	{"fdatasyncs", do_fdatasyncs},
	{"close", do_close},
	{"dup", do_dup},
	{"other-number", do_other_number},
	{"writes", do_writes},
	{"changes", do_changes},
	{"lock", do_lock},
	{"locked", do_locked},
	{"numbers", do_numbers},
	{"numbers-to-file", do_numbers_to_file},
	{"pause", do_pause},
	{"mark", do_mark},
	{"null-writes", do_null_writes},
	{"anonymous", do_anonymous},
	{"read", do_read},
};

static void run(char *name)
{
	const struct operation *found = NULL;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (!strcmp(operations[i].name, name))
			found = &operations[i];
	for (const struct operation *o = process_operations; o->name; o++)
		if (!strcmp(o->name, name))
			found = o;
	if (found) {
		found->run();
		return;
	}
	fprintf(stderr, "maps: there is no operation %s\n", name);
	_exit(99);
}

#ifdef NEEDED /* a function of a library, whose constructor and handlers are wanted */
void NEEDED(void);
#else
#define NEEDED() (void)0
#endif

int main(int argc, char **argv)
{
	static char *rest[256];
	NEEDED();
	if (argc < 2 || argc > 250)
		return 99;
	state.path = argv[1];
	state.rest = rest;
	rest[0] = argv[0];
	rest[1] = argv[1];
	for (int i = 2; i < argc; i++) {
		memcpy(rest + 2, argv + i + 1, sizeof(*argv) * (size_t)(argc - i));
		run(argv[i]);
	}
	return 0;
}
