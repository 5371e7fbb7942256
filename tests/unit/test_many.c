/* SPDX-License-Identifier: BSD-3-Clause */
/* Many watched mappings, on the real kernel: what they cost of threads, descriptors and inotify instances. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#define MAPPINGS 1000u

static unsigned entries(const char *directory)
{
	unsigned count = 0;
	DIR *d = opendir(directory);
	ck_assert_ptr_nonnull(d);
	for (struct dirent *e; (e = readdir(d));)
		count += e->d_name[0] != '.';
	closedir(d);
	return count;
}

static void ignore(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	(void)m;
	(void)event;
	(void)arg;
}

/* Files, a mapping of each; one inode in ten is mapped twice. */
static struct pm_mapping *map_one(unsigned i)
{
	char name[16];
	struct pm_mapping *m = NULL;
	snprintf(name, sizeof(name), "%u", i % 10 == 9 ? i - 1 : i);
	const char *path = unit_path(name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert(fd >= 0 && !ftruncate(fd, 4096) && !close(fd));
	unit_ok(pm_map(path, UNIT_OPTIONS(.flags = PM_WATCH, .on_event = ignore), &m));
	return m;
}

static bool has_room(rlim_t needed)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return false;
	limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
	return limit.rlim_cur == needed && !setrlimit(RLIMIT_NOFILE, &limit);
}

/* The library's thread opens some for as long as it looks: the least of many counts. */
static unsigned open_descriptors(void)
{
	unsigned least = entries("/proc/self/fd");
	for (int i = 0; i < 100; i++) {
		usleep(1000);
		unsigned now = entries("/proc/self/fd");
		least = now < least ? now : least;
	}
	return least;
}

START_TEST(a_thousand_watched_mappings)
{
	static struct pm_mapping *m[MAPPINGS];
	struct pm_event event;
	fake_stop();
	/* libunwind, which is loaded for the first event, keeps a pipe. */
	unit_ok(pm_unmap(map_one(0)));
	unsigned threads = entries("/proc/self/task"), descriptors = open_descriptors();
	for (unsigned i = 0; i < MAPPINGS; i++)
		m[i] = map_one(i);
	unsigned own_threads = entries("/proc/self/task") - threads;
	unsigned own_descriptors = open_descriptors() - descriptors - MAPPINGS;
	printf("%u watched mappings: %u threads, %u descriptors beyond one each\n", MAPPINGS, own_threads,
	       own_descriptors);
	fflush(stdout);
	ck_assert_uint_le(own_threads, 2);
	ck_assert_uint_le(own_descriptors, 8);
	/* One more where it is asked for, and only there. */
	ck_assert_int_ge(pm_event_fd(m[7]), 0);
	ck_assert_uint_eq(open_descriptors() - descriptors - MAPPINGS, own_descriptors + 1);
	/* Both mappings of an inode get the event, and no other. */
	while (!pm_next_event(m[18], &event, sizeof(event)) || !pm_next_event(m[19], &event, sizeof(event)) ||
	       !pm_next_event(m[20], &event, sizeof(event)))
		;
	int fd = open(unit_path("18"), O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
	close(fd);
	for (unsigned i = 18; i < 20; i++) {
		for (int ms = 0; pm_next_event(m[i], &event, sizeof(event)); ms++) {
			ck_assert_int_lt(ms, 20000);
			usleep(1000);
		}
		ck_assert_int_eq(event.kind, PM_EVENT_MODIFIED);
	}
	ck_assert_int_eq(pm_next_event(m[20], &event, sizeof(event)), -EAGAIN);
	for (unsigned i = 0; i < MAPPINGS; i++)
		unit_ok(pm_unmap(m[i]));
	ck_assert_uint_eq(entries("/proc/self/task"), threads);
	ck_assert_uint_eq(open_descriptors(), descriptors);
}
END_TEST

#define CREATED 100u

/* A mapping that made its file keeps a second one, by which the name is found (pm_file(7)). */
START_TEST(a_created_file_takes_two_descriptors)
{
	struct pm_mapping *m[CREATED];
	char name[16];
	fake_stop();
	unit_ok(pm_unmap(map_one(0)));
	unsigned descriptors = open_descriptors();
	for (unsigned i = 0; i < CREATED; i++) {
		snprintf(name, sizeof(name), "new%u", i);
		unit_ok(pm_map(unit_path(name),
		               UNIT_OPTIONS(.flags = PM_CREATE | PM_WATCH, .length = 4096, .on_event = ignore), &m[i]));
	}
	ck_assert_uint_le(open_descriptors() - descriptors - 2 * CREATED, 8);
	for (unsigned i = 0; i < CREATED; i++)
		unit_ok(pm_unmap(m[i]));
	ck_assert_uint_eq(open_descriptors(), descriptors);
}
END_TEST

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return is_written;
}

/*
 * A namespace of users of our own, with a limit of one: /proc/sys/user/max_inotify_instances (Linux 4.10).
 * ThreadSanitizer has a thread, beside which none is made.
 */
static bool limit_instances(void)
{
	char map[64];
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)geteuid());
	return !unshare(CLONE_NEWUSER) && write_text("/proc/self/uid_map", map) &&
	       write_text("/proc/sys/user/max_inotify_instances", "1");
}

START_TEST(one_instance_of_inotify_is_enough)
{
	struct pm_mapping *m[20];
	fake_stop();
	ck_assert(limit_instances());
	for (unsigned i = 0; i < 20; i++)
		m[i] = map_one(i);
	ck_assert_int_eq(inotify_init1(IN_CLOEXEC), -1);
	ck_assert_int_eq(errno, EMFILE);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(unit_query(m[i])->evidence[PM_EV_WATCHED].state, PM_YES);
	for (unsigned i = 0; i < 20; i++)
		unit_ok(pm_unmap(m[i]));
	int fd = inotify_init1(IN_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
END_TEST

static bool can_limit_instances(void)
{
	int status;
	pid_t pid = fork();
	if (!pid)
		_exit(!limit_instances());
	return waitpid(pid, &status, 0) == pid && !status;
}

int main(void)
{
	TCase *c = unit_case("many");
	if (has_room(3 * MAPPINGS))
		tcase_add_test(c, a_thousand_watched_mappings);
	else
		printf("left out: RLIMIT_NOFILE is below %u\n", 3 * MAPPINGS);
	tcase_add_test(c, a_created_file_takes_two_descriptors);
	if (can_limit_instances())
		tcase_add_test(c, one_instance_of_inotify_is_enough);
	else
		printf("left out: no namespace of users with a limit of inotify instances\n");
	fflush(stdout);
	return unit_run();
}
