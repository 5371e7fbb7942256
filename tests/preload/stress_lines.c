/* SPDX-License-Identifier: BSD-3-Clause */
/* Accelerate mode on the stand-in for the library (stand_in.c): its own mappings, and each reason for the kernel. */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../../tools/preload/accelerate.h"
#include "../../tools/preload/real.h"
#include "stand_in.h"
#include "stress.h"

#define SIZE ((size_t)(PAGES * PAGE))
#define ROUNDS 400
#define UNMAPPERS 4

static int fd;
static struct ledger *of_stress;
static struct ledger_row *row;

static char *map_at(void *address, int flags)
{
	char *made = mmap(address, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);
	MUST(made != MAP_FAILED);
	return made;
}

/* How an msync of the range is served. */
static enum why_kernel sync_of(void *address, size_t length, int flags)
{
	uint64_t lines = atomic_load(&row->by_lines), kernel[WHYS];
	for (int why = 0; why < WHYS; why++)
		kernel[why] = atomic_load(&row->by_kernel[why]);
	MUST(!msync(address, length, flags));
	if (atomic_load(&row->by_lines) == lines + 1)
		return WHY_NOT;
	for (enum why_kernel why = WHY_MAPPING; why < WHYS; why++)
		if (atomic_load(&row->by_kernel[why]) == kernel[why] + 1)
			return why;
	return WHYS; /* the companion has not seen it as one of the file */
}

#define EXPECT(address, length, why) MUST(sync_of(address, length, MS_SYNC) == (why))

/* ---- Threads ---- */

static char *base;
static pthread_barrier_t barrier;

/* Each thread has a part of the pages, and unmaps one after the other. */
static void *unmap_part(void *part)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&barrier);
		for (int page = *(int *)part; page < PAGES; page += UNMAPPERS)
			MUST(!munmap(base + page * PAGE, PAGE));
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void *sync_all_the_time(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&barrier);
		/* Of what another thread unmaps. */
		for (int page = 0; page < PAGES; page++)
			msync(base + page * PAGE, PAGE, MS_SYNC);
		pthread_barrier_wait(&barrier);
	}
	return arg;
}

static void unmap_parts_at_once(void)
{
	pthread_t threads[UNMAPPERS + 1];
	int parts[UNMAPPERS];
	atomic_store(&stand_in_naps, true);
	MUST(!pthread_barrier_init(&barrier, NULL, UNMAPPERS + 2));
	for (int i = 0; i < UNMAPPERS; i++) {
		parts[i] = i;
		MUST(!pthread_create(&threads[i], NULL, unmap_part, &parts[i]));
	}
	MUST(!pthread_create(&threads[UNMAPPERS], NULL, sync_all_the_time, NULL));
	for (int i = 0; i < ROUNDS; i++) {
		int before = atomic_load(&stand_in_mappings);
		base = map_at(NULL, 0);
		MUST(atomic_load(&stand_in_mappings) == before + 1);
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		MUST(atomic_load(&stand_in_mappings) == before);
	}
	for (int i = 0; i <= UNMAPPERS; i++)
		MUST(!pthread_join(threads[i], NULL));
	atomic_store(&stand_in_naps, false);
}

static void *sync_one_page(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		MUST(!msync(base, PAGE, MS_SYNC));
	return arg;
}

/* While the file may get shorter no thread is at lines. */
static void resize_beside_lines(void)
{
	pthread_t thread;
	base = map_at(NULL, 0);
	atomic_store(&stand_in_naps, true);
	MUST(!pthread_create(&thread, NULL, sync_one_page, NULL));
	for (int i = 0; i < ROUNDS; i++) {
		accelerate_resize_begin();
		MUST(!atomic_load(&stand_in_at_lines));
		usleep(20);
		MUST(!atomic_load(&stand_in_at_lines));
		accelerate_resize_end();
		usleep(20);
	}
	MUST(!pthread_join(thread, NULL));
	atomic_store(&stand_in_naps, false);
	MUST(!munmap(base, SIZE));
}

/* ---- Reasons ---- */

