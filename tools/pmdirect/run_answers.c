/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ledger, and the thread that answers what the covered processes ask in it. A thread of theirs waits meanwhile, so
 * a descriptor that it names is open. The look is made from here: nothing is opened, allocated or locked in the
 * program.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../preload/futex.h"
#include "locks.h"
#include "look.h"
#include "run.h"
#include "text.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* the same number on every architecture (Linux 5.3) */
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438 /* Linux 5.6 */
#endif

uint64_t process_written(int32_t pid)
{
	char *path = text_format("/proc/%d/io", (int)pid), line[80];
	FILE *io = fopen(path, "re");
	uint64_t bytes, found = 0;
	while (io && fgets(line, sizeof(line), io))
		if (sscanf(line, "write_bytes: %" SCNu64, &bytes) == 1)
			found = bytes + 1;
	if (io)
		fclose(io);
	free(path);
	return found;
}

/* One that may not be read is that of a process that runs. A file that was deleted has more words behind its path. */
enum image process_image(const struct ledger_process *p)
{
	char *path = text_format("/proc/%d/exe", (int)p->pid), program[sizeof(p->program)];
	ssize_t n = readlink(path, program, sizeof(program) - 1);
	bool is_gone = n < 0 && (errno == ENOENT || errno == ESRCH);
	program[n > 0 ? n : 0] = 0;
	free(path);
	bool is_same = n < 0 || !strncmp(program, p->program, strlen(p->program));
	return is_gone ? IMAGE_GONE : is_same ? IMAGE_SAME : IMAGE_OTHER;
}

bool device_written(uint32_t major, uint32_t minor, uint64_t *ret)
{
	char *path = text_format("/sys/dev/block/%u:%u/stat", major, minor);
	FILE *stat = major ? fopen(path, "re") : NULL;
	uint64_t sectors;
	bool is_read = stat && fscanf(stat, "%*s %*s %*s %*s %*s %*s %" SCNu64, &sectors) == 1;
	if (is_read)
		*ret = sectors * 512;
	if (stat)
		fclose(stat);
	free(path);
	return is_read;
}

/* ---- The file of a row ---- */

/* The same file description, without an open that a watch or a lease would notice. */
static int take_descriptor(int32_t pid, int32_t number)
{
	int process = (int)syscall(SYS_pidfd_open, pid, 0);
	int fd = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, number, 0);
	if (process >= 0)
		close(process);
	return fd;
}

/* Another description, where the caller may not take that one (ptrace_scope of Yama). */
static int open_again(const struct ledger_row *row, int32_t pid, const char **obstacle)
{
	struct statx stx;
	char *path = text_format("/proc/%d/fd/%d", (int)pid, (int)row->fd);
	int fd = -1;
	if (!look_at(path, AT_STATX_DONT_SYNC, &stx) && locks_lease_holder(path, &stx))
		*obstacle = "a process has a lease on the file, which an open would break";
	else
		fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	free(path);
	return fd;
}

/* Neither times nor more: a file system with fine times changes them with the first store after they were read. */
static bool look(int fd, struct statx *stx)
{
	return !syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO | STATX_SIZE,
	                stx);
}

static int reach_file(const struct ledger_row *row, int32_t pid, struct statx *stx, const char **obstacle)
{
	*obstacle = "this user cannot reach the file";
	int fd = take_descriptor(pid, row->fd);
	if (fd < 0)
		fd = open_again(row, pid, obstacle);
	if (fd < 0)
		return -1;
	/* A thread may have descriptors of its own (CLONE_FILES). */
	if (look(fd, stx) && stx->stx_ino == row->inode && stx->stx_dev_major == row->major &&
	    stx->stx_dev_minor == row->minor)
		return fd;
	*obstacle = "another file has its descriptor";
	close(fd);
	return -1;
}

/* What of the file is asked about: where it is cached one answer holds for all of it. */
static bool choose_range(const struct ledger_row *row, const struct statx *stx, struct pm_options *o)
{
	bool is_regular = S_ISREG(stx->stx_mode);
	bool is_cached = stx->stx_attributes_mask & STATX_ATTR_DAX && !(stx->stx_attributes & STATX_ATTR_DAX);
	if (is_regular && row->offset >= stx->stx_size) {
		/* Mapped before the file was made so long: what it would be then. */
		o->flags |= PM_CREATE;
		o->offset = row->offset;
		o->length = row->length;
		return !(o->flags & PM_READ_ONLY);
	}
	if (!is_cached && !S_ISBLK(stx->stx_mode)) {
		uint64_t left = stx->stx_size - row->offset;
		o->offset = row->offset;
		o->length = is_regular && left < row->length ? left : row->length;
	}
	return true;
}

static void ask_library(const struct ledger_row *row, int fd, const struct statx *stx, struct facts *f)
{
	struct pm_report r;
	struct pm_options o = {.size = sizeof(o)};
	int mode = fcntl(fd, F_GETFL);
	if (mode < 0 || (mode & O_ACCMODE) != O_RDWR)
		o.flags |= PM_READ_ONLY;
	if (!choose_range(row, stx, &o))
		f->obstacle = "the file ends before the mapping: an access is a SIGBUS";
	else if (pm_probe_fd(fd, &o, &r, sizeof(r)))
		f->obstacle = "the library cannot look at the file";
	else
		facts_take(f, &r, atomic_load(&row->is_writable));
}

