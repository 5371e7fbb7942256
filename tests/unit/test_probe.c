/* SPDX-License-Identifier: BSD-3-Clause */
/* pm_probe(): it tells what pm_map() then gets, and leaves no trace. */
#include <dirent.h>
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "unit.h"

static struct pm_report probed, mapped;

static unsigned entries_of(const char *directory)
{
	unsigned count = 0;
	DIR *d = opendir(directory);
	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		count++;
	closedir(d);
	return count;
}

struct trace {
	struct stat file, directory;
	unsigned entries, open_files;
	bool exists;
};

/* What is written back meanwhile changes the blocks of a file, and the advice, whatever is looked at. */
static void settle(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOATIME | O_NONBLOCK);
	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

static void look(const char *path, struct trace *t)
{
	memset(t, 0, sizeof(*t));
	settle(path);
	t->open_files = unit_open_files();
	t->entries = entries_of(unit_path("."));
	t->exists = !stat(path, &t->file);
	ck_assert_int_eq(stat(unit_path("."), &t->directory), 0);
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void check_no_trace(const char *path, const struct trace *before)
{
	struct trace after;
	look(path, &after);
	ck_assert_uint_eq(after.open_files, before->open_files);
	ck_assert_uint_eq(after.entries, before->entries);
	ck_assert_int_eq(after.exists, before->exists);
	ck_assert(same_time(after.directory.st_mtim, before->directory.st_mtim));
	if (!after.exists)
		return;
	ck_assert_int_eq(after.file.st_size, before->file.st_size);
	ck_assert_int_eq(after.file.st_blocks, before->file.st_blocks);
	ck_assert_uint_eq(after.file.st_ino, before->file.st_ino);
	ck_assert(same_time(after.file.st_atim, before->file.st_atim));
	ck_assert(same_time(after.file.st_mtim, before->file.st_mtim));
	ck_assert(same_time(after.file.st_ctim, before->file.st_ctim));
}

static void check_agreement(const char *name, int map_rc)
{
	if (map_rc) {
		ck_assert_msg(probed.verdict == PM_VERDICT_REFUSED, "%s: refused, not probed so", name);
		return;
	}
	ck_assert_msg(probed.verdict == mapped.verdict, "%s: %d, then %d", name, probed.verdict, mapped.verdict);
	ck_assert_msg(probed.granularity == mapped.granularity, "%s: %s, then %s", name,
	              pm_granularity_name(probed.granularity), pm_granularity_name(mapped.granularity));
	ck_assert_msg(probed.reason == mapped.reason, "%s: %s, then %s", name, pm_reason_name(probed.reason),
	              pm_reason_name(mapped.reason));
	ck_assert_int_eq(probed.grade, mapped.grade);
	ck_assert_int_eq(probed.advice, mapped.advice);
	ck_assert_int_eq(probed.sync, mapped.sync);
	ck_assert_int_eq(probed.direct, mapped.direct);
	ck_assert_uint_eq(probed.offset, mapped.offset);
	ck_assert_uint_eq(probed.length, mapped.length);
}

static void probe_then_map(const char *name, const char *path, const struct pm_options *o)
{
	settle(path);
	struct trace before;
	struct pm_mapping *m = NULL;
	look(path, &before);
	ck_assert_msg(pm_probe(path, o, &probed, sizeof(probed)) == 0, "%s: %s", name, pm_error_detail());
	check_no_trace(path, &before);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
	int rc = pm_map(path, o, &m);
	if (!rc) {
		mapped = *unit_query(m);
		unit_ok(pm_unmap(m));
	}
	check_agreement(name, rc);
}

static const struct pm_options asks[] = {
	{.flags = 0},
	{.flags = PM_CREATE, .length = 100000},
	{.flags = PM_CREATE | PM_PREPARE, .length = 100000},
	{.flags = PM_CREATE | PM_SPARSE, .length = 100000},
	{.flags = PM_PREPARE},
	{.flags = PM_READ_ONLY},
	{.flags = PM_PRIVATE},
	{.flags = PM_TRUST_KERNEL},
	{.sync = PM_GUARANTEE},
	{.direct = PM_GUARANTEE},
	{.sync = PM_GUARANTEE, .direct = PM_GUARANTEE, .flags = PM_CREATE | PM_PREPARE, .length = 100000},
	{.sync = PM_AVOID},
	{.direct = PM_AVOID, .offset = 4096, .length = 7},
};

/* What a file's extents are, the new part of it at least, until it is populated. */
static void start(const struct fake_machine *machine, const struct pm_options *o, bool is_written)
{
	static const struct fake_extent unwritten = {0, 1 << 20, FIEMAP_EXTENT_UNWRITTEN}, none = {0, 0, 0};
	fake_start(machine);
	if (is_written)
		return;
	fake.machine.extents = o->flags & PM_SPARSE ? &none : &unwritten;
	fake.machine.extent_count = 1;
}

START_TEST(it_says_what_mapping_gets)
{
	const struct fake_machine *machine = fake_machines[_i / 2];
	for (size_t i = 0; i < COUNT(asks); i++) {
		struct pm_options o = asks[i];
		o.size = sizeof(o);
		bool creates = o.flags & PM_CREATE, node = machine->is_device_dax || machine->is_block_device;
		if (creates && node)
			continue;
		if (machine->is_device_dax && o.length)
			continue;
		const char *path = unit_file("file", 65536);
		/* A grown file is unwritten where it is new, whatever it was before. */
		start(machine, &o, _i % 2 && !creates);
		probe_then_map(machine->name, path, &o);
		if (!creates || !machine->has_unnamed_files)
			continue;
		ck_assert_int_eq(unlink(path), 0);
		start(machine, &o, false);
		probe_then_map(machine->name, path, &o);
		unlink(path);
	}
}
END_TEST

START_TEST(it_is_right_on_the_real_machine)
{
	/* Nothing is populated there, and so not prepared. */
	if (unit_is_emulated())
		return;
	for (size_t i = 0; i < COUNT(asks); i++) {
		struct pm_options o = asks[i];
		o.size = sizeof(o);
		probe_then_map("real", unit_file("file", 65536), &o);
		unlink(unit_path("file"));
		if (o.flags & PM_CREATE && pm_probe(unit_path("file"), &o, &probed, sizeof(probed)) == 0 &&
		    probed.verdict != PM_VERDICT_UNKNOWN)
			probe_then_map("real, created", unit_path("file"), &o);
		unlink(unit_path("file"));
	}
}
END_TEST

/* The decision of a map is made before the rest of the report is gathered: the probe's must not see more. */
START_TEST(it_decides_on_the_same_evidence)
{
	static const struct fake_region forgetful = {"ACPI.NFIT", "nd_volatile", NULL,         NULL,
	                                             NULL,        false,         {NULL, NULL}, false};
	const char *path = unit_file("file", 65536);
	fake_start(&fake_plain);
	fake.machine.region = &forgetful;
	probe_then_map("page cache over nd_volatile", path, NULL);
}
END_TEST

START_TEST(it_fails_as_mapping_does)
{
	struct trace before;
	const char *path = unit_path("missing");
	look(path, &before);
	ck_assert_int_eq(pm_probe(path, NULL, &probed, sizeof(probed)), -ENOENT);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_probe"));
	ck_assert_int_eq(pm_probe("/dev/null", NULL, &probed, sizeof(probed)), -ENODEV);
	ck_assert_int_eq(pm_probe(unit_path("."), NULL, &probed, sizeof(probed)), -EISDIR);
	ck_assert_int_eq(pm_probe(NULL, NULL, &probed, sizeof(probed)), -EINVAL);
	ck_assert_int_eq(pm_probe(path, UNIT_OPTIONS(.flags = PM_CREATE), &probed, sizeof(probed)), -EINVAL);
	const struct pm_options *create = UNIT_OPTIONS(.flags = PM_CREATE, .length = 1);
	ck_assert_int_eq(pm_probe(unit_path("missing/file"), create, &probed, sizeof(probed)), -ENOENT);
	check_no_trace(path, &before);
	path = unit_file("file", 100);
	look(path, &before);
	const struct pm_options *exclusive = UNIT_OPTIONS(.flags = PM_CREATE | PM_EXCLUSIVE, .length = 1);
	ck_assert_int_eq(pm_probe(path, exclusive, &probed, sizeof(probed)), -EEXIST);
	ck_assert_int_eq(pm_probe(path, UNIT_OPTIONS(.length = 101), &probed, sizeof(probed)), -ERANGE);
	check_no_trace(path, &before);
}
END_TEST

/* A file system without unnamed files: to know, one would have to create one. */
START_TEST(unknown_is_said_where_it_cannot_be_known)
{
	static const int refusals[] = {EOPNOTSUPP, EISDIR, EINVAL};
	struct trace before;
	char text[512];
	const char *path = unit_path("missing");
	for (size_t i = 0; i < COUNT(refusals); i++) {
		fake_start(&fake_dax);
		/* After the file and the directory the third open is for the unnamed file. */
		fake_fail(FAKE_openat, 3, refusals[i]);
		look(path, &before);
		memset(&probed, 0x55, sizeof(probed));
		unit_ok(pm_probe(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 100), &probed, sizeof(probed)));
		check_no_trace(path, &before);
		ck_assert_int_eq(probed.granularity, PM_GRANULARITY_UNKNOWN);
		ck_assert_int_eq(probed.verdict, PM_VERDICT_UNKNOWN);
		ck_assert_int_eq(probed.sync, PM_UNKNOWN);
		ck_assert_int_eq(probed.direct, PM_UNKNOWN);
		ck_assert_int_gt(pm_explain(&probed, text, sizeof(text)), 0);
		ck_assert_ptr_nonnull(strstr(text, "without creating it"));
	}
}
END_TEST

