/* SPDX-License-Identifier: BSD-3-Clause */
/* The application splits the mapping by calls on a part of it, and then it is to grow or shrink. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "mapping/mapping.h"
#include "unit.h"

#define SIZE 262144u
#define PART 65536u

static struct pm_mapping *m;
static const char *path;

static void start(const struct fake_machine *machine, unsigned flags)
{
	path = unit_file("file", SIZE);
	fake_start(machine);
	m = unit_map(path, UNIT_OPTIONS(.flags = flags));
}

/* The flags of the area at that address, in smaps. */
static bool has_flag(const void *address, const char *flag)
{
	char line[512];
	unsigned long low, high;
	bool inside = false, found = false;
	FILE *f = fopen("/proc/self/smaps", "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &low, &high) == 2)
			inside = low <= (uintptr_t)address && (uintptr_t)address < high;
		else if (inside && !strncmp(line, "VmFlags:", 8))
			found |= strstr(line, flag) != NULL;
	}
	fclose(f);
	return found;
}

static const struct {
	int advice;
	const char *flag;
	size_t at, length;
} advices[] = {
	{MADV_DONTDUMP, " dd", 0, PART}, {MADV_DONTDUMP, " dd", PART, PART}, {MADV_RANDOM, " rr", SIZE - PART, PART},
	{MADV_SEQUENTIAL, " sr", PART, 4096}, {MADV_DONTFORK, " dc", 0, PART},
};

static const struct fake_machine *const machines[] = {&fake_plain, &fake_dax};

START_TEST(advice_is_kept)
{
	int i = _i / 2;
	start(machines[_i % 2], 0);
	char *base = pm_base(m);
	ck_assert_int_eq(madvise(base + advices[i].at, advices[i].length, advices[i].advice), 0);
	unit_ok(pm_memset(m, base, 7, 100, 0));
	unit_ok(pm_resize(m, 16 * SIZE));
	base = pm_base(m);
	ck_assert(has_flag(base + advices[i].at, advices[i].flag));
	/* All of a mapping on an ext4 with large folios is MADV_RANDOM. */
	bool has_all = advices[i].advice == MADV_RANDOM && machines[_i % 2] == &fake_plain;
	ck_assert(has_all || !has_flag(base + advices[i].at + advices[i].length, advices[i].flag));
	ck_assert(has_all == has_flag(base + 15 * SIZE, advices[i].flag));
	ck_assert_int_eq(base[99], 7);
	ck_assert(unit_has_pattern(base + 100, 100, SIZE - 100));
	ck_assert(unit_is_zero(base + SIZE, 15 * SIZE));
	unit_ok(pm_memset(m, base + 16 * SIZE - 10, 1, 10, 0));
	for (unsigned n = 0; _i % 2 && fake_find(FAKE_mmap, n + 1); n++)
		ck_assert(m->terms.is_synchronous); /* as before */
	unit_ok(pm_resize(m, PART / 2));
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

START_TEST(what_would_be_lost_is_refused)
{
	start(machines[_i % 2], 0);
	char *base = pm_base(m);
	bool locks = _i / 2;
	if (locks ? mlock(base + PART, PART) : mprotect(base + PART, PART, PROT_READ))
		return; /* RLIMIT_MEMLOCK */
	/* Of DAX there is nothing to lock, and no part is made (mm/mlock.c mlock_fixup). */
	if (locks && !has_flag(base + PART, " lo")) {
		unit_ok(pm_resize(m, 16 * SIZE));
		unit_ok(pm_unmap(m));
		return;
	}
	ck_assert_int_eq(pm_resize(m, 16 * SIZE), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), locks ? "mlock(2)" : "mprotect(2)"));
	/* All as before. */
	ck_assert_uint_eq(pm_length(m), SIZE);
	ck_assert_ptr_eq(pm_base(m), base);
	ck_assert_uint_eq(unit_size_of(path), SIZE);
	ck_assert(unit_has_pattern(base, 0, SIZE));
	unit_ok(pm_memset(m, base, 1, 100, 0));
	/* Undone, it grows. */
	ck_assert_int_eq(locks ? munlock(base + PART, PART) : mprotect(base + PART, PART, PROT_READ | PROT_WRITE), 0);
	unit_ok(pm_resize(m, 16 * SIZE));
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}
END_TEST

/* ---- All of it is locked ---- */

static bool lock_and_split(char *base)
{
	return !mlock(base, SIZE) && !madvise(base + PART, PART, MADV_DONTDUMP) && has_flag(base, " lo");
}

START_TEST(a_lock_of_all_is_kept)
{
	start(&fake_plain, 0);
	char *base = pm_base(m);
	if (!lock_and_split(base))
		return; /* RLIMIT_MEMLOCK */
	unit_ok(pm_memset(m, base, 7, 100, 0));
	unit_ok(pm_resize(m, 16 * SIZE));
	base = pm_base(m);
	for (unsigned at = 0; at < 16 * SIZE; at += PART)
		ck_assert(has_flag(base + at, " lo"));
	ck_assert(has_flag(base + PART, " dd") && !has_flag(base, " dd") && !has_flag(base + 2 * PART, " dd"));
	ck_assert(base[99] == 7 && unit_has_pattern(base + 100, 100, SIZE - 100));
	/* Again, and then a part is unlocked. */
	ck_assert_int_eq(madvise(base, PART, MADV_RANDOM), 0);
	unit_ok(pm_resize(m, 17 * SIZE));
	base = pm_base(m);
	ck_assert(has_flag(base + 16 * SIZE, " lo") && has_flag(base, " rr") && has_flag(base + PART, " dd"));
	ck_assert_int_eq(munlock(base, PART), 0);
	ck_assert_int_eq(pm_resize(m, 18 * SIZE), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "munlock(2)"));
	ck_assert_int_eq(munlock(base, 17 * SIZE), 0);
	unit_ok(pm_resize(m, 18 * SIZE));
	ck_assert(!has_flag(pm_base(m), " lo"));
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