static void look_at_row(const struct ledger_row *row, int32_t pid, struct row_answer *a)
{
	struct statx stx;
	char target[4200], *link = text_format("/proc/%d/fd/%d", (int)pid, (int)row->fd);
	ssize_t n = readlink(link, target, sizeof(target) - 1);
	free(link);
	a->facts = (struct facts){.direct = PM_UNKNOWN};
	if (n > 0) {
		target[n] = 0;
		free(a->path);
		a->path = text_copy(target);
	}
	int fd = reach_file(row, pid, &stx, &a->facts.obstacle);
	if (!a->is_asked)
		a->counts_device = device_written(row->major, row->minor, &a->device_written);
	a->is_asked = true;
	if (fd < 0)
		return;
	a->facts.obstacle = NULL;
	a->size = stx.stx_size;
	ask_library(row, fd, &stx, &a->facts);
	close(fd);
}

/* ---- Where a call came from ---- */

static void locate(int32_t pid, uint64_t address, struct place_in_object *place)
{
	char *path = text_format("/proc/%d/maps", (int)pid), line[4400];
	FILE *maps = fopen(path, "re");
	free(path);
	*place = (struct place_in_object){.address = address};
	while (maps && fgets(line, sizeof(line), maps)) {
		uint64_t start, end, offset;
		int at = 0;
		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %*s %n", &start, &end, &offset, &at) < 3)
			continue;
		if (address < start || address >= end)
			continue;
		place->offset = address - start + offset;
		if (at && line[at])
			place->object = text_copy(line + at);
		break;
	}
	if (maps)
		fclose(maps);
}

/* ---- The thread ---- */

static struct row_answer *answer_of(struct answers *answers, uint32_t number)
{
	if (!answers->rows[number]) {
		answers->rows[number] = calloc(1, sizeof(*answers->rows[number]));
		if (!answers->rows[number])
			abort();
	}
	return answers->rows[number];
}

static void answered(_Atomic uint32_t *question)
{
	atomic_store(question, QUESTION_ANSWERED);
	futex_wake(question, 0);
}

static void answer_row(struct answers *answers, uint32_t number)
{
	struct ledger_row *row = &answers->ledger->row[number];
	int32_t pid = answers->ledger->process[row->process % LEDGER_PROCESSES].pid;
	if (atomic_load(&row->state) != ROW_USED)
		return;
	if (atomic_load(&row->question) == QUESTION_ASKED) {
		struct row_answer *a = answer_of(answers, number);
		look_at_row(row, pid, a);
		/* A page cache is in front of all of a file. */
		atomic_store(&row->is_final, a->facts.direct == PM_NO);
		answered(&row->question);
	}
	for (unsigned i = 0; i < LEDGER_SITES; i++) {
		struct ledger_site *site = &row->sites[i];
		if (atomic_load(&site->question) != QUESTION_ASKED)
			continue;
		struct row_answer *a = answer_of(answers, number);
		for (unsigned frame = 0; frame < site->frames && frame < LEDGER_FRAMES; frame++)
			locate(pid, site->frame[frame], &a->frames[i][frame]);
		answered(&site->question);
	}
}

static void *answer(void *arg)
{
	struct answers *answers = arg;
	struct ledger *ledger = answers->ledger;
	for (;;) {
		uint32_t seen = atomic_load(&ledger->questions);
		pthread_mutex_lock(&answers->lock);
		for (uint32_t i = 0, rows = atomic_load(&ledger->rows); i < rows && i < LEDGER_ROWS; i++)
			answer_row(answers, i);
		pthread_mutex_unlock(&answers->lock);
		futex_wait(&ledger->questions, seen, 0, 0);
	}
	return NULL;
}

static int make_ledger(struct answers *answers, bool accelerate, bool stacks)
{
	/* Above the three that a program has, which may be closed. */
	int low = memfd_create("pmdirect-run", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || ftruncate(fd, sizeof(struct ledger)) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return -1;
	close(low);
	void *memory = mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -1;
	struct ledger *l = answers->ledger = memory;
	l->magic = LEDGER_MAGIC;
	l->version = LEDGER_VERSION;
	l->size_of_row = sizeof(struct ledger_row);
	l->run = (int32_t)getpid();
	l->accelerate = accelerate;
	l->stacks = stacks;
	snprintf(answers->path, sizeof(answers->path), "/proc/%d/fd/%d", (int)getpid(), fd);
	return 0;
}

int answers_begin(struct answers *answers, bool accelerate, bool stacks)
{
	pthread_t thread;
	sigset_t all, before;
	if (make_ledger(answers, accelerate, stacks))
		return say("there is no memory to share with the program: %s", strerror(errno)), -1;
	pthread_mutex_init(&answers->lock, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&thread, NULL, answer, answers);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc ? (say("there is no thread: %s", strerror(rc)), -1) : 0;
}
