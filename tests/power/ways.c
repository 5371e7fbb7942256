/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What write(2), rename(2), fallocate(2) or truncate(2) left in the journal before a file was mapped by lines, and what
 * another process does to it while it is mapped, and the call of the library that covers it.
 *
 *   ways store WAY NAME DIRECTORY [control]
 *   ways found WAY NAME DIRECTORY
 * Each way wants a file system of its own: whatever commits on it afterwards would commit for it as well.
 */
#include <pmdirect.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "../guest/check.h"
#include "digest.h"

#define PAGE ((size_t)4096)
#define PAGES ((size_t)64)
#define SIZE (PAGES * PAGE)
#define TURNS ((size_t)16) /* of two processes, each with the next page */
#define LINE ((size_t)64)

static const char *place, *verb = "promise";
static struct pm_mapping *m;
static char *base;
static enum pm_request wanted = PM_GUARANTEE;

/* ---- The file and its mapping ---- */

static int fill(const char *path, int flags, char with, off_t offset, size_t length)
{
	static char page[PAGE];
	int fd = open(path, flags | O_WRONLY | O_CLOEXEC, 0600);
	memset(page, with, sizeof(page));
	for (size_t at = 0; fd >= 0 && at < length; at += PAGE)
		if (pwrite(fd, page, PAGE, offset + (off_t)at) != (ssize_t)PAGE)
			return complain(path, "write");
	return fd < 0 || close(fd) ? complain(path, "open") : 0;
}

static int settle(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || syncfs(fd) || close(fd) ? complain(path, "syncfs") : 0;
}

static int durable_file(void)
{
	return fill("file", O_CREAT, 'o', 0, SIZE) || settle(".");
}

static int map_with(const char *path, unsigned flags, size_t length)
{
	struct pm_options o = {.size = sizeof(o), .sync = wanted, .flags = flags, .length = length};
	if (pm_map(path, &o, &m))
		return complain(place, "pm_map");
	base = pm_base(m);
	if (wanted == PM_GUARANTEE && pm_granularity_of(m) < PM_CACHE_LINE)
		return complain(place, "not by lines");
	return 0;
}

static int promise(int rc, size_t at, size_t length)
{
	if (rc)
		return complain(place, "not durable");
	tell(verb, place, base + at, length);
	return 0;
}

static int persist(size_t at, size_t length)
{
	return promise(pm_persist(m, base + at, length), at, length);
}

/* ---- What was there before it was mapped ---- */

static int by_sync(void)
{
	return settle(".") || fill("file", O_CREAT, 'N', 0, SIZE) || map_with("file", 0, 0) ||
	       promise(pm_sync(m), 0, SIZE);
}

static int by_persist(void)
{
	return settle(".") || fill("file", O_CREAT, 'N', 0, SIZE) || map_with("file", 0, 0) || persist(0, SIZE);
}

static int read_only(void)
{
	return settle(".") || fill("file", O_CREAT, 'N', 0, SIZE) || map_with("file", PM_READ_ONLY, 0) ||
	       persist(0, SIZE);
}

static int by_deep(void)
{
	return settle(".") || fill("file", O_CREAT, 'N', 0, SIZE) || map_with("file", 0, 0) ||
	       promise(pm_deep_persist(m, base, PAGE), 0, SIZE);
}

/* As programs put a new version in place. */
static int renamed(void)
{
	if (fill("new", O_CREAT, 'N', 0, SIZE) || settle("new") || rename("new", "file"))
		return complain(place, "rename");
	return map_with("file", 0, 0) || persist(0, SIZE);
}

/*
 * Read some ticks after it was written, so that no later mmap(2) moves the time of access (relatime): the change of the
 * inode would take all that came before it into the next fsync(2).
 */
static int read_later(const char *path)
{
	char byte;
	usleep(50000);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || read(fd, &byte, 1) != 1 || close(fd) ? complain(path, "read") : 0;
}

static int tree(const char *directory, const char *below, const char *path)
{
	if (mkdir(directory, 0700) || mkdir(below, 0700) || fill(path, O_CREAT, 'N', 0, SIZE))
		return complain(place, "mkdir");
	return read_later(path) || settle(".");
}

/* Neither the file nor its directory is changed by it, but the directory above. */
static int renamed_above(void)
{
	if (tree("a", "a/b", "a/b/file") || rename("a", "c"))
		return complain(place, "rename");
	return map_with("c/b/file", 0, 0) || persist(0, SIZE);
}

