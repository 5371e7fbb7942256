/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a program may do to a mapping between its calls of msync(2): accelerated FILE. Each result is a line on stdout,
 * so that a run under accelerate mode can be compared with one without. The file has PAGES written pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define PAGES ((size_t)16)
#define SIZE (PAGES * PAGE)
#define ROUNDS 40

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			printf("line %d: %s: %s\n", __LINE__, #condition, strerror(errno));                            \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static const char *path;
static int fd;
static char *base;

static void show(const char *what, int rc)
{
	printf("%s: %d %s\n", what, rc, rc ? strerror(errno) : "");
	fflush(stdout);
}

static char *map_at(void *address, int flags)
{
	char *made = mmap(address, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);
	MUST(made != MAP_FAILED);
	return made;
}

static int sync_page(size_t page)
{
	return msync(base + page * PAGE, PAGE, MS_SYNC);
}

static void map_again(void)
{
	munmap(base, SIZE);
	base = map_at(NULL, 0);
}

/* ---- One thread ---- */

static void sync_in_all_ways(void)
{
	base[0]++;
	errno = 77;
	show("a page", sync_page(0));
	MUST(errno == 77);
	show("a byte", msync(base, 1, MS_SYNC));
	show("two pages in the middle", msync(base + 3 * PAGE, 2 * PAGE, MS_SYNC));
	show("all", msync(base, SIZE, MS_SYNC));
	show("nothing", msync(base, 0, MS_SYNC));
	show("not aligned", msync(base + 1, PAGE, MS_SYNC));
	show("async", msync(base, PAGE, MS_ASYNC));
	show("invalidate", msync(base, PAGE, MS_SYNC | MS_INVALIDATE));
	show("sync and async", msync(base, PAGE, MS_SYNC | MS_ASYNC));
	show("unknown flag", msync(base, PAGE, MS_SYNC | 64));
	show("too far", msync(base, SIZE_MAX & ~(PAGE - 1), MS_SYNC));
}

static void sync_parts(void)
{
	MUST(!munmap(base + 2 * PAGE, PAGE));
	show("beside a gap", sync_page(1));
	show("behind a gap", sync_page(3));
	show("a gap", sync_page(2));
	show("across a gap", msync(base, 4 * PAGE, MS_SYNC));
	MUST(mmap(base + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
	     MAP_FAILED);
	base[2 * PAGE] = 'p';
	show("memory of no file", sync_page(2));
	show("across it", msync(base, 4 * PAGE, MS_SYNC));
	MUST(base[2 * PAGE] == 'p');
	map_at(base, MAP_FIXED);
	show("mapped over", msync(base, 4 * PAGE, MS_SYNC));
	MUST(map_at(base, MAP_FIXED) == base);
	show("once more", sync_page(2));
	MUST(mmap(base, SIZE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) == MAP_FAILED);
	show("nothing was replaced", sync_page(5));
}

static void sync_protected(void)
{
	MUST(!mprotect(base + 4 * PAGE, PAGE, PROT_NONE));
	show("unreadable", sync_page(4));
	show("across it", msync(base + 3 * PAGE, 3 * PAGE, MS_SYNC));
	MUST(!mprotect(base + 4 * PAGE, PAGE, PROT_READ));
	show("read-only", sync_page(4));
	MUST(!mprotect(base, SIZE, PROT_READ | PROT_WRITE));
	show("writable again", msync(base, SIZE, MS_SYNC));
	MUST(!madvise(base, SIZE, MADV_DONTNEED));
	show("not in the table of pages", msync(base, SIZE, MS_SYNC));
}

static void sync_moved(void)
{
	char *there = mmap(NULL, 2 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *old = base;
	MUST(there != MAP_FAILED);
	base = mremap(base, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, there);
	MUST(base == there);
	base[0]++;
	show("moved", msync(base, SIZE, MS_SYNC));
	show("where it was", msync(old, PAGE, MS_SYNC));
	char *again = mremap(base, 0, SIZE, MREMAP_MAYMOVE);
	MUST(again != MAP_FAILED && again[0] == base[0]);
	show("mapped twice", msync(again, SIZE, MS_SYNC));
	MUST(!munmap(again, SIZE));
	char *longer = mremap(base, SIZE, 2 * SIZE, MREMAP_MAYMOVE);
	MUST(longer != MAP_FAILED);
	show("longer than the file", msync(longer, 2 * SIZE, MS_SYNC));
	MUST(!munmap(longer, 2 * SIZE));
	base = map_at(NULL, 0);
}

/* Without holes, in which lines are promised for no mapping. */
static void refill(void)
{
	char page[PAGE];
	memset(page, 'f', PAGE);
	for (size_t i = 0; i < PAGES; i++)
		MUST(pwrite(fd, page, PAGE, (off_t)(i * PAGE)) == (ssize_t)PAGE);
}

static void sync_changed(void)
{
	MUST(!ftruncate(fd, 4 * PAGE));
	show("before the end", sync_page(3));
	show("behind the end", sync_page(8));
	show("across the end", msync(base, SIZE, MS_SYNC));
	MUST(!ftruncate(fd, (off_t)(4 * PAGE + 100)));
	show("at the end", sync_page(4));
	MUST(!ftruncate(fd, SIZE));
	base[8 * PAGE] = 'h';
	show("grown", msync(base, SIZE, MS_SYNC));
	MUST(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * PAGE, PAGE));
	show("a hole", sync_page(5));
	MUST(pwrite(fd, "w", 1, 5 * PAGE) == 1 && base[5 * PAGE] == 'w');
	show("written", sync_page(5));
	int other = open(path, O_RDWR | O_TRUNC);
	MUST(other >= 0 && !close(other));
	show("emptied", sync_page(0));
	refill();
	show("full again", msync(base, SIZE, MS_SYNC));
}

/* System calls of its own, so that the companion sees nothing of them. */
static void sync_cut_unseen(void)
{
	MUST(!syscall(SYS_ftruncate, fd, 4 * PAGE));
	show("before the end, unseen", sync_page(3));
	show("behind the end, unseen", sync_page(8));
	MUST(!syscall(SYS_ftruncate, fd, SIZE));
	refill();
	show("full again, unseen", msync(base, SIZE, MS_SYNC));
}

/* Memory of the program's own over whatever else has the file here: that must neither be touched nor taken for it. */
static void sync_covered(void)
{
	char line[4096];
	map_again();
	FILE *maps = fopen("/proc/self/maps", "re");
	MUST(maps);
	while (fgets(line, sizeof(line), maps)) {
		char *at = (char *)strtoul(line, NULL, 16);
		if (!strstr(line, path) || at == base)
			continue;
		MUST(mmap(at, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
		memset(at, 'm', SIZE);
		base[0]++;
		MUST(!sync_page(0) && !munmap(base, SIZE));
		for (size_t i = 0; i < SIZE; i++)
			MUST(at[i] == 'm');
		MUST(!munmap(at, SIZE));
		base = map_at(NULL, 0);
		break;
	}
	MUST(!fclose(maps));
	show("covered", sync_page(0));
}

/* ---- Processes ---- */

/* 0: another process cannot lock the file's first byte. */
static int locked_out(void)
{
	int status;
	pid_t child = fork();
	if (!child) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
		_exit(fcntl(fd, F_GETLK, &lock) || lock.l_type == F_UNLCK);
	}
	MUST(waitpid(child, &status, 0) == child);
	return status;
}

static void keep_lock(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	MUST(!fcntl(fd, F_SETLK, &lock));
	map_again();
	show("a page, locked", sync_page(0));
	MUST(!munmap(base, SIZE));
	base = map_at(NULL, 0);
	show("the lock", locked_out());
	lock.l_type = F_UNLCK;
	MUST(!fcntl(fd, F_SETLK, &lock));
}

static void sync_in_child(void)
{
	int status;
	pid_t child = fork();
	if (!child) {
		base[PAGE]++;
		show("of the parent", msync(base, SIZE, MS_SYNC));
		base = map_at(NULL, 0);
		show("of the child", msync(base, SIZE, MS_SYNC));
		MUST(!munmap(base, SIZE));
		_exit(0);
	}
	MUST(waitpid(child, &status, 0) == child && !status);
	show("after the child", sync_page(1));
	child = vfork();
	if (!child)
		_exit(sync_page(2) ? 1 : 0);
	MUST(waitpid(child, &status, 0) == child);
	show("of a vfork child", status);
	show("after it", sync_page(2));
}

/* ---- Threads and handlers ---- */

static _Atomic bool is_over;

static void *sync_and_sync(void *arg)
{
	while (!atomic_load(&is_over)) {
		msync(base + 4 * PAGE, PAGE, MS_SYNC);
		msync(base, SIZE, MS_SYNC);
	}
	return arg;
}

/* Another thread syncs what is unmapped, mapped over and cut off: no call of it may touch what is not there. */
static void sync_beside_changes(void)
{
	pthread_t threads[2];
	atomic_store(&is_over, false);
	for (int i = 0; i < 2; i++)
		MUST(!pthread_create(&threads[i], NULL, sync_and_sync, NULL));
	for (int i = 0; i < ROUNDS / 10; i++) {
		MUST(!ftruncate(fd, PAGE) && !ftruncate(fd, SIZE));
		refill();
		MUST(!munmap(base + 4 * PAGE, 4 * PAGE));
		map_at(base, MAP_FIXED);
	}
	atomic_store(&is_over, true);
	for (int i = 0; i < 2; i++)
		MUST(!pthread_join(threads[i], NULL));
	show("beside changes", msync(base, SIZE, MS_SYNC));
	map_again();
}

static sigjmp_buf left;
static _Atomic int syncs;

static void on_alarm(int signal)
{
	(void)signal;
	msync(base, PAGE, MS_SYNC);
	atomic_fetch_add(&syncs, 1);
	siglongjmp(left, 1);
}

/* A handler that syncs interrupts a sync, and does not return to it. */
static void sync_in_handler(void)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
	MUST(!sigaction(SIGALRM, &action, NULL));
	if (!sigsetjmp(left, 1))
		MUST(!setitimer(ITIMER_REAL, &often, NULL));
	while (atomic_load(&syncs) < ROUNDS)
		msync(base, SIZE, MS_SYNC);
	MUST(!setitimer(ITIMER_REAL, &never, NULL));
	show("after handlers", msync(base, SIZE, MS_SYNC));
	map_again();
	show("mapped again", sync_page(0));
}

static void *sync_until_cancelled(void *arg)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;)
		msync(base, SIZE, MS_SYNC);
	return arg;
}

static void cancel_syncs(void)
{
	pthread_t thread;
	for (int i = 0; i < ROUNDS / 5; i++) {
		MUST(!pthread_create(&thread, NULL, sync_until_cancelled, NULL));
		usleep(3000);
		MUST(!pthread_cancel(thread) && !pthread_join(thread, NULL));
	}
	map_again();
	show("after cancellations", msync(base, SIZE, MS_SYNC));
}

int main(int argc, char **argv)
{
	path = argv[1];
	fd = argc == 2 ? open(path, O_RDWR) : -1;
	MUST(fd >= 0);
	base = map_at(NULL, 0);
	sync_in_all_ways();
	sync_parts();
	sync_protected();
	sync_moved();
	sync_changed();
	map_again();
	sync_cut_unseen();
	sync_covered();
	keep_lock();
	sync_in_child();
	sync_beside_changes();
	sync_in_handler();
	cancel_syncs();
	/* mlockall(2): what is mapped from now on is locked. */
	MUST(!mlockall(MCL_FUTURE));
	map_again();
	show("locked in memory", sync_page(0));
	MUST(!close(fd));
	show("without a descriptor", sync_page(0));
	show("unmapped", munmap(base, SIZE));
	return 0;
}
