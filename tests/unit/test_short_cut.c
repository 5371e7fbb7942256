/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many instructions the calls on lines take, counted one by one, with the real instructions of the CPU. A compiler
 * that was not asked to optimise is not held to them.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "mapping/mapping.h"
#include "stepping.h"
#include "unit.h"

#define SIZE 65536u
#define LINE 64u

static struct pm_mapping *m;
static char *base;
static char source[8192];
static volatile sig_atomic_t steps, around; /* around: of what counts a call that does nothing */

static void count(int signal)
{
	(void)signal;
	steps++;
}

/* The fake machine says what the medium is; the instructions are the CPU's own. */
static void map(void)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_dax);
	pm_cpu_replacement = NULL;
	m = unit_map(path, NULL);
	base = pm_base(m);
	ck_assert_ptr_eq(atomic_load(&m->terms.lines), pm_cpu());
	ck_assert_ptr_ne(signal(SIGTRAP, count), SIG_ERR);
}

#ifdef __OPTIMIZE__
#define OPTIMISED true
#else
#define OPTIMISED false
#endif

static int nothing(void)
{
	return 0;
}

static int (*volatile no_call)(void) = nothing;

/* Begins with a call that is not counted: the dynamic linker may bind at the first. Arguments are counted. */
#define EXPECT_STEPS(most, call)                                                                                       \
	do {                                                                                                           \
		unit_ok(call);                                                                                         \
		steps = -around;                                                                                       \
		step(true);                                                                                            \
		int stepped_ = (call);                                                                                 \
		step(false);                                                                                           \
		unit_ok(stepped_);                                                                                     \
		printf("%3d of %3d: %s\n", (int)steps, most, #call);                                                   \
		ck_assert_int_gt(steps + around, 5);                                                                   \
		ck_assert_msg(!OPTIMISED || steps <= (most), "%d instructions, not %d: %s", (int)steps, most, #call);  \
	} while (0)

static int flush_and_drain(size_t lines)
{
	int rc = 0;
	for (size_t i = 0; i < lines; i++)
		rc |= pm_flush(m, base + i * LINE, LINE);
	return rc | pm_drain(m);
}

static int copies_and_drain(size_t copies, size_t length)
{
	int rc = 0;
	for (size_t i = 0; i < copies; i++)
		rc |= pm_memcpy(m, base + i * length, source, length, PM_NODRAIN);
	return rc | pm_drain(m);
}

START_TEST(calls_on_lines_are_short)
{
	map();
	EXPECT_STEPS(40, no_call());
	around = steps;
	EXPECT_STEPS(42, pm_persist(m, base, LINE));
	EXPECT_STEPS(42, pm_flush(m, base, LINE));
	EXPECT_STEPS(18, pm_drain(m));
	EXPECT_STEPS(58, flush_and_drain(1));
	EXPECT_STEPS(40 + 16 * 46, flush_and_drain(16));
	EXPECT_STEPS(160, pm_memcpy(m, base, source, LINE, 0));
	EXPECT_STEPS(160, pm_memset(m, base, 1, LINE, 0));
	EXPECT_STEPS(160, pm_memcpy(m, base, source, LINE, PM_NODRAIN));
	EXPECT_STEPS(160, pm_memset(m, base, 1, LINE, PM_NODRAIN));
	EXPECT_STEPS(40 + 16 * 160, copies_and_drain(16, LINE));
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("short_cut");
	tcase_add_test(c, calls_on_lines_are_short);
	return unit_run();
}
