/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What riscv_hwprobe(2) may answer, and what the CPU's table makes of it. The linker's --wrap puts the answers in the
 * place of the system call; the instruction is not executed, since not each emulator knows it.
 */
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#define ZICBOM ((uint64_t)1 << 55)

struct hwprobe {
	int64_t key;
	uint64_t value;
};

static const struct answer {
	long result;
	struct hwprobe extensions, block;
	const char *name;
} answers[] = {
	{0, {4, ZICBOM | 0xff}, {12, 64}, "cbo.clean"},
	{0, {4, ZICBOM}, {12, 128}, "cbo.clean"},
	{-1, {4, ZICBOM}, {12, 64}, "no Zicbom"},      /* before Linux 6.4 */
	{0, {4, ~ZICBOM}, {12, 64}, "no Zicbom"},      /* one CPU lacks it, or user mode may not */
	{0, {4, ZICBOM}, {-1, 0}, "no Zicbom"},        /* a kernel that does not know the size */
	{0, {4, ZICBOM}, {-1, 64}, "no Zicbom"},
	{0, {-1, ZICBOM}, {12, 64}, "no Zicbom"},
	{0, {4, ZICBOM}, {12, 0}, "no Zicbom"},
	{0, {4, ZICBOM}, {12, 48}, "no Zicbom"},
};

static const struct answer *answer;
static int asked;

long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...)
{
	va_list arguments;
	va_start(arguments, number);
	struct hwprobe *pairs = va_arg(arguments, struct hwprobe *);
	va_end(arguments);
	ck_assert_int_eq(number, 258);
	ck_assert(pairs[0].key == 4 && pairs[1].key == 12);
	asked++;
	pairs[0] = answer->extensions;
	pairs[1] = answer->block;
	return answer->result;
}

/* In a process of its own each (Check forks): the answer is kept. */
START_TEST(the_instruction_is_used_only_where_the_kernel_says_so)
{
	answer = &answers[_i];
	ck_assert_str_eq(pm_cpu()->name, answer->name);
	ck_assert_int_eq(pm_cpu()->reaches_media, !strcmp(answer->name, "cbo.clean"));
	ck_assert_ptr_eq(pm_cpu(), pm_cpu_variant(0));
	ck_assert_int_eq(asked, 1);
	/* Without it nothing is executed that could be illegal. */
	if (!pm_cpu()->reaches_media)
		ck_assert_int_eq(pm_cpu()->persist("", 1), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("zicbom");
	tcase_add_loop_test(c, the_instruction_is_used_only_where_the_kernel_says_so, 0,
	                    sizeof(answers) / sizeof(answers[0]));
	return unit_run();
}
