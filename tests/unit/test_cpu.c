/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The real tables of the CPU at hand, each that it can run: their write-back neither faults nor changes a byte, their
 * copies and streams arrive.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#define SIZE 8192u

static char *memory;

static void get_memory(void)
{
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(memory, MAP_FAILED);
	for (size_t i = 0; i < SIZE; i++)
		memory[i] = unit_pattern(i);
}

START_TEST(it_has_a_known_name)
{
	static const char *const known[] = {"clwb",     "clflushopt", "clflush", "clflush with an unknown line size",
	                                    "dc cvadp", "dc cvap",    "dc cvac", "none",
	                                    "dcbstps",  "dcbf",       "cbo.clean", "no Zicbom"};
	static const char *const promising[] = {"clwb", "clflushopt", "clflush", "dc cvadp",
	                                        "dc cvap",  "dcbstps",    "dcbf",    "cbo.clean"};
	static const char *const copies[] = {"avx512", "wide", "avx2", "sse2", "words"};
	const struct pm_cpu *cpu = pm_cpu_variant((unsigned)_i);
	bool is_known = false, promises = false, copies_known = false;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		is_known = is_known || !strcmp(cpu->name, known[i]);
	for (size_t i = 0; i < sizeof(promising) / sizeof(promising[0]); i++)
		promises = promises || !strcmp(cpu->name, promising[i]);
	ck_assert_msg(is_known, "%s", cpu->name);
	ck_assert_int_eq(cpu->reaches_media, promises);
	for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++)
		copies_known = copies_known || !strcmp(cpu->copies, copies[i]);
	ck_assert_msg(copies_known, "%s", cpu->copies);
	ck_assert(cpu->line && !(cpu->line & (cpu->line - 1)) && cpu->line <= 256);
	ck_assert(cpu->write_back && cpu->fence && cpu->persist);
	ck_assert_int_eq(!cpu->stream_copy, !cpu->stream_set);
	ck_assert_int_eq(!cpu->stream_copy, !cpu->stream_down);
	ck_assert_int_eq(!cpu->stream_edge, !cpu->edge_most);
	ck_assert_int_eq(!cpu->stream_edge, !cpu->stream_set_edge);
	ck_assert_int_eq(!cpu->copy, !cpu->set);
	ck_assert_int_eq(!cpu->copy, !strcmp(cpu->copies, "words"));
	ck_assert_int_eq(cpu->is_clwb, !strcmp(cpu->name, "clwb"));
}
END_TEST

START_TEST(the_first_is_taken)
{
	unsigned count = 0;
	while (pm_cpu_variant(count))
		count++;
	ck_assert_ptr_eq(pm_cpu(), pm_cpu_variant(0));
	ck_assert_ptr_eq(pm_cpu(), pm_cpu());
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < i; j++)
			ck_assert_ptr_ne(pm_cpu_variant(i), pm_cpu_variant(j));
	for (unsigned i = count; i < count + 10; i++)
		ck_assert_ptr_null(pm_cpu_variant(i));
}
END_TEST

START_TEST(a_replacement_is_taken)
{
	static const struct pm_cpu other = {.name = "other"};
	pm_cpu_replacement = &other;
	ck_assert_ptr_eq(pm_cpu(), &other);
	pm_cpu_replacement = NULL;
	ck_assert_ptr_ne(pm_cpu(), &other);
}
END_TEST

/* QEMU 7.2 announces DC CVAP and DC CVADP to a program that it runs, and does not know them. */
static bool emulator_lacks_instruction(const struct pm_cpu *cpu)
{
	if (!unit_is_emulated())
		return false;
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		char line[64];
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		cpu->write_back(line, sizeof(line));
		_exit(0);
	}
	int status = 0;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		printf("skipped: the emulator does not know %s\n", cpu->name);
	return WIFSIGNALED(status);
}

