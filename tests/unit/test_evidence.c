/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What Linux, a platform or a sandbox says that is not so, or that says less than it seems to. Each test is named after
 * the lie. That nothing else is asked (flags of the inode, queue/dax, a plain MAP_SHARED|MAP_SYNC, cachestat or
 * mincore of a DAX file) is watched by the fake machine in every test.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#ifndef MAP_SYNC
#define MAP_SYNC 0x080000
#endif
#define PAGES 4u

static struct fake_region region;

/* The proven machine, with a region that the test may change. */
static void start_with_region(void)
{
	fake_start(&fake_dax);
	region = *fake_dax.region;
	fake.machine.region = &region;
}

/* The report of a mapping of a file of PAGES pages. */
static const struct pm_report *report_of(const struct pm_options *o)
{
	return unit_report(unit_file("file", PAGES * unit_page()), o);
}

static void check_row(const struct pm_report *r, enum pm_evidence_row row, enum pm_state state, const char *text)
{
	const struct pm_evidence *e = &r->evidence[row];
	ck_assert_msg(e->state == state, "%s: %s", pm_evidence_name(row), pm_state_name(e->state));
	if (text)
		ck_assert_str_eq(e->text, text);
}

static const struct {
	const struct fake_machine *machine;
	enum pm_granularity granularity;
	enum pm_state sync, direct;
	enum pm_grade grade;
	enum pm_reason reason;
	enum pm_advice advice;
} seen[] = {
	{&fake_plain, PM_PAGE, PM_NO, PM_NO, PM_GRADE_NONE, PM_REASON_PAGE_CACHE, PM_ADVICE_MOUNT_DAX},
	{&fake_dax, PM_CACHE_LINE, PM_YES, PM_YES, PM_GRADE_PROVEN, PM_REASON_NONE, PM_ADVICE_NONE},
	{&fake_dax_no_domain, PM_CACHE_LINE, PM_YES, PM_YES, PM_GRADE_PROMISED, PM_REASON_NO_DOMAIN,
	 PM_ADVICE_STATE_DOMAIN},
	{&fake_xfs_reflink, PM_PAGE, PM_UNKNOWN, PM_YES, PM_GRADE_ACCEPTED, PM_REASON_SHAREABLE, PM_ADVICE_LEASE},
	{&fake_e820, PM_PAGE, PM_UNKNOWN, PM_YES, PM_GRADE_ACCEPTED, PM_REASON_EMULATED_PMEM, PM_ADVICE_REAL_MEDIUM},
	{&fake_virtio_pmem, PM_PAGE, PM_NO, PM_YES, PM_GRADE_NONE, PM_REASON_FLUSH_COMMAND, PM_ADVICE_REAL_MEDIUM},
	{&fake_eadr, PM_BYTE, PM_YES, PM_YES, PM_GRADE_PROVEN, PM_REASON_NONE, PM_ADVICE_NONE},
	{&fake_device_dax, PM_CACHE_LINE, PM_YES, PM_YES, PM_GRADE_PROVEN, PM_REASON_NONE, PM_ADVICE_NONE},
	{&fake_tmpfs, PM_NONE, PM_NO, PM_NO, PM_GRADE_NONE, PM_REASON_VOLATILE, PM_ADVICE_REAL_MEDIUM},
	{&fake_shim, PM_PAGE, PM_NO, PM_YES, PM_GRADE_NONE, PM_REASON_MAP_SYNC_IGNORED, PM_ADVICE_LEAVE_SANDBOX},
	{&fake_forced, PM_PAGE, PM_NO, PM_YES, PM_GRADE_NONE, PM_REASON_ENV_OVERRIDE, PM_ADVICE_UNSET_ENV},
	{&fake_weak_cpu, PM_PAGE, PM_UNKNOWN, PM_YES, PM_GRADE_ACCEPTED, PM_REASON_CPU, PM_ADVICE_OTHER_CPU},
	{&fake_gvisor, PM_PAGE, PM_NO, PM_UNKNOWN, PM_GRADE_NONE, PM_REASON_MAP_SYNC_IGNORED, PM_ADVICE_LEAVE_SANDBOX},
	{&fake_block_device, PM_PAGE, PM_NO, PM_NO, PM_GRADE_NONE, PM_REASON_PAGE_CACHE, PM_ADVICE_MOUNT_DAX},
};

