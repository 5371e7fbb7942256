/* SPDX-License-Identifier: BSD-3-Clause */
/* Large folios of the page cache: what a mapping tells the kernel of its accesses, and what it drops. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "unit.h"

#define SIZE 65536u
#define XFS 0x58465342u

enum { NOTHING = -1 };

static const struct {
	const struct fake_machine *machine;
	uint32_t magic; /* 0: the machine's */
	const char *release;
	enum pm_access access;
	unsigned flags;
	int advice;
	bool drops;
	enum pm_state row;
} cases[] = {
	{&fake_plain, 0, "6.16.0", PM_ACCESS_UNSET, 0, MADV_RANDOM, false, PM_YES},
	{&fake_plain, 0, "6.15.9", PM_ACCESS_UNSET, 0, NOTHING, false, PM_NO},
	{&fake_plain, XFS, "5.18.0", PM_ACCESS_UNSET, 0, MADV_RANDOM, false, PM_YES},
	{&fake_plain, XFS, "5.17.0", PM_ACCESS_UNSET, 0, NOTHING, false, PM_NO},
	{&fake_plain, XFS, "6.12.0", PM_ACCESS_RANDOM, 0, MADV_RANDOM, true, PM_YES},
	{&fake_plain, XFS, "5.17.0", PM_ACCESS_RANDOM, 0, MADV_RANDOM, false, PM_NO},
	{&fake_plain, XFS, "6.12.0", PM_ACCESS_SEQUENTIAL, 0, MADV_SEQUENTIAL, false, PM_YES},
	/* What is not written makes nothing dirty. */
	{&fake_plain, XFS, "6.12.0", PM_ACCESS_UNSET, PM_READ_ONLY, NOTHING, false, PM_YES},
	{&fake_plain, XFS, "6.12.0", PM_ACCESS_RANDOM, PM_READ_ONLY, MADV_RANDOM, false, PM_YES},
	{&fake_plain, XFS, "6.12.0", PM_ACCESS_RANDOM, PM_PRIVATE, MADV_RANDOM, false, PM_YES},
	{&fake_dax, 0, "6.18.0", PM_ACCESS_UNSET, 0, NOTHING, false, PM_NO},
	{&fake_dax, 0, "6.18.0", PM_ACCESS_RANDOM, 0, MADV_RANDOM, false, PM_NO},
	{&fake_device_dax, 0, "6.18.0", PM_ACCESS_UNSET, 0, NOTHING, false, PM_NO},
};

static const struct fake_record *advice_of(int advice)
{
	const struct fake_record *r;
	for (unsigned n = 0; (r = fake_find(FAKE_madvise, n)); n++)
		if ((int)r->flags == advice)
			return r;
	return NULL;
}

START_TEST(what_the_kernel_is_told)
{
	const char *path = unit_file("file", SIZE);
	fake_start(cases[_i].machine);
	fake.machine.magic = cases[_i].magic ? cases[_i].magic : fake.machine.magic;
	fake.machine.release = cases[_i].release;
	if (cases[_i].magic == XFS)
		fake.machine.mount = "xfs /dev/vda1 rw,attr2,inode64";
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = cases[_i].flags, .access = cases[_i].access));
	const struct fake_record *r = cases[_i].advice == NOTHING ? NULL : advice_of(cases[_i].advice);
	if (cases[_i].advice == NOTHING)
		ck_assert(!advice_of(MADV_RANDOM) && !advice_of(MADV_SEQUENTIAL));
	else
		ck_assert(r && r->address == (uintptr_t)pm_base(m) && r->length == SIZE);
	ck_assert_uint_eq(fake_calls(FAKE_fadvise_dontneed), cases[_i].drops);
	const struct pm_evidence *row = &unit_query(m)->evidence[PM_EV_LARGE_FOLIOS];
	ck_assert_int_eq(row->state, cases[_i].row);
	ck_assert_str_eq(row->text, pm_access_name(cases[_i].access));
	unit_ok(pm_unmap(m));
}
END_TEST

