/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a failing pm_map() removes is its own file and no other: another process may rename its file over the name at
 * any moment, also between the library's last look and the removal.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "unit.h"

#define SIZE 20000u

static const char *path, *intruding, *third;
static unsigned attempt, at_attempt;

static unsigned entries(void)
{
	unsigned count = 0;
	DIR *d = opendir(unit_path("."));
	ck_assert_ptr_nonnull(d);
	for (struct dirent *e; (e = readdir(d));)
		count += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(d);
	return count;
}

static bool holds(const char *name, const char *text)
{
	char bytes[16] = "";
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t got = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes) - 1);
	if (fd >= 0)
		close(fd);
	return got == (ssize_t)strlen(text) && !strcmp(bytes, text);
}

static const char *file_with(const char *name, const char *text)
{
	const char *made = unit_path(name);
	int fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	return made;
}

/* ---- Another process ---- */

static void replaces(void)
{
	ck_assert_int_eq(rename(intruding, path), 0);
}

static void moves_and_replaces(void)
{
	ck_assert_int_eq(rename(path, unit_path("moved")), 0);
	ck_assert_int_eq(rename(intruding, path), 0);
}

static void moves_and_links(void)
{
	ck_assert_int_eq(rename(path, unit_path("moved")), 0);
	ck_assert_int_eq(symlink("moved", path), 0);
}

static void moves(void)
{
	ck_assert_int_eq(rename(path, unit_path("moved")), 0);
}

static void unlinks(void)
{
	ck_assert_int_eq(unlink(path), 0);
}

static void (*act)(void);

/* Right before the call that takes the name away, whichever that is. */
static void intrude(enum fake_call c)
{
	if ((c != FAKE_renameat2_noreplace && c != FAKE_unlinkat) || ++attempt != at_attempt)
		return;
	act();
}

static int fails_with_its_name(const struct fake_machine *machine, void (*intruder)(void))
{
	struct pm_mapping *m = NULL;
	path = unit_path("file");
	fake_start(machine);
	act = intruder;
	attempt = 0;
	at_attempt = 1;
	counting.hook = intruder ? intrude : NULL;
	/* The file has its name by then. */
	fake_fail(FAKE_fsync, 1, EIO);
	int rc = pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = SIZE), &m);
	ck_assert_ptr_null(m);
	ck_assert_uint_eq(fake_calls(FAKE_linkat), 1);
	ck_assert_uint_eq(fake_open_files(), 0);
	counting.hook = NULL;
	return rc;
}

START_TEST(nothing_is_left)
{
	ck_assert_int_eq(fails_with_its_name(&fake_plain, NULL), -EIO);
	ck_assert_uint_eq(entries(), 0);
	ck_assert_ptr_null(strstr(pm_error_detail(), "stays"));
}
END_TEST

static const struct {
	void (*act)(void);
	unsigned left;
	bool has_intruders, has_own; /* at the path; as "moved" */
} intruders[] = {
	{replaces, 1, true, false},
	{moves_and_replaces, 2, true, true},
	{moves_and_links, 3, false, true},
	{moves, 2, false, true},
	{unlinks, 1, false, false},
};

START_TEST(a_file_renamed_over_the_name_stays)
{
	struct stat st;
	intruding = file_with("intruding", "theirs");
	ck_assert_int_eq(fails_with_its_name(&fake_plain, intruders[_i].act), -EIO);
	ck_assert_uint_ge(attempt, 1);
	ck_assert_uint_eq(entries(), intruders[_i].left);
	ck_assert_int_eq(holds(path, "theirs"), intruders[_i].has_intruders);
	ck_assert_int_eq(unit_exists(unit_path("moved")), intruders[_i].has_own);
	if (intruders[_i].act == moves_and_links)
		ck_assert(!lstat(path, &st) && S_ISLNK(st.st_mode));
	ck_assert_ptr_null(strstr(pm_error_detail(), "called"));
}
END_TEST

/* ---- A third process ---- */

static void replace_and_create(enum fake_call c)
{
	if (c != FAKE_renameat2_noreplace || ++attempt > 2)
		return;
	if (attempt == 1)
		replaces();
	else
		third = file_with("file", "third's");
}

