/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The companion in one program with a load that is hard on it: threads, signal handlers, children. It is linked in here
 * and not preloaded, so that sanitizers see it. This program plays `pmdirect run`: it makes the ledger, begins itself
 * anew, and compares what was counted with what it did.
 *
 *   stress FILE clones threads accelerate   each but the file may be left out
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress.h"

#ifndef SYS_mmap
#define SYS_mmap SYS_mmap2 /* of 32-bit machines, in other units for the offset, which is 0 here */
#endif

#define THREADS 4
#define CHILDREN 100

static struct ledger *ledger;
static int fd;
static char *shared; /* mapped for all of the time */
static int how = MS_ASYNC;
static uint32_t own_row;
static _Atomic uint64_t msyncs, maps, writes;

static char *map_it(void)
{
	char *base = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(base != MAP_FAILED);
	atomic_fetch_add(&maps, 1);
	return base;
}

static void sync_it(char *address, size_t length)
{
	MUST(!msync(address, length, how));
	atomic_fetch_add(&msyncs, 1);
}

/* Maps, cuts a hole, puts memory of its own over another page, and takes all away. */
static void round_of_maps(unsigned seed)
{
	char *base = map_it();
	size_t hole = 1 + seed % (PAGES - 3);
	base[0]++;
	sync_it(base, PAGES * PAGE);
	MUST(!munmap(base + hole * PAGE, PAGE));
	MUST(mmap(base + (hole + 1) * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
	          0) != MAP_FAILED);
	/* Of memory of no file: not counted. */
	MUST(!msync(base + (hole + 1) * PAGE, PAGE, MS_ASYNC));
	sync_it(base + (hole + 2) * PAGE, PAGE);
	MUST(pwrite(fd, "x", 1, 0) == 1);
	atomic_fetch_add(&writes, 1);
	MUST(!munmap(base, PAGES * PAGE));
}

static _Atomic bool stops;

static void *run_thread(void *arg)
{
	unsigned seed = *(unsigned *)arg;
	for (unsigned i = 0; !atomic_load(&stops); i++)
		round_of_maps(seed + i);
	return NULL;
}

/* ---- Children, while the threads are at it ---- */

static void child(void)
{
	errno = 0;
	MUST(!msync(shared, PAGE, how));
	char *base = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(base != MAP_FAILED && !msync(base, PAGE, how) && !munmap(base, PAGES * PAGE));
	_exit(0);
}

static void wait_for(pid_t pid)
{
	int status;
	MUST(pid > 0 && waitpid(pid, &status, 0) == pid && !status);
}

static void make_children(void)
{
	for (int i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();
		if (!pid)
			child();
		wait_for(pid);
	}
}

/* Past the C library, where a sanitizer allows it: the child's locks are as a thread left them. */
static void make_clones(void)
{
	for (int i = 0; i < CHILDREN; i++) {
		pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (!pid)
			child();
		wait_for(pid);
	}
}

/* ---- Signal handlers ---- */

static volatile sig_atomic_t signals;
static sigjmp_buf place;
static volatile bool leaves;

static void on_signal(int signal)
{
	int error = errno;
	(void)signal;
	signals++;
	sync_it(shared, PAGE);
	MUST(pwrite(fd, "y", 1, 0) == 1);
	atomic_fetch_add(&writes, 1);
	if (signals % 3 == 0 && !leaves)
		round_of_maps((unsigned)signals);
	errno = error;
	if (leaves)
		siglongjmp(place, 1);
}

static void begin_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct itimerval often = {{0, 300}, {0, 300}};
	MUST(!sigaction(SIGALRM, &action, NULL) && !setitimer(ITIMER_REAL, &often, NULL));
}

static void end_signals(void)
{
	struct itimerval never = {{0, 0}, {0, 0}};
	MUST(!setitimer(ITIMER_REAL, &never, NULL));
}

static void with_signals(void)
{
	begin_signals();
	for (unsigned i = 0; signals < 100; i++)
		round_of_maps(i);
	end_signals();
}

/* A handler may leave write(2), and then the program goes on as if nothing had been. */
static void with_jumps(void)
{
	static volatile int jumps;
	volatile uint64_t done = 0;
	leaves = true;
	if (sigsetjmp(place, 1))
		jumps++;
	else
		begin_signals();
	while (jumps < 100) {
		MUST(pwrite(fd, "z", 1, 0) == 1);
		done++;
	}
	end_signals();
	leaves = false;
	/* A write that was left may be counted or not: at most one a jump is not. */
	struct ledger_row *row = &ledger->row[own_row];
	uint64_t counted = atomic_load(&row->writes) - atomic_load(&writes);
	MUST(counted >= done && counted <= done + 2 * (uint64_t)jumps);
	atomic_store(&writes, atomic_load(&row->writes));
}

