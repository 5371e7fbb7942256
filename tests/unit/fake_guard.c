/* SPDX-License-Identifier: BSD-3-Clause */
/* What only the guard asks for: signals, which no other code may touch, and a block inside a file. */
#include "fake.h"
#include "fake_internal.h"

static void check_guard(void)
{
	if (!fake.guards)
		fake_violation("a signal was touched unasked");
}

static int fake_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
	check_guard();
	return pm_sys_linux.sigaction(number, action, old);
}

static int fake_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	check_guard();
	return pm_sys_linux.pthread_sigmask(how, set, old);
}

static int fake_rt_tgsigqueueinfo(const siginfo_t *info)
{
	check_guard();
	return pm_sys_linux.rt_tgsigqueueinfo(info);
}

static int fake_fallocate_keep_size(int fd, uint64_t offset, uint64_t length)
{
	return fake.machine.lacks_fallocate ? -EOPNOTSUPP : pm_sys_linux.fallocate_keep_size(fd, offset, length);
}

const struct pm_sys fake_answers_of_guard = {
	.sigaction = fake_sigaction,
	.pthread_sigmask = fake_pthread_sigmask,
	.rt_tgsigqueueinfo = fake_rt_tgsigqueueinfo,
	.fallocate_keep_size = fake_fallocate_keep_size,
};
