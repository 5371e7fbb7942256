/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes of structs, NULL, and whose call a sentence names. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

#define SIZE 65536u

/* The struct lies before a page that cannot be read; its size says that it goes on, or ends early. */
static struct pm_options *at_the_end_of_memory(size_t readable)
{
	size_t page = unit_page();
	char *room = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(room, MAP_FAILED);
	ck_assert_int_eq(mprotect(room + page, page, PROT_NONE), 0);
	/* As aligned as any struct. */
	return (struct pm_options *)(room + page - (readable + 7) / 8 * 8);
}

START_TEST(options_of_any_size)
{
	static const size_t ends[] = {16, 20, 24, 32, 40, 48, 56, 64, 4096};
	static const size_t others[] = {0, 1, 8, 12, 15, 17, 18, 19, 21, 23, 25, 31, 33, 39, 41, 47, 49, 55};
	static const size_t huge[] = {4097, 1u << 20, (size_t)1 << 40, SIZE_MAX};
	const char *path = unit_file("file", SIZE);
	struct pm_mapping *m;
	if (sizeof(void *) != 8)
		return;
	fake_start(&fake_plain);
	for (size_t i = 0; i < COUNT(ends); i++) {
		struct pm_options *o = at_the_end_of_memory(ends[i]);
		o->size = ends[i];
		unit_ok(pm_map(path, o, &m));
		unit_ok(pm_unmap(m));
	}
	for (size_t i = 0; i < COUNT(others); i++) {
		struct pm_options *o = at_the_end_of_memory(64);
		o->size = others[i];
		ck_assert_msg(pm_map(path, o, &m) == -EINVAL, "size %zu", others[i]);
		ck_assert_int_eq(pm_map_fd(0, o, &m), -EINVAL);
	}
	for (size_t i = 0; i < COUNT(huge); i++) {
		struct pm_report r;
		struct pm_options *o = at_the_end_of_memory(1024);
		o->size = huge[i];
		ck_assert_int_eq(pm_map(path, o, &m), -E2BIG);
		ck_assert_int_eq(pm_probe(path, o, &r, sizeof(r)), -E2BIG);
	}
	struct pm_options uninitialised;
	memset(&uninitialised, 0xa5, sizeof(uninitialised));
	ck_assert_int_eq(pm_map(path, &uninitialised, &m), -E2BIG);
}
END_TEST

static int nothing(void *arg)
{
	(void)arg;
	return 7;
}

START_TEST(outputs_of_any_size)
{
	struct pm_event event;
	struct pm_fault fault;
	fake_start(&fake_plain);
	fake.guards = true;
	struct pm_mapping *m = unit_map(unit_file("file", SIZE), UNIT_OPTIONS(.direct = PM_HINT));
	unit_ok(pm_guard_install());
	unsigned taken = 0;
	for (size_t size = 0; size <= sizeof(event) + 8; size++) {
		int rc = pm_next_event(m, &event, size);
		ck_assert(rc == 0 || rc == -EAGAIN || rc == -EINVAL);
		taken += rc != -EINVAL;
		if (size < offsetof(struct pm_event, error) || size == offsetof(struct pm_event, offset) + 3)
			ck_assert_int_eq(rc, -EINVAL);
	}
	ck_assert_uint_eq(taken, 13 + 8); /* the fields' ends, and whatever is larger */
	for (size_t size = 0; size <= sizeof(fault) + 8; size++) {
		int rc = pm_guarded(m, nothing, NULL, &fault, size);
		bool whole = size == offsetof(struct pm_fault, offset) || size == offsetof(struct pm_fault, length) ||
		             size == offsetof(struct pm_fault, address) || size >= sizeof(fault);
		ck_assert_int_eq(rc, whole ? 7 : -EINVAL);
	}
	unit_ok(pm_guard_remove());
	unit_ok(pm_unmap(m));
}
END_TEST

static void check_null(int rc, const char *call)
{
	ck_assert_int_eq(rc, -EINVAL);
	ck_assert_msg(strstr(pm_error_detail(), call) && strstr(pm_error_detail(), "NULL"), "%s", pm_error_detail());
}

