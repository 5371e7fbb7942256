/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Facts that count only with a second one: an accepted MAP_SYNC with the mapping's flags, a region with the state of
 * its NVDIMMs, what is read in /sys and /proc with the file system that it lies on.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "facts/evidence.h"
#include "kernel/magic.h"
#include "machine/machine.h"
#include "unit.h"

#define SIZE 65536u

static struct pm_report probed;

static const struct pm_report *report_of(const struct pm_options *o)
{
	static struct pm_report r;
	const char *path = unit_file("file", SIZE);
	unit_ok(pm_probe(path, o, &probed, sizeof(probed)));
	struct pm_mapping *m = unit_map(path, o);
	r = *unit_query(m);
	ck_assert_int_eq(r.granularity, pm_granularity_of(m));
	ck_assert_int_eq(r.granularity, probed.granularity);
	ck_assert_int_eq(r.reason, probed.reason);
	unit_ok(pm_unmap(m));
	return &r;
}

static int guaranteed(void)
{
	struct pm_mapping *m = NULL;
	int rc = pm_map(unit_path("file"), UNIT_OPTIONS(.sync = PM_GUARANTEE), &m);
	if (!rc)
		unit_ok(pm_unmap(m));
	return rc;
}

/* ---- The NVDIMMs ---- */

static const struct {
	const char *flags[2]; /* "silent": does not tell */
	bool is_read_only;
	enum pm_state armed;
	const char *text;
	enum pm_granularity granularity;
	enum pm_reason reason;
	int guarantee;
} dimms[] = {
	{{"", NULL}, false, PM_YES, "", PM_CACHE_LINE, PM_REASON_NONE, 0},
	{{"smart_notify ", "smart_event "}, false, PM_YES, "", PM_CACHE_LINE, PM_REASON_NONE, 0},
	{{"not_armed ", NULL}, true, PM_NO, "nmem70: not_armed", PM_NONE, PM_REASON_NOT_ARMED, -PM_EVOLATILE},
	/* Root made its region writable. */
	{{"not_armed smart_notify ", NULL}, false, PM_NO, "nmem70: not_armed", PM_NONE, PM_REASON_NOT_ARMED,
	 -PM_EVOLATILE},
	{{"", "flush_fail not_armed "}, false, PM_NO, "nmem71: not_armed", PM_NONE, PM_REASON_NOT_ARMED, -PM_EVOLATILE},
	{{"save_fail ", "not_armed "}, false, PM_NO, "nmem71: not_armed", PM_NONE, PM_REASON_NOT_ARMED, -PM_EVOLATILE},
	{{"not_armed ", "save_fail "}, false, PM_NO, "nmem70: not_armed", PM_NONE, PM_REASON_NOT_ARMED, -PM_EVOLATILE},
	{{"save_fail ", NULL}, false, PM_NO, "nmem70: save_fail", PM_PAGE, PM_REASON_NOT_ARMED, -PM_ENOTSYNC},
	{{"silent", "restore_fail "}, false, PM_NO, "nmem71: restore_fail", PM_PAGE, PM_REASON_NOT_ARMED, -PM_ENOTSYNC},
	{{"map_fail ", "silent"}, false, PM_NO, "nmem70: map_fail", PM_PAGE, PM_REASON_NOT_ARMED, -PM_ENOTSYNC},
	{{"", NULL}, true, PM_NO, "the region is read-only", PM_PAGE, PM_REASON_NOT_ARMED, -PM_ENOTSYNC},
	{{"flush_fail ", NULL}, false, PM_UNKNOWN, "nmem70: flush_fail", PM_CACHE_LINE, PM_REASON_NOT_ARMED,
	 -PM_ENOTSYNC},
	{{"silent", ""}, false, PM_UNKNOWN, "nmem70 does not report", PM_CACHE_LINE, PM_REASON_NOT_ARMED, -PM_ENOTSYNC},
	{{NULL, NULL}, false, PM_UNKNOWN, "not all NVDIMMs are shown", PM_CACHE_LINE, PM_REASON_NOT_ARMED,
	 -PM_ENOTSYNC},
	{{"flag_of_its_own_not_armed not_armed_ever", NULL}, false, PM_YES, "", PM_CACHE_LINE, PM_REASON_NONE, 0},
};

