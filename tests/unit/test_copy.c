/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies and fills: every byte arrives, no other is touched, and what returns 0 is on the medium, for every instruction
 * set this CPU can copy with, each forced in turn. The medium is the fake one: a byte gets there by a write-back or a
 * streamed store, and a fence after it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

#define GUARD 256u
#define LINE 64u
#define SIZE (512u << 10)

static struct pm_mapping *m;
static unsigned char *base;
static unsigned char source[SIZE], model[SIZE]; /* model: what the mapping must hold */

/* From LINES on: cache lines, each with another way to copy. */
enum { PAGES, BYTES, WORDS, LINES };
static int way;

/* The nth way of this CPU to copy; NULL if there are not so many. */
static const struct pm_cpu *copier(unsigned n)
{
	const struct pm_cpu *cpu;
	for (unsigned i = 0; (cpu = pm_cpu_variant(i)); i++)
		if (!strcmp(cpu->name, pm_cpu_variant(0)->name) && !n--)
			return cpu;
	return NULL;
}

static int ways(void)
{
	unsigned n = 0;
	while (copier(n))
		n++;
	return LINES + (int)n;
}

static void map_way(int wanted)
{
	struct fake_machine machine = wanted == PAGES ? fake_plain : wanted == BYTES ? fake_eadr : fake_dax;
	const char *path = unit_file("file", SIZE);
	way = wanted;
	machine.cpu_only_stores = way == WORDS;
	machine.cpu_copies_as = way >= LINES ? copier((unsigned)(way - LINES)) : NULL;
	fake_start(&machine);
	fake.machine.release = FAKE_WITHOUT_FOLIOS;
	counting.recording = false;
	m = unit_map(path, NULL);
	base = pm_base(m);
	for (size_t i = 0; i < SIZE; i++)
		source[i] = (unsigned char)(i * 13 + i / 256 + 5);
	memcpy(model, base, SIZE);
	if (way != PAGES)
		fake_watch(base, SIZE);
}

/* Around [at, at + length), where the copy went, but not beyond what is accessible. */
static size_t lowest, highest = SIZE;

static void check_memory(size_t at, size_t length)
{
	size_t from = at < lowest + GUARD ? lowest : at - GUARD;
	size_t to = at + length + GUARD < highest ? at + length + GUARD : highest;
	if (memcmp(base + from, model + from, to - from) != 0)
		ck_abort_msg("%zu bytes at %zu", length, at);
}

static void check_durable(size_t at, size_t length)
{
	size_t touched = length ? (at + length - 1) / LINE - at / LINE + 1 : 0;
	if (way >= WORDS && !fake_medium_has(at, length))
		ck_abort_msg("%zu bytes at %zu are not on the medium", length, at);
	/* Each line is written back, or streamed, once. */
	if (way >= WORDS && fake.lines + fake.streamed_lines != touched)
		ck_abort_msg("%zu bytes at %zu: %u lines written back, %u streamed", length, at, fake.lines,
		             fake.streamed_lines);
	unit_expect(fake.fences == (way != PAGES && length));
	/* By pages it is a plain copy. */
	unit_expect(way != PAGES || fake.write_backs + fake.streams + fake.copies == 0);
	unit_expect(way != BYTES || fake.write_backs == 0);
	/* An msync, whether it can be believed, and what the file is by then. */
	unit_expect(fake_calls(FAKE_msync) == (way == PAGES && length));
	unit_expect(fake_syscalls() == 3 * (way == PAGES && length));
}

static void copy_from(size_t at, const void *from, size_t length, unsigned flags)
{
	fake_forget();
	memcpy(model + at, from, length);
	unit_ok(pm_memcpy(m, base + at, from, length, flags));
	check_memory(at, length);
	check_durable(at, length);
}

static void copy_once(size_t at, size_t from, size_t length, unsigned flags)
{
	copy_from(at, source + from, length, flags);
}

