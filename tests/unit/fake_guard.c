/* SPDX-License-Identifier: BSD-3-Clause */
/* What only the guard asks for: signals, which no other code may touch, and a block inside a file. */
#include "fake.h"
#include "fake_internal.h"

static int enter(enum fake_call call)
{
	if (!fake.guards)
		fake_violation("a signal was touched unasked");
	return fake_enter(&(struct fake_record){.call = call, .fd = -1});
}

int fake_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
	int rc = enter(FAKE_sigaction);
	return rc ? rc : pm_sys_linux.sigaction(number, action, old);
}

int fake_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	int rc = enter(FAKE_pthread_sigmask);
	return rc ? rc : pm_sys_linux.pthread_sigmask(how, set, old);
}

int fake_rt_tgsigqueueinfo(const siginfo_t *info)
{
	int rc = enter(FAKE_rt_tgsigqueueinfo);
	return rc ? rc : pm_sys_linux.rt_tgsigqueueinfo(info);
}

int fake_fallocate_keep_size(int fd, uint64_t offset, uint64_t length)
{
	struct fake_record r = {.call = FAKE_fallocate_keep_size, .fd = fd, .offset = offset, .length = length};
	int rc = fake_enter(&r);
	if (!rc && fake.machine.lacks_fallocate)
		rc = -EOPNOTSUPP;
	return rc ? rc : pm_sys_linux.fallocate_keep_size(fd, offset, length);
}