START_TEST(a_region_is_as_good_as_its_dimms)
{
	struct fake_region region = *fake_dax.region;
	memcpy(region.flags, dimms[_i].flags, sizeof(region.flags));
	region.is_read_only = dimms[_i].is_read_only;
	fake_start(&fake_dax);
	fake.machine.region = &region;
	const struct pm_report *r = report_of(NULL);
	const struct pm_evidence *row = &r->evidence[PM_EV_ARMED];
	ck_assert_int_eq(row->state, dimms[_i].armed);
	ck_assert_str_eq(row->text, dimms[_i].text);
	ck_assert_int_eq(r->granularity, dimms[_i].granularity);
	ck_assert_int_eq(r->reason, dimms[_i].reason);
	ck_assert_int_eq(guaranteed(), dimms[_i].guarantee);
	/* Nor is the kernel's word trusted where one says no. */
	r = report_of(UNIT_OPTIONS(.flags = PM_TRUST_KERNEL));
	ck_assert_int_eq(r->granularity, dimms[_i].granularity);
}
END_TEST

/* What was true of the region when it was met first is not for ever. */
START_TEST(it_is_looked_at_anew)
{
	struct fake_region region = *fake_dax.region;
	fake_start(&fake_dax);
	fake.machine.region = &region;
	struct pm_mapping *m = unit_map(unit_file("file", SIZE), NULL);
	ck_assert_int_eq(unit_query(m)->granularity, PM_CACHE_LINE);
	region.flags[0] = "save_fail ";
	ck_assert_int_eq(unit_query(m)->granularity, PM_PAGE);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_NOT_ARMED);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Nor is it for the mapping after. */