static void fill_once(size_t at, int value, size_t length, unsigned flags)
{
	fake_forget();
	memset(model + at, value, length);
	unit_ok(pm_memset(m, base + at, value, length, flags));
	check_memory(at, length);
	check_durable(at, length);
}

/* ---- All small ones ---- */

#define AREA (2 * unit_page())

/* Nothing can be accessed before begin, or from begin + AREA on. */
static void fence_in(unsigned char *begin)
{
	unit_expect(mprotect(begin - unit_page(), unit_page(), PROT_NONE) == 0);
	unit_expect(mprotect(begin + AREA, unit_page(), PROT_NONE) == 0);
}

static unsigned char *guarded_source(void)
{
	unsigned char *memory =
		mmap(NULL, AREA + 2 * unit_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unit_expect(memory != MAP_FAILED);
	memory += unit_page();
	memcpy(memory, source, AREA);
	fence_in(memory);
	return memory;
}

/* From 0 to 127 bytes from the first and the last byte that can be accessed. */
START_TEST(every_small_copy)
{
	map_way(_i);
	unsigned char *from = guarded_source();
	lowest = 16 * unit_page();
	highest = lowest + AREA;
	fence_in(base + lowest);
	/* What is the same code with another strategy is only looked at here and there. */
	size_t step = way < WORDS ? 7 : 1;
	for (size_t offset = 0; offset < 128; offset += step)
		for (size_t length = 0; length <= 320; length++) {
			size_t skew = (offset * 5 + length / 3) % 64, high = highest - offset - length;
			copy_from(lowest + offset, from + AREA - skew - length, length, 0);
			copy_from(high, from + skew, length, PM_NONTEMPORAL);
			fill_once(high, (int)(offset + length), length, length % 2 ? 0 : PM_NONTEMPORAL);
			fill_once(lowest + offset, (int)(offset * length), length, 0);
		}
	munmap(from - unit_page(), AREA + 2 * unit_page());
	unit_ok(pm_unmap(m));
}
END_TEST

/* Around the sizes from which copies are streamed, and from which with other instructions; and the size of a part. */
static const size_t thresholds[] = {128, 256, 320, 512, 1024, 4096, 32768, 131072};

START_TEST(every_copy_around_a_threshold)
{
	static const unsigned flags[] = {0, PM_NONTEMPORAL, PM_TEMPORAL};
	static const size_t starts[] = {4096, 4097, 4096 + 63, 4096 + 8, 4096 + 64};
	map_way(_i);
	for (size_t i = 0; i < COUNT(thresholds); i++)
		for (size_t delta = 0; delta < 131; delta += delta % 64 < 2 ? 1 : 31)
			for (size_t j = 0; j < COUNT(starts); j++) {
				size_t length = thresholds[i] + delta - 65;
				if (thresholds[i] + delta < 66)
					continue;
				unsigned f = flags[(i + j + delta) % 3];
				copy_once(starts[j], delta, length, f);
				fill_once(starts[j], (int)delta, length, f);
			}
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(the_ends_of_the_mapping)
{
	static const size_t lengths[] = {1, 7, 63, 64, 65, 1023, 1024, 1025, 65536, 65599, SIZE - 1, SIZE};
	map_way(_i);
	for (size_t i = 0; i < COUNT(lengths); i++) {
		copy_once(0, 0, lengths[i], 0);
		copy_once(SIZE - lengths[i], 0, lengths[i], 0);
		fill_once(SIZE - lengths[i], 77, lengths[i], 0);
	}
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(overlap_in_both_directions)
{
	static const size_t lengths[] = {1, 7, 8, 9, 63, 64, 65, 200, 1023, 1024, 1500, 4096, 70000};
	static const size_t distances[] = {0, 1, 7, 8, 9, 63, 64, 65, 1000, 1024, 5000, 80000};
	const size_t middle = 200000;
	map_way(_i);
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
			check_durable(to, lengths[i]);
		}
	}
	unit_ok(pm_unmap(m));
}
END_TEST

/* Every distance around that of a line, both ways. */
START_TEST(every_small_overlap)
{
	static const size_t starts[] = {4096, 4096 + 9, 4096 + 63};
	map_way(_i);
	for (size_t distance = 0; distance < 132; distance++)
		for (size_t length = 1; length <= 320; length += length < 24 ? 1 : way < WORDS ? 23 : 7)
			for (size_t i = 0; i < 2 * COUNT(starts); i++) {
				size_t to = starts[i / 2], from = i % 2 ? to + distance : to - distance;
				memcpy(base + 3800, source + distance, 1000);
				memcpy(model + 3800, source + distance, 1000);
				fake_forget();
				memmove(model + to, model + from, length);
				unit_ok(pm_memmove(m, base + to, base + from, length, length % 2 ? 0 : PM_NONTEMPORAL));
				check_memory(to, length);
				check_durable(to, length);
			}
	unit_ok(pm_unmap(m));
}
END_TEST

static unsigned is_stored_edge(const struct pm_cpu *cpu, size_t n)
{
	bool one_store = n <= cpu->edge_most && !(n & (n - 1));
	return n % 8 || (n && !one_store && !cpu->edge_in_parts);
}

/*
 * Where loads wait for stores a little ahead of them modulo 4096, lines are streamed downwards; edges in parts, or only
 * those of one store, and a head before the lines or behind them, as the CPU has it. A fill streams the same edges.
 */
START_TEST(a_destination_a_little_ahead)
{
	static const size_t ahead[] = {0, 1, 8, 64, 100, 136, 254, 255, 256, 2048, 4095};
	static const size_t lengths[] = {256, 257, 312, 384, 520, 1000, 4096, 4104, 9000};
	map_way(LINES + _i / 4);
	/* The fake machine's own, which judges by it. */
	struct pm_cpu *cpu = (struct pm_cpu *)(uintptr_t)m->medium.cpu;
	cpu->alias = 255;
	cpu->edge_in_parts = _i % 2;
	cpu->head_first = _i % 4 / 2;
	pm_terms_set_strategy(&m->terms, &m->medium, &pm_strategy_cacheline);
	for (size_t i = 0; i < COUNT(ahead); i++)
		for (size_t j = 0; j < COUNT(lengths); j++) {
			size_t at = 3 * 4096 + ahead[i], page = -(uintptr_t)source % 4096;
			copy_once(at, page, lengths[j], 0);
			bool is_aliased = ahead[i] && ahead[i] <= 255 && cpu->stream_copy;
			ck_assert_msg((fake.streams_down > 0) == is_aliased, "%zu bytes, %zu ahead", lengths[j],
			              ahead[i]);
			size_t head = -at % LINE, tail = (at + lengths[j]) % LINE;
			ck_assert_uint_eq(fake.lines, is_stored_edge(cpu, head) + is_stored_edge(cpu, tail));
			fill_once(at, (int)j, lengths[j], 0);
			ck_assert_uint_eq(fake.lines, is_stored_edge(cpu, head) + is_stored_edge(cpu, tail));
		}
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Flags ---- */

START_TEST(flags_that_make_no_sense)
{
	static const unsigned wrong[] = {0x10, 0x80000000u, PM_TEMPORAL | PM_NONTEMPORAL,
	                                 PM_TEMPORAL | PM_NONTEMPORAL | PM_NODRAIN};
	map_way(_i);
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
	static const size_t lengths[] = {10, 500, 1024, 5000, 100000, 512};
	map_way(_i % 2 ? WORDS : LINES);
	for (size_t i = 0; i < COUNT(lengths); i++) {
		fake_forget();
		/* The last of whole lines: nothing is left to write back. */
		size_t at = lengths[i] == 512 ? 4096 : i * 3;
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
	map_way(_i ? WORDS : LINES);
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
	bool streamed;
} streaming[] = {
	{255, 0, false},
	{256, 0, true},
	{100000, 0, true},
	{100000, PM_TEMPORAL, false},
	{127, PM_NONTEMPORAL, false}, /* fewer than two lines are not worth it */
	{128, PM_NONTEMPORAL, true},
	{100000, PM_NONTEMPORAL, true},
};

START_TEST(what_is_streamed)
{
	for (int w = WORDS; w < ways(); w++) {
		map_way(w);
		for (int call = 0; call < 3; call++) {
			fake_forget();
			unsigned char *to = base + 4096 + 10;
			size_t length = streaming[_i].length;
			unsigned flags = streaming[_i].flags;
			unit_ok(call == 0   ? pm_memset(m, to, 1, length, flags)
			        : call == 1 ? pm_memcpy(m, to, source, length, flags)
			                    : pm_memmove(m, to, to + 3, length, flags));
			bool streams = way != WORDS && streaming[_i].streamed;
			ck_assert_int_eq(fake.streams > 0, streams);
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
	map_way(_i);
	for (size_t i = 0; i < COUNT(values); i++) {
		fill_once(1001, values[i], 50, 0);
		fill_once(1001, values[i], 5000, 0);
		fill_once(1001, values[i], 70000, 0);
	}
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- What becomes known while the bytes are on their way ---- */

static void poison(const char *lines, size_t length)
{
	(void)lines, (void)length;
	fake.set_out = NULL;
	pm_shared_file_fail(m->errors.shared, atomic_load(&m->errors.shared->error_seq), -EIO);
}

static void lose_guarantee(const char *lines, size_t length)
{
	(void)lines, (void)length;
	fake.set_out = NULL;
	fake.machine.dax = PM_NO;
	unit_query(m);
}

/* The first check was made before the stores. With PM_NODRAIN the drain says it. */
START_TEST(a_copy_checks_again_after_its_stores)
{
	static void (*const deeds[])(const char *, size_t) = {poison, lose_guarantee};
	bool is_lost = _i & 1, is_fill = _i & 2;
	unsigned flags = _i & 4 ? PM_NODRAIN : 0;
	int expected = is_lost ? -PM_ENOTSYNC : -EIO;
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_dax);
	m = unit_map(path, UNIT_OPTIONS(.sync = PM_GUARANTEE, .flags = PM_FAIL_ON_DEMOTION));
	fake.set_out = deeds[is_lost];
	int rc = is_fill ? pm_memset(m, pm_base(m), 1, 4096, flags) : pm_memcpy(m, pm_base(m), source, 4096, flags);
	ck_assert_ptr_null(fake.set_out);
	ck_assert_int_eq(rc, flags ? 0 : expected);
	ck_assert_int_eq(pm_drain(m), expected);
	pm_unmap(m);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("copy");
	int all = ways();
	tcase_add_loop_test(c, every_small_copy, 0, all);
	tcase_add_loop_test(c, every_copy_around_a_threshold, 0, all);
	tcase_add_loop_test(c, the_ends_of_the_mapping, 0, all);
	tcase_add_loop_test(c, overlap_in_both_directions, 0, all);
	tcase_add_loop_test(c, every_small_overlap, 0, all);
	tcase_add_loop_test(c, a_destination_a_little_ahead, 0, 4 * (all - LINES));
	tcase_add_loop_test(c, flags_that_make_no_sense, 0, all);
	tcase_add_loop_test(c, nodrain_leaves_the_fence_out, 0, 4);
	tcase_add_loop_test(c, noflush_is_a_plain_copy, 0, 2);
	tcase_add_loop_test(c, what_is_streamed, 0, (int)COUNT(streaming));
	tcase_add_loop_test(c, any_value, 0, all);
	tcase_add_loop_test(c, a_copy_checks_again_after_its_stores, 0, 8);
	return unit_run();
}
