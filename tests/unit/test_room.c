/* SPDX-License-Identifier: BSD-3-Clause */
/* A mapping that finds no room, or no descriptor to gather evidence with, names the limit that was met. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kernel/limits.h"
#include "unit.h"

#define SIZE 65536u
#define LARGE ((uint64_t)64 << 20)

static uint64_t number_after(const char *path, const char *word)
{
	char line[256];
	unsigned long long number = 0;
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, word, strlen(word)))
			sscanf(line + strlen(word), " %llu", &number);
	if (f)
		fclose(f);
	return number;
}

static void check_sentence(int rc, int wanted, const char *call, const char *word)
{
	ck_assert_int_eq(rc, wanted);
	ck_assert_msg(strstr(pm_error_detail(), call) && strstr(pm_error_detail(), word), "%s", pm_error_detail());
}

/* The mapping is what it was. */
static void check_unchanged(struct pm_mapping *m, const char *path)
{
	ck_assert_uint_eq(pm_length(m), SIZE);
	ck_assert_uint_eq(unit_size_of(path), SIZE);
	ck_assert(unit_has_pattern(pm_base(m), 0, SIZE));
	unit_ok(pm_memset(m, pm_base(m), 1, 100, 0));
}

/* Leaves room for so many bytes of addresses more. False: that cannot be limited here. */
static bool limit_room(uint64_t bytes, struct rlimit *old)
{
	ck_assert_int_eq(getrlimit(RLIMIT_AS, old), 0);
	struct rlimit some = *old;
	some.rlim_cur = number_after("/proc/self/status", "VmSize:") * 1024 + bytes;
	return !setrlimit(RLIMIT_AS, &some);
}

/* With another descriptor of it open, a growth cannot be taken back. */
START_TEST(no_file_grows_for_which_there_is_no_room)
{
	const char *path = unit_file("file", SIZE);
	struct pm_mapping *m = unit_map(path, NULL), *second;
	struct rlimit old;
	int other = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(other, 0);
	if (!limit_room(LARGE / 2, &old))
		return;
	check_sentence(pm_resize(m, LARGE), -ENOMEM, "mremap of", "RLIMIT_AS is");
	check_unchanged(m, path);
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE, .length = LARGE};
	check_sentence(pm_map(path, &o, &second), -ENOMEM, "mmap of", "RLIMIT_AS is");
	ck_assert_uint_eq(unit_size_of(path), SIZE);
	setrlimit(RLIMIT_AS, &old);
	unit_ok(pm_map(path, &o, &second));
	unit_ok(pm_unmap(second));
	unit_ok(pm_resize(m, 2 * LARGE));
	ck_assert_uint_eq(unit_size_of(path), 2 * LARGE);
	close(other);
	unit_ok(pm_unmap(m));
}
END_TEST

/* MAP_FIXED_NOREPLACE needs the room twice for a moment. */
START_TEST(no_file_grows_where_its_place_takes_the_room)
{
	const char *path = unit_file("file", SIZE);
	struct pm_mapping *m;
	struct rlimit old;
	int other = open(path, O_RDONLY | O_CLOEXEC);
	void *place = mmap(NULL, LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert(other >= 0 && place != MAP_FAILED && !munmap(place, LARGE));
	if (!limit_room(LARGE + LARGE / 2, &old))
		return;
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE, .length = LARGE, .address = place,
	                       .map_flags = MAP_FIXED_NOREPLACE};
	check_sentence(pm_map(path, &o, &m), -ENOMEM, "pm_map", "RLIMIT_AS is");
	ck_assert_uint_eq(unit_size_of(path), SIZE);
	close(other);
}
END_TEST

START_TEST(the_address_space_is_named)
{
	const char *path = unit_file("file", SIZE);
	struct pm_mapping *m = unit_map(path, NULL), *second;
	struct rlimit old;
	if (!limit_room(LARGE / 2, &old))
		return;
	check_sentence(pm_resize(m, LARGE), -ENOMEM, "mremap of", "RLIMIT_AS is");
	check_unchanged(m, path);
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE, .length = LARGE};
	check_sentence(pm_map(unit_path("new"), &o, &second), -ENOMEM, "mmap of", "RLIMIT_AS is");
	setrlimit(RLIMIT_AS, &old);
	unit_ok(pm_resize(m, LARGE));
	unit_ok(pm_unmap(m));
}
END_TEST