START_TEST(each_machine_is_seen_for_what_it_is)
{
	fake_start(seen[_i].machine);
	const struct pm_report *r = report_of(NULL);
	ck_assert_msg(r->granularity == seen[_i].granularity, "%s: %d", seen[_i].machine->name, r->granularity);
	ck_assert_msg(r->reason == seen[_i].reason, "%s: %s", seen[_i].machine->name, pm_reason_name(r->reason));
	ck_assert_int_eq(r->sync, seen[_i].sync);
	ck_assert_int_eq(r->direct, seen[_i].direct);
	ck_assert_int_eq(r->grade, seen[_i].grade);
	ck_assert_int_eq(r->advice, seen[_i].advice);
	for (int i = 0; i < PM_EVIDENCE_ROWS; i++) {
		const struct pm_evidence *e = &r->evidence[i];
		ck_assert(e->state == PM_UNKNOWN || e->state == PM_NO || e->state == PM_YES);
		ck_assert_ptr_nonnull(e->source);
		ck_assert_int_ge(e->error, 0);
		ck_assert_ptr_nonnull(memchr(e->text, 0, sizeof(e->text)));
	}
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

START_TEST(accepted_on_dram)
{
	fake_start(&fake_e820);
	const struct pm_report *r = report_of(NULL);
	check_row(r, PM_EV_MAP_SYNC, PM_YES, NULL);
	check_row(r, PM_EV_DAX, PM_YES, NULL);
	check_row(r, PM_EV_PROVIDER, PM_NO, "e820");
	ck_assert_int_eq(r->granularity, PM_PAGE);
}
END_TEST

/* MAP_SHARED ignores what it does not know: every use of the flag must be one that is validated. */
START_TEST(accepted_without_validation)
{
	fake_start(fake_machines[_i]);
	report_of(NULL);
	for (unsigned i = 0; i < fake_calls(FAKE_mmap); i++) {
		unsigned long flags = fake_find(FAKE_mmap, i)->flags;
		if (flags & MAP_SYNC)
			ck_assert_uint_eq(flags & MAP_TYPE, MAP_SHARED_VALIDATE);
		ck_assert_uint_eq(flags & MAP_FIXED, 0);
	}
}
END_TEST

START_TEST(attribute_without_its_mask)
{
	fake_start(&fake_dax);
	fake.machine.dax = PM_UNKNOWN;
	const struct pm_report *r = report_of(NULL);
	check_row(r, PM_EV_DAX, PM_UNKNOWN, NULL);
	ck_assert_int_eq(r->direct, PM_UNKNOWN);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_DIRECT_UNKNOWN);
}
END_TEST

START_TEST(accepted_by_who_accepts_anything)
{
	fake_start(&fake_shim);
	const struct pm_report *r = report_of(NULL);
	check_row(r, PM_EV_MAP_SYNC, PM_YES, NULL);
	check_row(r, PM_EV_MAP_SYNC_IGNORED, PM_YES, NULL);
	ck_assert_int_eq(r->granularity, PM_PAGE);
}
END_TEST

START_TEST(accepted_on_a_page_cache)
{
	fake_start(&fake_plain);
	fake.machine.sync = FAKE_ACCEPTS;
	const struct pm_report *r = report_of(NULL);
	check_row(r, PM_EV_MAP_SYNC_IGNORED, PM_YES, NULL);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_MAP_SYNC_IGNORED);
}
END_TEST

/* Whatever the errno: EINVAL is a kernel before 4.15, EOPNOTSUPP a file system, EIO one that was shut down. */
START_TEST(refused_for_any_reason)
{
	static const int refusals[] = {EOPNOTSUPP, EINVAL, EIO, EPERM, ENODEV};
	for (size_t i = 0; i < COUNT(refusals); i++) {
		fake_start(&fake_dax);
		fake.machine.sync = FAKE_REFUSES;
		fake.machine.errno_of_refusal = refusals[i];
		const struct pm_report *r = report_of(NULL);
		check_row(r, PM_EV_MAP_SYNC, PM_NO, NULL);
		ck_assert_int_eq(r->evidence[PM_EV_MAP_SYNC].error, refusals[i]);
		ck_assert_int_eq(r->granularity, PM_PAGE);
		ck_assert_int_eq(r->reason, refusals[i] == EIO ? PM_REASON_SHUT_DOWN : PM_REASON_SYNC_REFUSED);
	}
}
END_TEST

/* ---- The region ---- */