START_TEST(writing_back_changes_nothing)
{
	const struct pm_cpu *cpu = pm_cpu_variant((unsigned)_i);
	if (emulator_lacks_instruction(cpu))
		return;
	get_memory();
	for (size_t at = 0; at < 130; at++)
		for (size_t length = 1; length < 260; length += 3) {
			cpu->write_back(memory + at, length);
			unit_ok(pm_cpu_write_back(cpu, memory + at, length));
			unit_ok(cpu->persist(memory + at, length));
		}
	/* To the very ends: nothing beyond them is mapped for certain. */
	for (size_t length = 1; length < 200; length++) {
		cpu->write_back(memory + SIZE - length, length);
		cpu->write_back(memory, length);
		pm_cpu_write_back(cpu, memory + SIZE - length, length);
		pm_cpu_write_back(cpu, memory, length);
	}
	cpu->fence();
	/* Nothing is no address either: only the fence. */
	unit_ok(cpu->persist(NULL, 0));
	ck_assert(unit_has_pattern(memory, 0, SIZE));
	munmap(memory, SIZE);
}
END_TEST

/* Read-only mappings are written back, too. */
START_TEST(writing_back_needs_no_right_to_write)
{
	const struct pm_cpu *cpu = pm_cpu_variant((unsigned)_i);
	if (emulator_lacks_instruction(cpu))
		return;
	get_memory();
	ck_assert_int_eq(mprotect(memory, SIZE, PROT_READ), 0);
	cpu->write_back(memory + 1, SIZE - 1);
	ck_assert_int_eq(cpu->persist(memory, SIZE), 0);
	ck_assert(unit_has_pattern(memory, 0, SIZE));
	munmap(memory, SIZE);
}
END_TEST

static volatile sig_atomic_t touched; /* a bit for each page of memory */

static void note_page(int number, siginfo_t *info, void *context)
{
	size_t page = ((uintptr_t)info->si_addr - (uintptr_t)memory) / unit_page();
	(void)number, (void)context;
	if (page >= SIZE / unit_page() || mprotect(memory + page * unit_page(), unit_page(), PROT_READ))
		_exit(1);
	touched |= 1 << page;
}

/* The instructions of x86-64 fault where nothing may be read. An emulator may let them pass. */
START_TEST(each_page_of_a_range_is_written_back)
{
	const struct pm_cpu *cpu = pm_cpu_variant((unsigned)_i);
	const size_t middle = SIZE / 2;
	static const struct {
		int from; /* from the middle of memory, where a page begins */
		size_t length;
		int touched;
	} cases[] = {{-1, 1, 1}, {-1, 2, 3}, {0, 1, 2}, {-64, 64, 1}, {-64, 65, 3}, {-65, 66, 3}, {-130, 300, 3}};
	if (!cpu->reaches_media || unit_is_emulated() || unit_page() != middle || strncmp(cpu->name, "cl", 2) != 0)
		return;
	get_memory();
	struct sigaction act = {.sa_sigaction = note_page, .sa_flags = SA_SIGINFO}, before;
	ck_assert_int_eq(sigaction(SIGSEGV, &act, &before), 0);
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		const char *at = memory + middle + cases[i / 2].from;
		ck_assert_int_eq(mprotect(memory, SIZE, PROT_NONE), 0);
		touched = 0;
		unit_ok(i % 2 ? pm_cpu_write_back(cpu, at, cases[i / 2].length)
		              : cpu->write_back(at, cases[i / 2].length));
		ck_assert_msg(touched == cases[i / 2].touched, "case %zu: %d", i, (int)touched);
	}
	ck_assert_int_eq(sigaction(SIGSEGV, &before, NULL), 0);
	munmap(memory, SIZE);
}
END_TEST

