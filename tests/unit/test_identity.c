/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server may make up the numbers of its files and hand on the type of its file system. Two files are one where the
 * kernel says so; where it does not tell, nothing is shared, and no page is taken away that may be another mapping's.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "facts/name.h"
#include "kernel/magic.h"
#include "mapping/mapping.h"
#include "watching.h"

#define PAGES 4u

static size_t page;
static const char *paths[3];
static struct pm_mapping *m[3];

/* Files of a file system without a device of its own, where all have one number. */
static void start(uint32_t magic)
{
	static const char *const names[] = {"first", "second", "third"};
	page = unit_page();
	for (size_t i = 0; i < COUNT(paths); i++)
		paths[i] = unit_file(names[i], PAGES * page);
	fake_start(&fake_plain);
	fake.machine.magic = magic;
	fake.machine.has_no_device = true;
	fake.machine.invents_inodes = true;
}

static struct pm_mapping *map(const char *path)
{
	return unit_map(path, NULL);
}

static void unmap_all(void)
{
	for (size_t i = 0; i < COUNT(m); i++) {
		pm_unmap(m[i]);
		m[i] = NULL;
	}
}

/* The error that a drain gets. */
static int fail_write_back(struct pm_mapping *of)
{
	fake_fail(FAKE_msync, 1, ENOSPC);
	int rc = pm_persist(of, pm_base(of), 1);
	fake_fail(FAKE_msync, 0, 0);
	return rc;
}

static int persist(struct pm_mapping *of)
{
	return pm_persist(of, pm_base(of), 1);
}

static const uint32_t of_servers[] = {FUSE_SUPER_MAGIC, V9FS_MAGIC, NFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,
                                      TMPFS_MAGIC + 1, BTRFS_SUPER_MAGIC};

START_TEST(one_file_does_not_poison_another_of_its_number)
{
	start(of_servers[_i]);
	m[0] = map(paths[0]);
	m[1] = map(paths[1]);
	m[2] = map(paths[1]);
	ck_assert_int_eq(fail_write_back(m[1]), -ENOSPC);
	unit_ok(persist(m[0]));
	ck_assert_int_eq(persist(m[2]), -ENOSPC);
	ck_assert_int_eq(unit_query(m[0])->error, 0);
	/* The other way round as well, and by a clearing. */
	ck_assert_int_eq(fail_write_back(m[0]), -ENOSPC);
	unit_ok(pm_clear_error(m[1]));
	ck_assert_int_eq(persist(m[0]), -ENOSPC);
	unmap_all();
}
END_TEST

START_TEST(another_file_of_its_number_does_not_keep_it_long)
{
	start(of_servers[_i]);
	m[0] = map(paths[0]);
	m[1] = map(paths[1]);
	unit_ok(pm_resize(m[0], page));
	ck_assert_uint_eq(unit_size_of(paths[0]), page);
	m[2] = map(paths[1]);
	ck_assert_int_eq(pm_resize(m[1], page), -EBUSY);
	ck_assert_uint_eq(unit_size_of(paths[1]), PAGES * page);
	unmap_all();
}
END_TEST

/* Two names of one inode are one file. */
START_TEST(two_links_are_one_file)
{
	const char *other = unit_path("link");
	start(of_servers[_i]);
	ck_assert_int_eq(link(paths[0], other), 0);
	m[0] = map(paths[0]);
	m[1] = map(paths[1]);
	m[2] = map(other);
	ck_assert_int_eq(fail_write_back(m[0]), -ENOSPC);
	unit_ok(persist(m[1]));
	ck_assert_int_eq(persist(m[2]), -ENOSPC);
	ck_assert_int_eq(pm_resize(m[2], page), -ENOSPC);
	unmap_all();
}
END_TEST

/* ---- The kernel does not tell ---- */

static const struct {
	enum fake_call call;
	int error;
} silences[] = {{FAKE_same_inode, EMFILE}, {FAKE_same_inode, EACCES}, {FAKE_same_inode, ENOSYS}};