static void sync_by_parts(void)
{
	base = map_at(NULL, 0);
	EXPECT(base, SIZE, WHY_NOT);
	EXPECT(base + PAGE, 1, WHY_NOT);
	MUST(sync_of(base, SIZE, MS_SYNC | MS_INVALIDATE) == WHY_FLAGS);
	EXPECT(base, 0, WHY_RANGE);
	MUST(!munmap(base + 3 * PAGE, PAGE));
	EXPECT(base + 2 * PAGE, PAGE, WHY_NOT);
	EXPECT(base + 4 * PAGE, 4 * PAGE, WHY_NOT);
	MUST(mprotect(base + 4 * PAGE, PAGE, PROT_NONE) == 0);
	EXPECT(base + 4 * PAGE, 2 * PAGE, WHY_NOT);
	/* A part of it again, over which there are two mappings of the companion's now. */
	MUST(mmap(base + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 5 * PAGE) == base + PAGE);
	EXPECT(base + PAGE, PAGE, WHY_NOT);
	EXPECT(base, 2 * PAGE, WHY_RANGE);
	char *moved = mremap(base, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base + 3 * PAGE);
	MUST(moved == base + 3 * PAGE);
	EXPECT(moved, PAGE, WHY_MAPPING);
	EXPECT(base + 5 * PAGE, PAGE, WHY_NOT);
	char *twice = mremap(base + 5 * PAGE, 0, PAGE, MREMAP_MAYMOVE);
	MUST(twice != MAP_FAILED);
	EXPECT(twice, PAGE, WHY_MAPPING);
	MUST(!munmap(twice, PAGE));
	EXPECT(base + 5 * PAGE, PAGE, WHY_NOT);
	MUST(!munmap(base, SIZE));
	MUST(!atomic_load(&stand_in_mappings));
	char *reads = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	MUST(reads != MAP_FAILED);
	EXPECT(reads, SIZE, WHY_MAPPING);
	MUST(!munmap(reads, SIZE));
}

static void sync_in_child(void)
{
	int status;
	base = map_at(NULL, 0);
	pid_t child = fork();
	if (!child) {
		MUST(!msync(base, SIZE, MS_SYNC));
		struct ledger_row *own = row + 1;
		while (!atomic_load(&own->msyncs))
			own++;
		MUST(atomic_load(&own->by_kernel[WHY_CHILD]) == 1 && !atomic_load(&own->by_lines));
		char *more = map_at(NULL, 0);
		MUST(!msync(more, SIZE, MS_SYNC) && atomic_load(&own->by_lines) == 1);
		MUST(!munmap(base, SIZE) && !munmap(more, SIZE));
		_exit(0);
	}
	MUST(child > 0 && waitpid(child, &status, 0) == child && !status);
	EXPECT(base, SIZE, WHY_NOT);
	MUST(!munmap(base, SIZE));
}