START_TEST(a_later_mapping_looks_anew)
{
	struct fake_region region = *fake_dax.region;
	fake_start(&fake_dax);
	fake.machine.region = &region;
	unit_ok(pm_unmap(unit_map(unit_file("file", SIZE), NULL)));
	ck_assert_int_eq(guaranteed(), 0);
	region.flags[0] = "not_armed ";
	ck_assert_int_eq(guaranteed(), -PM_EVOLATILE);
	struct pm_mapping *m = unit_map(unit_path("file"), NULL);
	ck_assert_int_eq(pm_granularity_of(m), PM_NONE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Of two devices below the worse counts, and what is known of one region alone is not told. */
START_TEST(one_below_is_not_armed)
{
	struct fake_region good = *fake_dax.region, bad = good;
	bad.flags[0] = "not_armed ";
	if (_i / 2)
		good.flags[0] = "save_fail ";
	fake_start(&fake_dax);
	fake.machine.region = NULL;
	fake.machine.below[_i % 2] = &bad;
	fake.machine.below[!(_i % 2)] = &good;
	fake.machine.health = &(struct fake_health){.bad_blocks = "", .numa_node = "1\n"};
	const struct pm_report *r = report_of(NULL);
	ck_assert_int_eq(r->evidence[PM_EV_ARMED].state, PM_NO);
	ck_assert_int_eq(r->granularity, PM_NONE);
	ck_assert_int_eq(r->evidence[PM_EV_NUMA_NODE].state, PM_UNKNOWN);
}
END_TEST

/* ---- The flag of the mapping ---- */

START_TEST(an_accepted_flag_must_be_set)
{
	fake_start(&fake_dax);
	fake.machine.sync = FAKE_IGNORES_FLAGS_OF_FILES;
	const struct pm_report *r = report_of(UNIT_OPTIONS(.flags = _i ? PM_READ_ONLY : 0));
	ck_assert_int_eq(r->evidence[PM_EV_MAP_SYNC].state, PM_YES);
	ck_assert_int_eq(r->evidence[PM_EV_MAP_SYNC_IGNORED].state, PM_YES);
	ck_assert_ptr_nonnull(strstr(r->evidence[PM_EV_MAP_SYNC_IGNORED].source, "smaps"));
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_MAP_SYNC_IGNORED);
	ck_assert_int_eq(guaranteed(), -PM_ENOTSYNC);
	r = report_of(UNIT_OPTIONS(.flags = PM_TRUST_KERNEL));
	ck_assert_int_eq(r->granularity, PM_PAGE);
}
END_TEST

/* No smaps, or something else in its place. */
START_TEST(a_flag_that_is_not_shown_is_not_believed)
{
	fake_start(&fake_dax);
	fake.machine.hides_smaps = !_i;
	fake.machine.over_proc = _i ? TMPFS_MAGIC : 0;
	const struct pm_report *r = report_of(NULL);
	ck_assert_int_eq(r->evidence[PM_EV_MAP_SYNC_IGNORED].state, PM_UNKNOWN);
	ck_assert_int_eq(r->evidence[PM_EV_MAP_SYNC_IGNORED].error, _i ? ENOSYS : ENOENT);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(guaranteed(), -PM_ENOTSYNC);
}
END_TEST

/* The real table of mappings: of shared memory without MAP_SYNC, at a place where others are as well. */
START_TEST(the_real_table_is_read)
{
	fake_start(&fake_dax);
	fake.machine.shows_real_smaps = true;
	void *others[20];
	for (size_t i = 0; i < COUNT(others); i++)
		others[i] = mmap((void *)((i + 1) * 65536), unit_page(), i % 2 ? PROT_READ : PROT_NONE,
		                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct pm_report *r = report_of(NULL);
	/* Among so many it may not be found; taken for one that has the flag it must not be. */
	ck_assert_int_ne(r->evidence[PM_EV_MAP_SYNC_IGNORED].state, PM_NO);
	for (size_t i = 0; i < COUNT(others); i++)
		munmap(others[i], unit_page());
	r = report_of(NULL);
	ck_assert_int_eq(r->evidence[PM_EV_MAP_SYNC_IGNORED].state, PM_YES);
}
END_TEST

#define THREADS 6

static void *map_lines(void *arg)
{
	const char *path = arg;
	for (int i = 0; i < 50; i++) {
		struct pm_mapping *m = unit_map(path, NULL);
		unit_expect(pm_granularity_of(m) == PM_CACHE_LINE);
		pm_unmap(m);
	}
	return NULL;
}

START_TEST(threads_do_not_lose_the_flag)
{
	pthread_t threads[THREADS];
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s", unit_file("file", SIZE));
	fake_start(&fake_dax);
	counting.recording = false;
	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, map_lines, path), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* ---- sysfs ---- */

static const unsigned others[] = {TMPFS_MAGIC, OVERLAYFS_SUPER_MAGIC, EXT4_SUPER_MAGIC};

START_TEST(what_lies_over_sysfs_says_nothing)
{
	fake_start(&fake_dax);
	fake.machine.over_sysfs = others[_i];
	const struct pm_report *r = report_of(NULL);
	static const enum pm_evidence_row rows[] = {PM_EV_REGION,    PM_EV_PROVIDER,   PM_EV_DOMAIN,   PM_EV_ARMED,
	                                            PM_EV_FS_ONLINE, PM_EV_BAD_BLOCKS, PM_EV_CPU_CACHE};
	for (size_t i = 0; i < COUNT(rows); i++)
		ck_assert_msg(r->evidence[rows[i]].state == PM_UNKNOWN, "%s", pm_evidence_name(rows[i]));
	ck_assert_int_eq(r->evidence[PM_EV_REGION].error, ENOSYS);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_REGION_UNKNOWN);
	ck_assert_int_eq(guaranteed(), -PM_ENOTSYNC);
}
END_TEST

static unsigned asked_of_entry(enum fake_call c)
{
	const struct fake_record *r;
	unsigned count = 0;
	for (unsigned i = 0; (r = fake_find(c, i)); i++)
		count += !strncmp(r->path, "/sys/dev/block/", 15) && !strchr(r->path + 15, '/');
	return count;
}

/* Where a mount has a number for ever, so has the entry of a device; its place is read anew for another entry. */
START_TEST(an_entry_is_asked_for_once)
{
	fake_start(_i % 2 ? &fake_dax : &fake_plain);
	if (_i / 2)
		fake.machine.unique_mount = 0;
	struct pm_mapping *m = unit_map(unit_file("file", SIZE), NULL);
	unit_query(m);
	/* More devices than are remembered. */
	for (unsigned i = 0; i < 10; i++) {
		bool other = i > 0;
		fake.machine.replaced += other;
		fake_forget();
		const struct pm_evidence *e = unit_query(m)->evidence;
		ck_assert_int_eq(e[PM_EV_FS_ONLINE].state, PM_YES);
		ck_assert_int_eq(e[PM_EV_DEVICE_FLUSH].state, PM_YES);
		ck_assert_uint_eq(asked_of_entry(FAKE_statx), 1);
		/* Else for the journal and the disk, for its region if it may have one, and for fast commits. */
		ck_assert_uint_eq(asked_of_entry(FAKE_readlinkat), _i / 2 == 0 ? other : _i % 2 ? 4u : 2u + other);
	}
	fake.machine.is_gone = true;
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_FS_ONLINE].state, PM_NO);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A journal that something else tells of is none: each drain writes everything. */
START_TEST(a_journal_in_a_false_sysfs_is_not_known)
{
	fake_start(&fake_plain);
	fake.machine.release = "6.12.95"; /* see test_journal.c */
	fake.machine.over_sysfs = TMPFS_MAGIC;
	const struct pm_report *r = report_of(NULL);
	ck_assert_int_eq(r->evidence[PM_EV_FSYNC_COMPLETE].state, PM_UNKNOWN);
	ck_assert_int_eq(r->evidence[PM_EV_FS_ONLINE].state, PM_UNKNOWN);
	struct pm_mapping *m = unit_map(unit_path("file"), NULL);
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 1));
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* An empty directory there does not mean that the device is gone. */
START_TEST(a_device_is_not_gone_for_want_of_sysfs)
{
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(unit_file("file", SIZE), NULL);
	fake.machine.over_sysfs = TMPFS_MAGIC;
	fake.machine.is_gone = true;
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_FS_ONLINE].state, PM_UNKNOWN);
	fake.machine.over_sysfs = 0;
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_FS_ONLINE].state, PM_NO);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A device-dax has no other way into the medium; the file that is written to must be the kernel's. */
START_TEST(a_false_deep_flush_is_none)
{
	fake_start(&fake_device_dax);
	struct pm_mapping *m = unit_map(unit_file("file", 4 * unit_page()), NULL);
	unit_ok(pm_deep_persist(m, pm_base(m), 1));
	fake.machine.over_sysfs = TMPFS_MAGIC;
	ck_assert_int_eq(pm_deep_persist(m, pm_base(m), 1), -EOPNOTSUPP);
	unit_ok(pm_unmap(m));
	/* Nor is it a device-dax any more. */
	ck_assert_int_eq(pm_map(unit_path("file"), NULL, &m), -ENODEV);
}
END_TEST

