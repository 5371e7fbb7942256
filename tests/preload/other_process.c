/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was done to a file before this process, which has it mapped, makes a page of it durable by msync(2). Nothing but
 * that msync commits it.
 *
 *   other_process prepare FILE        a durable file of PAGES pages, each full of its own letter
 *   other_process store HOW NAME FILE maps it, has the deed done, and calls msync; then "promise NAME LETTER" on stdout
 *   other_process found NAME FILE     "found NAME LETTER": what is there
 *   other_process list                each HOW
 *
 * The environment: GO, a file; the deed is done when it is there, and before that a line is added to the file READY, so
 * that many are done at about one time. VERB, in place of promise.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef SYS_mmap2
#define MMAP SYS_mmap2 /* of 32-bit machines, in another unit for the offset */
#define UNIT 4096
#else
#define MMAP SYS_mmap
#define UNIT 1
#endif
#define PAGE 4096
#define PAGES 64
#define SIZE (PAGES * PAGE)
#define MINE 8 /* the page that is made durable */
#define NEW 'z'

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			printf("other_process: line %d: %s: %s\n", __LINE__, #condition, strerror(errno));             \
			fflush(stdout);                                                                                \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

static int fd;
static char *base; /* of this process */

static char letter_of(int page)
{
	return (char)('A' + page % 26);
}

static void prepare(void)
{
	char page[PAGE];
	for (int i = 0; i < PAGES; i++) {
		memset(page, letter_of(i), PAGE);
		MUST(write(fd, page, PAGE) == PAGE);
	}
	MUST(!fsync(fd));
}

/* ---- Deeds ---- */

/* System calls of its own, so that the companion sees nothing of them. */
static void change(int mode, off_t offset, off_t length)
{
	MUST(!syscall(SYS_fallocate, fd, mode, offset, length));
}

static void cut(off_t size)
{
	MUST(!syscall(SYS_ftruncate, fd, size));
}

static void settle(void)
{
	MUST(!syscall(SYS_fsync, fd));
}

static void punch(void)
{
	change(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MINE * PAGE, PAGE);
	settle();
}

static void write_it(off_t offset, size_t length)
{
	char bytes[PAGE];
	memset(bytes, NEW, length);
	MUST(syscall(SYS_pwrite64, fd, bytes, length, offset) == (long)length);
}

static void store(void)
{
	char *other = (char *)syscall(MMAP, NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, MINE * PAGE / UNIT);
	MUST(other != MAP_FAILED);
	memset(other, NEW, PAGE);
}

static void punched_and_written(void)
{
	punch();
	write_it(MINE * PAGE, PAGE);
}

static void punched_and_stored(void)
{
	punch();
	store();
}

static void cut_and_stored(void)
{
	cut(MINE * PAGE);
	settle();
	cut(SIZE);
	store();
}

static void cut_inside(void)
{
	cut(MINE * PAGE + 100);
	settle();
}

static void grown_inside(void)
{
	cut(SIZE);
	store();
}

/* After cut_inside() and a store of this process to what is left of the page: that stays mapped and writable here, and
 * its block is the same. The size alone is in no journal. ftruncate(2) would unmap it (fs/dax.c
 * dax_layout_busy_page). */
static void appended_inside(void)
{
	write_it(MINE * PAGE + 100, PAGE - 100);
	store();
}

static void collapsed(void)
{
	change(FALLOC_FL_COLLAPSE_RANGE, PAGE, PAGE);
}

static void inserted(void)
{
	change(FALLOC_FL_INSERT_RANGE, PAGE, PAGE);
}

static void zeroed(void)
{
	change(FALLOC_FL_ZERO_RANGE, MINE * PAGE, PAGE);
}

/* By the C library, in a child that is covered, too. */
static void covered(void)
{
	char bytes[PAGE];
	memset(bytes, NEW, PAGE);
	MUST(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MINE * PAGE, PAGE));
	MUST(!fsync(fd));
	MUST(pwrite(fd, bytes, PAGE, MINE * PAGE) == PAGE);
}

