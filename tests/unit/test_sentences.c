/* SPDX-License-Identifier: BSD-3-Clause */
/* The sentence of an error is about the system call that failed, not about the one that usually fails there. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#define PAGES 8u

static struct pm_mapping *m;
static size_t page;
static int fd = -1;

static void start(const struct fake_machine *machine)
{
	page = unit_page();
	m = NULL;
	fd = -1;
	fake_start(machine);
}

/* ---- What is called; the fault is armed by arm() where the flow asks for it ---- */

static const struct fault {
	const struct fake_machine *machine;
	int (*flow)(void);
	enum fake_call call;
	unsigned nth; /* 0: each */
	int error, result;
	const char *says, *never;
} *fault;

static void arm(void)
{
	fake_fail(fault->call, fault->nth, fault->error);
}

static int create(void)
{
	arm();
	return pm_map(unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE, .length = 4 * page), &m);
}

static int create_through_a_link(void)
{
	ck_assert_int_eq(symlink("target", unit_path("link")), 0);
	arm();
	return pm_map(unit_path("link"), UNIT_OPTIONS(.flags = PM_CREATE, .length = 4 * page), &m);
}

static int create_exclusively(void)
{
	const char *path = unit_file("there", page);
	return pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE | PM_EXCLUSIVE, .length = page), &m);
}

static int probe_the_absent(void)
{
	static struct pm_report report;
	arm();
	return pm_probe(unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE, .length = page), &report, sizeof(report));
}

/* Another process creates the file after it was not found. */
static void appear(enum fake_call c)
{
	if (c == FAKE_readlinkat && !unit_exists(unit_path("new")))
		unit_file("new", page);
}

static int meanwhile(int (*flow)(void))
{
	counting.hook = appear;
	int rc = flow();
	counting.hook = NULL;
	return rc;
}

static int create_as_another_does(void)
{
	return meanwhile(create);
}

static int probe_as_another_creates(void)
{
	return meanwhile(probe_the_absent);
}

static int map_there(const struct pm_options *o)
{
	const char *path = unit_file("file", PAGES * page);
	arm();
	return pm_map(path, o, &m);
}

static int map(void)
{
	return map_there(NULL);
}

static int map_in_a_reserve(void)
{
	return map_there(UNIT_OPTIONS(.reserve = 2 * PAGES * page));
}

static int map_at_an_address(void)
{
	void *room = mmap(NULL, PAGES * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(room != MAP_FAILED);
	int rc = map_there(UNIT_OPTIONS(.address = room, .map_flags = MAP_FIXED));
	munmap(room, PAGES * page);
	return rc;
}

static int map_from_medium(void)
{
	return map_there(UNIT_OPTIONS(.flags = PM_FROM_MEDIUM));
}

static int map_guaranteed(void)
{
	return map_there(UNIT_OPTIONS(.sync = PM_GUARANTEE));
}

static int map_watched(void)
{
	return map_there(UNIT_OPTIONS(.flags = PM_WATCH));
}

static int listen_to(void)
{
	m = unit_map(unit_file("file", PAGES * page), NULL);
	arm();
	return pm_event_fd(m);
}

static int map_with_options_of(size_t size)
{
	struct pm_options o = {.size = size};
	return pm_map(unit_file("file", page), &o, &m);
}

static int map_with_options_of_7_bytes(void)
{
	return map_with_options_of(7);
}

static int map_with_options_of_no_size(void)
{
	return map_with_options_of(0);
}

static int watch_memory(void)
{
	m = unit_map(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = page));
	return pm_event_fd(m);
}

static void open_file(void)
{
	fd = open(unit_file("file", PAGES * page), O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
}

static int map_descriptor(void)
{
	open_file();
	arm();
	return pm_map_fd(fd, NULL, &m);
}

static int map_reader(void)
{
	fd = open(unit_file("file", page), O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return pm_map_fd(fd, NULL, &m);
}

static int map_memory_by_a_descriptor(void)
{
	return pm_map_fd(6, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = page), &m);
}

static int map_nowhere_by_a_descriptor(void)
{
	return pm_map_fd(6, NULL, NULL);
}

static int lend_and_lease(void)
{
	return pm_map_fd(6, UNIT_OPTIONS(.flags = PM_BORROW_FD | PM_LEASE), &m);
}

static int probe_memory_by_a_descriptor(void)
{
	static struct pm_report report;
	return pm_probe_fd(6, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = page), &report, sizeof(report));
}

