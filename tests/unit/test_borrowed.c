/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PM_BORROW_FD and pm_probe_fd(): the caller's descriptor serves. close(2) of any descriptor of a file ends the record
 * locks that the process has on it (fcntl(2), "Record locks"), so the library may not even open the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#define SIZE 65536u

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static struct pm_mapping *borrow(int fd, unsigned flags)
{
	struct pm_mapping *m;
	unit_ok(pm_map_fd(fd, UNIT_OPTIONS(.flags = flags | PM_BORROW_FD), &m));
	return m;
}

static void lock_file(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 1};
	ck_assert_int_eq(fcntl(fd, F_SETLK, &lock), 0);
}

/* As another process sees it. */
static bool is_locked(const char *path)
{
	int status;
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 1};
		int fd = open(path, O_RDWR | O_CLOEXEC);
		_exit(fd < 0 || fcntl(fd, F_GETLK, &lock) ? 2 : lock.l_type != F_UNLCK);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 2);
	return WEXITSTATUS(status);
}

/* Everything that a mapping can do. */
static void live(struct pm_mapping *m)
{
	char some[4];
	struct pm_event event;
	unit_ok(pm_memset(m, pm_base(m), 1, 100, 0));
	unit_ok(pm_persist(m, pm_base(m), 100));
	unit_ok(pm_write(m, pm_base(m), "some", 4));
	unit_ok(pm_read(m, some, pm_base(m), sizeof(some)));
	unit_query(m);
	ck_assert_int_ge(pm_event_fd(m), 3);
	while (!pm_next_event(m, &event, sizeof(event)))
		;
	unit_ok(pm_resize(m, 3 * SIZE));
	unit_ok(pm_memset(m, (char *)pm_base(m) + 2 * SIZE, 2, 100, 0));
	unit_ok(pm_resize(m, SIZE));
	unit_ok(pm_sync(m));
	unit_ok(pm_deep_persist(m, pm_base(m), 100));
	unit_ok(pm_clear_error(m));
}

/* On the real system calls. Without the flag the lock is lost: the test can see it. */
START_TEST(record_locks_stay)
{
	static const unsigned flags[] = {0, PM_WATCH, PM_CREATE | PM_PREPARE, PM_FROM_MEDIUM};
	struct pm_report report;
	struct pm_mapping *m;
	const char *path = unit_file("file", SIZE);
	fake_stop();
	int fd = open_file(path, O_RDWR);
	lock_file(fd);
	unit_ok(pm_probe_fd(fd, NULL, &report, sizeof(report)));
	ck_assert_int_lt(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_BORROW_FD, .length = 2 * SIZE), &m), 0);
	/* A tmpfs has no medium. */
	if (flags[_i] == PM_FROM_MEDIUM && report.evidence[PM_EV_VOLATILE].state == PM_YES) {
		ck_assert_int_eq(pm_map_fd(fd, UNIT_OPTIONS(.flags = flags[_i] | PM_BORROW_FD), &m), -EOPNOTSUPP);
	} else {
		m = borrow(fd, flags[_i]);
		live(m);
		ck_assert(is_locked(path));
		unit_ok(pm_unmap(m));
	}
	ck_assert(is_locked(path));
	unit_ok(pm_map_fd(fd, NULL, &m));
	unit_ok(pm_unmap(m));
	ck_assert(!is_locked(path));
	close(fd);
}
END_TEST

static void check_explained(int rc, int error)
{
	ck_assert_int_eq(rc, error);
	ck_assert_msg(strstr(pm_error_detail(), "for reading only"), "%s", pm_error_detail());
}

/* The program opens the file again, and the kernel gives it the number that it lent. Stores need no descriptor. */
START_TEST(a_number_that_is_for_reading_only_by_now)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	int fd = open_file(path, O_RDWR);
	struct pm_mapping *m = borrow(fd, 0);
	int other = open_file(path, O_RDONLY);
	ck_assert_int_eq(dup2(other, fd), fd);
	unit_ok(pm_memset(m, pm_base(m), 1, 100, 0));
	check_explained(pm_write(m, pm_base(m), "some", 4), -EBADF);
	check_explained(pm_resize(m, 2 * SIZE), -EBADF);
	check_explained(pm_resize(m, SIZE / 2), -EINVAL);
	unit_ok(pm_unmap(m));
	close(other);
	close(fd);
}
END_TEST

static void *drain_often(void *arg)
{
	struct pm_mapping *m = arg;
	for (unsigned i = 0; i < 50; i++)
		unit_expect(!pm_persist(m, (char *)pm_base(m) + i % 16 * 4096, 100));
	return NULL;
}

