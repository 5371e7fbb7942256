/* SPDX-License-Identifier: BSD-3-Clause */
/* What pm_map(), pm_map_fd() and pm_probe() refuse, with which code and in which words, and what they accept. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit.h"

static struct pm_mapping *const untouched = (struct pm_mapping *)&untouched;

/* The call fails with that code and makes nothing; its sentence names call and subject and says more. */
static void check_refused(const char *path, const struct pm_options *o, int expected, const char *word)
{
	struct pm_mapping *m = untouched;
	unsigned open_before = unit_open_files();
	int rc = pm_map(path, o, &m);
	ck_assert_msg(rc == expected, "%s: %d (%s), not %d", path ? path : "NULL", rc, pm_error_detail(), expected);
	ck_assert_ptr_eq(m, untouched);
	ck_assert_uint_eq(unit_open_files(), open_before);
	const char *detail = pm_error_detail();
	ck_assert_msg(!strncmp(detail, "pm_map", 6), "%s", detail);
	ck_assert_msg(!path || strlen(path) > 255 || strstr(detail, path), "%s", detail);
	ck_assert_msg(strstr(detail, word), "%s: no %s", detail, word);
}

/* ---- Contradictions ---- */

static const struct {
	struct pm_options options;
	const char *word;
} contradictions[] = {
	{{.flags = 0x10000 | PM_CREATE}, "unknown flag 0x10000 in options->flags"},
	{{.flags = 0x80000000u}, "unknown flag 0x80000000 in options->flags"},
	{{.map_flags = MAP_FIXED_NOREPLACE | MAP_STACK, .address = (void *)4096}, "in options->map_flags"},
	{{.access = (enum pm_access)7}, "unknown access 0x7 in options->access"},
	{{.sync = (enum pm_request)3}, "unknown request 0x3 in options->sync"},
	{{.direct = (enum pm_request)3}, "unknown request 0x3 in options->direct"},
	{{.sync = (enum pm_request)-1}, "request"},
	{{.flags = PM_EXCLUSIVE}, "PM_EXCLUSIVE"},
	{{.flags = PM_FAIL_ON_DEMOTION}, "PM_FAIL_ON_DEMOTION"},
	{{.flags = PM_LEASE | PM_READ_ONLY}, "lease"},
	{{.flags = PM_LEASE | PM_BORROW_FD}, "PM_BORROW_FD"},
	{{.flags = PM_CREATE | PM_SPARSE | PM_PREPARE, .length = 1}, "PM_SPARSE"},
	{{.flags = PM_CREATE | PM_READ_ONLY, .length = 1}, "read-only"},
	{{.flags = PM_PREPARE | PM_READ_ONLY}, "read-only"},
	{{.flags = PM_CREATE | PM_PRIVATE, .length = 1}, "private"},
	{{.flags = PM_PREPARE | PM_PRIVATE}, "private"},
	{{.flags = PM_ANONYMOUS | PM_CREATE, .length = 1}, "PM_ANONYMOUS"},
	{{.flags = PM_ANONYMOUS | PM_READ_ONLY, .length = 1}, "PM_ANONYMOUS"},
	{{.flags = PM_ANONYMOUS, .length = 1, .offset = 1}, "offset"},
	{{.flags = PM_ANONYMOUS, .length = 1}, "path"},
	{{.flags = PM_CREATE, .length = 1, .mode = 010000}, "mode"},
};

START_TEST(a_contradiction_is_refused)
{
	_Alignas(128) struct pm_options o = contradictions[_i].options;
	struct pm_report report;
	const char *path = unit_file("file", 100);
	fake_start(&fake_plain);
	o.size = sizeof(o);
	check_refused(path, &o, -EINVAL, contradictions[_i].word);
	ck_assert_int_eq(pm_probe(path, &o, &report, sizeof(report)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), contradictions[_i].word));
	ck_assert_uint_eq(fake_syscalls(), 0);
	ck_assert_uint_eq(unit_size_of(path), 100);
}
END_TEST

/* ---- Flags that have nothing to do ---- */