/* Only the owner may ask that an access is not noted. */
START_TEST(what_others_own_is_probed_as_well)
{
	const char *path = unit_file("file", 100);
	fake_start(&fake_plain);
	fake_fail(FAKE_openat, 1, EPERM);
	ck_assert_int_eq(pm_probe(path, NULL, &probed, sizeof(probed)), 0);
	ck_assert_int_eq(probed.granularity, PM_PAGE);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* It has no earlier look at the file that the birth could differ from. */
START_TEST(a_file_of_an_overlay_is_no_copy)
{
	const char *path = unit_file("file", 65536);
	struct pm_options o = {.size = sizeof(o), .flags = PM_READ_ONLY};
	fake_start(&fake_plain);
	fake.machine.magic = OVERLAYFS_SUPER_MAGIC;
	fake.machine.mount = "overlay overlay rw,lowerdir=/lower";
	unit_ok(pm_probe(path, &o, &probed, sizeof(probed)));
	ck_assert_int_eq(probed.evidence[PM_EV_NAMED].state, PM_YES);
	ck_assert_int_ne(probed.reason, PM_REASON_COPIED_UP);
}
END_TEST

START_TEST(anonymous_memory_is_probed_as_well)
{
	const struct pm_options *o = UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = 100);
	ck_assert_int_eq(pm_probe(NULL, o, &probed, sizeof(probed)), 0);
	ck_assert_int_eq(probed.granularity, PM_NONE);
	ck_assert_int_eq(probed.reason, PM_REASON_ANONYMOUS);
	ck_assert_uint_eq(probed.length, 100);
}
END_TEST