static const struct {
	const char *domain;
	enum pm_state stated, caches;
	enum pm_granularity granularity;
	enum pm_grade grade;
} domains[] = {
	{NULL, PM_UNKNOWN, PM_UNKNOWN, PM_CACHE_LINE, PM_GRADE_PROMISED},
	{"", PM_UNKNOWN, PM_UNKNOWN, PM_CACHE_LINE, PM_GRADE_PROMISED},
	{"memory_controller", PM_YES, PM_NO, PM_CACHE_LINE, PM_GRADE_PROVEN},
	{"cpu_cache", PM_YES, PM_YES, PM_BYTE, PM_GRADE_PROVEN},
	{"cpu_caches", PM_NO, PM_UNKNOWN, PM_CACHE_LINE, PM_GRADE_PROMISED},
	{"unknown", PM_NO, PM_UNKNOWN, PM_CACHE_LINE, PM_GRADE_PROMISED},
};

START_TEST(a_domain_that_is_absent_or_strange)
{
	start_with_region();
	region.persistence_domain = domains[_i].domain;
	const struct pm_report *r = report_of(NULL);
	check_row(r, PM_EV_DOMAIN, domains[_i].stated, domains[_i].domain ? domains[_i].domain : "");
	check_row(r, PM_EV_CPU_CACHE, domains[_i].caches, NULL);
	ck_assert_int_eq(r->granularity, domains[_i].granularity);
	ck_assert_int_eq(r->grade, domains[_i].grade);
	if (!domains[_i].domain)
		ck_assert_int_eq(r->evidence[PM_EV_DOMAIN].error, ENOENT);
}
END_TEST

static const struct {
	const char *provider, *devtype, *domain;
	enum pm_state real, synchronous;
	enum pm_granularity granularity;
	enum pm_reason reason;
} providers[] = {
	{"ACPI.NFIT", "nd_pmem", NULL, PM_YES, PM_YES, PM_CACHE_LINE, PM_REASON_NO_DOMAIN},
	{"CXL", "nd_pmem", "memory_controller", PM_YES, PM_YES, PM_CACHE_LINE, PM_REASON_NONE},
	{"e820", "nd_pmem", "memory_controller", PM_NO, PM_UNKNOWN, PM_PAGE, PM_REASON_EMULATED_PMEM},
	{"nfit_test.0", "nd_pmem", "cpu_cache", PM_NO, PM_UNKNOWN, PM_PAGE, PM_REASON_EMULATED_PMEM},
	{"nfit_test.1", "nd_pmem", NULL, PM_NO, PM_UNKNOWN, PM_PAGE, PM_REASON_EMULATED_PMEM},
	{"virtio-pmem", "nd_pmem", "memory_controller", PM_YES, PM_NO, PM_PAGE, PM_REASON_FLUSH_COMMAND},
	{"unheard-of", "nd_pmem", NULL, PM_UNKNOWN, PM_UNKNOWN, PM_PAGE, PM_REASON_REGION_UNKNOWN},
	{"unheard-of", "nd_pmem", "unknown", PM_UNKNOWN, PM_UNKNOWN, PM_PAGE, PM_REASON_REGION_UNKNOWN},
	{"unheard-of", "nd_pmem", "memory_controller", PM_YES, PM_YES, PM_CACHE_LINE, PM_REASON_NONE},
	{NULL, "nd_pmem", NULL, PM_UNKNOWN, PM_UNKNOWN, PM_PAGE, PM_REASON_REGION_UNKNOWN},
	{"ACPI.NFIT", NULL, "memory_controller", PM_YES, PM_UNKNOWN, PM_PAGE, PM_REASON_REGION_UNKNOWN},
	{"ACPI.NFIT", "nd_blk", "memory_controller", PM_YES, PM_UNKNOWN, PM_PAGE, PM_REASON_REGION_UNKNOWN},
	{"ACPI.NFIT", "nd_volatile", "memory_controller", PM_YES, PM_UNKNOWN, PM_NONE, PM_REASON_VOLATILE},
};

START_TEST(memory_that_is_not_what_it_is_sold_as)
{
	start_with_region();
	region.provider = providers[_i].provider;
	region.devtype = providers[_i].devtype;
	region.persistence_domain = providers[_i].domain;
	const struct pm_report *r = report_of(NULL);
	check_row(r, PM_EV_REGION, PM_YES, "region7");
	check_row(r, PM_EV_PROVIDER, providers[_i].real, providers[_i].provider ? providers[_i].provider : "");
	check_row(r, PM_EV_CPU_FLUSH_SUFFICES, providers[_i].synchronous, NULL);
	ck_assert_int_eq(r->granularity, providers[_i].granularity);
	ck_assert_int_eq(r->reason, providers[_i].reason);
}
END_TEST