static void start_silent(size_t which)
{
	start(of_servers[0]);
	m[0] = map(paths[0]);
	fake_fail(silences[which].call, 0, silences[which].error);
}

START_TEST(what_may_be_one_file_shares_no_failure)
{
	start_silent((size_t)_i);
	m[1] = map(paths[1]);
	m[2] = map(paths[0]);
	ck_assert_int_eq(fail_write_back(m[1]), -ENOSPC);
	unit_ok(persist(m[0]));
	unit_ok(persist(m[2]));
	/* Each gets the error of its own description. */
	fake_fail(FAKE_msync, 0, ENOSPC);
	ck_assert_int_eq(persist(m[0]), -ENOSPC);
	ck_assert_int_eq(persist(m[2]), -ENOSPC);
	unmap_all();
}
END_TEST

START_TEST(what_may_be_one_file_is_not_cut)
{
	start_silent((size_t)_i);
	m[1] = map(paths[1]);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(pm_resize(m[i], page), -EBUSY);
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "may be the same file"));
		ck_assert_uint_eq(unit_size_of(paths[i]), PAGES * page);
	}
	/* One that comes later may be either. */
	fake_fail(silences[_i].call, 0, 0);
	m[2] = map(paths[2]);
	unit_ok(pm_unmap(m[1]));
	m[1] = NULL;
	unit_ok(pm_resize(m[0], page));
	unmap_all();
}
END_TEST

/* Nor does a mapping that fails undo what may be another's. */
START_TEST(what_may_be_one_file_is_not_undone)
{
	start_silent((size_t)_i);
	struct pm_mapping *none = NULL;
	fake_fail(FAKE_mmap, 0, ENOMEM);
	int rc = pm_map(paths[0], UNIT_OPTIONS(.flags = PM_CREATE, .length = 2 * PAGES * page), &none);
	fake_fail(FAKE_mmap, 0, 0);
	ck_assert_int_eq(rc, -ENOMEM);
	ck_assert_uint_ge(unit_size_of(paths[0]), PAGES * page);
	bool sure;
	ck_assert(pm_shared_file_begin_cut(m[0]->errors.shared, &m[0]->errors.user, 0, &sure));
	pm_shared_file_end_cut(m[0]->errors.shared, &m[0]->errors.user);
	unmap_all();
}
END_TEST

/* ---- Names ---- */

static unsigned replace_at;

/* Another process puts another file of the same number in its place, once the library looks for the directory. */
static void replaces(enum fake_call c)
{
	if (c != FAKE_readlinkat || !replace_at || --replace_at)
		return;
	ck_assert_int_eq(rename(paths[1], paths[0]), 0);
}

START_TEST(the_directory_of_another_file_is_not_synced_alone)
{
	for (unsigned is_replaced = 0; is_replaced < 2; is_replaced++) {
		start(of_servers[_i]);
		replace_at = is_replaced;
		counting.hook = replaces;
		m[0] = unit_map(paths[0], UNIT_OPTIONS(.flags = PM_CREATE, .length = PAGES * page));
		counting.hook = NULL;
		ck_assert_uint_eq(fake_calls(FAKE_syncfs), is_replaced);
		ck_assert_uint_eq(fake_calls(FAKE_fsync), 2 - is_replaced);
		unmap_all();
	}
}
END_TEST

static void follow(struct pm_name *name, const struct pm_named_file *file, const char *entry)
{
	*name = (struct pm_name){0};
	pm_name_follow(name, AT_FDCWD, entry, file);
}

