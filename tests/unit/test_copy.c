/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies and fills: every byte arrives, no other is touched, and what returns 0 is on the medium. The medium is the
 * fake one: a byte gets there by a write-back or a streamed store, and a fence after it.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mapping.h"
#include "unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define GUARD 256u
#define SIZE (512u << 10)

static struct pm_mapping *m;
static unsigned char *base;
static unsigned char source[SIZE], model[SIZE]; /* model: what the mapping must hold */
static unsigned provider_calls;

static void provider_copy(void *destination, const void *from, size_t length)
{
	provider_calls++;
	pm_cpu()->stream_copy(destination, from, length);
}

static void provider_set(void *destination, int value, size_t length)
{
	provider_calls++;
	pm_cpu()->stream_set(destination, value, length);
}

static const struct pm_libpmem provider = {.stream_copy = provider_copy, .stream_set = provider_set};

enum way { PAGES, LINES, LINES_NO_STREAM, LINES_PROVIDER, BYTES, WAYS };

static void map_way(enum way way)
{
	static const struct fake_machine *const machines[] = {&fake_plain, &fake_dax, &fake_dax, &fake_dax, &fake_eadr};
	const char *path = unit_file("file", SIZE);
	struct fake_machine machine = *machines[way];
	machine.cpu_cannot_stream = way == LINES_NO_STREAM;
	fake_start(&machine);
	fake.recording = false;
	m = unit_map(path, NULL);
	if (way == LINES_PROVIDER)
		m->medium.libpmem = &provider;
	base = pm_base(m);
	for (size_t i = 0; i < SIZE; i++)
		source[i] = (unsigned char)(i * 13 + i / 256 + 5);
	memcpy(model, base, SIZE);
	if (way != PAGES)
		fake_watch(base, SIZE);
}

/* Around [at, at + length), where the copy went. */
static void check_memory(size_t at, size_t length)
{
	size_t from = at < GUARD ? 0 : at - GUARD, to = at + length + GUARD < SIZE ? at + length + GUARD : SIZE;
	if (memcmp(base + from, model + from, to - from) != 0)
		ck_abort_msg("%zu bytes at %zu", length, at);
}

static void check_durable(enum way way, size_t at, size_t length)
{
	bool lines = way == LINES || way == LINES_NO_STREAM || way == LINES_PROVIDER;
	if (lines && !fake_medium_has(at, length))
		ck_abort_msg("%zu bytes at %zu are not on the medium", length, at);
	unit_expect(fake.fences == (way != PAGES));
	unit_expect(way != PAGES || fake.write_backs + fake.streams == 0);
	/* An msync, and whether it can be believed. */
	unit_expect(fake_calls(FAKE_msync) == (way == PAGES));
	unit_expect(fake_syscalls() == 2 * (way == PAGES));
}

static void copy_once(enum way way, size_t at, size_t from, size_t length, unsigned flags)
{
	fake_forget();
	memcpy(model + at, source + from, length);
	unit_ok(pm_memcpy(m, base + at, source + from, length, flags));
	check_memory(at, length);
	check_durable(way, at, length);
}

static void fill_once(enum way way, size_t at, int value, size_t length, unsigned flags)
{
	fake_forget();
	memset(model + at, value, length);
	unit_ok(pm_memset(m, base + at, value, length, flags));
	check_memory(at, length);
	check_durable(way, at, length);
}

START_TEST(every_small_copy)
{
	map_way((enum way)_i);
	for (size_t at = 0; at < 72; at++)
		for (size_t length = 1; length < 321; length += length < 80 || _i == LINES ? 1 : 7) {
			copy_once((enum way)_i, 1024 + at, (at * 7 + length) % 64, length, 0);
			if (at % 8 < 2)
				fill_once((enum way)_i, 1024 + at, (int)(at + length), length, PM_NONTEMPORAL);
		}
	unit_ok(pm_unmap(m));
}
END_TEST

/* Around the sizes from which copies are streamed, and from which a provider streams them. */
static const size_t thresholds[] = {64, 128, 256, 1024, 4096, 65536, 65536 + 64, 131072};