START_TEST(bits_that_are_absent_are_not_zero)
{
	static const struct {
		const char *text;
		enum pm_state state;
	} bits[] = {{NULL, PM_UNKNOWN}, {"0", PM_NO}, {"1", PM_YES}, {"", PM_UNKNOWN}, {"2", PM_UNKNOWN}};
	for (size_t i = 0; i < COUNT(bits); i++) {
		start_with_region();
		region.deep_flush = region.write_cache = bits[i].text;
		const struct pm_report *r = report_of(NULL);
		check_row(r, PM_EV_DEEP_FLUSH, bits[i].state, NULL);
		check_row(r, PM_EV_WRITE_CACHE, bits[i].state, NULL);
		/* Beyond the persistence domain: nothing that the promise stands on. */
		ck_assert_int_eq(r->grade, PM_GRADE_PROVEN);
	}
}
END_TEST

/* Such as a device-mapper device: there is no region on its way. */
START_TEST(a_device_that_hides_its_region)
{
	start_with_region();
	fake.machine.region = NULL;
	const struct pm_report *r = report_of(NULL);
	check_row(r, PM_EV_REGION, PM_UNKNOWN, NULL);
	ck_assert_int_eq(r->evidence[PM_EV_REGION].error, ENODEV);
	ck_assert_int_eq(r->reason, PM_REASON_REGION_UNKNOWN);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	r = report_of(UNIT_OPTIONS(.flags = PM_TRUST_KERNEL));
	ck_assert_int_eq(r->granularity, PM_CACHE_LINE);
	ck_assert_int_eq(r->grade, PM_GRADE_TRUSTED);
	ck_assert_int_eq(r->reason, PM_REASON_TRUSTED);
}
END_TEST

START_TEST(sysfs_that_is_not_mounted)
{
	start_with_region();
	fake_fail(FAKE_readlinkat, 0, ENOENT);
	const struct pm_report *r = report_of(NULL);
	check_row(r, PM_EV_REGION, PM_UNKNOWN, NULL);
	ck_assert_int_eq(r->evidence[PM_EV_REGION].error, ENOENT);
	ck_assert_int_eq(r->granularity, PM_PAGE);
}
END_TEST

static unsigned attributes_read(void)
{
	unsigned count = 0;
	for (unsigned i = 0; i < fake_calls(FAKE_openat); i++)
		count += !strncmp(fake_find(FAKE_openat, i)->path, "/sys/", 5);
	return count;
}

/* What a region is is read once, which keeps mapping cheap; its state is read each time, and a query is about now. */
START_TEST(a_region_remembered_and_a_region_now)
{
	const char *path = unit_file("file", PAGES * unit_page());
	start_with_region();
	struct pm_mapping *first = unit_map(path, NULL);
	ck_assert_uint_gt(attributes_read(), 5);
	fake_forget();
	struct pm_mapping *second = unit_map(path, NULL);
	/* One NVDIMM, that it is of no other family and that there is no other, read_only, dax/write_cache. */
	ck_assert_uint_eq(attributes_read(), 5);
	/* The file's name. The place of the device is known. */
	ck_assert_uint_eq(fake_calls(FAKE_readlinkat), 1);
	ck_assert_int_eq(pm_granularity_of(second), PM_CACHE_LINE);
	region.provider = "e820";
	fake_forget();
	ck_assert_int_eq(unit_query(second)->reason, PM_REASON_EMULATED_PMEM);
	ck_assert_uint_ge(attributes_read(), 5);
	ck_assert_int_eq(pm_granularity_of(second), PM_PAGE);
	struct pm_mapping *third = unit_map(path, NULL);
	ck_assert_int_eq(pm_granularity_of(third), PM_PAGE);
	unit_ok(pm_unmap(first));
	unit_ok(pm_unmap(second));
	unit_ok(pm_unmap(third));
}
END_TEST

/* ---- Paths, costs and the environment ---- */