START_TEST(a_name_is_followed_to_the_file_only)
{
	struct pm_name name;
	struct statx numbers;
	start(of_servers[_i]);
	int fd = open(paths[0], O_RDWR | O_CLOEXEC), other = open(paths[1], O_PATH | O_CLOEXEC);
	ck_assert_int_eq(pm_sys->statx(fd, "", AT_EMPTY_PATH, &numbers), 0);
	struct pm_named_file file = {fd, &numbers, of_servers[_i]};
	follow(&name, &file, paths[1]);
	ck_assert_int_eq(name.fd, 0);
	follow(&name, &file, paths[0]);
	ck_assert_int_gt(name.fd, 0);
	/* Where the kernel does not tell, it is not followed. */
	struct pm_name silent;
	fake_fail(FAKE_same_inode, 1, EMFILE);
	follow(&silent, &file, paths[0]);
	ck_assert_int_eq(silent.fd, 0);
	/* The program has closed the number and opened another file of the same number: it is not closed. */
	int at = name.fd;
	ck_assert_int_eq(dup3(other, at, O_CLOEXEC), at);
	pm_name_forget(&name, &file);
	ck_assert_int_ge(fcntl(at, F_GETFD), 0);
	ck_assert_int_eq(name.fd, 0);
	pm_sys->close(at);
	close(other);
	close(fd);
}
END_TEST

/* ---- Where the kernel keeps the inodes ---- */

static const uint32_t of_kernel[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, F2FS_SUPER_MAGIC};

START_TEST(numbers_of_the_kernel_are_believed)
{
	start(of_kernel[_i]);
	fake.machine.has_no_device = fake.machine.invents_inodes = false;
	m[0] = map(paths[0]);
	/* Whatever happened to the descriptor of the other mapping. */
	fake_fail(FAKE_same_inode, 0, EMFILE);
	fake_forget();
	m[1] = map(paths[0]);
	ck_assert_uint_eq(fake_calls(FAKE_same_inode), 0);
	ck_assert_int_eq(fail_write_back(m[1]), -ENOSPC);
	ck_assert_int_eq(persist(m[0]), -ENOSPC);
	unmap_all();
}
END_TEST

/* ---- Where the kernel makes the file handles ---- */

static const uint32_t of_handles[] = {TMPFS_MAGIC, BTRFS_SUPER_MAGIC};

START_TEST(handles_of_the_kernel_are_believed)
{
	const char *other = unit_path("link");
	start(of_handles[_i]);
	fake.machine.invents_inodes = false;
	ck_assert_int_eq(link(paths[0], other), 0);
	m[0] = map(paths[0]);
	fake_forget();
	m[1] = map(other);
	ck_assert_uint_eq(fake_calls(FAKE_same_handle), 1);
	ck_assert_uint_eq(fake_calls(FAKE_same_inode), 0);
	ck_assert_ptr_eq(m[0]->errors.shared, m[1]->errors.shared);
	unmap_all();
}
END_TEST

/* Numbers came round on a tmpfs of 32-bit inode numbers: the generations differ (mm/shmem.c shmem_encode_fh). */
static int handles_that_differ(const char *path, const char *other)
{
	(void)path;
	(void)other;
	return 0;
}

START_TEST(other_handles_are_another_file)
{
	static struct machine layer;
	start(of_handles[_i]);
	machine_put_at(&counting_below, &layer, MACHINE(.same_handle = handles_that_differ));
	m[0] = map(paths[0]);
	m[1] = map(paths[1]);
	ck_assert_uint_eq(fake_calls(FAKE_same_handle), 1);
	ck_assert_ptr_ne(m[0]->errors.shared, m[1]->errors.shared);
	ck_assert(!m[1]->errors.shared->unsure);
	unmap_all();
}
END_TEST

/* A filter may refuse the call, or the kernel be built without it. */
START_TEST(without_handles_watches_are_compared)
{
	static const int refusals[] = {EOPNOTSUPP, EPERM, ENOSYS, EOVERFLOW};
	start(of_handles[_i % 2]);
	fake.machine.invents_inodes = false;
	m[0] = map(paths[0]);
	fake_fail(FAKE_same_handle, 0, refusals[_i / 2]);
	fake_forget();
	m[1] = map(paths[0]);
	ck_assert_uint_eq(fake_calls(FAKE_same_inode), 1);
	ck_assert_ptr_eq(m[0]->errors.shared, m[1]->errors.shared);
	unmap_all();
}
END_TEST

