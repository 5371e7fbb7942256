/* SPDX-License-Identifier: BSD-3-Clause */
/* What the companion costs a call: companion FILE COUNT, alone and under `pmdirect run`. Nanoseconds a call, the least
 * of several rounds. FILE is best on tmpfs, where the call itself is short. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LENGTH 65536
#define ROUNDS 20

static int file, other;
static char *base;

static void call_msync(void)
{
	if (msync(base, 4096, MS_SYNC))
		abort();
}

static void call_fdatasync(void)
{
	if (fdatasync(file))
		abort();
}

static void call_pwrite(void)
{
	if (pwrite(file, "x", 1, 0) != 1)
		abort();
}

static void call_write_other(void)
{
	if (write(other, "x", 1) != 1)
		abort();
}

static void call_map(void)
{
	void *there = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (there == MAP_FAILED || munmap(there, LENGTH))
		abort();
}

static void call_map_anonymous(void)
{
	void *there = mmap(NULL, LENGTH, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (there == MAP_FAILED || munmap(there, LENGTH))
		abort();
}

static void call_open(void)
{
	int fd = open("/dev/null", O_RDONLY);
	if (fd < 0 || close(fd))
		abort();
}

static const struct {
	const char *name;
	void (*call)(void);
} calls[] = {
	{"msync", call_msync},
	{"fdatasync", call_fdatasync},
	{"pwrite to the mapped file", call_pwrite},
	{"write to /dev/null", call_write_other},
	{"mmap + munmap of the file", call_map},
	{"mmap + munmap of memory", call_map_anonymous},
	{"open + close", call_open},
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double measure(void (*call)(void), int count)
{
	double least = 1e18;
	for (int round = 0; round < ROUNDS; round++) {
		double begin = now();
		for (int i = 0; i < count; i++)
			call();
		double each = (now() - begin) / count;
		least = each < least ? each : least;
	}
	return least;
}

int main(int argc, char **argv)
{
	int count = argc == 3 ? atoi(argv[2]) : 0;
	if (count <= 0) {
		fprintf(stderr, "usage: companion FILE COUNT\n");
		return 2;
	}
	file = open(argv[1], O_RDWR | O_CREAT, 0600);
	other = open("/dev/null", O_WRONLY);
	if (file < 0 || other < 0 || ftruncate(file, LENGTH)) {
		perror(argv[1]);
		return 1;
	}
	base = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (base == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		printf("%-26s %8.0f ns\n", calls[i].name, measure(calls[i].call, count));
	return 0;
}
