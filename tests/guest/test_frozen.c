/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frozen file system (fsfreeze(8), a snapshot) is not broken: test_frozen DIRECTORY... Freezes the file system of
 * each directory, with root's right. What changes nothing returns at once; what changes the file waits, says nothing
 * false, and goes on when the file system is thawed: nothing is poisoned, and every acknowledged byte is in the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define PAGE ((size_t)4096)
#define SIZE (64 * PAGE)
#define PATIENCE 30 /* seconds, until a call counts as one that does not return */

static char mapped[256], sparse[256], other[256], created[256];

/* ---- Another process freezes and thaws ---- */

/*
 * A store that waits may keep the address space of its process locked (mm/memory.c wp_page_shared, fs/dax.c): no thread
 * of it can be sure to get to the call that thaws.
 */
static int to_keeper[2], from_keeper[2];

static int keep(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct pollfd order = {.fd = to_keeper[0], .events = POLLIN};
	bool frozen = false;
	char c;
	for (;;) {
		/* Whatever becomes of the other process, the file system does not stay frozen. */
		int ready = poll(&order, 1, frozen ? 4 * PATIENCE * 1000 : -1);
		bool told = ready == 1 && read(to_keeper[0], &c, 1) == 1;
		if (frozen)
			c = ioctl(fd, FITHAW, 0) ? 'x' : 't';
		else if (told)
			c = ioctl(fd, FIFREEZE, 0) ? 'x' : 'f';
		frozen = told && c == 'f';
		if (!told || write(from_keeper[1], &c, 1) != 1)
			return 0;
	}
}

static void start_keeper(const char *directory)
{
	CHECK(!pipe(to_keeper) && !pipe(from_keeper), "%m");
	fflush(stdout);
	if (!fork()) {
		close(to_keeper[1]);
		_exit(keep(directory));
	}
	close(to_keeper[0]);
	close(from_keeper[1]);
}

static void end_keeper(void)
{
	close(to_keeper[1]);
	close(from_keeper[0]);
	wait(NULL);
}

static void order(char expected)
{
	char c = 0;
	CHECK(write(to_keeper[1], "!", 1) == 1 && read(from_keeper[0], &c, 1) == 1 && c == expected, "%c", c);
}

static void freeze(void)
{
	order('f');
}

static void thaw(void)
{
	order('t');
}

static int map(const char *path, unsigned flags, size_t length, struct pm_mapping **m)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags, .length = length};
	return pm_map(path, &o, m);
}

/* ---- One call in a thread of its own ---- */

static struct pm_mapping *first, *holes, *second; /* second: to be resized */

struct act {
	const char *name;
	int (*run)(void);
	pthread_t thread;
	atomic_bool begun, go, done;
	int rc;
	char sentence[512];
};

static void *perform(void *arg)
{
	struct act *a = arg;
	atomic_store(&a->begun, true);
	while (!atomic_load(&a->go))
		usleep(1000);
	a->rc = a->run();
	if (a->rc)
		snprintf(a->sentence, sizeof(a->sentence), "%s", pm_error_detail());
	atomic_store(&a->done, true);
	return NULL;
}

static void make_thread(struct act *a)
{
	atomic_store(&a->begun, false);
	atomic_store(&a->go, false);
	atomic_store(&a->done, false);
	CHECK(!pthread_create(&a->thread, NULL, perform, a), "%m");
	while (!atomic_load(&a->begun))
		usleep(100);
}

static bool returns(struct act *a)
{
	for (int i = 0; i < PATIENCE * 100 && !atomic_load(&a->done); i++)
		usleep(10000);
	return atomic_load(&a->done);
}

static char *base_of(struct pm_mapping *m)
{
	return pm_base(m);
}

/* ---- What returns ---- */

static int persist(void)
{
	return pm_persist(first, base_of(first) + PAGE, PAGE);
}

static int drain(void)
{
	return pm_drain(first);
}

static int drain_holes(void)
{
	return pm_drain(holes);
}

static int deep_persist(void)
{
	return pm_deep_persist(first, base_of(first) + PAGE, PAGE);
}

static int load(void)
{
	char there[16];
	return memcmp(base_of(first) + PAGE, "before", 6) ? -EILSEQ
	                                                  : pm_read(first, there, base_of(first), sizeof(there));
}

