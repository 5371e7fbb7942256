/* SPDX-License-Identifier: BSD-3-Clause */
/* The descriptors that stay open on attributes of disks: what they answer is as true as what a path would. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#define SIZE 16384u
#define CACHE "/queue/write_cache"
#define SD "pci0000:00/ata1/host0/block/sda"

static struct pm_mapping *m;

static struct pm_mapping *map(const char *name, unsigned flags)
{
	return unit_map(unit_file(name, SIZE), UNIT_OPTIONS(.flags = flags));
}

static void set_cache(const char *text)
{
	fake.machine.attributes[0][0] = CACHE;
	fake.machine.attributes[0][1] = text;
}

static void start(void)
{
	fake_start(&fake_plain);
	fake.machine.block = SD;
	set_cache("write back");
}

/* What the row says of the flush, and how many files were opened for it. */
static void check(enum pm_state flushes, unsigned opened)
{
	fake_forget();
	const struct pm_evidence *e = &unit_query(m)->evidence[PM_EV_DEVICE_FLUSH];
	ck_assert_msg(e->state == flushes, "%s: %s", pm_state_name(e->state), e->text);
	unsigned of_queue = 0;
	for (unsigned i = 0; i < fake_calls(FAKE_openat); i++)
		of_queue += strstr(fake_find(FAKE_openat, i)->path, CACHE) != NULL;
	ck_assert_uint_eq(of_queue, opened);
}

START_TEST(a_queue_that_is_set_meanwhile)
{
	start();
	m = map("file", 0);
	check(PM_YES, 1);
	check(PM_YES, 0);
	set_cache("write through");
	check(PM_UNKNOWN, 0);
	set_cache("write back");
	check(PM_YES, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* The descriptor of the former device answers ENODEV. The path leads to the one that has the number now. */
START_TEST(a_device_in_the_place_of_another)
{
	start();
	m = map("file", 0);
	check(PM_YES, 1);
	fake.machine.replaced++;
	set_cache("write through");
	check(PM_UNKNOWN, 1);
	check(PM_UNKNOWN, 0);
	/* Those of former devices take no place. */
	for (unsigned i = 0; i < 4; i++) {
		fake.machine.replaced++;
		check(PM_UNKNOWN, 1);
		check(PM_UNKNOWN, 0);
		ck_assert_uint_eq(fake_open_files(), 1 + 1);
	}
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

/* A partition of sdb gets the number that one of sda had. The queue of sda answers as long as sda is there. */
START_TEST(a_partition_of_another_disk)
{
	start();
	fake.machine.block = SD "/sda1";
	m = map("file", 0);
	check(PM_YES, 1);
	check(PM_YES, 0);
	fake.machine.block = "pci0000:00/ata2/host1/block/sdb/sdb1";
	fake.machine.replaced++;
	set_cache("write through");
	check(PM_UNKNOWN, 1);
	check(PM_UNKNOWN, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* The partitions of three disks are gone. The fourth disk takes the place of one at the second look. */
START_TEST(disks_that_are_read_no_more)
{
	static const char *const partitions[] = {SD "/sda1", "pci0000:00/ata2/host1/block/sdb/sdb1",
	                                         "pci0000:00/ata3/host2/block/sdc/sdc1",
	                                         "pci0000:00/ata4/host3/block/sdd/sdd1"};
	start();
	m = map("file", 0);
	for (unsigned i = 0; i < 4; i++) {
		fake.machine.block = partitions[i];
		fake.machine.replaced++;
		check(PM_YES, 1);
	}
	check(PM_YES, 1);
	check(PM_YES, 0);
	ck_assert_uint_eq(fake_open_files(), 1 + 3);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

START_TEST(the_last_mapping_closes_them)
{
	start();
	m = map("file", 0);
	struct pm_mapping *other = map("other", 0);
	check(PM_YES, 1);
	unsigned before = fake_open_files();
	unit_ok(pm_unmap(other));
	ck_assert_uint_eq(fake_open_files(), before - 1);
	check(PM_YES, 0);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
	m = map("file", 0);
	check(PM_YES, 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A process that lends its descriptors finds none of the library's among them; a probe leaves none either. */
START_TEST(none_is_kept_for_a_borrower)
{
	start();
	const char *path = unit_file("file", SIZE);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct pm_report report;
	unit_ok(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_BORROW_FD), &m));
	check(PM_YES, 1);
	check(PM_YES, 1);
	ck_assert_uint_eq(fake_open_files(), 0);
	unit_ok(pm_unmap(m));
	for (unsigned i = 0; i < 2; i++) {
		fake_forget();
		unit_ok(pm_probe(path, NULL, &report, sizeof(report)));
		ck_assert_uint_ge(fake_calls(FAKE_openat), 2);
		ck_assert_uint_eq(fake_calls(FAKE_fcntl_setsig), 0);
		ck_assert_uint_eq(fake_open_files(), 0);
	}
	close(fd);
}
END_TEST

/* The program has closed the number, and opened a file by it: that one is neither read nor closed. */
START_TEST(a_number_that_the_program_has_taken)
{
	start();
	m = map("file", 0);
	check(PM_YES, 1);
	fake_fail(FAKE_fcntl_getsig, 0, EBADF);
	set_cache("write through");
	check(PM_UNKNOWN, 1);
	fake_forget();
	unit_ok(pm_unmap(m));
	/* That of the mapped file alone. */
	ck_assert_uint_eq(fake_calls(FAKE_close), 1);
}
END_TEST

/* Four queues: one is opened each time. */
START_TEST(no_more_than_three)
{
	start();
	fake.machine.block = "virtual/block/dm-0";
	fake.machine.slaves[0] = "vdb";
	fake.machine.slaves[1] = "vdc";
	fake.machine.slaves[2] = "vdd";
	m = map("file", 0);
	check(PM_YES, 4);
	check(PM_YES, 1);
	ck_assert_uint_eq(fake_open_files(), 1 + 3);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

static struct pm_mapping *beside;

/* As another thread would, which opens the same attribute at the same moment. */
static void look_beside(enum fake_call c)
{
	struct pm_mapping *other = beside;
	if (c != FAKE_openat || !other)
		return;
	beside = NULL;
	unit_query(other);
}

START_TEST(two_at_the_same_moment)
{
	start();
	struct pm_mapping *other = map("other", 0);
	m = map("file", 0);
	beside = other;
	counting.hook = look_beside;
	check(PM_YES, 2);
	counting.hook = NULL;
	ck_assert_ptr_null(beside);
	ck_assert_uint_eq(fake_open_files(), 2 + 1);
	check(PM_YES, 0);
	unit_ok(pm_unmap(other));
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("attribute");
	tcase_add_test(c, a_queue_that_is_set_meanwhile);
	tcase_add_test(c, a_device_in_the_place_of_another);
	tcase_add_test(c, a_partition_of_another_disk);
	tcase_add_test(c, disks_that_are_read_no_more);
	tcase_add_test(c, the_last_mapping_closes_them);
	tcase_add_test(c, none_is_kept_for_a_borrower);
	tcase_add_test(c, a_number_that_the_program_has_taken);
	tcase_add_test(c, no_more_than_three);
	tcase_add_test(c, two_at_the_same_moment);
	return unit_run();
}