/* On no file system is the file opened again, not even by threads that write back at once and share an error. */
START_TEST(no_second_description)
{
	pthread_t threads[4];
	struct stat file;
	int fd = open_file(unit_file("file", SIZE), O_RDWR);
	ck_assert_int_eq(fstat(fd, &file), 0);
	fake_start(fake_machines[_i]);
	fake.recovers = true;
	struct pm_mapping *m = NULL;
	if (!pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_BORROW_FD), &m)) {
		for (unsigned i = 0; i < 4; i++)
			ck_assert_int_eq(pthread_create(&threads[i], NULL, drain_often, m), 0);
		for (unsigned i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		fake_fail(FAKE_msync, 1, EIO);
		/* Devices refuse some of these. */
		pm_persist(m, pm_base(m), 100);
		pm_clear_error(m);
		pm_resize(m, 2 * SIZE);
		pm_sync(m);
		pm_deep_persist(m, pm_base(m), 100);
		unit_query(m);
		pm_unmap(m);
	}
	const struct fake_record *r;
	for (unsigned n = 0; (r = fake_find(FAKE_openat, n)); n++) {
		struct stat opened;
		ck_assert_msg(stat(r->path, &opened) || opened.st_ino != file.st_ino || opened.st_dev != file.st_dev,
		              "%s is opened", r->path);
	}
	close(fd);
}
END_TEST

static bool leads_there(const struct fake_record *r, const struct stat *file)
{
	return r->inode == file->st_ino;
}

/* What belongs to the caller's description stays as it is: its lease, its owner, its signal, its being open. */
START_TEST(the_description_is_not_changed)
{
	static const struct fake_machine *const machines[] = {&fake_plain, &fake_dax, &fake_xfs_reflink};
	static const enum fake_call changing[] = {FAKE_close, FAKE_setlease, FAKE_fcntl_setown, FAKE_fcntl_setsig,
	                                          FAKE_lease_signal, FAKE_lease_silence};
	struct stat file;
	int fd = open_file(unit_file("file", SIZE), O_RDWR);
	ck_assert_int_eq(fstat(fd, &file), 0);
	fake_start(machines[_i]);
	struct pm_mapping *m = borrow(fd, PM_CREATE);
	live(m);
	unit_ok(pm_unmap(m));
	for (size_t i = 0; i < sizeof(changing) / sizeof(changing[0]); i++) {
		const struct fake_record *r;
		for (unsigned n = 0; (r = fake_find(changing[i], n)); n++)
			ck_assert_msg(r->fd != fd, "%s of the caller's descriptor", fake_name(changing[i]));
	}
	const struct fake_record *r;
	for (unsigned n = 0; (r = fake_find(FAKE_close, n)); n++)
		ck_assert(!leads_there(r, &file));
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	close(fd);
}
END_TEST

/* A program that reads and writes through the descriptor finds its place again. */
START_TEST(the_position_stays)
{
	int fd = open_file(unit_file("file", SIZE), O_RDWR);
	if (_i)
		fake_start(&fake_plain);
	else
		fake_stop();
	ck_assert_int_eq(lseek(fd, 10, SEEK_SET), 10);
	struct pm_mapping *m = borrow(fd, PM_CREATE);
	live(m);
	unit_ok(pm_publish64(m, pm_base(m), 7));
	unit_ok(pm_unmap(m));
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 10);
	close(fd);
}
END_TEST

START_TEST(a_description_that_cannot_serve)
{
	static const struct {
		int open_flags;
		unsigned flags;
		int error;
	} cases[] = {{O_PATH, PM_READ_ONLY, -EBADF},   {O_PATH, 0, -EBADF},     {O_RDONLY, 0, -EACCES},
	             {O_WRONLY, PM_READ_ONLY, -EACCES}, {O_WRONLY, 0, -EACCES},   {O_RDWR | O_APPEND, 0, -EINVAL},
	             {O_RDONLY, PM_READ_ONLY, 0},       {O_RDONLY, PM_PRIVATE, 0}, {O_RDWR | O_APPEND, PM_READ_ONLY, 0},
	             {O_RDWR, PM_LEASE, -EINVAL},       {O_RDWR, PM_EXCLUSIVE | PM_CREATE, -EINVAL}};
	struct pm_report report;
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pm_mapping *m = NULL;
		const struct pm_options *o = UNIT_OPTIONS(.flags = cases[i].flags | PM_BORROW_FD);
		int fd = open_file(path, cases[i].open_flags);
		ck_assert_int_eq(pm_probe_fd(fd, o, &report, sizeof(report)), cases[i].error);
		int rc = pm_map_fd(fd, o, &m);
		ck_assert_msg(rc == cases[i].error, "case %zu: %d, %s", i, rc, pm_error_detail());
		ck_assert(!rc == !!m);
		ck_assert_int_eq(pm_unmap(m), 0);
		ck_assert_int_eq(close(fd), 0);
		ck_assert_int_eq(pm_map_fd(fd, o, &m), cases[i].error == -EINVAL && cases[i].flags ? -EINVAL : -EBADF);
	}
	struct pm_mapping *m;
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.flags = PM_BORROW_FD), &m), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_map_fd"));
	ck_assert_int_eq(pm_probe(path, UNIT_OPTIONS(.flags = PM_BORROW_FD), &report, sizeof(report)), -EINVAL);
}
END_TEST