static int query(void)
{
	struct pm_report r = {0};
	char text[4096];
	int rc = pm_query(first, &r, sizeof(r));
	pm_explain(&r, text, sizeof(text));
	return rc ? rc : r.granularity == PM_NONE || strstr(text, "failed") ? -EILSEQ : 0;
}

static int probe(void)
{
	struct pm_report r = {0};
	struct pm_options o = {.size = sizeof(o)};
	return pm_probe(other, &o, &r, sizeof(r));
}

static int next_event(void)
{
	struct pm_event e;
	int rc;
	while (!(rc = pm_next_event(first, &e, sizeof(e))))
		if (e.kind == PM_EVENT_WRITE_BACK_FAILED || e.kind == PM_EVENT_DEMOTED) {
			printf("%s: an event of kind %d, reason %s\n", place_checked, (int)e.kind,
			       pm_reason_name(e.reason));
			return -EILSEQ;
		}
	return rc == -EAGAIN ? 0 : rc;
}

static int map_existing(void)
{
	struct pm_mapping *m;
	int rc = map(other, PM_READ_ONLY, 0, &m);
	return rc ? rc : pm_unmap(m);
}

static int map_private(void)
{
	struct pm_mapping *m;
	int rc = map(other, PM_PRIVATE, 0, &m);
	return rc ? rc : pm_unmap(m);
}

static int create_exclusively(void)
{
	struct pm_mapping *m;
	return map(other, PM_CREATE | PM_EXCLUSIVE, SIZE, &m) == -EEXIST ? 0 : -EILSEQ;
}

static struct act at_once[] = {
	{.name = "pm_persist", .run = persist},
	{.name = "pm_drain", .run = drain},
	{.name = "pm_drain of holes", .run = drain_holes},
	{.name = "pm_deep_persist", .run = deep_persist},
	{.name = "a load", .run = load},
	{.name = "pm_query", .run = query},
	{.name = "pm_probe", .run = probe},
	{.name = "pm_next_event", .run = next_event},
	{.name = "pm_map, read-only", .run = map_existing},
	{.name = "pm_map, private", .run = map_private},
	{.name = "pm_map, exclusive", .run = create_exclusively},
};

/* ---- What waits ---- */

static int store(void)
{
	*(volatile char *)(base_of(first) + 20 * PAGE) = 's';
	return pm_persist(first, base_of(first) + 20 * PAGE, 1);
}

static int copy_to_hole(void)
{
	return pm_memcpy(holes, base_of(holes) + 30 * PAGE, "copied", 6, 0);
}

static int touch(void *at)
{
	*(volatile char *)at = 'g';
	return 0;
}

static int guarded(void)
{
	struct pm_fault f;
	int rc = pm_guarded(holes, touch, base_of(holes) + 40 * PAGE, &f, sizeof(f));
	return rc ? rc : pm_persist(holes, base_of(holes) + 40 * PAGE, 1);
}

static int write_range(void)
{
	return pm_write(holes, base_of(holes) + 50 * PAGE, "written", 7);
}

static int create(void)
{
	struct pm_mapping *m;
	int rc = map(created, PM_CREATE | PM_PREPARE, SIZE, &m);
	if (!rc)
		rc = pm_memcpy(m, base_of(m), "created", 7, 0);
	return rc ? rc : pm_unmap(m);
}

static int grow(void)
{
	int rc = pm_resize(second, 2 * SIZE);
	return rc ? rc : pm_memcpy(second, base_of(second) + SIZE, "grown", 5, 0);
}

