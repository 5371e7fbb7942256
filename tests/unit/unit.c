/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

static char root[PATH_MAX - 64], directory[PATH_MAX - 32], home[PATH_MAX];
static Suite *suite;
static uint32_t seed;
static char pattern[1 << 16]; /* then it repeats itself: filled once, for the children as well */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static void setup(void)
{
	static unsigned number;
	snprintf(directory, sizeof(directory), "%s/%u-%d", root, number++, (int)getpid());
	ck_assert_int_eq(mkdir(directory, 0755), 0);
	ck_assert_ptr_nonnull(getcwd(home, sizeof(home)));
}

static void teardown(void)
{
	char violation[sizeof(fake.violation)];
	snprintf(violation, sizeof(violation), "%s", fake.violation);
	fake_stop();
	fake.violation[0] = 0;
	if (chdir(home))
		abort();
	nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	ck_assert_msg(!violation[0], "%s", violation);
}

static void make_root(void)
{
	const char *place = getenv("TMPDIR");
	if (!place || !place[0])
		place = access("/var/tmp", W_OK) ? "." : "/var/tmp";
	char absolute[PATH_MAX]; /* what realpath(3) may write */
	if (!realpath(place, absolute)) {
		perror(place);
		exit(2);
	}
	snprintf(root, sizeof(root), "%.*s/pmdirect-unit.XXXXXX", (int)sizeof(root) - 32, absolute);
	if (!mkdtemp(root)) {
		perror(root);
		exit(2);
	}
}

TCase *unit_case(const char *name)
{
	if (!suite) {
		const char *wanted = getenv("CK_RUN_SEED");
		if (wanted)
			seed = (uint32_t)strtoul(wanted, NULL, 0);
		else if (getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed))
			seed |= 1; /* 0 would stay 0 */
		printf("%s: seed %u\n", name, seed);
		make_root();
		for (uint64_t at = 0; at < sizeof(pattern); at++)
			pattern[at] = unit_pattern(at);
		suite = suite_create(name);
	}
	TCase *c = tcase_create(name);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 120);
	suite_add_tcase(suite, c);
	return c;
}

int unit_run(void)
{
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner), run = srunner_ntests_run(runner);
	srunner_free(runner);
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return failed || !run ? EXIT_FAILURE : EXIT_SUCCESS;
}

const char *unit_path(const char *name)
{
	static char paths[32][PATH_MAX];
	static atomic_uint next;
	char *path = paths[atomic_fetch_add(&next, 1) % 32];
	snprintf(path, sizeof(paths[0]), "%.*s/%s", PATH_MAX - 300, directory, name);
	return path;
}

char unit_pattern(uint64_t offset)
{
	return (char)(offset * 7 + (offset >> 8) + 1);
}

const char *unit_file(const char *name, uint64_t size)
{
	const char *path = unit_path(name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(fd, 0);
	for (uint64_t at = 0; at < size; at += sizeof(pattern)) {
		size_t length = size - at < sizeof(pattern) ? (size_t)(size - at) : sizeof(pattern);
		ck_assert_int_eq(write(fd, pattern, length), (ssize_t)length);
	}
	close(fd);
	return path;
}

bool unit_has_pattern(const char *bytes, uint64_t offset, uint64_t length)
{
	for (uint64_t at = 0; at < length;) {
		size_t from = (size_t)((offset + at) % sizeof(pattern)), count = sizeof(pattern) - from;
		count = length - at < count ? (size_t)(length - at) : count;
		if (memcmp(bytes + at, pattern + from, count) != 0)
			return false;
		at += count;
	}
	return true;
}

bool unit_is_zero(const char *bytes, uint64_t length)
{
	return !length || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, length - 1));
}

uint64_t unit_size_of(const char *path)
{
	struct stat st;
	ck_assert_msg(!stat(path, &st), "%s: %s", path, strerror(errno));
	return (uint64_t)st.st_size;
}

bool unit_is_readable(int fd, int timeout_ms)
{
	struct pollfd p = {fd, POLLIN, 0};
	for (; timeout_ms > 10; timeout_ms -= 10)
		if (poll(&p, 1, 10) == 1)
			return true;
	return poll(&p, 1, timeout_ms) == 1;
}

bool unit_exists(const char *path)
{
	struct stat st;
	return !lstat(path, &st);
}

size_t unit_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

unsigned unit_open_files(void)
{
	unsigned count = 0;
	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

bool unit_is_emulated(void)
{
	/* It gives 0 for advice it does not know; Linux does not. */
	static char somewhere[1];
	return madvise((void *)((uintptr_t)somewhere & ~(unit_page() - 1)), 1, 0x7fff) == 0;
}

struct pm_mapping *unit_map(const char *path, const struct pm_options *o)
{
	struct pm_mapping *m = NULL;
	int rc = pm_map(path, o, &m);
	ck_assert_msg(rc == 0, "pm_map: %d, %s", rc, pm_error_detail());
	ck_assert_ptr_nonnull(m);
	return m;
}

const struct pm_report *unit_query(struct pm_mapping *m)
{
	static struct pm_report report;
	memset(&report, 0x55, sizeof(report));
	ck_assert_int_eq(pm_query(m, &report, sizeof(report)), 0);
	ck_assert_uint_eq(report.size, sizeof(report));
	return &report;
}

const struct pm_report *unit_report(const char *path, const struct pm_options *o)
{
	static struct pm_report report;
	struct pm_mapping *m = unit_map(path, o);
	report = *unit_query(m);
	unit_ok(pm_unmap(m));
	return &report;
}

unsigned unit_rounds(unsigned on_host)
{
	const char *part = getenv("PMDIRECT_TEST_PART");
	unsigned rounds = part ? on_host / (unsigned)strtoul(part, NULL, 10) : on_host;
	return rounds < 3 && on_host >= 3 ? 3 : rounds;
}

unsigned unit_stride(void)
{
	return getenv("PMDIRECT_TEST_PART") ? 3 : 1;
}

uint32_t unit_random(void)
{
	/* xorshift32 */
	seed ^= seed << 13;
	seed ^= seed >> 17;
	return seed ^= seed << 5;
}