/* The mapping opens the file again, which the probe must not. */
START_TEST(a_description_that_serves_the_mapping_alone)
{
	static const struct {
		int open_flags, error;
	} cases[] = {{O_WRONLY, -EACCES}, {O_PATH, -EBADF}};
	const struct pm_options *o = UNIT_OPTIONS(.flags = PM_READ_ONLY);
	struct pm_report report;
	struct pm_mapping *m;
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	int fd = open_file(path, cases[_i].open_flags);
	ck_assert_int_eq(pm_probe_fd(fd, o, &report, sizeof(report)), cases[_i].error);
	ck_assert_msg(strstr(pm_error_detail(), "pm_map_fd() opens it again"), "%s", pm_error_detail());
	unit_ok(pm_map_fd(fd, o, &m));
	unit_ok(pm_unmap(m));
	/* What neither can do has one sentence. */
	ck_assert_int_eq(pm_probe_fd(fd, NULL, &report, sizeof(report)), cases[_i].error);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "open the file for reading and writing"));
	ck_assert_int_eq(pm_map_fd(fd, NULL, &m), cases[_i].error);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "open the file for reading and writing"));
	close(fd);
}
END_TEST

/* O_APPEND is set while the file is mapped: pwrite(2) would append. */
START_TEST(append_set_later)
{
	const char *path = unit_file("file", SIZE);
	int fd = open_file(path, O_RDWR);
	struct pm_mapping *m = borrow(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
	ck_assert_int_eq(pm_write(m, pm_base(m), "some", 4), -EINVAL);
	ck_assert_uint_eq(unit_size_of(path), SIZE);
	ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);
	unit_ok(pm_write(m, pm_base(m), "some", 4));
	unit_ok(pm_unmap(m));
	close(fd);
}
END_TEST

/* One number for two mappings: the end of one is not the end of the other. */
START_TEST(two_mappings_of_one_descriptor)
{
	int fd = open_file(unit_file("file", SIZE), O_RDWR);
	fake_start(&fake_plain);
	struct pm_mapping *first = borrow(fd, 0), *second = borrow(fd, 0);
	unit_ok(pm_persist(first, pm_base(first), 100));
	unit_ok(pm_unmap(first));
	unit_ok(pm_persist(second, pm_base(second), 100));
	unit_ok(pm_write(second, pm_base(second), "some", 4));
	unit_ok(pm_unmap(second));
	close(fd);
}
END_TEST

/* The mappings of one number end in any order; when the library gets the number, it is lost to all that are left. */
START_TEST(many_mappings_of_one_descriptor)
{
	struct pm_mapping *m[64], *own;
	const char *path = unit_file("file", SIZE);
	int fd = open_file(path, O_RDWR);
	unsigned left = sizeof(m) / sizeof(m[0]);
	fake_start(&fake_plain);
	for (unsigned i = 0; i < left; i++)
		m[i] = borrow(fd, 0);
	while (left > 16) {
		unsigned i = unit_random() % left;
		unit_ok(pm_unmap(m[i]));
		m[i] = m[--left];
		for (unsigned j = 0; j < left; j++)
			unit_ok(pm_write(m[j], pm_base(m[j]), "some", 4));
	}
	close(fd);
	own = unit_map(path, NULL);
	while (left--) {
		ck_assert_int_eq(pm_write(m[left], pm_base(m[left]), "some", 4), -EBADF);
		ck_assert_int_eq(pm_unmap(m[left]), -EBADF);
	}
	unit_ok(pm_write(own, pm_base(own), "some", 4));
	unit_ok(pm_unmap(own));
}
END_TEST