START_TEST(handles_of_a_server_are_not_asked_for)
{
	static const uint32_t of_others[] = {FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC};
	start(of_others[_i]);
	m[0] = map(paths[0]);
	m[1] = map(paths[0]);
	ck_assert_uint_eq(fake_calls(FAKE_same_handle), 0);
	ck_assert_uint_gt(fake_calls(FAKE_same_inode), 0);
	unmap_all();
}
END_TEST

/* Nothing is asked for the first mapping of a file. */
START_TEST(a_file_that_is_alone_costs_nothing)
{
	start(of_servers[_i]);
	fake_fail(FAKE_fstatfs, 0, EIO);
	fake_fail(FAKE_same_inode, 0, EIO);
	m[0] = map(paths[0]);
	ck_assert_uint_eq(fake_calls(FAKE_same_inode), 0);
	unmap_all();
}
END_TEST

/* The number of the other mapping's descriptor is another file's by now: nothing is known of that mapping's. */
START_TEST(a_descriptor_that_is_another_is_not_asked)
{
	start(of_servers[0]);
	m[0] = map(paths[0]);
	int kept = dup(m[0]->file.fd), other = open("/dev/null", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(dup3(other, m[0]->file.fd, O_CLOEXEC), 0);
	fake.machine.invents_inodes = false;
	struct statx numbers = m[0]->file.stx;
	struct pm_file_user user = {.fd = kept};
	bool alone = true;
	struct pm_shared_file *shared = pm_shared_file_join(&numbers, &user, &alone);
	ck_assert_ptr_ne(shared, m[0]->errors.shared);
	ck_assert(!alone && shared->unsure);
	pm_shared_file_leave(shared, &user);
	ck_assert_int_ge(dup3(kept, m[0]->file.fd, O_CLOEXEC), 0);
	close(kept);
	close(other);
	unmap_all();
}
END_TEST

/* ---- Several threads ---- */

#define THREADS 6
static unsigned rounds;

static void *come_and_go(void *arg)
{
	size_t own = (size_t)(uintptr_t)arg % COUNT(paths);
	for (unsigned i = 0; i < rounds; i++) {
		struct pm_mapping *a = map(paths[own]), *b = map(paths[own]);
		unit_expect(a->errors.shared == b->errors.shared);
		unit_expect(!a->errors.shared->unsure);
		pm_unmap(i % 2 ? a : b);
		struct pm_mapping *c = map(paths[(own + 1) % COUNT(paths)]);
		unit_expect(c->errors.shared != (i % 2 ? b : a)->errors.shared);
		pm_unmap(c);
		pm_unmap(i % 2 ? b : a);
	}
	return NULL;
}

START_TEST(threads_that_map_at_once_agree)
{
	pthread_t threads[THREADS];
	start(of_servers[0]);
	rounds = unit_rounds(100);
	counting.recording = false;
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, (void *)(uintptr_t)i), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* ---- What else stands on it ---- */

/*
 * The type of the server's file system raises nothing: reflink, inodes and drains are not those of an ext4 or XFS here.
 */
START_TEST(a_type_that_is_a_servers_is_not_known)
{
	static const uint32_t types[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, F2FS_SUPER_MAGIC};
	start(types[_i]);
	fake.machine.reflink = PM_NO;
	m[0] = map(paths[0]);
	const struct pm_report *r = unit_query(m[0]);
	ck_assert_int_eq(r->evidence[PM_EV_FILE_SYSTEM].state, PM_UNKNOWN);
	ck_assert_ptr_nonnull(strstr(r->evidence[PM_EV_FILE_SYSTEM].text, "server"));
	ck_assert_int_eq(r->evidence[PM_EV_SHAREABLE].state, PM_UNKNOWN);
	ck_assert_int_eq(r->evidence[PM_EV_FSYNC_COMPLETE].state, PM_UNKNOWN);
	ck_assert_uint_eq(m[0]->medium.file_system, 0);
	fake_forget();
	unit_ok(persist(m[0]));
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 0);
	unmap_all();
}
END_TEST