enum who { UNCOVERED, COVERED, ITSELF };

static const struct deed {
	const char *how;
	void (*act)(void);
	enum who who;
	char digest;
	void (*first)(void); /* when the file was mapped, and before this process stores */
} deeds[] = {
	{"punched-written", punched_and_written, UNCOVERED, NEW, NULL},
	{"punched-stored", punched_and_stored, UNCOVERED, NEW, NULL},
	{"cut-stored", cut_and_stored, UNCOVERED, NEW, NULL},
	{"grown-inside", grown_inside, UNCOVERED, NEW, cut_inside},
	{"appended-inside", appended_inside, UNCOVERED, NEW, cut_inside},
	{"collapsed", collapsed, UNCOVERED, 'A' + MINE + 1, NULL},
	{"inserted", inserted, UNCOVERED, 'A' + MINE - 1, NULL},
	{"zeroed", zeroed, UNCOVERED, '0', NULL},
	{"covered-child", covered, COVERED, NEW, NULL},
	{"itself", covered, ITSELF, NEW, NULL},
};
#define DEEDS (sizeof(deeds) / sizeof(deeds[0]))

/* ---- The process that makes it durable ---- */

static void do_it(void (*act)(void), enum who who)
{
	pid_t child = who == ITSELF ? 0 : who == COVERED ? fork() : (pid_t)syscall(SYS_fork);
	int status = 0;
	MUST(child >= 0);
	if (!child)
		act();
	if (!child && who != ITSELF)
		syscall(SYS_exit_group, 0);
	MUST(!child || (waitpid(child, &status, 0) == child && !status));
}

/* The last byte of a page: one that a file which was cut inside does not have. */
static char digest_of(const char *page)
{
	return page[PAGE - 1] ? page[PAGE - 1] : '0';
}

static void say_ready(void)
{
	int ready = open(getenv("READY"), O_WRONLY | O_APPEND | O_CREAT, 0600);
	MUST(ready >= 0 && write(ready, "\n", 1) == 1 && !close(ready));
}

static void act(const struct deed *d, const char *name)
{
	const char *go = getenv("GO"), *verb = getenv("VERB");
	base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(base != MAP_FAILED);
	if (d->first)
		do_it(d->first, d->who);
	/* The page is writable here, and nothing of the file is in no journal. */
	for (int i = 0; i < 2; i++) {
		base[MINE * PAGE + i] = letter_of(MINE);
		MUST(!msync(base + MINE * PAGE, PAGE, MS_SYNC));
	}
	base[MINE * PAGE + 2] = letter_of(MINE);
	if (go)
		say_ready();
	while (go && access(go, F_OK))
		usleep(10000);
	do_it(d->act, d->who);
	MUST(digest_of(base + MINE * PAGE) == d->digest);
	MUST(!msync(base + MINE * PAGE, PAGE, MS_SYNC));
	printf("%s %s %c\n", verb && *verb ? verb : "promise", name, d->digest);
}

static void find(const char *name)
{
	char page[PAGE] = "";
	ssize_t got = pread(fd, page, PAGE, MINE * PAGE);
	printf("found %s %c\n", name, got == PAGE ? digest_of(page) : '-');
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	for (size_t i = 0; i < DEEDS && !strcmp(verb, "list"); i++)
		puts(deeds[i].how);
	if (argc < 3)
		return 0;
	fd = open(argv[argc - 1], O_RDWR | O_CREAT, 0600);
	MUST(fd >= 0);
	if (!strcmp(verb, "prepare"))
		prepare();
	for (size_t i = 0; i < DEEDS && !strcmp(verb, "store"); i++)
		if (!strcmp(argv[2], deeds[i].how))
			act(&deeds[i], argv[3]);
	if (!strcmp(verb, "found"))
		find(argv[2]);
	return 0;
}
