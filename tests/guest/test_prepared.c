/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a store costs the file system: commits of its journal and page faults while one byte of each page is stored, in
 * a mapping that was prepared and in one that was not. Runs in the guest as root: test_prepared DIRECTORY...
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "check.h"

#define PAGE ((size_t)4096)
#define HUGE_PAGE ((size_t)2 << 20)
#define SIZE (2 * HUGE_PAGE)
#define PAGES (SIZE / PAGE)
#define XFS_MAGIC 0x58465342

struct cost {
	long commits, faults;
};

/* The number behind the words, in a file of the kernel's; -1 if it cannot be read. */
static long number_in(const char *path, const char *words)
{
	char text[4096];
	int fd = open(path, O_RDONLY);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return -1;
	text[got] = 0;
	const char *at = *words ? strstr(text, words) : text;
	return at ? atol(at + strlen(words)) : -1;
}

/* ext4: transactions that jbd2 has committed. XFS: what was written to its log. */
static long commits_of(const char *directory)
{
	struct stat st;
	struct statfs stfs;
	char link[64], name[256], path[320];
	if (stat(directory, &st) || statfs(directory, &stfs))
		return -1;
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", (unsigned)(st.st_dev >> 8), (unsigned)(st.st_dev & 255));
	ssize_t got = readlink(link, name, sizeof(name) - 1);
	name[got > 0 ? got : 0] = 0;
	const char *slash = strrchr(name, '/');
	bool xfs = stfs.f_type == XFS_MAGIC;
	snprintf(path, sizeof(path), xfs ? "/sys/fs/xfs/%s/stats/stats" : "/proc/fs/jbd2/%s-8/info",
		 slash ? slash + 1 : name);
	return number_in(path, xfs ? "\nlog " : "");
}

static long faults(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static struct cost store_everywhere(const char *directory, struct pm_mapping *m)
{
	volatile char *base = pm_base(m);
	struct cost before = {commits_of(directory), faults()};
	for (size_t i = 0; i < PAGES; i++) {
		base[i * PAGE] = (char)(i + 1);
		CHECK(!pm_persist(m, (char *)base + i * PAGE, 1));
	}
	struct cost after = {commits_of(directory), faults()};
	CHECK(before.commits >= 0);
	return (struct cost){after.commits - before.commits, after.faults - before.faults};
}

static struct pm_mapping *map(const char *directory, const char *name, unsigned flags, enum pm_request request)
{
	char path[512];
	struct pm_mapping *m = NULL;
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | flags, .length = SIZE, .sync = request};
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	/* Not later: a sync takes the right to write from every page. */
	sync();
	CHECK(!pm_map(path, &o, &m));
	return m;
}

/* Every other block, without content: the file system has work left for the first store in each page. */
static void allocate(const char *directory, const char *name)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0 && !ftruncate(fd, SIZE));
	for (size_t i = 0; i < PAGES; i += 2)
		CHECK(!fallocate(fd, 0, (off_t)(i * PAGE), PAGE));
	CHECK(!fsync(fd));
	close(fd);
}

/* Whether this kernel tells how large the pages are (PAGEMAP_SCAN, Linux 6.7). */
static bool tells_page_size(void)
{
	struct utsname name;
	int major = 0, minor = 0;
	CHECK(!uname(&name) && sscanf(name.release, "%d.%d", &major, &minor) == 2);
	return major > 6 || (major == 6 && minor >= 7);
}

static void check_page_size(struct pm_mapping *m, size_t wanted)
{
	struct pm_report r;
	CHECK(!pm_query(m, &r, sizeof(r)));
	const struct pm_evidence *size = &r.evidence[PM_EV_PAGE_SIZE];
	if (size->state == PM_YES)
		printf("%s: pages of %llu bytes\n", place_checked, (unsigned long long)size->value);
	if (!tells_page_size())
		CHECK(size->state == PM_UNKNOWN, "state %d", size->state);
	else
		CHECK(size->state == PM_YES && size->value == wanted, "state %d, %llu", size->state,
		      (unsigned long long)size->value);
}

static void look_at_prepared(const char *directory, const char *name, struct cost *ret)
{
	struct statfs stfs;
	long before = faults();
	struct pm_mapping *m = map(directory, name, 0, PM_GUARANTEE);
	long to_map = faults() - before;
	if (!m)
		return;
	*ret = store_everywhere(directory, m);
	printf("%s, prepared: %ld faults to map %zu pages, then %ld commits and %ld faults\n", directory, to_map, PAGES,
	       ret->commits, ret->faults);
	/* ext4 puts a new file of whole huge pages where they can be mapped; XFS does where it happens to. */
	bool huge = statfs(directory, &stfs) || stfs.f_type != XFS_MAGIC || to_map < (long)PAGES / 2;
	check_page_size(m, huge ? HUGE_PAGE : PAGE);
	CHECK(!pm_unmap(m));
}

static void look_at_unprepared(const char *directory)
{
	allocate(directory, "in-part");
	struct pm_mapping *m = map(directory, "in-part", PM_TRUST_KERNEL, PM_HINT);
	if (!m)
		return;
	CHECK(pm_granularity_of(m) == PM_CACHE_LINE);
	struct cost cost = store_everywhere(directory, m);
	printf("%s, allocated in part: %ld commits and %ld faults\n", directory, cost.commits, cost.faults);
	CHECK(cost.commits >= (long)PAGES / 2 && cost.faults >= (long)PAGES);
	CHECK(!pm_unmap(m));
}

/*
 * ext4 commits what the set-up changed five seconds later, when the run has ended. XFS forces its log every half minute
 * to cover or to tidy it (fs/xfs/xfs_log.c xfs_log_worker), which may fall into one run of the three. The program's own
 * pages may be missing in the first.
 */
static void look_at(const char *directory)
{
	static const char *const names[] = {"prepared-1", "prepared-2", "prepared-3"};
	struct statfs stfs;
	int clean = 0, with_commits = 0;
	place_checked = directory;
	CHECK(!statfs(directory, &stfs));
	for (int i = 0; i < 3; i++) {
		struct cost cost = {-1, -1};
		look_at_prepared(directory, names[i], &cost);
		with_commits += cost.commits != 0;
		clean += !cost.commits && !cost.faults;
	}
	CHECK(with_commits <= (stfs.f_type == XFS_MAGIC), "%d runs with commits", with_commits);
	CHECK(clean > 0, "no run without commits and faults");
	look_at_unprepared(directory);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		look_at(argv[i]);
	return failures ? 1 : 0;
}