START_TEST(every_copy_around_a_threshold)
{
	static const unsigned flags[] = {0, PM_NONTEMPORAL, PM_TEMPORAL};
	static const size_t starts[] = {4096, 4097, 4096 + 63, 4096 + 8, 4096 + 64};
	map_way((enum way)_i);
	for (size_t i = 0; i < COUNT(thresholds); i++)
		for (size_t delta = 0; delta < 131; delta += delta % 64 < 2 ? 1 : 31)
			for (size_t j = 0; j < COUNT(starts); j++) {
				size_t length = thresholds[i] + delta - 65;
				if (thresholds[i] + delta < 66)
					continue;
				unsigned f = flags[(i + j + delta) % 3];
				copy_once((enum way)_i, starts[j], delta, length, f);
				fill_once((enum way)_i, starts[j], (int)delta, length, f);
			}
	if (_i == LINES_PROVIDER)
		ck_assert_uint_gt(provider_calls, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(the_ends_of_the_mapping)
{
	static const size_t lengths[] = {1, 7, 63, 64, 65, 1023, 1024, 1025, 65536, 65599, SIZE - 1, SIZE};
	map_way((enum way)_i);
	for (size_t i = 0; i < COUNT(lengths); i++) {
		copy_once((enum way)_i, 0, 0, lengths[i], 0);
		copy_once((enum way)_i, SIZE - lengths[i], 0, lengths[i], 0);
		fill_once((enum way)_i, SIZE - lengths[i], 77, lengths[i], 0);
	}
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(overlap_in_both_directions)
{
	static const size_t lengths[] = {1, 7, 8, 9, 63, 64, 65, 200, 1023, 1024, 1500, 4096, 70000};
	static const size_t distances[] = {0, 1, 7, 8, 9, 63, 64, 65, 1000, 1024, 5000, 80000};
	const size_t middle = 200000;
	map_way((enum way)_i);
	for (size_t i = 0; i < COUNT(lengths); i++) {
		for (size_t j = 0; j < 2 * COUNT(distances); j++) {
			size_t distance = distances[j / 2], shift = (i + j) % 11;
			size_t from = middle + shift, to = j % 2 ? from - distance : from + distance;
			memcpy(base + from, source + i, lengths[i]);
			memcpy(model + from, source + i, lengths[i]);
			unit_ok(pm_sync(m));
			fake_forget();
			memmove(model + to, model + from, lengths[i]);
			unit_ok(pm_memmove(m, base + to, base + from, lengths[i], j % 3 ? 0 : PM_NONTEMPORAL));
			check_memory(to, lengths[i]);
			check_memory(from, lengths[i]);
			check_durable((enum way)_i, to, lengths[i]);
		}
	}
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Flags ---- */

START_TEST(flags_that_make_no_sense)
{
	static const unsigned wrong[] = {0x10, 0x80000000u, PM_TEMPORAL | PM_NONTEMPORAL,
	                                 PM_TEMPORAL | PM_NONTEMPORAL | PM_NODRAIN};
	map_way((enum way)_i);
	fake_forget();
	for (size_t i = 0; i < COUNT(wrong); i++) {
		ck_assert_int_eq(pm_memcpy(m, base, source, 10, wrong[i]), -EINVAL);
		ck_assert_int_eq(pm_memmove(m, base, source, 10, wrong[i]), -EINVAL);
		ck_assert_int_eq(pm_memset(m, base, 0, 10, wrong[i]), -EINVAL);
	}
	check_memory(0, 10);
	ck_assert_uint_eq(fake.fences + fake.write_backs + fake_syscalls(), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(nodrain_leaves_the_fence_out)
{
	static const size_t lengths[] = {10, 500, 1024, 5000, 100000};
	map_way(_i % 2 ? LINES_PROVIDER : LINES);
	for (size_t i = 0; i < COUNT(lengths); i++) {
		fake_forget();
		size_t at = i * 3;
		unit_ok(_i / 2 ? pm_memset(m, base + at, (int)i, lengths[i], PM_NODRAIN)
		               : pm_memcpy(m, base + at, source + 99, lengths[i], PM_NODRAIN));
		ck_assert_uint_eq(fake.fences, 0);
		ck_assert(!fake_medium_has(at, lengths[i]));
		unit_ok(pm_drain(m));
		ck_assert(fake_medium_has(at, lengths[i]));
	}
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(noflush_is_a_plain_copy)
{
	static const unsigned flags[] = {PM_NOFLUSH, PM_NOFLUSH | PM_NODRAIN, PM_NOFLUSH | PM_NONTEMPORAL,
	                                 PM_NOFLUSH | PM_TEMPORAL};
	map_way(_i ? LINES_PROVIDER : LINES);
	for (size_t i = 0; i < COUNT(flags); i++) {
		memset(base, (int)i, 100000);
		unit_ok(pm_sync(m));
		fake_forget();
		unit_ok(pm_memcpy(m, base, source, 90000, flags[i]));
		unit_ok(pm_memset(m, base + 90000, 77, 10000, flags[i]));
		ck_assert_uint_eq(fake.fences + fake.write_backs + fake.streams, 0);
		ck_assert_int_eq(memcmp(base, source, 90000), 0);
		ck_assert_int_eq(base[99999], 77);
		unit_ok(pm_drain(m));
		ck_assert(!fake_medium_has(0, 90000));
		unit_ok(pm_persist(m, base, 100000));
		ck_assert(fake_medium_has(0, 100000));
	}
	unit_ok(pm_unmap(m));
}
END_TEST

static const struct {
	size_t length;
	unsigned flags;
	bool native, by_provider; /* streamed, without and with a provider */
} streaming[] = {
	{100, 0, false, false},
	{1023, 0, false, false},
	{1024, 0, true, false},
	{65535, 0, true, false},
	{65536 + 64, 0, true, true},
	{100000, PM_TEMPORAL, false, false},
	{100, PM_NONTEMPORAL, false, false}, /* fewer than two lines are not worth it */
	{128, PM_NONTEMPORAL, true, false},
	{100000, PM_NONTEMPORAL, true, true},
};

START_TEST(who_streams)
{
	for (int way = LINES; way <= LINES_PROVIDER; way++) {
		map_way((enum way)way);
		for (int set = 0; set < 2; set++) {
			fake_forget();
			provider_calls = 0;
			void *to = base + 4096 + 10;
			size_t length = streaming[_i].length;
			unit_ok(set ? pm_memset(m, to, 1, length, streaming[_i].flags)
			            : pm_memcpy(m, to, source, length, streaming[_i].flags));
			bool streams = way != LINES_NO_STREAM && streaming[_i].native;
			ck_assert_int_eq(fake.streams > 0, streams);
			ck_assert_int_eq(provider_calls > 0, way == LINES_PROVIDER && streaming[_i].by_provider);
			/* What is streamed is not written back again: only the ragged lines at both ends. */
			if (streams)
				ck_assert_uint_le(fake.lines, 2);
		}
		unit_ok(pm_unmap(m));
	}
}
END_TEST

/* memset(3) converts the value to unsigned char. */
START_TEST(any_value)
{
	static const int values[] = {0, 1, 255, 256, -1, -128, 0x12345678};
	map_way((enum way)_i);
	for (size_t i = 0; i < COUNT(values); i++) {
		fill_once((enum way)_i, 1001, values[i], 50, 0);
		fill_once((enum way)_i, 1001, values[i], 5000, 0);
		fill_once((enum way)_i, 1001, values[i], 70000, 0);
	}
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("copy");
	tcase_add_loop_test(c, every_small_copy, 0, WAYS);
	tcase_add_loop_test(c, every_copy_around_a_threshold, 0, WAYS);
	tcase_add_loop_test(c, the_ends_of_the_mapping, 0, WAYS);
	tcase_add_loop_test(c, overlap_in_both_directions, 0, WAYS);
	tcase_add_loop_test(c, flags_that_make_no_sense, 0, WAYS);
	tcase_add_loop_test(c, nodrain_leaves_the_fence_out, 0, 4);
	tcase_add_loop_test(c, noflush_is_a_plain_copy, 0, 2);
	tcase_add_loop_test(c, who_streams, 0, (int)COUNT(streaming));
	tcase_add_loop_test(c, any_value, 0, WAYS);
	return unit_run();
}