/* What each asks for is so without it, or it permits what the other options do not use. */
static const struct pm_options without_effect[] = {
	{.flags = PM_SPARSE},
	{.flags = PM_TRUST_KERNEL, .sync = PM_GUARANTEE},
	{.flags = PM_TRUST_KERNEL, .sync = PM_AVOID},
	{.flags = PM_AT_LEAST},
	{.flags = PM_WATCH | PM_LEASE},
};

/* Returns what pm_map() does; the report is there for a refusal too. */
static int probe_and_map(const char *path, const struct pm_options *o, struct pm_report *ret_report)
{
	struct pm_mapping *m;
	unit_ok(pm_probe(path, o, ret_report, sizeof(*ret_report)));
	int rc = pm_map(path, o, &m);
	if (rc)
		return rc;
	ck_assert_uint_eq(pm_length(m), 8192);
	unit_ok(pm_unmap(m));
	return 0;
}

/* On a file with all proofs, and on one without a region, which PM_TRUST_KERNEL takes at the kernel's word. */
START_TEST(a_flag_without_effect_is_allowed)
{
	struct pm_options o = without_effect[_i / 2];
	const char *path = unit_file("file", 8192);
	struct pm_report with, without;
	fake_start(&fake_dax);
	if (_i % 2)
		fake.machine.region = NULL;
	unit_ok(pm_unmap(unit_map(path, UNIT_OPTIONS(.flags = PM_PREPARE))));
	o.size = sizeof(o);
	int rc = probe_and_map(path, &o, &with);
	o.flags &= ~(unsigned)(PM_SPARSE | PM_TRUST_KERNEL | PM_AT_LEAST | PM_WATCH);
	ck_assert_int_eq(probe_and_map(path, &o, &without), rc);
	ck_assert_int_eq(rc, _i % 2 && o.sync == PM_GUARANTEE ? -PM_ENOTSYNC : 0);
	ck_assert_int_eq(with.granularity, without.granularity);
	ck_assert_int_eq(with.grade, without.grade);
	ck_assert_int_eq(with.reason, without.reason);
}
END_TEST

START_TEST(a_path_or_memory_is_needed)
{
	check_refused(NULL, NULL, -EINVAL, "path");
	check_refused(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS), -EINVAL, "length");
	check_refused(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = UINT64_MAX), -EOVERFLOW, "address");
	check_refused(NULL, UNIT_OPTIONS(.flags = PM_CREATE, .length = 1), -EINVAL, "path");
}
END_TEST

/* ---- The struct grows with the library ---- */

struct newer_options {
	struct pm_options known;
	uint64_t unknown[2];
};

START_TEST(options_of_other_versions)
{
	const char *path = unit_file("file", 300);
	struct newer_options o = {.known = {.size = sizeof(o), .offset = 100, .length = 10}};
	struct pm_mapping *m = unit_map(path, &o.known);
	ck_assert_uint_eq(pm_length(m), 10);
	unit_ok(pm_unmap(m));
	((char *)&o)[sizeof(o) - 1] = 1;
	check_refused(path, &o.known, -E2BIG, "does not know");
	/* An older one knew no offset: what lies behind its end is not looked at. */
	o.known.size = offsetof(struct pm_options, offset);
	m = unit_map(path, &o.known);
	ck_assert_uint_eq(pm_length(m), 300);
	unit_ok(pm_unmap(m));
	const size_t too_small[] = {0, 1, sizeof(size_t), offsetof(struct pm_options, flags) - 1};
	for (size_t i = 0; i < COUNT(too_small); i++) {
		o.known.size = too_small[i];
		check_refused(path, &o.known, -EINVAL, "size");
	}
}
END_TEST

/*
 * The struct ends where readable memory does, and its size says more: by a page that is not mapped, that may not be
 * read, and of a file that has no such page.
 */
static char *unreadable_after(size_t kind)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = open(unit_file("one-page", page), O_RDWR | O_CLOEXEC);
	char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | (kind == 2 ? 0 : MAP_ANONYMOUS),
	                 kind == 2 ? fd : -1, 0);
	ck_assert_ptr_ne(two, MAP_FAILED);
	memset(two, 0, page);
	if (kind == 0)
		ck_assert_int_eq(munmap(two + page, page), 0);
	if (kind == 1)
		ck_assert_int_eq(mprotect(two + page, page, PROT_NONE), 0);
	close(fd);
	return two + page;
}