/* A directory that is as new as the file, and a descriptor. */
static int by_descriptor(void)
{
	if (settle(".") || mkdir("new", 0700) || fill("new/file", O_CREAT, 'N', 0, SIZE))
		return complain(place, "mkdir");
	int fd = open("new/file", O_RDWR | O_CLOEXEC);
	struct pm_options o = {.size = sizeof(o), .sync = wanted};
	if (fd < 0 || pm_map_fd(fd, &o, &m))
		return complain(place, "pm_map_fd");
	base = pm_base(m);
	return persist(0, SIZE);
}

/* What another process appended, taken into the mapping by pm_resize(). */
static int appended(void)
{
	if (durable_file() || map_with("file", 0, 0) || fill("file", 0, 'N', (off_t)SIZE, SIZE))
		return complain(place, "append");
	if (pm_resize(m, 2 * SIZE))
		return complain(place, "pm_resize");
	base = pm_base(m);
	return persist(SIZE, SIZE);
}

/* ---- What another process does meanwhile ---- */

static int punch(int fd, size_t page)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(page * PAGE), (off_t)PAGE);
}

static int write_page(int fd, size_t page)
{
	char bytes[PAGE];
	memset(bytes, 'N', sizeof(bytes));
	return pwrite(fd, bytes, PAGE, (off_t)(page * PAGE)) != (ssize_t)PAGE;
}

static int punch_and_write(int fd, size_t page)
{
	return punch(fd, page) || write_page(fd, page);
}

static int cut_and_grow(int fd, size_t page)
{
	return ftruncate(fd, (off_t)(page * PAGE)) || ftruncate(fd, (off_t)SIZE);
}

static int cut_and_write(int fd, size_t page)
{
	int rc = ftruncate(fd, (off_t)(page * PAGE));
	for (size_t at = page; at < PAGES && !rc; at++)
		rc = write_page(fd, at);
	return rc;
}

/* With fast_commit: something that a fast commit cannot record comes first, be it another file's. */
static bool ineligible;

static int make_ineligible(void)
{
	static int count;
	char value[32];
	snprintf(value, sizeof(value), "%d", count++);
	return ineligible && setxattr("other", "user.pmdirect", value, strlen(value), 0);
}

static int other_process(int (*deed)(int, size_t))
{
	int status = 0;
	pid_t child = fork();
	if (!child) {
		int fd = open("file", O_RDWR | O_CLOEXEC);
		_exit(fd < 0 || make_ineligible() || deed(fd, 2));
	}
	return child < 0 || waitpid(child, &status, 0) != child || status ? complain(place, "another process") : 0;
}

static int mapped(unsigned flags)
{
	return durable_file() || map_with("file", flags, 0) || pm_sync(m);
}

static int rewritten_sync(void)
{
	return mapped(0) || other_process(punch_and_write) || promise(pm_sync(m), 2 * PAGE, PAGE);
}

static int rewritten_deep(void)
{
	return mapped(0) || other_process(punch_and_write) ||
	       promise(pm_deep_persist(m, base + 2 * PAGE, PAGE), 2 * PAGE, PAGE);
}

/* Where the file is watched any look that follows does it, be it the thread's or this one. */
static int rewritten_look(void)
{
	struct pm_report r;
	if (mapped(PM_WATCH) || other_process(punch_and_write))
		return 1;
	return promise(pm_query(m, &r, offsetof(struct pm_report, evidence)), 2 * PAGE, PAGE);
}

/* What the other process does falls into one of many looks. */
static int rewritten_looking(void)
{
	struct pm_report r;
	int status = 0;
	pid_t child, ended = 0;
	if (mapped(PM_WATCH))
		return 1;
	child = fork();
	if (!child) {
		int fd = open("file", O_RDWR | O_CLOEXEC);
		_exit(fd < 0 || punch_and_write(fd, 2));
	}
	while (child > 0 && !ended) {
		pm_query(m, &r, offsetof(struct pm_report, evidence));
		ended = waitpid(child, &status, WNOHANG);
	}
	if (ended != child || status)
		return complain(place, "another process");
	return promise(pm_query(m, &r, offsetof(struct pm_report, evidence)), 2 * PAGE, PAGE);
}