START_TEST(null_is_an_error)
{
	char byte = 0;
	struct pm_report r;
	struct pm_event e;
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	check_null(pm_map(path, NULL, NULL), "pm_map");
	check_null(pm_map_fd(0, NULL, NULL), "pm_map_fd");
	check_null(pm_probe(path, NULL, NULL, sizeof(r)), "pm_probe");
	check_null(pm_resize(NULL, 1), "pm_resize");
	check_null(pm_flush(NULL, &byte, 1), "pm_flush");
	check_null(pm_drain(NULL), "pm_drain");
	check_null(pm_persist(NULL, &byte, 1), "pm_persist");
	check_null(pm_deep_persist(NULL, &byte, 1), "pm_deep_persist");
	check_null(pm_sync(NULL), "pm_sync");
	check_null(pm_memcpy(NULL, &byte, &byte, 1, 0), "pm_memcpy");
	check_null(pm_memmove(NULL, &byte, &byte, 1, 0), "pm_memmove");
	check_null(pm_memset(NULL, &byte, 0, 1, 0), "pm_memset");
	check_null(pm_read(NULL, &byte, &byte, 1), "pm_read");
	check_null(pm_write(NULL, &byte, &byte, 1), "pm_write");
	check_null(pm_clear_bad_blocks(NULL, &byte, 1), "pm_clear_bad_blocks");
	check_null(pm_clear_error(NULL), "pm_clear_error");
	check_null(pm_query(NULL, &r, sizeof(r)), "pm_query");
	check_null(pm_event_fd(NULL), "pm_event_fd");
	check_null(pm_next_event(NULL, &e, sizeof(e)), "pm_next_event");
	check_null(pm_guarded(NULL, nothing, NULL, NULL, 0), "pm_guarded");
	ck_assert_ptr_null(pm_base(NULL));
	ck_assert_uint_eq(pm_length(NULL), 0);
	ck_assert_int_eq(pm_granularity_of(NULL), PM_GRANULARITY_UNKNOWN);
	unit_ok(pm_unmap(NULL));
	struct pm_mapping *m = unit_map(path, NULL);
	check_null(pm_query(m, NULL, sizeof(r)), "pm_query");
	check_null(pm_next_event(m, NULL, sizeof(e)), "pm_next_event");
	unit_ok(pm_unmap(m));
}
END_TEST

static void check_call(int rc, const char *call)
{
	size_t length = strlen(call);
	ck_assert_int_ne(rc, 0);
	ck_assert_msg(!strncmp(pm_error_detail(), call, length) && pm_error_detail()[length] == ' ', "%s: %s", call,
	              pm_error_detail());
}

/* Poisoned, cut off, out of range: each names the call that was made. */
START_TEST(a_sentence_names_its_call)
{
	struct pm_event e;
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	char *base = pm_base(m), *gone = base + SIZE - 1;
	for (int i = 0; i < 3; i++) {
		char *at = i == 0 ? base + SIZE : gone;
		if (i == 1) {
			ck_assert_int_eq(truncate(path, SIZE / 2), 0);
			unit_query(m);
		} else if (i == 2) {
			fake_fail(FAKE_msync, 1, EIO);
			check_call(pm_persist(m, base, 1), "pm_persist");
		}
		check_call(pm_flush(m, at, 1), "pm_flush");
		check_call(pm_persist(m, at, 1), "pm_persist");
		check_call(pm_deep_persist(m, at, 1), "pm_deep_persist");
		check_call(pm_memcpy(m, at, "x", 1, 0), "pm_memcpy");
		check_call(pm_memmove(m, at, "x", 1, 0), "pm_memmove");
		check_call(pm_memset(m, at, 1, 1, 0), "pm_memset");
		check_call(pm_write(m, at, "x", 1), "pm_write");
		check_call(pm_clear_bad_blocks(m, at, 1), "pm_clear_bad_blocks");
		if (i)
			check_call(pm_sync(m), "pm_sync");
	}
	check_call(pm_drain(m), "pm_drain");
	check_call(pm_resize(m, 2 * SIZE), "pm_resize");
	fake_fail(FAKE_openat, 0, EMFILE);
	fake_fail(FAKE_statx, 0, ENOMEM);
	while (!pm_next_event(m, &e, sizeof(e)))
		;
	fake_fail(FAKE_statx, 0, 0);
	fake_fail(FAKE_openat, 0, 0);
	check_call(pm_unmap(m), "pm_unmap");
}
END_TEST

START_TEST(anonymous_memory_has_its_own_name)
{
	struct pm_mapping *m;
	fake_start(&fake_plain);
	ck_assert_int_eq(pm_map(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS), &m), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_map 'anonymous memory'"));
	for (unsigned private = 0; private < 2; private++) {
		unsigned flags = PM_ANONYMOUS | (private ? PM_PRIVATE : 0);
		unit_ok(pm_map(NULL, UNIT_OPTIONS(.flags = flags, .length = 4096), &m));
		unit_ok(pm_memset(m, pm_base(m), 1, 100, 0));
		ck_assert_int_eq(pm_granularity_of(m), PM_NONE);
		ck_assert_int_eq(pm_resize(m, 8192), -EINVAL);
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "anonymous memory"));
		ck_assert_ptr_null(strstr(pm_error_detail(), "fd "));
		ck_assert_int_eq(unit_query(m)->granularity, PM_NONE);
		unit_ok(pm_unmap(m));
	}
}
END_TEST

int main(void)
{
	TCase *c = unit_case("arguments");
	tcase_add_test(c, options_of_any_size);
	tcase_add_test(c, outputs_of_any_size);
	tcase_add_test(c, null_is_an_error);
	tcase_add_test(c, a_sentence_names_its_call);
	tcase_add_test(c, anonymous_memory_has_its_own_name);
	return unit_run();
}