static struct act waiting[] = {
	{.name = "a store", .run = store},
	{.name = "pm_memcpy", .run = copy_to_hole},
	{.name = "pm_guarded", .run = guarded},
	{.name = "pm_write", .run = write_range},
	{.name = "pm_map that creates", .run = create},
	{.name = "pm_resize", .run = grow},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- */

static void expect(const char *path, size_t at, const char *text)
{
	char there[16] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(pread(fd, there, strlen(text), (off_t)at) == (ssize_t)strlen(text) && !memcmp(there, text, strlen(text)),
	      "%s at %zu is not in %s", text, at, path);
	close(fd);
}

/* What pm_map() itself told. */
static void forget_events(struct pm_mapping *m)
{
	struct pm_event e;
	while (!pm_next_event(m, &e, sizeof(e)))
		;
}

static void make_ready(unsigned flags)
{
	int fd = open(sparse, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(!ftruncate(fd, SIZE) && !fsync(fd), "%m");
	close(fd);
	struct pm_mapping *m;
	CHECK(!map(other, PM_CREATE, SIZE, &m) && !pm_unmap(m));
	CHECK(!map(mapped, PM_CREATE | flags, SIZE, &first));
	CHECK(!map(sparse, flags, 0, &holes));
	CHECK(!map(other, flags, 0, &second));
	forget_events(first);
	memcpy(base_of(first) + PAGE, "before", 6);
	CHECK(!pm_persist(first, base_of(first) + PAGE, 6));
	/* Stored, and not drained yet. */
	memcpy(base_of(first) + 2 * PAGE, "stored", 6);
	memcpy(base_of(holes) + 2 * PAGE, "stored", 6);
	CHECK(!pm_flush(first, base_of(first) + 2 * PAGE, 6) && !pm_flush(holes, base_of(holes) + 2 * PAGE, 6));
}

static void check_frozen(void)
{
	for (size_t i = 0; i < COUNT(at_once); i++) {
		struct act *a = &at_once[i];
		make_thread(a);
		atomic_store(&a->go, true);
		bool returned = returns(a);
		if (!returned)
			thaw();
		pthread_join(a->thread, NULL);
		if (!returned)
			freeze();
		CHECK(returned, "%s waits for the thaw", a->name);
		CHECK(!a->rc, "%s: %d, %s", a->name, a->rc, a->sentence);
	}
}

static void check_waiting(void)
{
	for (size_t i = 0; i < COUNT(waiting); i++)
		atomic_store(&waiting[i].go, true);
	/* Long enough for each to have got to where it waits; one that has not is no worse. */
	usleep(300000);
	struct stat st;
	unsigned at_work = 0;
	for (size_t i = 0; i < COUNT(waiting); i++)
		at_work += !atomic_load(&waiting[i].done);
	printf("%s: %u of %zu wait\n", place_checked, at_work, COUNT(waiting));
	CHECK(stat(created, &st), "a file was created in a frozen file system");
	thaw();
	for (size_t i = 0; i < COUNT(waiting); i++) {
		CHECK(returns(&waiting[i]), "%s waits after the thaw", waiting[i].name);
		pthread_join(waiting[i].thread, NULL);
		CHECK(!waiting[i].rc, "%s: %d, %s", waiting[i].name, waiting[i].rc, waiting[i].sentence);
	}
}

static void check_afterwards(void)
{
	struct pm_mapping *all[] = {first, holes, second};
	struct pm_event e;
	for (size_t i = 0; i < COUNT(all); i++) {
		CHECK(!pm_memcpy(all[i], base_of(all[i]) + 3 * PAGE, "after", 5, 0) && !pm_sync(all[i]));
		while (!pm_next_event(all[i], &e, sizeof(e)))
			CHECK(e.kind != PM_EVENT_WRITE_BACK_FAILED, "a write-back is said to have failed");
		CHECK(!pm_unmap(all[i]));
	}
	expect(mapped, PAGE, "before");
	expect(mapped, 2 * PAGE, "stored");
	expect(mapped, 3 * PAGE, "after");
	expect(mapped, 20 * PAGE, "s");
	expect(sparse, 2 * PAGE, "stored");
	expect(sparse, 30 * PAGE, "copied");
	expect(sparse, 40 * PAGE, "g");
	expect(sparse, 50 * PAGE, "written");
	expect(created, 0, "created");
	expect(other, SIZE, "grown");
	unlink(mapped), unlink(sparse), unlink(other), unlink(created);
}

static void check_place(const char *directory, unsigned flags)
{
	snprintf(mapped, sizeof(mapped), "%s/mapped", directory);
	snprintf(sparse, sizeof(sparse), "%s/sparse", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	snprintf(created, sizeof(created), "%s/created", directory);
	make_ready(flags);
	if (failures)
		return;
	for (size_t i = 0; i < COUNT(waiting); i++)
		make_thread(&waiting[i]);
	start_keeper(directory);
	printf("%s: granularity %s, flags %#x\n", directory, pm_granularity_name(pm_granularity_of(first)), flags);
	freeze();
	check_frozen();
	check_waiting();
	check_afterwards();
	end_keeper();
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	CHECK(!pm_guard_install());
	for (int i = 1; i < argc; i++) {
		place_checked = argv[i];
		check_place(argv[i], 0);
		check_place(argv[i], PM_WATCH);
	}
	printf("%d failures\n", failures);
	return argc < 2 ? 2 : failures != 0;
}