START_TEST(a_working_directory_with_a_sys_of_its_own)
{
	fake_start(fake_machines[_i]);
	ck_assert_int_eq(chdir(unit_path("")), 0);
	report_of(NULL);
	for (enum fake_call c = FAKE_openat; c <= FAKE_readlinkat; c = c == FAKE_openat ? FAKE_readlinkat : c + 1)
		for (unsigned i = 0; i < fake_calls(c); i++) {
			const struct fake_record *r = fake_find(c, i);
			ck_assert_msg(r->path[0] == '/' || r->fd >= 0, "%s", r->path);
		}
}
END_TEST

START_TEST(mapping_asks_only_what_it_must)
{
	const char *path = unit_file("file", PAGES * unit_page());
	fake_start(&fake_plain);
	fake.machine.cached_from = PAGES * unit_page();
	struct pm_mapping *m = unit_map(path, NULL);
	/*
	 * openat, statx, fstatfs, the journal of the ext4 (readlinkat, and where that and a journal lead: statx,
	 * statfs), its mount and disk (statmount, readlinkat, openat, fstatfs, read, close), a wrong sync, readlinkat
	 * of its name, mmap, uname, madvise, cachestat.
	 */
	ck_assert_uint_eq(fake_syscalls(), 20);
	ck_assert_uint_eq(fake_calls(FAKE_mmap), 1);
	ck_assert_uint_eq(fake_calls(FAKE_dlopen), 0);
	ck_assert_uint_eq(fake_mapped_bytes(), PAGES * unit_page());
	unit_ok(pm_unmap(m));
	fake_forget();
	m = unit_map(path, UNIT_OPTIONS(.sync = PM_AVOID));
	ck_assert_uint_eq(fake_calls(FAKE_mmap), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Of the file; not of sysfs, whether it is one. */
static unsigned asked_of_file(void)
{
	unsigned asked = 0;
	const struct fake_record *r;
	for (unsigned i = 0; (r = fake_find(FAKE_fstatfs, i)); i++)
		asked += r->fd < 1000000;
	return asked;
}

static unsigned asked_for(const char *path, const struct pm_options *o)
{
	fake_forget();
	struct pm_mapping *m = unit_map(path, o);
	unsigned asked = asked_of_file();
	ck_assert_str_eq(unit_query(m)->evidence[PM_EV_FILE_SYSTEM].text, "ext2/ext3/ext4");
	/* statmount(2), of which a private copy does not need the answer, tells the rest. */
	bool by_mount = fake.machine.unique_mount && !(o && o->flags & PM_PRIVATE);
	ck_assert_uint_eq(asked_of_file(), asked + !by_mount);
	unit_ok(pm_unmap(m));
	return asked;
}

/* Once for a mount that cannot be another by now; a file that was not opened for writing just now tells no more. */
START_TEST(the_file_system_of_a_mount)
{
	const char *path = unit_file("file", PAGES * unit_page());
	fake_start(&fake_plain);
	fake.machine.unique_mount = 0;
	for (int i = 0; i < 2; i++)
		ck_assert_uint_eq(asked_for(path, NULL), 1);
	for (uint64_t mount = 100; mount < 102; mount++) {
		fake.machine.unique_mount = mount;
		for (int i = 0; i < 3; i++)
			ck_assert_uint_eq(asked_for(path, NULL), i == 0);
		ck_assert_uint_eq(asked_for(path, UNIT_OPTIONS(.flags = PM_READ_ONLY)), 1);
		ck_assert_uint_eq(asked_for(path, UNIT_OPTIONS(.flags = PM_PRIVATE)), 1);
	}
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct pm_mapping *m;
	fake_forget();
	atomic_store(&fake.watcher_sleeps, true);
	unit_ok(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_LEASE), &m));
	ck_assert_uint_eq(fake_calls(FAKE_fstatfs), 1);
	unit_ok(pm_unmap(m));
	/* What stood in its place has pushed it out. */
	fake.machine.unique_mount = 100 + 16;
	ck_assert_uint_eq(asked_for(path, NULL), 1);
	fake.machine.unique_mount = 100;
	ck_assert_uint_eq(asked_for(path, NULL), 1);
}
END_TEST

/* One that is not known, or cannot be asked, is asked again. */
START_TEST(an_unknown_file_system_of_a_mount)
{
	const char *path = unit_file("file", PAGES * unit_page());
	fake_start(&fake_plain);
	fake.machine.unique_mount = 100;
	fake.machine.magic = 0x1234;
	for (int i = 0; i < 4; i++) {
		fake_forget();
		fake_fail(FAKE_fstatfs, 0, i == 2 ? EIO : 0);
		unit_ok(pm_unmap(unit_map(path, NULL)));
		ck_assert_uint_eq(asked_of_file(), 1);
	}
}
END_TEST

