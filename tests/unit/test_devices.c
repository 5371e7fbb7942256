/* SPDX-License-Identifier: BSD-3-Clause */
/* Files whose data is not simply on the device that statx(2) names, or not as it was stored. */
#include <errno.h>

#include "kernel/magic.h"
#include "unit.h"

#define PAGES 4u

static const struct fake_region memory =
	{"ACPI.NFIT", "nd_pmem", "memory_controller", "1", "1", false, {"", NULL}, false};
static const struct fake_region caches = {"ACPI.NFIT", "nd_pmem", "cpu_cache", "0", "0", false, {"", NULL}, false};
static const struct fake_region no_domain = {"ACPI.NFIT", "nd_pmem", NULL, "0", "1", false, {NULL, NULL}, false};
static const struct fake_region dram = {"e820", "nd_pmem", NULL, NULL, "1", false, {NULL, NULL}, false};
static const struct fake_region forgets =
	{"ACPI.NFIT", "nd_volatile", "memory_controller", NULL, "1", false, {"", NULL}, false};
static const struct fake_region strange = {"unheard-of", "nd_pmem", NULL, NULL, "1", false, {NULL, NULL}, false};
static const struct fake_region virtio = {"virtio-pmem", "nd_pmem", NULL, NULL, "1", false, {NULL, NULL}, false};

static const struct pm_report *report_of(const struct pm_options *o)
{
	return unit_report(unit_file("file", PAGES * unit_page()), o);
}

/* The worst of the devices below counts, in whatever order they are found. */
static const struct {
	const struct fake_region *one, *other;
	enum pm_granularity granularity;
	enum pm_grade grade;
	enum pm_reason reason;
} stacks[] = {
	{&memory, NULL, PM_CACHE_LINE, PM_GRADE_PROVEN, PM_REASON_NONE},
	{&memory, &memory, PM_CACHE_LINE, PM_GRADE_PROVEN, PM_REASON_NONE},
	{&caches, &caches, PM_BYTE, PM_GRADE_PROVEN, PM_REASON_NONE},
	{&memory, &caches, PM_CACHE_LINE, PM_GRADE_PROVEN, PM_REASON_NONE},
	{&no_domain, &caches, PM_CACHE_LINE, PM_GRADE_PROMISED, PM_REASON_NO_DOMAIN},
	{&memory, &no_domain, PM_CACHE_LINE, PM_GRADE_PROMISED, PM_REASON_NO_DOMAIN},
	{&memory, &dram, PM_PAGE, PM_GRADE_ACCEPTED, PM_REASON_EMULATED_PMEM},
	{&strange, &dram, PM_PAGE, PM_GRADE_ACCEPTED, PM_REASON_EMULATED_PMEM},
	{&memory, &strange, PM_PAGE, PM_GRADE_ACCEPTED, PM_REASON_REGION_UNKNOWN},
	{&memory, &virtio, PM_PAGE, PM_GRADE_ACCEPTED, PM_REASON_FLUSH_COMMAND},
	{&memory, &forgets, PM_NONE, PM_GRADE_NONE, PM_REASON_VOLATILE},
};

static void check_stack(int _i, const struct fake_region *one, const struct fake_region *other)
{
	fake_start(&fake_dax);
	fake.machine.region = NULL;
	fake.machine.below[0] = one;
	fake.machine.below[1] = other;
	const struct pm_report *r = report_of(NULL);
	ck_assert_msg(r->granularity == stacks[_i].granularity, "%d: %s", _i, pm_granularity_name(r->granularity));
	ck_assert_msg(r->reason == stacks[_i].reason, "%d: %s", _i, pm_reason_name(r->reason));
	ck_assert_int_eq(r->grade, stacks[_i].grade);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}

START_TEST(a_device_upon_devices)
{
	check_stack(_i, stacks[_i].one, stacks[_i].other);
	if (stacks[_i].other)
		check_stack(_i, stacks[_i].other, stacks[_i].one);
}
END_TEST

/* What is below may be exchanged while it is in use (dmsetup reload): it is not remembered by the device's place. */
START_TEST(a_device_that_gets_another_one_below)
{
	const char *path = unit_file("file", PAGES * unit_page());
	fake_start(&fake_dax);
	fake.machine.region = NULL;
	fake.machine.below[0] = &memory;
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	fake.machine.below[1] = &dram;
	struct pm_mapping *later = unit_map(path, NULL);
	ck_assert_int_eq(pm_granularity_of(later), PM_PAGE);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_EMULATED_PMEM);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(later));
}
END_TEST

START_TEST(devices_below_that_are_not_to_be_seen)
{
	static const enum fake_call calls[] = {FAKE_each_entry, FAKE_readlinkat};
	for (size_t i = 0; i < COUNT(calls); i++) {
		fake_start(&fake_dax);
		fake.machine.region = NULL;
		fake.machine.below[0] = fake.machine.below[1] = &memory;
		fake_fail(calls[i], 0, EACCES);
		const struct pm_report *r = report_of(NULL);
		ck_assert_int_eq(r->reason, PM_REASON_REGION_UNKNOWN);
		ck_assert_int_eq(r->evidence[PM_EV_REGION].error, EACCES);
		ck_assert_int_eq(r->granularity, PM_PAGE);
	}
}
END_TEST

