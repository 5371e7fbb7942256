/* SPDX-License-Identifier: BSD-3-Clause */
/* The scan of /proc and what it means, without a mapping. */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "observe/openers.h"
#include "sys/sys.h"
#include "unit.h"

#define FILES 3

static const char *paths[FILES];
static struct pm_openers files[FILES];

static void start(void)
{
	static const char *const names[] = {"a", "b", "c"};
	fake_start(&fake_plain);
	for (int i = 0; i < FILES; i++) {
		paths[i] = unit_file(names[i], 4096);
		files[i] = (struct pm_openers){.fd = open(paths[i], O_RDWR | O_CLOEXEC)};
		struct statx stx;
		ck_assert(!pm_sys->statx(files[i].fd, "", AT_EMPTY_PATH, &stx));
		pm_openers_of(&files[i], files[i].fd, &stx);
	}
}

static void stop(void)
{
	for (int i = 0; i < FILES; i++) {
		pm_openers_end(&files[i]);
		close(files[i].fd);
	}
}

/* ---- What a result means ---- */

static const struct {
	bool baseline_done, opened_before_baseline, was_writer, was_direct; /* before */
	bool found, found_direct;                                           /* by the scan */
	enum pm_reason reason;
} results[] = {
	/* A process that had the file open before the mapping is not told, */
	{false, false, false, false, true, false, PM_REASON_NONE},
	{false, false, false, false, true, true, PM_REASON_NONE},
	/* one that may have opened it since is. */
	{false, true, false, false, true, false, PM_REASON_OPENED_WRITING},
	{false, true, false, false, true, true, PM_REASON_OPENED_DIRECT},
	{false, true, false, false, false, false, PM_REASON_NONE},
	/* Later each new one is reported once, until a scan finds none. */
	{true, false, false, false, true, false, PM_REASON_OPENED_WRITING},
	{true, false, true, false, true, false, PM_REASON_NONE},
	{true, false, true, false, true, true, PM_REASON_OPENED_DIRECT},
	{true, false, true, true, true, true, PM_REASON_NONE},
	{true, false, true, true, true, false, PM_REASON_NONE},
	{true, false, true, false, false, false, PM_REASON_NONE},
};

START_TEST(a_result_is_news_or_not)
{
	struct pm_openers o = {.baseline_done = results[_i].baseline_done, .writer = results[_i].was_writer,
	                       .opened_before_baseline = results[_i].opened_before_baseline,
	                       .direct_writer = results[_i].was_direct, .has_result = true, .found = results[_i].found,
	                       .found_direct = results[_i].found_direct};
	ck_assert_int_eq(pm_openers_take(&o), results[_i].reason);
	ck_assert(o.baseline_done && o.writer == results[_i].found && o.direct_writer == results[_i].found_direct);
	/* It is taken once. */
	ck_assert(!pm_openers_have_result(&o));
	ck_assert_int_eq(pm_openers_take(&o), PM_REASON_NONE);
	ck_assert(o.writer == results[_i].found);
}
END_TEST

START_TEST(a_lease_means_that_there_is_none)
{
	struct pm_openers o = {.writer = true, .has_result = true, .found = true};
	pm_openers_announce(&o, true);
	pm_openers_none(&o);
	ck_assert(!atomic_load(&o.scan_due) && o.baseline_done && !o.writer);
	ck_assert_int_eq(pm_openers_take(&o), PM_REASON_NONE);
}
END_TEST

/* ---- The scan ---- */

START_TEST(a_file_is_in_one_scan_at_a_time)
{
	struct pm_scan first = {.targets = NULL}, second = {.targets = NULL};
	start();
	ck_assert(!pm_scan_add(&first, &files[0])); /* not due */
	pm_openers_announce(&files[0], false);
	ck_assert(pm_scan_add(&first, &files[0]));
	pm_openers_announce(&files[0], true);
	ck_assert(!pm_scan_add(&second, &files[0]));
	pm_scan_run(&first);
	/* What it found must not be lost to the next. */
	ck_assert(pm_openers_have_result(&files[0]));
	ck_assert(!pm_scan_add(&second, &files[0]));
	pm_openers_take(&files[0]);
	ck_assert(pm_scan_add(&second, &files[0]));
	pm_openers_end(&files[0]);
	ck_assert_ptr_null(second.targets);
	stop();
}
END_TEST

/* Opens the second file to read and the third to write, and stays. */
static pid_t hold_open(void)
{
	int says[2];
	char byte;
	ck_assert(!pipe(says));
	pid_t pid = fork();
	if (!pid) {
		int rc = open(paths[1], O_RDONLY) < 0 || open(paths[2], O_WRONLY) < 0;
		if (write(says[1], &byte, 1) != 1)
			rc = 1;
		pause();
		_exit(rc);
	}
	ck_assert_int_eq(read(says[0], &byte, 1), 1);
	close(says[0]);
	close(says[1]);
	return pid;
}

/* The child has also inherited the library's descriptions of all three, which are not its own. */
START_TEST(one_scan_serves_all_files)
{
	struct pm_scan scan = {.targets = NULL};
	start();
	if (unit_is_emulated()) /* whose /proc shows the emulator's descriptors */
		return;
	pid_t pid = hold_open();
	for (int i = 0; i < FILES; i++) {
		pm_openers_announce(&files[i], true);
		ck_assert(pm_scan_add(&scan, &files[i]));
	}
	fake_forget();
	pm_scan_run(&scan);
	unsigned scans = 0;
	const struct fake_record *r;
	for (unsigned i = 0; (r = fake_find(FAKE_each_entry, i)); i++)
		scans += !strcmp(r->path, "/proc");
	ck_assert_uint_eq(scans, 1);
	ck_assert_int_eq(pm_openers_take(&files[0]), PM_REASON_NONE);
	ck_assert_int_eq(pm_openers_take(&files[1]), PM_REASON_NONE);
	ck_assert_int_eq(pm_openers_take(&files[2]), PM_REASON_OPENED_WRITING);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	stop();
}
END_TEST

static atomic_bool inside, go_on;
static atomic_uint asked;

static void wait_in_it(void)
{
	atomic_fetch_add(&asked, 1);
	atomic_store(&inside, true);
	while (!atomic_load(&go_on))
		usleep(1000);
}

static void *run(void *scan)
{
	pm_scan_run(scan);
	return NULL;
}

/* A mapping that ends does not wait for the scan; without a target that looks at no further process. */
START_TEST(a_file_leaves_a_scan_under_way)
{
	struct pm_scan scan = {.before_each = wait_in_it};
	pthread_t thread;
	start();
	for (int i = 0; i < 2; i++) {
		pm_openers_announce(&files[i], false);
		ck_assert(pm_scan_add(&scan, &files[i]));
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, run, &scan), 0);
	while (!atomic_load(&inside))
		usleep(1000);
	for (int i = 0; i < 2; i++)
		pm_openers_end(&files[i]);
	atomic_store(&go_on, true);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(atomic_load(&asked), 1);
	ck_assert(!pm_openers_have_result(&files[0]));
	stop();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("openers");
	tcase_add_loop_test(c, a_result_is_news_or_not, 0, (int)COUNT(results));
	tcase_add_test(c, a_lease_means_that_there_is_none);
	tcase_add_test(c, a_file_is_in_one_scan_at_a_time);
	tcase_add_test(c, one_scan_serves_all_files);
	tcase_add_test(c, a_file_leaves_a_scan_under_way);
	return unit_run();
}