START_TEST(streams_arrive)
{
	const struct pm_cpu *cpu = pm_cpu_variant((unsigned)_i);
	static char source[SIZE + 64];
	if (!cpu->stream_copy)
		return;
	get_memory();
	for (size_t i = 0; i < sizeof(source); i++)
		source[i] = (char)(i * 31 + 3);
	for (size_t skew = 0; skew < 64; skew++)
		for (size_t lines = 1; lines < 20; lines++) {
			size_t at = (skew % 7) * cpu->line, length = lines * cpu->line;
			(skew % 2 ? cpu->stream_down : cpu->stream_copy)(memory + at, source + skew, length);
			cpu->fence();
			unit_expect(memcmp(memory + at, source + skew, length) == 0);
			unit_expect(unit_has_pattern(memory, 0, at));
			unit_expect(unit_has_pattern(memory + at + length, at + length, SIZE - at - length));
			cpu->stream_set(memory + at, (int)(skew + 200), length);
			cpu->fence();
			for (size_t i = 0; i < length; i++)
				unit_expect((unsigned char)memory[at + i] == (unsigned char)(skew + 200));
			unit_expect(unit_has_pattern(memory + at + length, at + length, SIZE - at - length));
			for (size_t i = 0; i < length; i++)
				memory[at + i] = unit_pattern(at + i);
		}
	munmap(memory, SIZE);
}
END_TEST

static void check_edge(const struct pm_cpu *cpu, size_t at, const char *expected, size_t length)
{
	cpu->fence();
	unit_expect(memcmp(memory + at, expected, length) == 0);
	unit_expect(unit_has_pattern(memory, 0, at));
	unit_expect(unit_has_pattern(memory + at + length, at + length, SIZE - at - length));
	for (size_t i = at; i < at + length; i++)
		memory[i] = unit_pattern(i);
}

/* Every part of a line that is whole words, wherever it begins; with what lies around it. */
START_TEST(edges_arrive)
{
	const struct pm_cpu *cpu = pm_cpu_variant((unsigned)_i);
	static char source[256], value[64];
	if (!cpu->stream_edge)
		return;
	get_memory();
	for (size_t i = 0; i < sizeof(source); i++)
		source[i] = (char)(i * 31 + 3);
	for (size_t at = 64; at < 128; at += 8)
		for (size_t length = 8; at + length <= 128; length += 8)
			for (size_t skew = 0; skew < 64; skew += 7) {
				cpu->stream_edge(memory + at, source + skew, length);
				check_edge(cpu, at, source + skew, length);
				memset(value, (int)(length + skew), sizeof(value));
				cpu->stream_set_edge(memory + at, (int)(length + skew) + 256, length);
				check_edge(cpu, at, value, length);
			}
	munmap(memory, SIZE);
}
END_TEST

/*
 * A line is read before it is stored: the source may lie anywhere near it, above longer streams upwards, or below those
 * downwards.
 */
START_TEST(streams_over_their_source)
{
	const struct pm_cpu *cpu = pm_cpu_variant((unsigned)_i);
	static char expected[SIZE];
	if (!cpu->stream_copy)
		return;
	get_memory();
	for (size_t distance = 0; distance < 130; distance++)
		for (size_t lines = 1; lines < 12; lines++)
			for (int down = 0; down < 2; down++) {
				size_t at = 1024, length = lines * cpu->line,
				       from = down ? at - distance : at + distance;
				memcpy(expected, memory, SIZE);
				memmove(expected + at, expected + from, length);
				(down ? cpu->stream_down : cpu->stream_copy)(memory + at, memory + from, length);
				cpu->fence();
				unit_expect(memcmp(memory, expected, SIZE) == 0);
				for (size_t i = 0; i < SIZE; i++)
					memory[i] = unit_pattern(i);
			}
	munmap(memory, SIZE);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("cpu");
	int variants = 0;
	while (pm_cpu_variant((unsigned)variants))
		variants++;
	tcase_add_loop_test(c, it_has_a_known_name, 0, variants);
	tcase_add_test(c, the_first_is_taken);
	tcase_add_test(c, a_replacement_is_taken);
	tcase_add_loop_test(c, writing_back_changes_nothing, 0, variants);
	tcase_add_loop_test(c, writing_back_needs_no_right_to_write, 0, variants);
	tcase_add_loop_test(c, each_page_of_a_range_is_written_back, 0, variants);
	tcase_add_loop_test(c, streams_arrive, 0, variants);
	tcase_add_loop_test(c, edges_arrive, 0, variants);
	tcase_add_loop_test(c, streams_over_their_source, 0, variants);
	return unit_run();
}
