/* SPDX-License-Identifier: BSD-3-Clause */
/* The sentence names the attribute or the seal that forbids a change, and only where it is what forbids it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#define SIZE 65536u

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static int grow(struct pm_mapping *m)
{
	return pm_resize(m, 2 * SIZE);
}

static int shrink(struct pm_mapping *m)
{
	return pm_resize(m, SIZE / 2);
}

static int write_there(struct pm_mapping *m)
{
	return pm_write(m, pm_base(m), "x", 1);
}

/* ---- Seals, which are set while the file is mapped ---- */

static const struct {
	int seals;
	int (*change)(struct pm_mapping *);
	int result;
	const char *word; /* of the sentence; NULL: none of a seal */
} seals[] = {
	{F_SEAL_GROW, grow, -EPERM, "F_SEAL_GROW"},
	{F_SEAL_GROW, shrink, 0, NULL},
	{F_SEAL_GROW, write_there, 0, NULL},
	{F_SEAL_SHRINK, shrink, -EPERM, "F_SEAL_SHRINK"},
	{F_SEAL_SHRINK, grow, 0, NULL},
	{F_SEAL_FUTURE_WRITE, write_there, -EPERM, "F_SEAL_FUTURE_WRITE"},
	{F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK, shrink, -EPERM, "F_SEAL_SHRINK"},
	{F_SEAL_GROW | F_SEAL_SHRINK, shrink, -EPERM, "F_SEAL_SHRINK"},
	{F_SEAL_GROW | F_SEAL_SHRINK, grow, -EPERM, "F_SEAL_GROW"},
	{F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE, write_there, -EPERM, "F_SEAL_FUTURE_WRITE"},
};

/* Only the test's own descriptor has the file as well, so no other process is blamed. */
START_TEST(what_stays_is_named)
{
	int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert(fd >= 0 && !ftruncate(fd, SIZE) && !fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	struct pm_mapping *m = NULL;
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | (_i ? PM_SPARSE : 0), .length = 2 * SIZE};
	ck_assert_int_lt(pm_map_fd(fd, &o, &m), 0);
	struct stat now;
	ck_assert(!fstat(fd, &now));
	char grown[60];
	snprintf(grown, sizeof(grown), "the file was grown to %llu bytes", (unsigned long long)now.st_size);
	ck_assert_msg((now.st_size > SIZE) == (strstr(pm_error_detail(), grown) != NULL), "%s", pm_error_detail());
	ck_assert_ptr_null(strstr(pm_error_detail(), "another process"));
	close(fd);
}
END_TEST

START_TEST(a_seal_is_named)
{
	char path[40];
	int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert(fd >= 0 && !ftruncate(fd, SIZE));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	struct pm_mapping *m = unit_map(path, NULL);
	if (fcntl(fd, F_ADD_SEALS, seals[_i].seals)) {
		ck_assert(seals[_i].seals & F_SEAL_FUTURE_WRITE); /* since Linux 5.1 */
	} else {
		memset(pm_base(m), 1, SIZE);
		ck_assert_int_eq(seals[_i].change(m), seals[_i].result);
		uint64_t wanted = seals[_i].change == grow ? 2 * SIZE : seals[_i].change == shrink ? SIZE / 2 : SIZE;
		ck_assert_uint_eq(pm_length(m), seals[_i].result ? SIZE : wanted);
		if (seals[_i].word)
			ck_assert_msg(strstr(pm_error_detail(), seals[_i].word) != NULL, "%s", pm_error_detail());
		/* The kernel refused before anything was reserved. */
		ck_assert(!seals[_i].word || !strstr(pm_error_detail(), "may stay"));
		ck_assert_int_eq(((char *)pm_base(m))[SIZE / 2 - 1], 1);
	}
	unit_ok(pm_unmap(m));
	close(fd);
}
END_TEST

/* ---- Attributes ---- */

static const struct {
	enum fake_call call; /* that the kernel refuses */
	int error;
	int (*change)(struct pm_mapping *);
} changes[] = {
	{FAKE_fallocate_keep_size, EPERM, grow},
	{FAKE_ftruncate, EPERM, shrink},
	{FAKE_pwrite, EPERM, write_there},
};

START_TEST(an_attribute_is_named)
{
	unsigned attribute = (unsigned)_i % 3; /* none, immutable, append-only */
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	fake.machine.is_immutable = attribute == 1;
	fake.machine.is_append_only = attribute == 2;
	fake_fail(changes[_i / 3].call, 0, changes[_i / 3].error);
	if (changes[_i / 3].change == grow) {
		fake_fail(FAKE_fallocate, 0, EPERM);
		fake_fail(FAKE_pwritev2_append, 0, EPERM);
		fake_fail(FAKE_pwrite, 0, EPERM);
		fake_fail(FAKE_write, 0, EPERM);
	}
	ck_assert_int_eq(changes[_i / 3].change(m), -EPERM);
	const char *sentence = pm_error_detail();
	ck_assert_msg(!strstr(sentence, "chattr -i") == (attribute != 1), "%s", sentence);
	ck_assert_msg(!strstr(sentence, "chattr -a") == (attribute != 2), "%s", sentence);
	ck_assert_uint_eq(pm_length(m), SIZE);
	ck_assert_uint_eq(unit_size_of(path), SIZE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Another error of an immutable file is not for the attribute. */
START_TEST(another_error_is_of_another_cause)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	fake.machine.is_immutable = true;
	fake_fail(FAKE_ftruncate, 0, EIO);
	ck_assert_int_eq(shrink(m), -EIO);
	ck_assert_ptr_null(strstr(pm_error_detail(), "chattr"));
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("forbidden");
	tcase_add_loop_test(c, what_stays_is_named, 0, 2);
	tcase_add_loop_test(c, a_seal_is_named, 0, (int)COUNT(seals));
	tcase_add_loop_test(c, an_attribute_is_named, 0, (int)COUNT(changes) * 3);
	tcase_add_test(c, another_error_is_of_another_cause);
	return unit_run();
}
