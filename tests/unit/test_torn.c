/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No copy ever leaves an aligned 8-byte word half old, half new. The CPU stops after every single instruction of it,
 * and all words are looked at: what memory is between two instructions is what a power failure could leave. (What
 * happens within one instruction is for the manuals to promise, see cpu/x86_64.c.)
 */
#include <signal.h>
#include <string.h>

#include "durability/copy.h"
#include "durability/direct.h"
#include "stepping.h"
#include "unit.h"

#define OLD 0xaaaaaaaaaaaaaaaaull
#define NEW 0x5555555555555555ull

static _Alignas(64) union {
	uint64_t word[256];
	char byte[2048];
} memory;
static char source[1024];
static size_t first, last; /* words that lie in the destination as a whole */
static volatile sig_atomic_t steps, torn;

static void look(int signal)
{
	(void)signal;
	steps++;
	for (size_t i = first; i < last; i++) {
		uint64_t now = *(volatile uint64_t *)&memory.word[i];
		torn += now != OLD && now != NEW;
	}
}

static void watch(size_t at, size_t length)
{
	memset(&memory, 0xaa, sizeof(memory));
	memset(source, 0x55, sizeof(source));
	first = (at + 7) / 8;
	last = (at + length) / 8;
	steps = torn = 0;
	ck_assert_ptr_ne(signal(SIGTRAP, look), SIG_ERR);
}

static void check_arrived(size_t at, size_t length)
{
	unit_expect(steps > 10);
	for (size_t i = 0; i < sizeof(memory); i++)
		unit_expect(memory.byte[i] == (char)(i >= at && i < at + length ? 0x55 : 0xaa));
}

static void copy_by_steps(const struct pm_cpu *cpu, size_t at, size_t length, unsigned flags)
{
	struct pm_medium medium = {.cpu = cpu};
	watch(at, length);
	step(true);
	pm_copy(&medium, &pm_strategy_cacheline, memory.byte + at, source + 3, length, flags);
	step(false);
	check_arrived(at, length);
}

static void fill_by_steps(const struct pm_cpu *cpu, size_t at, size_t length, unsigned flags)
{
	struct pm_medium medium = {.cpu = cpu};
	watch(at, length);
	step(true);
	pm_fill(&medium, &pm_strategy_cacheline, memory.byte + at, 0x55, length, flags);
	step(false);
	check_arrived(at, length);
}

/* Onto itself: the source lies in memory, the words of it that are not stored over stay new. */
static void move_by_steps(const struct pm_cpu *cpu, size_t from, size_t to, size_t length)
{
	struct pm_medium medium = {.cpu = cpu};
	watch(to, length);
	memset(memory.byte + from, 0x55, length);
	/* A word of which only a part was new before is no word to look at. */
	memset(memory.byte + (from & ~(size_t)7), 0x55, ((from + length + 7) & ~(size_t)7) - (from & ~(size_t)7));
	step(true);
	pm_copy(&medium, &pm_strategy_cacheline, memory.byte + to, memory.byte + from, length, 0);
	step(false);
	for (size_t i = to; i < to + length; i++)
		unit_expect(memory.byte[i] == 0x55);
}

static void check_whole(const struct pm_cpu *cpu, size_t at, size_t length)
{
	if (torn)
		ck_abort_msg("%s, %s: %zu bytes at %zu: a word was torn", cpu->name, cpu->copies, length, at);
}

static void move_all_ways(const struct pm_cpu *cpu, size_t at, size_t n)
{
	move_by_steps(cpu, at + at % 13, at, n);
	check_whole(cpu, at, n);
	move_by_steps(cpu, at, at + at % 13, n);
	check_whole(cpu, at, n);
	/* Just overlapping: nothing that is new already hides a word that is not. */
	move_by_steps(cpu, at, at + n - 1, n);
	check_whole(cpu, at, n);
}

static const size_t lengths[] = {1, 7, 8, 9, 15, 16, 17, 24, 31, 33, 47, 63, 64, 65, 100, 127, 128, 200, 256, 261, 700};

static void check_all(const struct pm_cpu *cpu)
{
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (size_t at = 64; at < 128; at += at < 73 ? 1 : 18) {
			size_t n = lengths[i];
			copy_by_steps(cpu, at, n, i % 2 ? PM_NONTEMPORAL : 0);
			check_whole(cpu, at, n);
			fill_by_steps(cpu, at, n, i % 2 ? 0 : PM_NONTEMPORAL);
			check_whole(cpu, at, n);
			if ((at + i) % 3 == 0)
				move_all_ways(cpu, at, n);
		}
}

START_TEST(no_word_is_torn)
{
	const struct pm_cpu *cpu;
	for (unsigned i = 0; (cpu = pm_cpu_variant(i)) && !strcmp(cpu->name, pm_cpu()->name); i++)
		check_all(cpu);
	struct pm_cpu by_words = *pm_cpu();
	by_words.copies = "words";
	by_words.copy = by_words.stream_copy = NULL;
	by_words.set = by_words.stream_set = NULL;
	check_all(&by_words);
}
END_TEST

/* As memcpy(3) does it: the last bytes by a store that overlaps the one before. */
static void overlapping(void *destination, const void *from, size_t length)
{
	char *to = destination;
	for (size_t at = 0; at < length; at += 16) {
		typedef uint64_t __attribute__((vector_size(16), aligned(1), may_alias)) vector;
		size_t place = at + 16 <= length ? at : length - 16;
		*(volatile vector *)(void *)(to + place) = *(const vector *)(const void *)((const char *)from + place);
	}
}

START_TEST(a_torn_word_is_noticed)
{
	struct pm_cpu careless = *pm_cpu();
	careless.copy = overlapping;
	copy_by_steps(&careless, 64, 64, 0);
	ck_assert(!torn);
	copy_by_steps(&careless, 67, 64, 0);
	ck_assert(torn);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("torn");
	tcase_add_test(c, no_word_is_torn);
	tcase_add_test(c, a_torn_word_is_noticed);
	return unit_run();
}