/*
 * Stores of this process meet what another has just done to the page, with no pause, and others while it does it. Only
 * the line stored after that is promised: what the other wrote is its own.
 */
static int take_turns(int (*deed)(int, size_t))
{
	atomic_size_t *done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mapped(0) || done == MAP_FAILED)
		return 1;
	atomic_size_t *stored = done + 1;
	pid_t child = fork();
	if (!child) {
		int fd = open("file", O_RDWR | O_CLOEXEC), rc = fd < 0;
		for (size_t i = 0; i < TURNS && !rc; i++) {
			rc = make_ineligible() || deed(fd, PAGES - TURNS + i);
			atomic_store(done, rc ? SIZE : i + 1);
			while (atomic_load(stored) <= i && !rc)
				continue;
		}
		_exit(rc);
	}
	const char *name = place;
	for (size_t i = 0; i < TURNS; i++) {
		size_t at = (PAGES - TURNS + i) * PAGE;
		while (atomic_load(done) <= i)
			if (deed == punch_and_write)
				base[at + 8 * LINE]++;
		if (atomic_load(done) == SIZE)
			return complain(name, "another process");
		memset(base + at, 'S', LINE);
		int rc = pm_persist(m, base + at, LINE);
		if (rc && rc != -ERANGE)
			return complain(name, "pm_persist");
		char turn[128];
		snprintf(turn, sizeof(turn), "%s/%zu", name, i);
		place = turn;
		if (!rc && (deed == punch_and_write || i == TURNS - 1))
			tell(verb, turn, base + at, LINE);
		place = name;
		atomic_store(stored, i + 1);
	}
	return 0;
}

static int turns_rewritten(void)
{
	return take_turns(punch_and_write);
}

static int turns_cut(void)
{
	return take_turns(cut_and_grow);
}

static int turns_cut_and_written(void)
{
	return take_turns(cut_and_write);
}

static int cut_inside(int fd, size_t page)
{
	return ftruncate(fd, (off_t)(page * PAGE + LINE)) || fsync(fd);
}

static int write_from(int fd, size_t page)
{
	int rc = pwrite(fd, "N", 1, (off_t)(page * PAGE + LINE)) != 1;
	for (size_t at = page + 1; at < PAGES && !rc; at++)
		rc = write_page(fd, at);
	return rc;
}

/*
 * A cut on DAX unmaps every page (fs/dax.c dax_layout_busy_page). The store after it maps the last one again, so no
 * write fault commits the size that the file grows to then.
 */
static int cut_acknowledged(void)
{
	size_t at = 2 * PAGE + 8 * LINE;
	if (mapped(0) || other_process(cut_inside) || pm_sync(m) != -ERANGE)
		return complain(place, "pm_sync");
	if (pm_memset(m, base + 2 * PAGE, 'o', LINE, 0) || other_process(write_from) || pm_resize(m, SIZE))
		return complain(place, "pm_resize");
	return promise(pm_memset(m, (char *)pm_base(m) + at, 'S', LINE, 0), at, LINE);
}

/* ---- Another process gives the file another path ---- */

static int move_directory(int fd, size_t page)
{
	(void)fd;
	(void)page;
	return rename("a", "c");
}

/*
 * The store comes after the caller has acknowledged the new path, under a guarantee that is met. The page has had its
 * write fault before: the fault after the rename would commit what the rename left in the journal.
 */
static int moved_above(void)
{
	struct pm_report r;
	if (fill("file", O_CREAT, 'o', 0, PAGE) || tree("a", "a/b", "a/b/file") || map_with("a/b/file", 0, 0))
		return 1;
	memset(base + 2 * PAGE, 'o', LINE);
	if (pm_persist(m, base + 2 * PAGE, LINE) || other_process(move_directory))
		return complain(place, "pm_persist");
	if (pm_query(m, &r, offsetof(struct pm_report, evidence)) || r.verdict == PM_VERDICT_MET)
		return complain(place, "the move was not seen");
	if (pm_clear_error(m) || pm_query(m, &r, offsetof(struct pm_report, evidence)) || r.verdict != PM_VERDICT_MET)
		return complain(place, "the guarantee is not met");
	memset(base + 2 * PAGE, 'S', LINE);
	return persist(2 * PAGE, LINE);
}

/* ---- With fast_commit ---- */

static int store(void)
{
	memset(base + 2 * PAGE, 'S', LINE);
	return persist(2 * PAGE, LINE);
}