START_TEST(a_name_taken_meanwhile_is_told)
{
	struct pm_mapping *m = NULL;
	path = unit_path("file");
	intruding = file_with("intruding", "theirs");
	fake_start(&fake_plain);
	attempt = 0;
	counting.hook = replace_and_create;
	fake_fail(FAKE_fsync, 1, EIO);
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = SIZE), &m), -EIO);
	counting.hook = NULL;
	ck_assert(holds(path, "third's"));
	ck_assert(holds(unit_path(".file.pm-0"), "theirs"));
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "its file is called .file.pm-0 now"));
	ck_assert_uint_eq(entries(), 2);
}
END_TEST

START_TEST(a_name_beside_that_is_taken_stays)
{
	file_with(".file.pm-0", "zero");
	file_with(".file.pm-1", "one");
	intruding = file_with("intruding", "theirs");
	ck_assert_int_eq(fails_with_its_name(&fake_plain, _i ? replaces : NULL), -EIO);
	ck_assert(holds(unit_path(".file.pm-0"), "zero"));
	ck_assert(holds(unit_path(".file.pm-1"), "one"));
	ck_assert_uint_eq(entries(), 3);
	ck_assert(holds(_i ? path : intruding, "theirs"));
}
END_TEST

/* ---- Where it cannot be done ---- */

static const int missing[] = {ENOSYS, EINVAL, EPERM};

START_TEST(what_cannot_be_renamed_stays)
{
	struct pm_mapping *m = NULL;
	path = unit_path("file");
	fake_start(&fake_plain);
	fake_fail(FAKE_renameat2_noreplace, 0, missing[_i]);
	fake_fail(FAKE_fsync, 1, EIO);
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = SIZE), &m), -EIO);
	ck_assert(unit_exists(path));
	ck_assert_uint_eq(entries(), 1);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "stays, as it cannot be renamed"));
}
END_TEST

/* A lease on a server's file says nothing of other machines, whatever type the server hands on. */
static const struct {
	uint32_t magic;
	const char *mount;
	bool has_no_device, stays;
} mounts[] = {
	{EXT4_SUPER_MAGIC, "ext4 /dev/vda1 rw", false, false},
	{EXT4_SUPER_MAGIC, "9p tag rw,cache=loose", true, true},
	{XFS_SUPER_MAGIC, "9p tag rw,cache=loose", true, true},
	{TMPFS_MAGIC, "9p tag rw,cache=loose", true, true},
	{BTRFS_SUPER_MAGIC, "virtiofs tag rw", true, true},
	{BTRFS_SUPER_MAGIC, "btrfs /dev/vda rw", true, false},
	{TMPFS_MAGIC, "tmpfs none rw", true, false},
	{BCACHEFS_SUPER_MAGIC, "bcachefs /dev/vda:/dev/vdb rw", true, false},
	{ZFS_SUPER_MAGIC, "zfs pool/set rw", true, false},
	{FUSE_SUPER_MAGIC, "fuse.x none rw", true, true},
	{NFS_SUPER_MAGIC, "nfs4 host:/ rw", true, true},
	{0x12345678, "new none rw", true, true},
};

START_TEST(a_lease_of_a_server_proves_nothing)
{
	struct fake_machine machine = fake_plain;
	machine.magic = mounts[_i].magic;
	machine.mount = mounts[_i].mount;
	machine.has_no_device = mounts[_i].has_no_device;
	ck_assert_int_eq(fails_with_its_name(&machine, NULL), -EIO);
	ck_assert_int_eq(unit_exists(path), mounts[_i].stays);
	ck_assert_int_eq(strstr(pm_error_detail(), "stays") != NULL, mounts[_i].stays);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("undo");
	tcase_add_test(c, nothing_is_left);
	tcase_add_loop_test(c, a_file_renamed_over_the_name_stays, 0, (int)COUNT(intruders));
	tcase_add_test(c, a_name_taken_meanwhile_is_told);
	tcase_add_loop_test(c, a_name_beside_that_is_taken_stays, 0, 2);
	tcase_add_loop_test(c, what_cannot_be_renamed_stays, 0, (int)COUNT(missing));
	tcase_add_loop_test(c, a_lease_of_a_server_proves_nothing, 0, (int)COUNT(mounts));
	return unit_run();
}
