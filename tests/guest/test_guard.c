/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Real faults on a real file system: test_guard DIRECTORY for a file that is cut off and a file system that is full,
 * test_guard DIRECTORY poison for memory that is lost. Runs in the guest, whose disk and memory it may spoil.
 */
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define PAGE ((size_t)4096)
#define SIZE (64 * PAGE)
#define OFFSET ((size_t)3 * PAGE + 100) /* of the mappings in their file */

static volatile sig_atomic_t passed_on;

static void count(int number)
{
	(void)number;
	passed_on++;
}

static struct pm_mapping *map(const char *path, unsigned flags, size_t length)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags, .offset = OFFSET, .length = length};
	struct pm_mapping *m;
	if (pm_map(path, &o, &m)) {
		printf("%s\n", pm_error_detail());
		exit(1);
	}
	printf("%s: granularity %s\n", path, pm_granularity_name(pm_granularity_of(m)));
	return m;
}

static int store(void *at)
{
	*(volatile char *)at = 1;
	return 7;
}

static int load(void *at)
{
	return *(volatile char *)at == 0 ? 8 : 9;
}

static void check_fault(const struct pm_fault *f, struct pm_mapping *m, size_t at, int error, const char *words)
{
	CHECK(f->error == error);
	CHECK(f->address == (char *)pm_base(m) + at);
	CHECK(f->offset == OFFSET + at);
	CHECK(strstr(pm_error_detail(), words));
	printf("error %d, code %d, offset %llu, length %llu: %s\n", f->error, f->code, (unsigned long long)f->offset,
	       (unsigned long long)f->length, pm_error_detail());
}

static void check_cut_off(const char *path)
{
	struct pm_fault f;
	struct pm_mapping *m = map(path, PM_CREATE | PM_PREPARE, SIZE);
	char *base = pm_base(m);
	CHECK(truncate(path, (off_t)(OFFSET + 8 * PAGE)) == 0);
	CHECK(pm_guarded(m, store, base + 8 * PAGE - 1, &f, sizeof(f)) == 7);
	CHECK(pm_guarded(m, store, base + 20 * PAGE, &f, sizeof(f)) == -EIO);
	check_fault(&f, m, 20 * PAGE, -EIO, "truncated to 45156");
	CHECK(pm_guarded(m, load, base + SIZE - 1, &f, sizeof(f)) == -EIO);
	check_fault(&f, m, SIZE - 1, -EIO, "truncated to 45156");
	CHECK(truncate(path, (off_t)(OFFSET + SIZE)) == 0);
	CHECK(pm_guarded(m, load, base + 20 * PAGE, &f, sizeof(f)) == 8);
	int drained = pm_drain(m); /* on lines, and after them, it covers the whole mapping */
	CHECK(drained == 0 || drained == -ERANGE);
	CHECK(pm_unmap(m) == drained);
	unlink(path);
}

/* Leaves not a block, as far as it may. */
static void fill(const char *path)
{
	static char block[PAGE];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	off_t at = 0;
	for (off_t step = 64 << 20; step >= (off_t)PAGE; step /= 2)
		while (fallocate(fd, 0, at, step) == 0)
			at += step;
	while (pwrite(fd, block, PAGE, at) == (ssize_t)PAGE)
		at += (off_t)PAGE;
	CHECK(fsync(fd) == 0);
	close(fd);
	printf("filled %lld KiB\n", (long long)at / 1024);
}

static void check_full(const char *path, const char *filler)
{
	struct pm_fault f;
	const size_t length = 32 << 20;
	struct pm_mapping *m = map(path, PM_CREATE | PM_SPARSE, length);
	char *base = pm_base(m);
	CHECK(pm_guarded(m, store, base, &f, sizeof(f)) == 7 && pm_sync(m) == 0);
	fill(filler);
	/* Some file systems still have a block or two that they keep for themselves. */
	size_t at = 5 * PAGE + 7;
	int rc = 0;
	while (at < length && (rc = pm_guarded(m, store, base + at, &f, sizeof(f))) == 7)
		at += PAGE;
	printf("%zu stores to holes\n", at / PAGE - 5);
	CHECK(rc == -ENOSPC);
	check_fault(&f, m, at, -ENOSPC, "no free block");
	/* A load of the hole, and a store to what has a block, lose nothing. */
	CHECK(pm_guarded(m, load, base + at, &f, sizeof(f)) == 8);
	CHECK(pm_guarded(m, store, base + 1, &f, sizeof(f)) == 7);
	CHECK(pm_persist(m, base, 2) == 0);
	/* What is cut off is no want of space, on a full file system either. */
	CHECK(truncate(path, (off_t)(OFFSET + PAGE)) == 0);
	CHECK(pm_guarded(m, store, base + at, &f, sizeof(f)) == -EIO);
	check_fault(&f, m, at, -EIO, "truncated");
	CHECK(truncate(path, (off_t)(OFFSET + length)) == 0);
	unlink(filler);
	sync();
	CHECK(pm_guarded(m, store, base + at, &f, sizeof(f)) == 7);
	pm_unmap(m);
	unlink(path);
}