/* The advice comes before any page is touched, over the whole reserve, and what is new is not dropped. */
START_TEST(a_new_file_with_a_reserve)
{
	fake_start(&fake_plain);
	struct pm_mapping *m =
		unit_map(unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = SIZE,
	                                                .reserve = 16 * SIZE, .access = PM_ACCESS_RANDOM));
	const struct fake_record *r = NULL, *populate = NULL;
	for (unsigned n = 0; (r = fake_find(FAKE_madvise, n)) && r->length != 16 * SIZE; n++)
		;
	ck_assert(r && r->flags == MADV_RANDOM && r->address == (uintptr_t)pm_base(m));
	for (unsigned n = 0; fake_find(FAKE_madvise, n); n++)
		populate = fake_find(FAKE_madvise, n);
	ck_assert(populate->flags == MADV_POPULATE_WRITE && populate->number > r->number);
	ck_assert_uint_eq(fake_calls(FAKE_fadvise_dontneed), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Where nothing better can be advised; a caller that has said what it wants is not advised. */
START_TEST(the_advice)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	ck_assert_int_eq(unit_report(path, UNIT_OPTIONS(.sync = PM_AVOID, .direct = PM_AVOID))->advice,
	                 PM_ADVICE_RANDOM_ACCESS);
	for (int access = PM_ACCESS_RANDOM; access <= PM_ACCESS_SEQUENTIAL; access++)
		ck_assert_int_ne(unit_report(path, UNIT_OPTIONS(.sync = PM_AVOID, .direct = PM_AVOID,
		                                                .access = (enum pm_access)access))
		                         ->advice,
		                 PM_ADVICE_RANDOM_ACCESS);
	struct pm_report probed;
	char text[2048];
	unit_ok(pm_probe(path, UNIT_OPTIONS(.sync = PM_AVOID, .direct = PM_AVOID), &probed, sizeof(probed)));
	ck_assert_int_eq(probed.advice, PM_ADVICE_RANDOM_ACCESS);
	/* Another advice comes first; the sentence is there all the same. */
	ck_assert_int_eq(unit_report(path, NULL)->advice, PM_ADVICE_MOUNT_DAX);
	pm_explain(unit_report(path, NULL), text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "PM_ACCESS_RANDOM"));
	pm_explain(unit_report(path, UNIT_OPTIONS(.access = PM_ACCESS_SEQUENTIAL)), text, sizeof(text));
	ck_assert_ptr_null(strstr(text, "PM_ACCESS_RANDOM"));
}
END_TEST

/* The kernel reads only a part of what is longer. */
#define STEP 65536u

/* Where the steps that begin at the mapping end; each begins where the one before ended, or in it. */
static size_t willneed_end(const char *base)
{
	const struct fake_record *r;
	size_t end = 0;
	for (unsigned n = 0; (r = fake_find(FAKE_madvise, n)); n++) {
		if (r->flags != MADV_WILLNEED)
			continue;
		size_t at = r->address - (uintptr_t)base;
		ck_assert(at % 4096 == 0 && at <= end && r->length < STEP + 4096);
		end = at + r->length;
	}
	return end;
}

/* Then pread(2) finds single pages in the cache. */
START_TEST(what_pm_read_caches)
{
	enum { LENGTH = 3 * STEP, FROM = 1000 };
	static char bytes[LENGTH], back[LENGTH];
	static const struct {
		const char *release;
		enum pm_access access;
		unsigned flags;
		bool advises;
	} reads[] = {
		{"6.16.0", PM_ACCESS_UNSET, 0, true},       {"6.16.0", PM_ACCESS_RANDOM, 0, true},
		{"6.16.0", PM_ACCESS_SEQUENTIAL, 0, false}, {"6.16.0", PM_ACCESS_UNSET, PM_READ_ONLY, false},
		{"6.15.0", PM_ACCESS_UNSET, 0, false},      {"6.15.0", PM_ACCESS_RANDOM, 0, false},
	};
	const char *path = unit_file("file", LENGTH);
	fake_start(&fake_plain);
	fake.machine.release = reads[_i].release;
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = reads[_i].flags, .access = reads[_i].access));
	memcpy(bytes, pm_base(m), LENGTH);
	unit_ok(pm_read(m, back, (char *)pm_base(m) + FROM, LENGTH - FROM));
	ck_assert_mem_eq(back, bytes + FROM, LENGTH - FROM);
	ck_assert_uint_eq(willneed_end(pm_base(m)), reads[_i].advises ? LENGTH : 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Neither is needed for durability. */
START_TEST(a_kernel_that_refuses)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	fake_fail(FAKE_madvise, 0, EINVAL);
	fake_fail(FAKE_fadvise_dontneed, 0, EINVAL);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.access = PM_ACCESS_RANDOM));
	unit_ok(pm_persist(m, pm_base(m), 1));
	unit_ok(pm_unmap(m));
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.access = (enum pm_access)3), &m), -EINVAL);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("folios");
	tcase_add_loop_test(c, what_the_kernel_is_told, 0, sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(c, a_new_file_with_a_reserve);
	tcase_add_test(c, the_advice);
	tcase_add_loop_test(c, what_pm_read_caches, 0, 6);
	tcase_add_test(c, a_kernel_that_refuses);
	return unit_run();
}