/* Another process writes to another file of the number: no process has opened this one. */
static bool is_told(const char *path)
{
	int told[2], says[2];
	char byte = 0;
	ck_assert(!pipe(told) && !pipe(says));
	pid_t pid = fork();
	if (!pid) {
		close(told[1]);
		int fd = open(path, O_WRONLY);
		if (fd < 0 || write(says[1], "o", 1) != 1 || read(told[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(told[0]);
	ck_assert_int_eq(read(says[0], &byte, 1), 1);
	close(open(watched_path, O_RDONLY));
	bool opened = only(m[0]).kind == PM_EVENT_OPENED;
	close(told[1]);
	waitpid(pid, NULL, 0);
	close(says[0]);
	close(says[1]);
	return opened;
}

START_TEST(the_file_that_is_opened_is_this_one)
{
	if (unit_is_emulated()) /* whose /proc shows the emulator's descriptors */
		return;
	const char *other = unit_file("other", page);
	m[0] = watched(&fake_plain);
	fake.machine.has_no_device = true;
	fake.machine.invents_inodes = true;
	m[0]->file.stx.stx_dev_major = 0;
	m[0]->file.stx.stx_ino = 7;
	pm_openers_of(&m[0]->observed.openers, m[0]->file.fd, &m[0]->file.stx);
	if (_i == 2)
		fake_fail(FAKE_same_inode, 0, EMFILE);
	ck_assert_int_eq(is_told(_i ? watched_path : other), _i == 1);
	unmap_all();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("identity");
	tcase_add_loop_test(c, the_directory_of_another_file_is_not_synced_alone, 0, (int)COUNT(of_servers));
	tcase_add_loop_test(c, a_name_is_followed_to_the_file_only, 0, (int)COUNT(of_servers));
	tcase_add_loop_test(c, one_file_does_not_poison_another_of_its_number, 0, (int)COUNT(of_servers));
	tcase_add_loop_test(c, another_file_of_its_number_does_not_keep_it_long, 0, (int)COUNT(of_servers));
	tcase_add_loop_test(c, two_links_are_one_file, 0, (int)COUNT(of_servers));
	tcase_add_loop_test(c, what_may_be_one_file_shares_no_failure, 0, (int)COUNT(silences));
	tcase_add_loop_test(c, what_may_be_one_file_is_not_cut, 0, (int)COUNT(silences));
	tcase_add_loop_test(c, what_may_be_one_file_is_not_undone, 0, (int)COUNT(silences));
	tcase_add_loop_test(c, numbers_of_the_kernel_are_believed, 0, (int)COUNT(of_kernel));
	tcase_add_loop_test(c, handles_of_the_kernel_are_believed, 0, (int)COUNT(of_handles));
	tcase_add_loop_test(c, other_handles_are_another_file, 0, (int)COUNT(of_handles));
	tcase_add_loop_test(c, without_handles_watches_are_compared, 0, 8);
	tcase_add_loop_test(c, handles_of_a_server_are_not_asked_for, 0, 3);
	tcase_add_loop_test(c, a_file_that_is_alone_costs_nothing, 0, (int)COUNT(of_servers));
	tcase_add_test(c, a_descriptor_that_is_another_is_not_asked);
	tcase_add_test(c, threads_that_map_at_once_agree);
	tcase_add_loop_test(c, a_type_that_is_a_servers_is_not_known, 0, 3);
	tcase_add_loop_test(c, the_file_that_is_opened_is_this_one, 0, 3);
	return unit_run();
}