static int begin_fast(void)
{
	ineligible = true;
	wanted = !strcmp(verb, "control") ? PM_GUARANTEE : PM_HINT;
	close(open("other", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	return durable_file();
}

static int fast(unsigned flags, int (*deed)(int, size_t))
{
	return begin_fast() || map_with("file", flags, 0) || settle(".") || other_process(deed) || store();
}

static int fast_unsynced(void)
{
	return begin_fast() || fill("file", 0, 'N', 0, 2 * SIZE) || make_ineligible() || map_with("file", 0, 0) ||
	       persist(SIZE, SIZE);
}

static int fast_punched(void)
{
	return fast(0, punch);
}

/* The watcher may look between the two calls of the other process: what it saw cut off is told once. */
static int fast_cut(void)
{
	if (begin_fast() || map_with("file", PM_WATCH, 0) || settle(".") || other_process(cut_and_grow) ||
	    (pm_persist(m, base + 2 * PAGE, LINE) == -ERANGE && pm_resize(m, SIZE)))
		return complain(place, "pm_resize");
	return store();
}

static int fast_rewritten(void)
{
	return fast(PM_WATCH, punch_and_write);
}

/* The kernel's word is not taken for what is known to break it. */
static int fast_trusted(void)
{
	return begin_fast() || map_with("file", PM_TRUST_KERNEL, 0) || settle(".") || other_process(punch) || store();
}

/* By lines, under a guarantee: no other process can have the file open. */
static int fast_leased(void)
{
	if (begin_fast())
		return 1;
	wanted = PM_GUARANTEE;
	return map_with("file", PM_LEASE, 0) || make_ineligible() || store();
}

/* ---- */

static const struct way {
	const char *name;
	int (*store)(void);
	const char *path;
	size_t offset, length;
} ways[] = {
	{"sync", by_sync, "file", 0, SIZE},
	{"persist", by_persist, "file", 0, SIZE},
	{"read-only", read_only, "file", 0, SIZE},
	{"deep", by_deep, "file", 0, SIZE},
	{"renamed", renamed, "file", 0, SIZE},
	{"renamed-above", renamed_above, "c/b/file", 0, SIZE},
	{"descriptor", by_descriptor, "new/file", 0, SIZE},
	{"appended", appended, "file", SIZE, SIZE},
	{"rewritten-sync", rewritten_sync, "file", 2 * PAGE, PAGE},
	{"rewritten-deep", rewritten_deep, "file", 2 * PAGE, PAGE},
	{"rewritten-look", rewritten_look, "file", 2 * PAGE, PAGE},
	{"rewritten-looking", rewritten_looking, "file", 2 * PAGE, PAGE},
	{"turns-rewritten", turns_rewritten, "file", 0, 0},
	{"turns-cut", turns_cut, "file", 0, 0},
	{"turns-cut-and-written", turns_cut_and_written, "file", 0, 0},
	{"cut-acknowledged", cut_acknowledged, "file", 2 * PAGE + 8 * LINE, LINE},
	{"moved-above", moved_above, "c/b/file", 2 * PAGE, LINE},
	{"fast-unsynced", fast_unsynced, "file", SIZE, SIZE},
	{"fast-punched", fast_punched, "file", 2 * PAGE, LINE},
	{"fast-cut", fast_cut, "file", 2 * PAGE, LINE},
	{"fast-rewritten", fast_rewritten, "file", 2 * PAGE, LINE},
	{"fast-trusted", fast_trusted, "file", 2 * PAGE, LINE},
	{"fast-leased", fast_leased, "file", 2 * PAGE, LINE},
};

static void find(const struct way *way)
{
	char turn[128];
	if (way->length)
		tell_found(place, way->path, way->offset, way->length);
	for (size_t i = 0; i < TURNS && !way->length; i++) {
		snprintf(turn, sizeof(turn), "%s/%zu", place, i);
		tell_found(turn, way->path, (PAGES - TURNS + i) * PAGE, LINE);
	}
}

int main(int argc, char **argv)
{
	if (argc < 5 || chdir(argv[4]))
		return 2;
	place = argv[3];
	verb = argc > 5 ? argv[5] : verb;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (strcmp(ways[i].name, argv[2]))
			continue;
		if (!strcmp(argv[1], "store"))
			return ways[i].store();
		find(&ways[i]);
		return 0;
	}
	return 2;
}