static int probe_into_nothing(void)
{
	return pm_probe_fd(6, NULL, NULL, 0);
}

static int lease_descriptor(void)
{
	open_file();
	arm();
	return pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_LEASE), &m);
}

static int write_by_a_lent_descriptor(void)
{
	open_file();
	unit_ok(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_BORROW_FD), &m));
	arm();
	return pm_write(m, pm_base(m), "x", 1);
}

static int persist(void)
{
	m = unit_map(unit_file("file", PAGES * page), NULL);
	arm();
	return pm_persist(m, pm_base(m), 1);
}

static const struct fault faults[] = {
	/* On the way to a file that is to be created. */
	{&fake_plain, create, FAKE_openat, 1, EACCES, -EACCES, "the file cannot be opened", "created"},
	{&fake_plain, create, FAKE_openat, 2, EMFILE, -EMFILE,
	 "the directory for the file cannot be opened", "created"},
	{&fake_plain, create, FAKE_openat, 3, ENOSPC, -ENOSPC, "the file cannot be created", "opened"},
	{&fake_plain, create, FAKE_readlinkat, 1, EACCES, -EACCES, "(readlinkat): Permission denied", "opened"},
	{&fake_plain, create, FAKE_readlinkat, 1, EIO, -EIO, "(readlinkat): Input/output error", "opened"},
	{&fake_plain, probe_the_absent, FAKE_readlinkat, 1, EPERM, -EPERM, "(readlinkat): ", "opened"},
	{&fake_plain, probe_the_absent, FAKE_openat, 2, EIO, -EIO, "the directory for the file", "created"},
	{&fake_plain, create_through_a_link, FAKE_statx, 1, EIO, -EIO,
	 "the symbolic link in the path cannot be checked",
	 "another user"},
	{&fake_plain, create_through_a_link, FAKE_statx, 2, ENOMEM, -ENOMEM, "cannot be checked (statx)", "opened"},
	{&fake_plain, create_through_a_link, FAKE_openat, 4, ENOSPC, -ENOSPC,
	 "the file cannot be created", "symbolic"},
	{&fake_plain, create_through_a_link, FAKE_readlinkat, 2, EIO, -EIO, "(readlinkat): ", "opened"},
	{&fake_plain, create_exclusively, FAKE_read, 0, 0, -EEXIST,
	 "the file cannot be created: File exists", "opened"},
	{&fake_plain, create_as_another_does, FAKE_openat, 3, EIO, -EIO, "the file cannot be opened", "created"},
	{&fake_plain, probe_as_another_creates, FAKE_openat, 3, EIO, -EIO, "the file cannot be opened", "created"},
	{&fake_plain, create, FAKE_fallocate, 0, EFBIG, -EFBIG, "more than its file system can give", "RLIMIT_FSIZE"},
	/* On the way to a mapping. */
	{&fake_plain, map_in_a_reserve, FAKE_mprotect, 1, ENOMEM, -ENOMEM, "mprotect of ", "mmap"},
	{&fake_dax, map_in_a_reserve, FAKE_mprotect, 1, EACCES, -EACCES, "mprotect ", "mmap"},
	{&fake_plain, map_at_an_address, FAKE_mremap_over, 1, ENOMEM, -ENOMEM, "mremap of ", "mmap"},
	{&fake_plain, map_from_medium, FAKE_mincore, 1, ENOMEM, -ENOMEM, "or not be looked for", "another mapping"},
	/* The limit that was met. */
	{&fake_plain, map_watched, FAKE_eventfd, 0, EMFILE, -EMFILE, "RLIMIT_NOFILE is", "Too many open files"},
	{&fake_plain, map_watched, FAKE_signalfd, 0, ENFILE, -ENFILE, "fs.file-max", "Too many open files"},
	{&fake_plain, listen_to, FAKE_epoll_create, 0, EMFILE, -EMFILE, "RLIMIT_NOFILE is", "Too many open files"},
	{&fake_plain, listen_to, FAKE_timerfd, 0, ENFILE, -ENFILE, "fs.file-max", "Too many open files"},
	{&fake_dax, map_guaranteed, FAKE_wrong_sync, 1, EIO, -PM_ENOTSYNC, "may answer syncs itself", "not DAX"},
	/* On the way to a node: an answer that is missing is no answer. */
	{&fake_device_dax, map, FAKE_readlinkat, 1, EIO, -ENODEV, "/sys does not tell", "neither"},
	{&fake_device_dax, map, FAKE_read, 1, EIO, -ENODEV, "/sys does not tell", "neither"},
	{&fake_device_dax, map, FAKE_openat, 3, EMFILE, -ENODEV, "/sys does not tell", "neither"},
	{&fake_device_dax, map, FAKE_readlinkat, 1, ENOENT, -ENODEV, "neither a regular file", "/sys"},
	/* Of the options: a size that is set is not called unset. */
	{&fake_plain, map_with_options_of_7_bytes, FAKE_read, 0, 0, -EINVAL, "size is 7: too small", "set"},
	{&fake_plain, map_with_options_of_no_size, FAKE_read, 0, 0, -EINVAL, "size is 0: set it to", "small"},
	/* Of a descriptor. */
	{&fake_plain, map_descriptor, FAKE_fcntl_getfl, 1, EPERM, -EPERM, "F_GETFL", "not an open descriptor"},
	{&fake_plain, map_descriptor, FAKE_fcntl_getfl, 1, EBADF, -EBADF, "not an open descriptor", "F_GETFL"},
	{&fake_plain, lease_descriptor, FAKE_fcntl_getown, 1, EPERM, -EPERM, "F_GETOWN_EX", "have a lease"},
	{&fake_plain, write_by_a_lent_descriptor, FAKE_fcntl_getfl, 1, EPERM, -EPERM, "F_GETFL", "O_APPEND"},
	{&fake_plain, map_reader, FAKE_read, 0, 0, -EACCES, ": open the file for reading and writing", "O_PATH"},
	{&fake_plain, map_memory_by_a_descriptor, FAKE_read, 0, 0, -EINVAL, "pm_map_fd 'fd 6': PM_ANONYMOUS", "memory"},
	{&fake_plain, map_nowhere_by_a_descriptor, FAKE_read, 0, 0, -EINVAL, "pm_map_fd 'fd 6': ret", "the mapping"},
	{&fake_plain, lend_and_lease, FAKE_read, 0, 0, -EINVAL, "pm_map_fd 'fd 6': PM_LEASE takes", "path"},
	{&fake_plain, probe_memory_by_a_descriptor, FAKE_read, 0, 0, -EINVAL, "'fd 6': PM_ANONYMOUS and", "memory"},
	{&fake_plain, probe_into_nothing, FAKE_read, 0, 0, -EINVAL, "pm_probe_fd 'fd 6': the report is NULL", "path"},
	/* Of memory. */
	{&fake_plain, watch_memory, FAKE_read, 0, 0, -EOPNOTSUPP, "anonymous memory has no file to watch", "supported"},
	/* Of a write-back: the kernel wrote, and then did not say where the file ends. */
	{&fake_plain, persist, FAKE_statx_now, 0, EIO, -EIO, "failed or could not be confirmed", "read-only"},
	{&fake_plain, persist, FAKE_msync, 1, EIO, -EIO, "a write-back failed", "read-only"},
};
#define FAULTS (int)(sizeof(faults) / sizeof(faults[0]))