/* ---- The rest ---- */

static void expect(const char *what, uint64_t counted, uint64_t wanted)
{
	if (counted == wanted)
		return;
	fprintf(stderr, "stress: %s: %llu counted, %llu made\n", what, (unsigned long long)counted,
	        (unsigned long long)wanted);
	exit(1);
}

static void compare(void)
{
	struct ledger_row *row = &ledger->row[own_row];
	expect("msync", atomic_load(how == MS_SYNC ? &row->msyncs : &row->msyncs_async), atomic_load(&msyncs));
	expect("mmap", atomic_load(&row->maps), atomic_load(&maps));
	expect("write", atomic_load(&row->writes), atomic_load(&writes));
	expect("lost", atomic_load(&ledger->maps_lost), 0);
}

/* A program's calls leave errno alone where they succeed. */
static void check_errno(void)
{
	errno = 1234;
	round_of_maps(0);
	MUST(errno == 1234);
	MUST(!msync(shared, PAGE, how ^ MS_SYNC ^ MS_ASYNC) && errno == 1234);
	MUST(!fdatasync(fd) && errno == 1234);
}

static void work(bool makes_clones)
{
	pthread_t threads[THREADS];
	unsigned seeds[THREADS];
	shared = map_it();
	own_row = atomic_load(&ledger->rows) - 1;
	check_errno();
	with_signals();
	with_jumps();
	compare();
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = i;
		MUST(!pthread_create(&threads[i], NULL, run_thread, &seeds[i]));
	}
	make_children();
	/* fork(3) waits for a change of the table to end: a child finds all of it. */
	expect("lost by fork", atomic_load(&ledger->maps_lost), 0);
	if (makes_clones)
		make_clones();
	atomic_store(&stops, true);
	for (unsigned i = 0; i < THREADS; i++)
		MUST(!pthread_join(threads[i], NULL));
	uint32_t rows = atomic_load(&ledger->rows);
	MUST(rows > own_row + CHILDREN);
	for (uint32_t i = own_row + 1; i < rows; i++)
		expect("maps of a child", atomic_load(&ledger->row[i].maps), 1);
	/* A child that the C library does not know of may find the table half changed, and says so. */
	uint64_t lost = atomic_exchange(&ledger->maps_lost, 0);
	MUST(lost <= (makes_clones ? CHILDREN : 0));
	compare();
}

/*
 * A child ends while threads of its parent's memory have not ended for the sanitizer. In a handler the companion
 * allocates from memory of its own (memory.c), and the stand-in by malloc(3), with signals blocked.
 */
const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
	return "report_thread_leaks=0:die_after_fork=0:report_signal_unsafe=0";
}

static bool has(char **argv, const char *word)
{
	while (*argv && strcmp(*argv, word) != 0)
		argv++;
	return *argv;
}

static void make_ledger(char **argv)
{
	char path[64];
	int memory = memfd_create("stress", 0);
	MUST(memory >= 0 && !ftruncate(memory, sizeof(*ledger)));
	ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	MUST(ledger != MAP_FAILED);
	ledger->magic = LEDGER_MAGIC;
	ledger->version = LEDGER_VERSION;
	ledger->size_of_row = sizeof(struct ledger_row);
	ledger->accelerate = has(argv, "accelerate");
	ledger->run = INT32_MAX; /* no process: questions are not waited for */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	MUST(!setenv(LEDGER_ENV, path, 1));
	execv("/proc/self/exe", argv);
	MUST(0);
}

/* Rows of a file that was not mapped yet. */
static void start_anew(void)
{
	MUST(!close(fd));
	fd = memfd_create("stress", 0);
	MUST(fd >= 0 && !ftruncate(fd, PAGES * PAGE));
}

int main(int argc, char **argv)
{
	const char *path = getenv(LEDGER_ENV);
	if (argc < 2)
		return 2;
	if (!path)
		make_ledger(argv);
	int memory = open(path, O_RDWR);
	MUST(memory >= 0);
	/* Past the companion: this mapping is none of the program's. */
	ledger = (struct ledger *)syscall(SYS_mmap, NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED, memory,
	                                  0);
	MUST(ledger != MAP_FAILED && atomic_load(&ledger->covered) == 1);
	/* What accelerate mode syncs at mmap(2) is in memory. */
	fd = ledger->accelerate ? memfd_create("stress", 0) : open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	MUST(fd >= 0 && !ftruncate(fd, PAGES * PAGE));
	if (ledger->accelerate) {
		how = MS_SYNC;
		stress_lines(ledger, fd);
		start_anew();
	}
	work(has(argv, "clones"));
	unlink(argv[1]);
	return 0;
}