START_TEST(a_size_beyond_readable_memory)
{
	const size_t full = sizeof(struct pm_options), old = offsetof(struct pm_options, offset);
	const char *path = unit_file("file", 300);
	/* The emulator reads the set itself, and dies of the missing page of the file. */
	if (_i == 2 && unit_is_emulated())
		return;
	char *end = unreadable_after((size_t)_i);
	const size_t readable[] = {full, old, full + 16};
	for (size_t i = 0; i < COUNT(readable); i++) {
		struct pm_options *o = (struct pm_options *)(end - readable[i]);
		memset(o, 0, readable[i]);
		const size_t sizes[] = {readable[i] + 8, full, full + 8, full + 64, 4096};
		for (size_t j = 0; j < COUNT(sizes); j++) {
			o->size = sizes[j];
			/* A size that ends inside a field is refused before anything is read. */
			if (sizes[j] > readable[i] && sizes[j] >= full)
				check_refused(path, o, -EFAULT, "cannot be read");
		}
		o->size = SIZE_MAX;
		check_refused(path, o, -E2BIG, "size");
		o->size = readable[i];
		unit_ok(pm_unmap(unit_map(path, o)));
	}
}
END_TEST

/* A call is made where the struct lies in two pages, and nowhere else. */
START_TEST(a_struct_in_two_pages)
{
	const char *path = unit_file("file", 300);
	_Alignas(4096) char room[8192] = {0};
	struct pm_options *o = (struct pm_options *)(room + 4096 - sizeof(*o) + 8 * (size_t)_i);
	fake_start(&fake_plain);
	*o = (struct pm_options){.size = sizeof(*o), .length = 10};
	unit_ok(pm_unmap(unit_map(path, o)));
	ck_assert_uint_eq(fake_calls(FAKE_rt_sigprocmask_reads), _i > 0);
	fake_fail(FAKE_rt_sigprocmask_reads, 0, EPERM);
	if (_i)
		check_refused(path, o, -EPERM, "cannot be read");
}
END_TEST

/* ---- What cannot be mapped ---- */

static const unsigned ways[] = {0, PM_READ_ONLY, PM_PRIVATE, PM_CREATE, PM_CREATE | PM_PREPARE};

START_TEST(what_is_no_file_is_refused)
{
	const char *fifo = unit_path("fifo"), *directory = unit_path("directory"), *socket_path = unit_path("socket");
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "socket"};
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	ck_assert_int_eq(mkdir(directory, 0700), 0);
	ck_assert_int_eq(chdir(unit_path("")), 0);
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s, (struct sockaddr *)&name, sizeof(name)), 0);
	for (size_t i = 0; i < COUNT(ways); i++) {
		const struct pm_options *o = UNIT_OPTIONS(.flags = ways[i], .length = 4096);
		check_refused(directory, o, -EISDIR, "directory");
		check_refused(fifo, o, -ENODEV, "regular file");
		check_refused("/dev/null", o, -ENODEV, "regular file");
		check_refused(socket_path, o, -ENODEV, "a socket is no file that can be mapped");
	}
	close(s);
	ck_assert(unit_exists(fifo) && unit_exists(socket_path));
}
END_TEST