/* Only the first of them answers: what is known of it must not stand for both. */
START_TEST(one_device_below_that_is_not_to_be_seen)
{
	fake_start(&fake_dax);
	fake.machine.region = NULL;
	fake.machine.below[0] = fake.machine.below[1] = &memory;
	/*
	 * Links: the device, the first below, the second below, by the walk down from the file system; then the same
	 * again.
	 */
	fake_fail(FAKE_readlinkat, 3 + 3, EACCES);
	struct pm_mapping *m = unit_map(unit_file("file", PAGES * unit_page()), NULL);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* statx(2) names the data device of an XFS; the file may lie on its realtime device. */
START_TEST(data_on_the_realtime_device)
{
	fake_start(&fake_xfs_reflink);
	fake.machine.reflink = PM_NO;
	ck_assert_int_eq(report_of(NULL)->grade, PM_GRADE_PROVEN);
	fake.machine.is_realtime = true;
	const struct pm_report *r = report_of(NULL);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_REGION_UNKNOWN);
	ck_assert_int_eq(r->evidence[PM_EV_REGION].error, EXDEV);
	fake.machine.is_realtime = false;
	fake.machine.xfs_errno = EPERM;
	r = report_of(NULL);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->evidence[PM_EV_REGION].error, EPERM);
}
END_TEST

START_TEST(encrypted_and_yet_dax)
{
	fake_start(&fake_dax);
	fake.machine.is_encrypted = true;
	const struct pm_report *r = report_of(NULL);
	ck_assert_int_eq(r->granularity, PM_NONE);
	ck_assert_int_eq(r->reason, PM_REASON_VOLATILE);
	struct pm_mapping *m = NULL;
	ck_assert_int_eq(pm_map(unit_path("file"), UNIT_OPTIONS(.sync = PM_GUARANTEE), &m), -PM_EVOLATILE);
	fake_start(&fake_plain);
	fake.machine.is_encrypted = true;
	ck_assert_int_eq(report_of(NULL)->granularity, PM_PAGE);
}
END_TEST

static const struct {
	const char *mount;
	bool hides_device, lacks_mount_id;
	enum pm_granularity granularity;
} overlays[] = {
	{"overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w", false, false, PM_PAGE},
	{"overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w,volatile", false, false, PM_NONE},
	{"overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w,volatile", true, false, PM_NONE},
	{"overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w,volatile", false, true, PM_NONE},
	{"overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w,uuid=on,fsync=volatile", true, false, PM_NONE},
	{"overlay overlay rw,lowerdir=/volatile,upperdir=/u,workdir=/w,fsync=auto", true, false, PM_PAGE},
};

/* Files of an overlay often have another device than their mount, so that only the mount's id finds it. */
START_TEST(an_overlay_that_leaves_syncs_out)
{
	fake_start(&fake_plain);
	fake.machine.magic = OVERLAYFS_SUPER_MAGIC;
	fake.machine.mount = overlays[_i / 2].mount;
	fake.machine.hides_device = overlays[_i / 2].hides_device;
	fake.machine.lacks_mount_id = overlays[_i / 2].lacks_mount_id;
	fake_fail(FAKE_statmount, 0, _i % 2 ? ENOSYS : 0);
	ck_assert_int_eq(report_of(NULL)->granularity, overlays[_i / 2].granularity);
}
END_TEST

/* As erofs and squashfs: no fsync, because nothing can be written. Where something can, EINVAL is an error. */
START_TEST(a_read_only_file_without_fsync)
{
	const char *path = unit_file("file", PAGES * unit_page());
	fake_start(&fake_plain);
	fake_fail(FAKE_fdatasync, 0, EINVAL);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	unit_ok(pm_persist(m, pm_base(m), 1));
	unit_ok(pm_sync(m));
	unit_ok(pm_unmap(m));
	fake_fail(FAKE_fdatasync, 0, 0);
	fake_fail(FAKE_msync, 0, EINVAL);
	m = unit_map(path, NULL);
	ck_assert_int_eq(pm_sync(m), -EINVAL);
	ck_assert_int_eq(pm_unmap(m), -EINVAL);
}
END_TEST

/* Whatever length was asked for: munmap(2) of a part of a huge page fails, and leaves the mapping there. */
START_TEST(whole_huge_pages)
{
	fake_start(&fake_tmpfs);
	fake.machine.magic = HUGETLBFS_MAGIC;
	const char *path = unit_file("file", PAGES * unit_page());
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.offset = 1, .length = 1));
	ck_assert_uint_eq(pm_length(m), 1);
	ck_assert_int_eq(*(char *)pm_base(m), unit_pattern(1));
	unit_ok(pm_unmap(m));
	m = unit_map(path, UNIT_OPTIONS(.offset = unit_page(), .length = unit_page() + 1));
	ck_assert_int_eq(*(char *)pm_base(m), unit_pattern(unit_page()));
	unit_ok(pm_unmap(m));
	for (unsigned i = 0; i < fake_calls(FAKE_munmap); i++)
		ck_assert_uint_eq(fake_find(FAKE_munmap, i)->length % (2 * unit_page()), 0);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("devices");
	tcase_add_loop_test(c, a_device_upon_devices, 0, (int)COUNT(stacks));
	tcase_add_test(c, a_device_that_gets_another_one_below);
	tcase_add_test(c, devices_below_that_are_not_to_be_seen);
	tcase_add_test(c, one_device_below_that_is_not_to_be_seen);
	tcase_add_test(c, data_on_the_realtime_device);
	tcase_add_test(c, encrypted_and_yet_dax);
	tcase_add_loop_test(c, an_overlay_that_leaves_syncs_out, 0, 2 * (int)COUNT(overlays));
	tcase_add_test(c, a_read_only_file_without_fsync);
	tcase_add_test(c, whole_huge_pages);
	return unit_run();
}