static void sync_otherwise(void)
{
	char *file = NULL;
	const size_t longest = (size_t)2 << 20;
	MUST(!ftruncate(fd, (off_t)(longest + SIZE)));
	file = mmap(NULL, longest + SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(file != MAP_FAILED);
	EXPECT(file, longest, WHY_NOT);
	EXPECT(file, longest + PAGE, WHY_LENGTH);
	accelerate_resize_begin();
	EXPECT(file, PAGE, WHY_BUSY);
	accelerate_resize_end();
	EXPECT(file, PAGE, WHY_NOT);
	atomic_store(&stand_in_refuses, true);
	EXPECT(file, PAGE, WHY_REFUSED);
	char *no = map_at(NULL, 0);
	EXPECT(no, PAGE, WHY_MAPPING);
	atomic_store(&stand_in_refuses, false);
	EXPECT(no, PAGE, WHY_MAPPING);
	MUST(!munmap(no, SIZE) && !munmap(file, longest + SIZE) && !ftruncate(fd, SIZE - 100));
	/* The last page is not whole. */
	base = map_at(NULL, 0);
	EXPECT(base, PAGE, WHY_MAPPING);
	MUST(!munmap(base, SIZE));
	base = mmap(NULL, SIZE - 100, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(base != MAP_FAILED);
	EXPECT(base, SIZE - PAGE, WHY_NOT);
	EXPECT(base + SIZE - PAGE, PAGE - 100, WHY_RANGE);
	MUST(!munmap(base, SIZE) && !ftruncate(fd, SIZE));
}

/* ---- A full table ---- */

#define PIECES 4096 /* of table.c */

/* A mapping of so many pieces that the table has no room for one more. */
static char *fill_table(void)
{
	char *all = mmap(NULL, 2 * PIECES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	MUST(all != MAP_FAILED);
	for (size_t i = 1; !atomic_load(&of_stress->maps_lost); i += 2)
		MUST(i < 2 * PIECES && !munmap(all + i * PAGE, PAGE));
	return all;
}

/* What the table loses of a mapping has no lines any more, and keeps no mapping of the companion's. */
static void fill_the_table(void)
{
	base = map_at(NULL, 0);
	char *all = fill_table();
	EXPECT(base + 2 * PAGE, PAGE, WHY_NOT);
	MUST(!munmap(base + PAGE, PAGE));
	EXPECT(base, PAGE, WHY_NOT);
	EXPECT(base + 2 * PAGE, PAGE, WHYS);
	MUST(atomic_load(&stand_in_mappings) == 1);
	MUST(!munmap(base, PAGE));
	MUST(!atomic_load(&stand_in_mappings));
	MUST(!munmap(base, SIZE) && !munmap(all, 2 * PIECES * PAGE));
	MUST(atomic_exchange(&of_stress->maps_lost, 0) == 2);
	base = map_at(NULL, 0);
	EXPECT(base, SIZE, WHY_NOT);
	MUST(!munmap(base, SIZE));
}

/* ---- Handlers of fork(2) ---- */

static enum { NO_HANDLERS, MAPPING, LOCKING } handlers;
static _Atomic int handled;
static pthread_mutex_t of_allocator = PTHREAD_MUTEX_INITIALIZER;

static void map_in_handler(void)
{
	char *made = map_at(NULL, 0);
	MUST(!msync(made, SIZE, MS_SYNC));
	MUST(mmap(made, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == made);
	MUST(!mprotect(atomic_load(&stand_in_base), PAGE, PROT_READ) || errno == ENOMEM);
	MUST(!munmap(made, SIZE));
	atomic_fetch_add(&handled, 1);
}

static void before_fork(void)
{
	if (handlers == MAPPING)
		map_in_handler();
	else if (handlers == LOCKING)
		pthread_mutex_lock(&of_allocator);
}

static void after_fork(void)
{
	if (handlers == MAPPING)
		map_in_handler();
	else if (handlers == LOCKING)
		pthread_mutex_unlock(&of_allocator);
}

/* Before the companion's, as in the constructor of a library. */
__attribute__((no_sanitize("thread", "address", "undefined"))) static void begin_early(void)
{
	pthread_atfork(before_fork, after_fork, after_fork);
}

__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = begin_early;

static void map_in_handlers(void)
{
	int status;
	uint64_t lines = atomic_load(&row->by_lines);
	handlers = MAPPING;
	pid_t child = fork();
	if (!child)
		_exit(atomic_load(&handled) != 2);
	MUST(child > 0 && waitpid(child, &status, 0) == child && !status);
	handlers = NO_HANDLERS;
	MUST(atomic_load(&handled) == 2 && atomic_load(&row->by_lines) == lines + 2);
}

static _Atomic bool is_over;

static void *map_all_the_time(void *arg)
{
	while (!atomic_load(&is_over))
		MUST(!munmap(map_at(NULL, 0), SIZE));
	return arg;
}

/* Memory of an allocator that has a lock, which it takes around fork(2) as well. */
static void *allocate_all_the_time(void *arg)
{
	while (!atomic_load(&is_over)) {
		pthread_mutex_lock(&of_allocator);
		void *memory = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		MUST(memory != MAP_FAILED && !munmap(memory, PAGE));
		pthread_mutex_unlock(&of_allocator);
		usleep(100);
	}
	return arg;
}

static void fork_beside_an_allocator(void)
{
	int status;
	pthread_t threads[2];
	handlers = LOCKING;
	atomic_store(&stand_in_naps, true);
	MUST(!pthread_create(&threads[0], NULL, map_all_the_time, NULL));
	MUST(!pthread_create(&threads[1], NULL, allocate_all_the_time, NULL));
	for (int i = 0; i < ROUNDS / 2; i++) {
		pid_t child = fork();
		if (!child)
			_exit(0);
		MUST(child > 0 && waitpid(child, &status, 0) == child && !status);
	}
	atomic_store(&is_over, true);
	MUST(!pthread_join(threads[0], NULL) && !pthread_join(threads[1], NULL));
	atomic_store(&stand_in_naps, false);
	handlers = NO_HANDLERS;
}

/* ---- Where the companion has the file ---- */

static bool is_full_of(const char *memory, char byte)
{
	for (size_t i = 0; i < PAGE; i++)
		if (memory[i] != byte)
			return false;
	return true;
}

static void *place_memory(void *at)
{
	char *memory = mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	MUST(memory == at);
	return memset(memory, 'm', PAGE);
}

static void *place_moved(void *at)
{
	char *memory = place_memory(mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	MUST(mremap(memory, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at);
	return at;
}

static void *place_where_nothing_is(void *at)
{
	char *memory = mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	MUST(memory == at);
	return memset(memory, 'm', PAGE);
}

static void *place_after_unmapping(void *at)
{
	MUST(!munmap(at, SIZE));
	char *memory = mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(memory != MAP_FAILED);
	return memset(memory, 'm', PAGE);
}

/* As without the companion, nothing is there. */
static void *protect(void *at)
{
	MUST(mprotect(at, PAGE, PROT_NONE) == -1 && errno == ENOMEM);
	return NULL;
}

static void *grow_over(void *at)
{
	char *memory = (char *)at - PAGE;
	MUST(mmap(memory, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
	     memory);
	memset(memory, 'm', PAGE);
	MUST(mremap(memory, PAGE, 2 * PAGE, 0) == memory);
	return memory;
}

static void cover(void)
{
	void *(*const ways[])(void *) = {place_memory,          place_moved, place_where_nothing_is,
	                                 place_after_unmapping, protect,     grow_over};
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		base = map_at(NULL, 0);
		EXPECT(base, PAGE, WHY_NOT);
		char *memory = ways[i](atomic_load(&stand_in_base));
		MUST(!atomic_load(&stand_in_mappings));
		EXPECT(base, PAGE, WHY_COVERED);
		MUST(!memory || is_full_of(memory, 'm'));
		MUST(!munmap(base, SIZE));
		MUST(!memory || (is_full_of(memory, 'm') && !munmap(memory, PAGE)));
	}
}

/* ---- What the companion has not seen ---- */

static void unmap_unseen(void)
{
	base = map_at(NULL, 0);
	MUST(!syscall(SYS_munmap, base, SIZE));
	/* Not of the file: neither by lines nor counted. */
	MUST(mmap(base, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == base);
	MUST(!atomic_load(&stand_in_mappings));
	EXPECT(base, SIZE, WHYS);
	MUST(!munmap(base, SIZE));
	base = map_at(NULL, 0);
	MUST(!syscall(SYS_munmap, base, SIZE));
	MUST(map_at(base, 0) == base && atomic_load(&stand_in_mappings) == 1);
	EXPECT(base, SIZE, WHY_NOT);
	MUST(!munmap(base, SIZE) && !atomic_load(&stand_in_mappings));
}

/* ---- Errors ---- */

static int fails(int any)
{
	(void)any;
	errno = ENOSPC;
	return -1;
}

/* The kernel tells an error once: what accelerate mode is told, the program is told. */
static void owe(void)
{
	int (*fsync_before)(int) = REAL(fsync), (*syncfs_before)(int) = REAL(syncfs);
	/* Where lines are not promised nothing is synced. */
	real_calls.fsync = fails;
	atomic_store(&stand_in_promises_pages, true);
	base = map_at(NULL, 0);
	atomic_store(&stand_in_promises_pages, false);
	real_calls.fsync = fsync_before;
	MUST(!fsync(fd) && sync_of(base, SIZE, MS_SYNC) == WHY_MAPPING && !munmap(base, SIZE));
	for (int i = 0; i < 3; i++) {
		real_calls.fsync = fails;
		base = map_at(NULL, 0);
		real_calls.fsync = fsync_before;
		MUST(!atomic_load(&stand_in_mappings) && !syncfs(fd));
		MUST((i == 0 ? fsync(fd) : i == 1 ? fdatasync(fd) : msync(base, SIZE, MS_SYNC)) == -1 &&
		     errno == ENOSPC);
		MUST(!fsync(fd) && !fdatasync(fd) && !msync(base, SIZE, MS_SYNC) && !munmap(base, SIZE));
	}
	/* An error of the kernel's own leaves it. */
	real_calls.fsync = fails;
	base = map_at(NULL, 0);
	MUST(fsync(fd) == -1);
	real_calls.fsync = fsync_before;
	MUST(fsync(fd) == -1 && !fsync(fd) && !munmap(base, SIZE));
	real_calls.syncfs = fails;
	base = map_at(NULL, 0);
	real_calls.syncfs = syncfs_before;
	MUST(!fsync(fd) && syncfs(fd) == -1 && errno == ENOSPC && !syncfs(fd));
	MUST(!munmap(base, SIZE));
}

void stress_lines(struct ledger *ledger, int of_file)
{
	of_stress = ledger;
	fd = of_file;
	row = &ledger->row[0];
	sync_by_parts();
	sync_otherwise();
	fill_the_table();
	cover();
	unmap_unseen();
	owe();
	unmap_parts_at_once();
	resize_beside_lines();
	sync_in_child();
	map_in_handlers();
	fork_beside_an_allocator();
	MUST(!atomic_load(&stand_in_mappings));
}
