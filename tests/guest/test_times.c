/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a backup sees of a mapped file: test_times DIRECTORY... Stores by lines leave its time as it is; pm_sync() and
 * pm_unmap() move it. On pages the write fault after a drain does.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"

#define SIZE ((size_t)1 << 20)

static const char *path;

static void set_back(void)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	CHECK(!utimensat(AT_FDCWD, path, old, 0), "utimensat: %m");
}

static bool has_moved(void)
{
	struct stat st;
	CHECK(!stat(path, &st), "stat: %m");
	return st.st_mtim.tv_sec != 1000;
}

static void store(struct pm_mapping *m, char with)
{
	char *at = pm_base(m);
	memset(at + 8192, with, 100);
	CHECK(!pm_persist(m, at + 8192, 100));
}

static void check_writable(void)
{
	struct pm_mapping *m;
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE, .length = SIZE};
	if (pm_map(path, &o, &m)) {
		CHECK(false);
		return;
	}
	bool lines = pm_granularity_of(m) >= PM_CACHE_LINE;
	store(m, 'a');
	set_back();
	store(m, 'b');
	/* Documented, not wanted: it is what a backup must know. */
	CHECK(has_moved() == !lines);
	set_back();
	if (!lines)
		store(m, 'c');
	CHECK(!pm_sync(m));
	CHECK(has_moved());
	set_back();
	store(m, 'd');
	CHECK(!pm_unmap(m));
	CHECK(has_moved());
}

static void check_read_only(void)
{
	struct pm_mapping *m;
	struct pm_options o = {.size = sizeof(o), .flags = PM_READ_ONLY};
	set_back();
	if (pm_map(path, &o, &m)) {
		CHECK(false);
		return;
	}
	CHECK(!pm_sync(m));
	CHECK(!pm_unmap(m));
	CHECK(!has_moved());
}

int main(int argc, char **argv)
{
	static char name[256];
	for (int i = 1; i < argc; i++) {
		place_checked = argv[i];
		snprintf(name, sizeof(name), "%s/times", argv[i]);
		path = name;
		check_writable();
		check_read_only();
	}
	return failures ? 1 : 0;
}