/* Memory is distinguished from a lasting backing, also where the answer is remembered. */
START_TEST(a_mount_that_is_memory)
{
	const char *path = unit_file("file", PAGES * unit_page());
	fake_start(&fake_tmpfs);
	fake.machine.unique_mount = 100;
	for (int i = 0; i < 2; i++) {
		struct pm_mapping *m = unit_map(path, NULL);
		ck_assert_int_eq(pm_granularity_of(m), PM_NONE);
		unit_ok(pm_unmap(m));
	}
	ck_assert_uint_eq(fake_calls(FAKE_fstatfs), 1);
}
END_TEST

START_TEST(an_environment_that_promises)
{
	static const struct {
		const char *word;
		enum pm_state forced;
		enum pm_granularity on_dax, on_eadr, on_plain;
	} words[] = {
		{NULL, PM_NO, PM_CACHE_LINE, PM_BYTE, PM_PAGE},
		{"page", PM_YES, PM_PAGE, PM_PAGE, PM_PAGE},
		{"cache_line", PM_YES, PM_CACHE_LINE, PM_CACHE_LINE, PM_PAGE},
		{"byte", PM_NO, PM_CACHE_LINE, PM_BYTE, PM_PAGE},
		{"", PM_NO, PM_CACHE_LINE, PM_BYTE, PM_PAGE},
		{"pages", PM_NO, PM_CACHE_LINE, PM_BYTE, PM_PAGE},
	};
	static const struct fake_machine *const on[] = {&fake_dax, &fake_eadr, &fake_plain};
	for (size_t i = 0; i < COUNT(words); i++) {
		for (size_t j = 0; j < COUNT(on); j++) {
			fake_start(on[j]);
			fake.machine.granularity_word = words[i].word;
			const struct pm_report *r = report_of(NULL);
			ck_assert_int_eq(r->granularity, j == 0   ? words[i].on_dax
			                                 : j == 1 ? words[i].on_eadr
			                                          : words[i].on_plain);
			check_row(r, PM_EV_ENV_OVERRIDE, words[i].forced, words[i].word ? words[i].word : "");
		}
	}
}
END_TEST

START_TEST(a_cpu_that_stops_short)
{
	fake_start(&fake_weak_cpu);
	const struct pm_report *r = report_of(NULL);
	check_row(r, PM_EV_CPU, PM_NO, "fake");
	r = report_of(UNIT_OPTIONS(.flags = PM_TRUST_KERNEL));
	ck_assert_int_eq(r->granularity, PM_PAGE);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("evidence");
	tcase_add_loop_test(c, each_machine_is_seen_for_what_it_is, 0, (int)COUNT(seen));
	tcase_add_test(c, accepted_on_dram);
	tcase_add_loop_test(c, accepted_without_validation, 0, (int)fake_machines_count);
	tcase_add_test(c, attribute_without_its_mask);
	tcase_add_test(c, accepted_by_who_accepts_anything);
	tcase_add_test(c, accepted_on_a_page_cache);
	tcase_add_test(c, refused_for_any_reason);
	tcase_add_loop_test(c, a_domain_that_is_absent_or_strange, 0, (int)COUNT(domains));
	tcase_add_loop_test(c, memory_that_is_not_what_it_is_sold_as, 0, (int)COUNT(providers));
	tcase_add_test(c, bits_that_are_absent_are_not_zero);
	tcase_add_test(c, a_device_that_hides_its_region);
	tcase_add_test(c, sysfs_that_is_not_mounted);
	tcase_add_test(c, a_region_remembered_and_a_region_now);
	tcase_add_loop_test(c, a_working_directory_with_a_sys_of_its_own, 0, (int)fake_machines_count);
	tcase_add_test(c, mapping_asks_only_what_it_must);
	tcase_add_test(c, the_file_system_of_a_mount);
	tcase_add_test(c, an_unknown_file_system_of_a_mount);
	tcase_add_test(c, a_mount_that_is_memory);
	tcase_add_test(c, an_environment_that_promises);
	tcase_add_test(c, a_cpu_that_stops_short);
	return unit_run();
}
