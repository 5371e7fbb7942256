/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "observe/lease.h"
#include "sys/sys.h"

#define FIRST_BACKOFF_MS 1000u
#define MOST_FAILURES 7u /* which are counted: 64 s */

/* -EBADF: the program took the descriptor away, and no lease is touched through the number any more. */
static int check_leased(const struct pm_lease *l)
{
	struct statx now;
	return l->identity && pm_kept_file_stat(l->identity, &now) == -EBADF ? -EBADF : 0;
}

static bool has_lease(const struct pm_lease *l)
{
	return PM_RETRY(pm_sys->getlease(l->fd)) == F_WRLCK;
}

/*
 * The thread to be signalled is set before each attempt: the kernel forgets it with each lease (fs/locks.c
 * lease_modify) and otherwise names the process (lease_setup), where the signal would reach the application.
 */
void pm_lease_take(struct pm_lease *l)
{
	struct pm_owner owner = {{F_OWNER_TID, l->signalled}, SIGIO};
	int rc = check_leased(l);
	if (!rc)
		rc = PM_RETRY(pm_sys->fcntl_setown(l->fd, &owner));
	if (!rc)
		rc = PM_RETRY(pm_sys->setlease(l->fd, F_WRLCK));
	l->error = -rc;
	l->failures = 0;
	l->next_attempt = 0;
	atomic_store(&l->is_held, !rc);
}

/* A descriptor that the program took away tells nothing: the lease stays with the mapping. */
bool pm_lease_is_broken(const struct pm_lease *l)
{
	return atomic_load(&l->is_held) && !has_lease(l) && !check_leased(l);
}

void pm_lease_note_break(struct pm_lease *l)
{
	atomic_store(&l->is_held, false);
	l->error = EAGAIN;
}

bool pm_lease_release(struct pm_lease *l)
{
	return check_leased(l) || PM_RETRY(pm_sys->setlease(l->fd, F_UNLCK)) == -EAGAIN;
}

void pm_lease_end(struct pm_lease *l)
{
	if (atomic_exchange(&l->is_held, false) && !check_leased(l))
		PM_RETRY(pm_sys->setlease(l->fd, F_UNLCK));
}

bool pm_backoff_is_over(const struct pm_lease *l)
{
	return pm_sys->now_ms() >= l->next_attempt;
}

/* In time, not in looks: many of them are announced within a second. */
void pm_backoff_note(struct pm_lease *l, bool succeeded)
{
	if (succeeded)
		l->failures = 0;
	else if (l->failures < MOST_FAILURES)
		l->failures++;
	l->next_attempt = succeeded ? 0 : pm_sys->now_ms() + (FIRST_BACKOFF_MS << (l->failures - 1));
}