/* What pm_map() refuses for what the options or the backing are needs no trial. */
START_TEST(what_never_maps_is_refused)
{
	const struct pm_options empty = {.size = sizeof(empty), .flags = PM_ANONYMOUS};
	const struct pm_options endless = {.size = sizeof(empty), .flags = PM_ANONYMOUS, .length = UINT64_MAX};
	const struct pm_options *from_medium = UNIT_OPTIONS(.flags = PM_FROM_MEDIUM);
	const char *path = unit_file("file", 65536);
	struct pm_mapping *m;
	ck_assert_int_eq(pm_probe(NULL, &empty, &probed, sizeof(probed)), -EINVAL);
	ck_assert_int_eq(pm_map(NULL, &empty, &m), -EINVAL);
	ck_assert_int_eq(pm_probe(NULL, &endless, &probed, sizeof(probed)), -EOVERFLOW);
	ck_assert_int_eq(pm_map(NULL, &endless, &m), -EOVERFLOW);
	fake_start(&fake_tmpfs);
	ck_assert_int_eq(pm_probe(path, from_medium, &probed, sizeof(probed)), -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "there is no medium that keeps what is stored ("));
	ck_assert_int_eq(pm_map(path, from_medium, &m), -EOPNOTSUPP);
}
END_TEST

/* Whatever fails on the way, nothing stays open or mapped. */
START_TEST(a_failing_probe_leaves_nothing)
{
	const char *path = unit_file("file", 5000);
	for (unsigned n = 1; n < 200; n++) {
		fake_start(&fake_dax);
		fake_fail_any(n, ENOMEM);
		int rc = pm_probe(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 9000), &probed, sizeof(probed));
		ck_assert(rc == 0 || rc == -ENOMEM);
		ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
		ck_assert_uint_eq(unit_size_of(path), 5000);
		if (!fake_any_has_failed())
			return;
	}
	ck_abort_msg("it never ends");
}
END_TEST

int main(void)
{
	TCase *c = unit_case("probe");
	tcase_add_loop_test(c, it_says_what_mapping_gets, 0, 2 * (int)fake_machines_count);
	tcase_add_test(c, it_is_right_on_the_real_machine);
	tcase_add_test(c, it_decides_on_the_same_evidence);
	tcase_add_test(c, it_fails_as_mapping_does);
	tcase_add_test(c, unknown_is_said_where_it_cannot_be_known);
	tcase_add_test(c, what_others_own_is_probed_as_well);
	tcase_add_test(c, a_file_of_an_overlay_is_no_copy);
	tcase_add_test(c, anonymous_memory_is_probed_as_well);
	tcase_add_test(c, what_never_maps_is_refused);
	tcase_add_test(c, a_failing_probe_leaves_nothing);
	return unit_run();
}