/* What is added counts, not what the mapping is to be: here another limit was met. */
START_TEST(the_address_space_is_not_blamed_for_another_limit)
{
	const char *path = unit_file("file", SIZE);
	struct rlimit old;
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = LARGE));
	if (!limit_room(LARGE / 2, &old))
		return;
	fake_fail(FAKE_mremap, 1, ENOMEM);
	ck_assert_int_eq(pm_resize(m, LARGE + SIZE), -ENOMEM);
	ck_assert_msg(!strstr(pm_error_detail(), "RLIMIT_AS"), "%s", pm_error_detail());
	setrlimit(RLIMIT_AS, &old);
	unit_ok(pm_unmap(m));
}
END_TEST

/* No limit is met, and the kernel finds no room: the same sentence for a growth as for a reserve. */
START_TEST(a_lack_of_addresses_is_named)
{
	struct pm_mapping *m, *second;
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	m = unit_map(path, NULL);
	fake_fail(FAKE_mmap, 0, ENOMEM);
	check_sentence(pm_resize(m, LARGE), -ENOMEM, "mremap of 67108864 bytes failed", "no free range of addresses");
	check_unchanged(m, path);
	unit_ok(pm_unmap(m));
	check_sentence(pm_map(path, UNIT_OPTIONS(.reserve = LARGE), &second), -ENOMEM,
	               "the reserve of 67108864 bytes failed", "no free range of addresses");
}
END_TEST