/* ---- What is remembered ---- */

static enum pm_granularity hinted(void)
{
	struct pm_mapping *m = NULL;
	if (pm_map(unit_path("file"), NULL, &m))
		return PM_GRANULARITY_UNKNOWN;
	enum pm_granularity g = pm_granularity_of(m);
	unit_ok(pm_unmap(m));
	return g;
}

/* A part of it could not be read, for want of descriptors: what was read says nothing about later mappings. */
START_TEST(half_a_region_is_not_remembered)
{
	unsigned demoted = 0;
	unit_file("file", SIZE);
	for (unsigned nth = 1; nth <= 16; nth++) {
		fake_start(&fake_dax);
		fake_fail(FAKE_openat, nth, EMFILE);
		demoted += hinted() == PM_PAGE;
		fake_fail(FAKE_openat, 0, 0);
		ck_assert_int_eq(hinted(), PM_CACHE_LINE);
	}
	ck_assert_uint_gt(demoted, 0);
}
END_TEST

static struct machine old;

static int statx_without_unique_ids(int fd, const char *path, int flags, struct statx *stx)
{
	int rc = old.below->statx(fd, path, flags, stx);
	stx->stx_mask &= ~STATX_MNT_ID_UNIQUE;
	return rc;
}

/* Before Linux 6.8 another mount can get the number. */
START_TEST(a_mount_whose_number_comes_again)
{
	fake_start(&fake_plain);
	unit_file("file", SIZE);
	fake.machine.block = "pci0000:00/ata1/host0/block/sda";
	ck_assert_int_eq(hinted(), PM_PAGE);
	fake.machine.mount = "ext4 /dev/sda rw,nobarrier";
	ck_assert_int_eq(hinted(), PM_PAGE);
	machine_put(&old, MACHINE(.statx = statx_without_unique_ids));
	ck_assert_int_eq(hinted(), PM_NONE);
	machine_remove(&old);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("second_facts");
	tcase_add_loop_test(c, a_region_is_as_good_as_its_dimms, 0, (int)COUNT(dimms));
	tcase_add_test(c, it_is_looked_at_anew);
	tcase_add_test(c, a_later_mapping_looks_anew);
	tcase_add_loop_test(c, one_below_is_not_armed, 0, 4);
	tcase_add_loop_test(c, an_accepted_flag_must_be_set, 0, 2);
	tcase_add_loop_test(c, a_flag_that_is_not_shown_is_not_believed, 0, 2);
	tcase_add_test(c, the_real_table_is_read);
	tcase_add_test(c, threads_do_not_lose_the_flag);
	tcase_add_loop_test(c, what_lies_over_sysfs_says_nothing, 0, (int)COUNT(others));
	tcase_add_loop_test(c, an_entry_is_asked_for_once, 0, 4);
	tcase_add_test(c, a_journal_in_a_false_sysfs_is_not_known);
	tcase_add_test(c, a_device_is_not_gone_for_want_of_sysfs);
	tcase_add_test(c, a_false_deep_flush_is_none);
	tcase_add_test(c, half_a_region_is_not_remembered);
	tcase_add_test(c, a_mount_whose_number_comes_again);
	return unit_run();
}