START_TEST(a_path_that_leads_nowhere)
{
	char long_name[PATH_MAX], *end;
	const char *file = unit_file("file", 10);
	end = long_name + snprintf(long_name, sizeof(long_name), "%s", unit_path(""));
	memset(end, 'x', 300);
	end[300] = 0;
	ck_assert_int_eq(symlink("nowhere", unit_path("dangling")), 0);
	ck_assert_int_eq(symlink("loop", unit_path("loop")), 0);
	check_refused(unit_path("missing"), NULL, -ENOENT, "No such file");
	check_refused(unit_path("missing"), UNIT_OPTIONS(.flags = PM_READ_ONLY), -ENOENT, "No such file");
	check_refused(unit_path("dangling"), NULL, -ENOENT, "No such file");
	check_refused("", NULL, -ENOENT, "No such file");
	ck_assert(!unit_exists(unit_path("nowhere")));
	for (size_t i = 0; i < COUNT(ways); i++) {
		const struct pm_options *o = UNIT_OPTIONS(.flags = ways[i], .length = 10);
		check_refused(unit_path("loop"), o, -ELOOP, "symbolic links");
		check_refused(unit_path("file/x"), o, -ENOTDIR, "Not a directory");
		check_refused(unit_path("missing/x"), o, -ENOENT, "No such file");
		check_refused(long_name, o, -ENAMETOOLONG, "too long");
	}
	check_refused(unit_path("new/"), UNIT_OPTIONS(.flags = PM_CREATE, .length = 10), -EISDIR, "directory");
	ck_assert(!unit_exists(unit_path("new")));
	check_refused(file, UNIT_OPTIONS(.flags = PM_CREATE | PM_EXCLUSIVE, .length = 99), -EEXIST, "exists");
	ck_assert_uint_eq(unit_size_of(file), 10);
}
END_TEST

START_TEST(a_right_that_is_missing)
{
	const char *path = unit_file("file", 10);
	fake_start(&fake_plain);
	for (size_t i = 0; i < COUNT(ways); i++) {
		fake_fail(FAKE_openat, 0, EACCES);
		check_refused(path, UNIT_OPTIONS(.flags = ways[i], .length = 10), -EACCES, "Permission denied");
		fake_fail(FAKE_openat, 0, EROFS);
		check_refused(path, UNIT_OPTIONS(.flags = ways[i], .length = 10), -EROFS, "Read-only");
	}
	ck_assert_uint_eq(unit_size_of(path), 10);
}
END_TEST

/* Another process holds a lease: with O_NONBLOCK open(2) does not wait for it, and the library may. */
START_TEST(a_lease_is_waited_for)
{
	const char *path = unit_file("file", 10);
	fake_start(&fake_plain);
	fake_fail(FAKE_openat, 1, EWOULDBLOCK);
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert_uint_ne(fake_find(FAKE_openat, 0)->flags & O_NONBLOCK, 0);
	ck_assert_uint_eq(fake_find(FAKE_openat, 1)->flags & O_NONBLOCK, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- The end of the file ---- */

static const struct {
	uint64_t size, offset, length;
	unsigned flags;
	int error;
} ranges[] = {
	{0, 0, 0, 0, -EINVAL},
	{0, 0, 0, PM_CREATE, -EINVAL},
	{0, 0, 1, 0, -ERANGE},
	{100, 100, 0, 0, -EINVAL},
	{100, 101, 0, 0, -ERANGE},
	{100, 100, 0, PM_CREATE, -EINVAL},
	{100, 100, 1, 0, -ERANGE},
	{100, 99, 2, 0, -ERANGE},
	{100, 0, 101, 0, -ERANGE},
	{100, 0, 101, PM_READ_ONLY, -ERANGE},
	{100, 0, 101, PM_PRIVATE, -ERANGE},
	{100, 0, 4096, PM_PREPARE, -ERANGE},
	{100, UINT64_MAX, 1, 0, -EOVERFLOW},
	{100, 1, UINT64_MAX, 0, -EOVERFLOW},
	{100, UINT64_MAX, UINT64_MAX, 0, -EOVERFLOW},
	{100, INT64_MAX, 1, PM_CREATE, -EOVERFLOW},
	{100, 1, INT64_MAX, PM_CREATE, -EOVERFLOW},
	{100, UINT64_MAX - 9, 10, PM_CREATE, -EOVERFLOW},
	{100, UINT64_MAX - 9, 11, PM_CREATE, -EOVERFLOW},
	{100, 0, UINT64_MAX, PM_CREATE | PM_SPARSE, -EOVERFLOW},
};

START_TEST(a_range_that_cannot_be)
{
	const char *path = unit_file("file", ranges[_i].size), *missing = unit_path("missing");
	struct pm_report report;
	const struct pm_options *o =
		UNIT_OPTIONS(.offset = ranges[_i].offset, .length = ranges[_i].length, .flags = ranges[_i].flags);
	check_refused(path, o, ranges[_i].error, "");
	ck_assert_int_eq(pm_probe(path, o, &report, sizeof(report)), ranges[_i].error);
	ck_assert_uint_eq(unit_size_of(path), ranges[_i].size);
	if (ranges[_i].flags & PM_CREATE) {
		check_refused(missing, o, ranges[_i].error, "");
		ck_assert(!unit_exists(missing));
	}
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct pm_mapping *m = untouched;
	ck_assert_int_eq(pm_map_fd(fd, o, &m), ranges[_i].error);
	ck_assert_ptr_eq(m, untouched);
	close(fd);
}
END_TEST

START_TEST(any_offset_and_length)
{
	const uint64_t page = unit_page(), size = 3 * page + 17;
	const uint64_t offsets[] = {0, 1, 7, 63, 64, page - 1, page, page + 1, 2 * page + 5, 3 * page, size - 1};
	const uint64_t lengths[] = {0, 1, 2, 8, 63, 64, 65, page - 1, page, page + 1, 2 * page, 3 * page + 17};
	const char *path = unit_file("file", size);
	fake_start(_i ? &fake_dax : &fake_plain);
	for (size_t i = 0; i < COUNT(offsets); i++) {
		for (size_t j = 0; j < COUNT(lengths); j++) {
			uint64_t at = offsets[i], length = lengths[j] ? lengths[j] : size - at;
			if (at + length > size)
				continue;
			struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.offset = at, .length = lengths[j]));
			const char *base = pm_base(m);
			ck_assert_uint_eq(pm_length(m), length);
			ck_assert_uint_eq((uintptr_t)base % page, at % page);
			ck_assert(unit_has_pattern(base, at, length));
			unit_ok(pm_persist(m, base, length));
			unit_ok(pm_unmap(m));
		}
	}
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
	ck_assert_uint_eq(unit_size_of(path), size);
}
END_TEST