/* Every other page of a large area is protected otherwise. */
START_TEST(the_number_of_areas_is_named)
{
	uint64_t most = number_after("/proc/sys/vm/max_map_count", ""), step = 2 * unit_page();
	if (!most || most > 300000)
		return;
	const char *path = unit_file("file", SIZE);
	struct pm_mapping *m = unit_map(path, NULL);
	/* Behind it another area, so that it must be moved. */
	char *end = (char *)pm_base(m) + SIZE;
	mmap(end, unit_page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	char *areas = mmap(NULL, (most + 2) * step, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert(areas != MAP_FAILED);
	for (uint64_t i = 0; i < most && !mprotect(areas + i * step, unit_page(), PROT_READ); i++)
		;
	int rc = pm_resize(m, LARGE);
	char sentence[256];
	snprintf(sentence, sizeof(sentence), "%s", pm_error_detail());
	munmap(areas, (most + 2) * step);
	ck_assert_int_eq(rc, -ENOMEM);
	ck_assert_msg(strstr(sentence, "mremap of") && strstr(sentence, "vm.max_map_count is"), "%s", sentence);
	check_unchanged(m, path);
	unit_ok(pm_resize(m, LARGE));
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(the_limit_of_locks_is_named)
{
	const char *path = unit_file("file", SIZE);
	struct rlimit limit;
	char word[80];
	ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (limit.rlim_cur == RLIM_INFINITY) {
		limit.rlim_cur = 1 << 20;
		ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	}
	snprintf(word, sizeof(word), "RLIMIT_MEMLOCK is %llu", (unsigned long long)limit.rlim_cur);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	fake_fail(FAKE_mremap, 1, EAGAIN);
	check_sentence(pm_resize(m, LARGE), -EAGAIN, "mremap of", word);
	check_unchanged(m, path);
	unit_ok(pm_unmap(m));
}
END_TEST

static const struct {
	int error;
	const char *word;
} shortages[] = {
	{EMFILE, "RLIMIT_NOFILE is 77; raise it"},
	{ENFILE, "raise fs.file-max"},
	{ENOMEM, "memory"},
	{EAGAIN, "RLIMIT_MEMLOCK is"},
};

START_TEST(a_shortage_of_evidence_is_named)
{
	const char *path = unit_file("file", SIZE);
	struct pm_options o = {.size = sizeof(o), .sync = PM_GUARANTEE};
	struct pm_report r;
	struct pm_mapping *m;
	fake_start(&fake_dax);
	fake_fail(FAKE_memfd_create, 0, shortages[_i].error);
	struct rlimit limit;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 77;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	check_sentence(pm_probe(path, &o, &r, sizeof(r)), -shortages[_i].error, "evidence cannot be gathered",
	               shortages[_i].word);
	check_sentence(pm_map(path, &o, &m), -shortages[_i].error, "evidence cannot be gathered", shortages[_i].word);
	ck_assert_msg(!strncmp(pm_error_detail(), "pm_map", 6), "%s", pm_error_detail());
	/* A live mapping. */
	fake_fail(FAKE_memfd_create, 0, 0);
	m = unit_map(path, &o);
	fake_fail(FAKE_memfd_create, 0, shortages[_i].error);
	check_sentence(pm_query(m, &r, sizeof(r)), -shortages[_i].error, "evidence cannot be gathered",
	               shortages[_i].word);
	fake_fail(FAKE_memfd_create, 0, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_reserve_that_is_too_large)
{
	struct rlimit before, limit;
	struct pm_mapping *m;
	const char *path = unit_path("new");
	fake_start(&fake_plain);
	unit_expect(getrlimit(RLIMIT_AS, &before) == 0);
	limit = (struct rlimit){.rlim_cur = (rlim_t)1 << 31, .rlim_max = before.rlim_max};
	unit_expect(setrlimit(RLIMIT_AS, &limit) == 0);
	int rc = pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 1, .reserve = 1ull << 32), &m);
	unit_expect(setrlimit(RLIMIT_AS, &before) == 0);
	check_sentence(rc, -ENOMEM, "RLIMIT_AS is", "4294967296 bytes");
	ck_assert(!unit_exists(path));
}
END_TEST

/* An open, of the file and of the directory that a new file is to be in. */
START_TEST(a_shortage_of_descriptors_is_named)
{
	struct pm_mapping *m;
	struct pm_report r;
	struct rlimit limit;
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 77;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	fake_fail(FAKE_openat, 0, shortages[_i].error);
	check_sentence(pm_map(path, NULL, &m), -shortages[_i].error, "cannot be opened", shortages[_i].word);
	check_sentence(pm_probe(path, NULL, &r, sizeof(r)), -shortages[_i].error, "cannot be opened",
	               shortages[_i].word);
	fake_fail(FAKE_openat, 2, shortages[_i].error);
	check_sentence(pm_map(unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE, .length = 1), &m),
	               -shortages[_i].error, "cannot be opened", shortages[_i].word);
	ck_assert(!unit_exists(unit_path("new")));
}
END_TEST

/* The errno is that of a lock; what failed is the thread. */
START_TEST(a_shortage_of_threads_is_named)
{
	const char *path = unit_file("file", SIZE);
	struct pm_mapping *m;
	struct rlimit old;
	if (!limit_room(SIZE * 16, &old))
		return;
	check_sentence(pm_map(path, UNIT_OPTIONS(.flags = PM_WATCH), &m), -EAGAIN, "cannot be watched", "RLIMIT_AS is");
	setrlimit(RLIMIT_AS, &old);
	char text[120];
	ck_assert(pm_limit_name(text, sizeof(text), PM_RESOURCE_THREAD, 0, -EAGAIN));
	ck_assert_ptr_nonnull(strstr(text, "RLIMIT_NPROC"));
}
END_TEST

static const struct {
	enum fake_call call;
	int error;
	const char *word;
} of_inotify[] = {
	{FAKE_inotify, EMFILE, "fs.inotify.max_user_instances, which is "},
	{FAKE_inotify_add, ENOSPC, "fs.inotify.max_user_watches"},
	{FAKE_eventfd, EMFILE, "RLIMIT_NOFILE is"},
};

START_TEST(a_shortage_of_inotify_is_named)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	fake_fail(of_inotify[_i].call, 0, of_inotify[_i].error);
	check_sentence(pm_event_fd(m), -of_inotify[_i].error, "cannot be watched", of_inotify[_i].word);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	if (unit_is_emulated()) {
		puts("limits are those of the emulator");
		return 77;
	}
	TCase *c = unit_case("room");
	tcase_add_test(c, no_file_grows_for_which_there_is_no_room);
	tcase_add_test(c, no_file_grows_where_its_place_takes_the_room);
	tcase_add_test(c, the_address_space_is_named);
	tcase_add_test(c, the_address_space_is_not_blamed_for_another_limit);
	tcase_add_test(c, a_lack_of_addresses_is_named);
	tcase_add_test(c, a_reserve_that_is_too_large);
	tcase_add_test(c, the_number_of_areas_is_named);
	tcase_add_test(c, the_limit_of_locks_is_named);
	tcase_add_loop_test(c, a_shortage_of_evidence_is_named, 0, (int)(sizeof(shortages) / sizeof(shortages[0])));
	tcase_add_loop_test(c, a_shortage_of_descriptors_is_named, 0, 2);
	tcase_add_test(c, a_shortage_of_threads_is_named);
	tcase_add_loop_test(c, a_shortage_of_inotify_is_named, 0, (int)(sizeof(of_inotify) / sizeof(of_inotify[0])));
	return unit_run();
}
