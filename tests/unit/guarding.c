/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guarding.h"
#include "mapping/mapping.h"

const char *guarding_path;
int guarding_ran;
atomic_uint guarding_passed_on;
int guarding_passed_code;

static void count(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	atomic_fetch_add(&guarding_passed_on, 1);
	guarding_passed_code = info->si_code;
}

bool guarding_is_possible(void)
{
	if (unit_is_emulated())
		puts("skipped: the emulator of this CPU does not survive the SIGBUS of a program");
	return !unit_is_emulated();
}

void guarding_start(void)
{
	struct sigaction a = {.sa_sigaction = count, .sa_flags = SA_SIGINFO};
	guarding_path = unit_file("file", GUARDING_PAGES * unit_page());
	guarding_ran = 0;
	atomic_store(&guarding_passed_on, 0);
	ck_assert_int_eq(sigaction(SIGBUS, &a, NULL), 0);
	unit_ok(pm_guard_install());
}

void guarding_cut(uint64_t size)
{
	ck_assert_int_eq(truncate(guarding_path, (off_t)size), 0);
}

void guarding_unmap_cut(struct pm_mapping *m)
{
	int expected = pm_granularity_of(m) >= PM_CACHE_LINE ? -ERANGE : 0;
	ck_assert_int_eq(pm_unmap(m), expected);
}

int guarding_load(void *at)
{
	guarding_ran++;
	return *(volatile char *)at ? 8 : 9;
}

int guarding_store(void *at)
{
	guarding_ran++;
	*(volatile char *)at = 1;
	return 7;
}

int guarding_forge(void *forged)
{
	const struct guarding_forged *f = forged;
	siginfo_t info;
	memset(&info, 0, sizeof(info));
	info.si_signo = SIGBUS;
	info.si_code = f->code;
	info.si_addr = (void *)(uintptr_t)f->address;
	if (f->lsb)
		info.si_addr_lsb = f->lsb;
	ck_assert_int_eq(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, &info), 0);
	guarding_ran++;
	return 7;
}

void guarding_check(const struct pm_fault *f, const struct pm_mapping *m, const char *at, int error)
{
	unit_expect(f->size == sizeof(*f));
	unit_expect(f->error == error);
	unit_expect(f->address == at);
	unit_expect(f->offset == (uint64_t)(at - (char *)pm_base(m)) + m->mapped.range.offset);
	unit_expect(strstr(pm_error_detail(), guarding_path) && strstr(pm_error_detail(), "pm_guarded"));
}