/* A program that closed its standard input gets number 0. */
START_TEST(number_zero)
{
	int saved = dup(0), fd = open_file(unit_file("file", SIZE), O_RDWR);
	ck_assert_int_eq(dup2(fd, 0), 0);
	close(fd);
	struct pm_mapping *m = borrow(0, 0);
	live(m);
	ck_assert_int_eq(unit_query(m)->error, 0);
	unit_ok(pm_unmap(m));
	ck_assert_int_ge(fcntl(0, F_GETFD), 0);
	if (saved >= 0)
		dup2(saved, 0);
	else
		close(0);
	close(saved);
}
END_TEST

/* The library gets the number of a borrowed descriptor that the program has closed. */
START_TEST(the_library_gets_the_number)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	int fd = open_file(path, O_RDWR);
	struct pm_mapping *m = borrow(fd, 0), *second;
	close(fd);
	second = unit_map(path, NULL);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 100), -EBADF);
	ck_assert_int_eq(pm_unmap(m), -EBADF);
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	unit_ok(pm_persist(second, pm_base(second), 100));
	unit_ok(pm_unmap(second));
}
END_TEST

static void compare(const struct pm_report *a, const struct pm_report *b)
{
	ck_assert_int_eq(a->granularity, b->granularity);
	ck_assert_int_eq(a->sync, b->sync);
	ck_assert_int_eq(a->direct, b->direct);
	ck_assert_int_eq(a->grade, b->grade);
	ck_assert_int_eq(a->verdict, b->verdict);
	ck_assert_int_eq(a->reason, b->reason);
	ck_assert_int_eq(a->advice, b->advice);
}

/* The probe by path, the probe by descriptor and the mapping, on every machine. */
START_TEST(a_probe_agrees_with_the_mapping)
{
	struct pm_report by_path, by_fd;
	struct pm_mapping *m;
	const char *path = unit_file("file", SIZE);
	const struct pm_options *o = UNIT_OPTIONS(.flags = PM_BORROW_FD);
	fake_start(fake_machines[_i]);
	int fd = open_file(path, O_RDWR);
	int rc = pm_probe(path, NULL, &by_path, sizeof(by_path));
	ck_assert_int_eq(pm_probe_fd(fd, NULL, &by_fd, sizeof(by_fd)), rc);
	ck_assert_int_eq(pm_map_fd(fd, o, &m), rc);
	if (!rc) {
		compare(&by_path, &by_fd);
		compare(&by_fd, unit_query(m));
		ck_assert_int_eq(unit_query(m)->evidence[PM_EV_OWN_DESCRIPTION].state, PM_NO);
		unit_ok(pm_unmap(m));
	}
	close(fd);
}
END_TEST

#define EARLIER 100

static void *end_earlier(void *arg)
{
	struct pm_mapping **earlier = arg;
	intptr_t failed = 0;
	for (int i = EARLIER - 1; i >= 0; i--)
		failed += pm_unmap(earlier[i]) != 0;
	return (void *)failed;
}

/*
 * The mappings of one number are one list in the register, and each that ends changes the link of the one before. The
 * thread sanitizer sees what a query reads of it.
 */
START_TEST(a_query_while_earlier_mappings_end)
{
	static struct pm_mapping *earlier[EARLIER];
	int fd = open_file(unit_file("file", SIZE), O_RDWR);
	pthread_t thread;
	void *failed;
	for (int i = 0; i < EARLIER; i++)
		earlier[i] = borrow(fd, 0);
	struct pm_mapping *m = borrow(fd, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, end_earlier, earlier), 0);
	for (int i = 0; i < EARLIER; i++)
		unit_query(m);
	pthread_join(thread, &failed);
	ck_assert_ptr_null(failed);
	unit_ok(pm_unmap(m));
	close(fd);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("borrowed");
	tcase_add_test(c, a_number_that_is_for_reading_only_by_now);
	tcase_add_loop_test(c, record_locks_stay, 0, 4);
	tcase_add_loop_test(c, the_description_is_not_changed, 0, 3);
	tcase_add_loop_test(c, no_second_description, 0, (int)fake_machines_count);
	tcase_add_loop_test(c, the_position_stays, 0, 2);
	tcase_add_test(c, a_description_that_cannot_serve);
	tcase_add_loop_test(c, a_description_that_serves_the_mapping_alone, 0, 2);
	tcase_add_test(c, append_set_later);
	tcase_add_test(c, two_mappings_of_one_descriptor);
	tcase_add_test(c, many_mappings_of_one_descriptor);
	tcase_add_test(c, number_zero);
	tcase_add_test(c, the_library_gets_the_number);
	tcase_add_test(c, a_query_while_earlier_mappings_end);
	tcase_add_loop_test(c, a_probe_agrees_with_the_mapping, 0, (int)fake_machines_count);
	return unit_run();
}