static int spoil(void *at)
{
	store(at);
	if (madvise((void *)((uintptr_t)at & ~(PAGE - 1)), PAGE, MADV_HWPOISON))
		return -errno;
	/* Where the signal did not come at once. */
	return store(at);
}

static void check_poisoned(const char *path)
{
	struct pm_fault f;
	struct pm_mapping *m = map(path, PM_CREATE | PM_PREPARE, SIZE);
	char *base = pm_base(m);
	memset(base, 'A', SIZE);
	CHECK(pm_sync(m) == 0);
	char *at = base + 10 * PAGE + 9;
	CHECK(pm_guarded(m, spoil, at, &f, sizeof(f)) == -EHWPOISON);
	CHECK(f.code == BUS_MCEERR_AR && f.length == PAGE);
	/* The kernel may tell the page only. */
	size_t page_at = (size_t)((char *)f.address - base);
	CHECK(f.address == at || (uintptr_t)f.address == ((uintptr_t)at & ~(PAGE - 1)));
	check_fault(&f, m, page_at, -EHWPOISON, "are lost");
	CHECK(pm_guarded(m, load, base + 9 * PAGE, &f, sizeof(f)) == 9);
	printf("then a load: %d, a sync: %d\n", pm_guarded(m, load, at, &f, sizeof(f)), pm_sync(m));
	pm_unmap(m);
	unlink(path);
}

/* ---- News of lost memory ---- */

static int to_parent[2], to_child[2];

static int wait_for_news(void *at)
{
	char c;
	store(at);
	(void)!write(to_parent[1], "r", 1);
	while (read(to_child[0], &c, 1) < 0 && errno == EINTR)
		;
	return 5;
}

/* Hears of it early, and does not touch what is lost. */
static int hear(const char *path)
{
	struct pm_fault f;
	failures = 0;
	CHECK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) == 0);
	struct pm_mapping *m = map(path, 0, SIZE);
	int rc = pm_guarded(m, wait_for_news, (char *)pm_base(m) + 30 * PAGE, &f, sizeof(f));
	printf("the other process: %d\n", rc);
	CHECK(rc == -EHWPOISON && f.code == BUS_MCEERR_AO && f.length == PAGE);
	check_fault(&f, m, (size_t)((char *)f.address - (char *)pm_base(m)), -EHWPOISON, "are lost");
	CHECK((uintptr_t)f.address / PAGE == ((uintptr_t)pm_base(m) + 30 * PAGE) / PAGE);
	CHECK(passed_on == 0);
	fflush(stdout);
	_exit(failures != 0);
}

static void check_news(const char *path)
{
	struct pm_fault f;
	int status;
	char c;
	struct pm_mapping *m = map(path, PM_CREATE | PM_PREPARE, SIZE);
	memset(pm_base(m), 'A', SIZE);
	CHECK(pm_unmap(m) == 0 && pipe(to_parent) == 0 && pipe(to_child) == 0);
	fflush(stdout);
	/* Before it is mapped here: of two addresses of the page one signal would be merged into the other. */
	pid_t pid = fork();
	if (pid == 0)
		hear(path);
	close(to_parent[1]);
	m = map(path, 0, SIZE);
	CHECK(read(to_parent[0], &c, 1) == 1);
	CHECK(pm_guarded(m, spoil, (char *)pm_base(m) + 30 * PAGE, &f, sizeof(f)) == -EHWPOISON);
	CHECK(write(to_child[1], "g", 1) == 1);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	pm_unmap(m);
	unlink(path);
}

/* Whether the kernel knows memory errors (CONFIG_MEMORY_FAILURE), at the price of a page. */
static int poison_is_possible(void)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	store(p);
	return madvise(p, PAGE, MADV_HWPOISON) == 0;
}

int main(int argc, char **argv)
{
	static char file[4096], filler[4096];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2)
		return 2;
	snprintf(file, sizeof(file), "%s/guarded", argv[1]);
	snprintf(filler, sizeof(filler), "%s/filler", argv[1]);
	signal(SIGBUS, count);
	CHECK(pm_guard_install() == 0);
	if (argc == 2) {
		check_cut_off(file);
		check_full(file, filler);
	} else if (poison_is_possible()) {
		check_poisoned(file);
		check_news(file);
	} else {
		printf("skipped: this kernel handles no memory errors\n");
		return 77;
	}
	CHECK(passed_on == 0);
	CHECK(pm_guard_remove() == 0);
	printf("%d failures\n", failures);
	return failures != 0;
}