START_TEST(the_smallest_files)
{
	for (uint64_t size = 1; size < 6; size++) {
		struct pm_mapping *m = unit_map(unit_file("file", size), NULL);
		char *base = pm_base(m);
		ck_assert_uint_eq(pm_length(m), size);
		base[size - 1] = 'x';
		unit_ok(pm_persist(m, base, size));
		ck_assert_int_eq(pm_persist(m, base, size + 1), -ERANGE);
		unit_ok(pm_unmap(m));
		ck_assert_uint_eq(unit_size_of(unit_path("file")), size);
	}
}
END_TEST

/* ---- Descriptors ---- */

START_TEST(a_descriptor_that_does_not_serve)
{
	struct pm_mapping *m = untouched;
	const char *path = unit_file("file", 100);
	int reader = open(path, O_RDONLY | O_CLOEXEC), writer = open(path, O_WRONLY | O_CLOEXEC);
	int pointer = open(path, O_PATH | O_CLOEXEC), both = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pm_map_fd(-1, NULL, &m), -EBADF);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_map_fd"));
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "fd -1"));
	ck_assert_int_eq(pm_map_fd(1000, NULL, &m), -EBADF);
	ck_assert_int_eq(pm_map_fd(reader, NULL, &m), -EACCES);
	ck_assert_int_eq(pm_map_fd(reader, UNIT_OPTIONS(.flags = PM_CREATE, .length = 200), &m), -EACCES);
	ck_assert_int_eq(pm_map_fd(writer, NULL, &m), -EACCES);
	ck_assert_int_eq(pm_map_fd(pointer, NULL, &m), -EBADF);
	/* A probe opens nothing. */
	struct pm_report report;
	const struct pm_options *reading = UNIT_OPTIONS(.flags = PM_READ_ONLY);
	ck_assert_int_eq(pm_probe_fd(pointer, reading, &report, sizeof(report)), -EBADF);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "with O_PATH"));
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "open the file for reading"));
	ck_assert_int_eq(pm_probe_fd(writer, reading, &report, sizeof(report)), -EACCES);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "not open for reading"));
	ck_assert_int_eq(pm_map_fd(both, UNIT_OPTIONS(.flags = PM_CREATE | PM_EXCLUSIVE, .length = 1), &m), -EINVAL);
	ck_assert_int_eq(pm_map_fd(both, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = 1), &m), -EINVAL);
	ck_assert_int_eq(pm_map_fd(both, UNIT_OPTIONS(.flags = 0x10000), &m), -EINVAL);
	ck_assert_ptr_eq(m, untouched);
	ck_assert_uint_eq(unit_size_of(path), 100);
	close(reader);
	close(writer);
	close(pointer);
	close(both);
}
END_TEST