/* The sanitizers answer mlockall(2) themselves and lock nothing. */
static bool is_locked(void)
{
	void *page = mmap(NULL, PART, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool is = page != MAP_FAILED && has_flag(page, " lo");
	munmap(page, PART);
	return is;
}

/* Under mlockall(2) the kernel locks what is mapped later; with MCL_ONFAULT without filling it. */
static const int futures[] = {MCL_FUTURE, MCL_FUTURE | 4 /* MCL_ONFAULT */};

START_TEST(a_process_that_locks_everything)
{
	if (mlockall(futures[_i]) || !is_locked())
		return;
	start(&fake_plain, PM_CREATE);
	char *base = pm_base(m);
	/* On real DAX there is nothing to lock (mm/mmap.c mmap_region). */
	struct statx stx;
	ck_assert_int_eq(pm_sys_linux.statx(AT_FDCWD, path, 0, &stx), 0);
	if (stx.stx_attributes & STATX_ATTR_DAX) {
		unit_ok(pm_unmap(m));
		return;
	}
	ck_assert_int_eq(madvise(base + PART, PART, MADV_DONTDUMP), 0);
	ck_assert(has_flag(base, " lo"));
	unit_ok(pm_resize(m, 16 * SIZE));
	base = pm_base(m);
	ck_assert(has_flag(base, " lo") && has_flag(base + PART, " lo") && has_flag(base + 15 * SIZE, " lo"));
	ck_assert(unit_has_pattern(base, 0, SIZE));
	unit_ok(pm_unmap(m));
	munlockall();
}
END_TEST

static int no_second;

static void refuse_the_second(enum fake_call c)
{
	if (c != FAKE_mremap)
		return;
	counting.hook = NULL;
	fake_fail(FAKE_mmap, 1, no_second);
}

static const struct {
	int error;
	const char *words[2];
} limits[] = {
	{EAGAIN, {"RLIMIT_MEMLOCK", "a second one of"}},
	{EPERM, {"RLIMIT_MEMLOCK", "munlock(2)"}},
	{ENOMEM, {"mmap of", "failed"}},
};

START_TEST(a_limit_on_locks_is_told)
{
	start(&fake_plain, 0);
	char *base = pm_base(m);
	/* Else it would not be reached. */
	struct rlimit old, some = {4 * SIZE, 0};
	ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &old), 0);
	some.rlim_max = old.rlim_max;
	if (!lock_and_split(base) || setrlimit(RLIMIT_MEMLOCK, &some))
		return;
	no_second = limits[_i].error;
	counting.hook = refuse_the_second;
	ck_assert_int_eq(pm_resize(m, 16 * SIZE), -limits[_i].error);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_msg(strstr(pm_error_detail(), limits[_i].words[i]) != NULL, "%s", pm_error_detail());
	setrlimit(RLIMIT_MEMLOCK, &old);
	ck_assert_ptr_eq(pm_base(m), base);
	ck_assert_uint_eq(pm_length(m), SIZE);
	ck_assert_uint_eq(unit_size_of(path), SIZE);
	ck_assert(has_flag(base, " lo"));
	unit_ok(pm_resize(m, 16 * SIZE));
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
}
END_TEST

/* The second mapping fails, or nothing says how the parts differ. */
START_TEST(a_failure_leaves_all_as_before)
{
	start(&fake_plain, 0);
	char *base = pm_base(m);
	ck_assert_int_eq(madvise(base, PART, MADV_DONTDUMP), 0);
	fake_fail(FAKE_mremap, 1, EFAULT);
	fake_fail(_i ? FAKE_read : FAKE_mmap, 0, _i ? EIO : ENOMEM);
	ck_assert_int_lt(pm_resize(m, 16 * SIZE), 0);
	fake_fail(_i ? FAKE_read : FAKE_mmap, 0, 0);
	ck_assert_ptr_eq(pm_base(m), base);
	ck_assert_uint_eq(pm_length(m), SIZE);
	ck_assert_uint_eq(unit_size_of(path), SIZE);
	unit_ok(pm_memset(m, base, 1, 100, 0));
	unit_ok(pm_resize(m, 16 * SIZE));
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
	ck_assert_uint_eq(fake_open_files(), 0);
}
END_TEST

int main(void)
{
	if (unit_is_emulated()) {
		puts("advice does not reach the kernel here");
		return 77;
	}
	TCase *c = unit_case("split");
	tcase_add_loop_test(c, advice_is_kept, 0, 2 * (int)(sizeof(advices) / sizeof(advices[0])));
	tcase_add_loop_test(c, what_would_be_lost_is_refused, 0, 4);
	tcase_add_loop_test(c, a_failure_leaves_all_as_before, 0, 2);
	tcase_add_test(c, a_lock_of_all_is_kept);
	tcase_add_loop_test(c, a_process_that_locks_everything, 0, 2);
	tcase_add_loop_test(c, a_limit_on_locks_is_told, 0, (int)(sizeof(limits) / sizeof(limits[0])));
	return unit_run();
}