START_TEST(it_names_what_failed)
{
	fault = &faults[_i];
	start(fault->machine);
	int rc = fault->flow();
	fake_fail(fault->call, 1000000, 0);
	const char *text = pm_error_detail();
	ck_assert_msg(rc == fault->result, "%d: %d %s", _i, rc, text);
	ck_assert_msg(strstr(text, fault->says), "%d: %s", _i, text);
	ck_assert_msg(!strstr(text, fault->never), "%d: %s", _i, text);
	if (m)
		pm_unmap(m);
	if (fd >= 0)
		close(fd);
	ck_assert_uint_eq(fake_open_files(), 0);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}
END_TEST

/* The library does not close a number that is not its own any more. */
START_TEST(a_listener_that_was_closed)
{
	start(&fake_plain);
	m = unit_map(unit_file("file", page), NULL);
	int listener = pm_event_fd(m);
	ck_assert_int_ge(listener, 0);
	close(listener);
	ck_assert_int_eq(pm_event_fd(m), -EBADF);
	const char *text = pm_error_detail();
	ck_assert_msg(strstr(text, "returned: unmap and map again") && !strstr(text, "Bad file"), "%s", text);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("sentences");
	tcase_add_test(c, a_listener_that_was_closed);
	tcase_add_loop_test(c, it_names_what_failed, 0, FAULTS);
	return unit_run();
}