/* ---- The sentence ---- */

static void *look_at_detail(void *arg)
{
	(void)arg;
	struct pm_mapping *m;
	bool empty = !pm_error_detail()[0];
	pm_map("/missing/elsewhere", NULL, &m);
	return (void *)(intptr_t)(empty && strstr(pm_error_detail(), "elsewhere"));
}

/* Its kind is the reason, with whatever mode it was opened, and whatever is asked for. */
START_TEST(a_descriptor_of_what_is_no_file)
{
	static const unsigned flags[] = {0, PM_READ_ONLY, PM_BORROW_FD, PM_READ_ONLY | PM_BORROW_FD, PM_LEASE};
	struct pm_report report;
	struct pm_mapping *m = untouched;
	int fds[6] = {open(".", O_RDONLY | O_CLOEXEC), open(".", O_PATH | O_CLOEXEC)};
	ck_assert_int_eq(pipe(fds + 2), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds + 4), 0);
	for (size_t i = 0; i < COUNT(fds) * COUNT(flags); i++) {
		int fd = fds[i / COUNT(flags)], error = i / COUNT(flags) < 2 ? -EISDIR : -ENODEV;
		const struct pm_options *o = UNIT_OPTIONS(.flags = flags[i % COUNT(flags)]);
		const char *why = error == -EISDIR ? "a directory cannot be mapped" : "neither a regular file nor";
		ck_assert_int_eq(pm_map_fd(fd, o, &m), error);
		ck_assert_msg(strstr(pm_error_detail(), why), "%zu: %s", i, pm_error_detail());
		ck_assert_int_eq(pm_probe_fd(fd, o, &report, sizeof(report)), error);
		ck_assert_msg(strstr(pm_error_detail(), why), "%zu: %s", i, pm_error_detail());
	}
	for (size_t i = 0; i < COUNT(fds); i++)
		close(fds[i]);
}
END_TEST

START_TEST(each_thread_has_its_own_sentence)
{
	struct pm_mapping *m;
	pthread_t thread;
	void *good;
	ck_assert_int_eq(pm_map("/missing/here", NULL, &m), -ENOENT);
	ck_assert_int_eq(pthread_create(&thread, NULL, look_at_detail, NULL), 0);
	pthread_join(thread, &good);
	ck_assert_ptr_nonnull(good);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "/missing/here"));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("options");
	tcase_add_loop_test(c, a_contradiction_is_refused, 0, (int)COUNT(contradictions));
	tcase_add_loop_test(c, a_flag_without_effect_is_allowed, 0, 2 * (int)COUNT(without_effect));
	tcase_add_test(c, a_path_or_memory_is_needed);
	tcase_add_test(c, options_of_other_versions);
	tcase_add_loop_test(c, a_size_beyond_readable_memory, 0, 3);
	tcase_add_loop_test(c, a_struct_in_two_pages, 0, 3);
	tcase_add_test(c, what_is_no_file_is_refused);
	tcase_add_test(c, a_path_that_leads_nowhere);
	tcase_add_test(c, a_right_that_is_missing);
	tcase_add_test(c, a_lease_is_waited_for);
	tcase_add_loop_test(c, a_range_that_cannot_be, 0, (int)COUNT(ranges));
	tcase_add_loop_test(c, any_offset_and_length, 0, 2);
	tcase_add_test(c, the_smallest_files);
	tcase_add_test(c, a_descriptor_that_does_not_serve);
	tcase_add_test(c, a_descriptor_of_what_is_no_file);
	tcase_add_test(c, each_thread_has_its_own_sentence);
	return unit_run();
}
