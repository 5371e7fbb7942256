/* SPDX-License-Identifier: BSD-3-Clause */
/* The lease of a file and its back-off, without a mapping. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "observe/lease.h"
#include "sys/sys.h"
#include "unit.h"

static int fd;

static struct pm_lease start(void)
{
	const char *path = unit_file("file", 4096);
	fake_start(&fake_plain);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return (struct pm_lease){.is_wanted = true, .fd = fd, .signalled = pm_sys->gettid()};
}

/* A break signals the thread that was named, whichever thread took the lease. */
START_TEST(a_lease_names_the_thread_to_signal)
{
	struct f_owner_ex owner;
	struct pm_lease l = start();
	l.signalled = (int)getppid();
	pm_lease_take(&l);
	ck_assert(atomic_load(&l.is_held) && !l.error);
	ck_assert_int_eq(fcntl(fd, F_GETLEASE), F_WRLCK);
	ck_assert_int_eq(fcntl(fd, F_GETSIG), SIGIO);
	ck_assert_int_eq(fcntl(fd, F_GETOWN_EX, &owner), 0);
	ck_assert(owner.type == F_OWNER_TID && owner.pid == getppid());
	ck_assert(!pm_lease_is_broken(&l));
	pm_lease_end(&l);
	ck_assert_int_eq(fcntl(fd, F_GETLEASE), F_UNLCK);
	ck_assert(!pm_lease_is_broken(&l));
	close(fd);
}
END_TEST

/* As far as this process knows it is lost, while the kernel still keeps the other waiting. */
START_TEST(a_broken_lease_is_held_until_it_is_released)
{
	struct pm_lease l = start();
	pm_lease_take(&l);
	fake_fail(FAKE_getlease, 0, EAGAIN);
	ck_assert(pm_lease_is_broken(&l));
	pm_lease_note_break(&l);
	ck_assert(!pm_lease_is_broken(&l));
	ck_assert_int_eq(l.error, EAGAIN);
	ck_assert_int_eq(fcntl(fd, F_GETLEASE), F_WRLCK);
	ck_assert(!pm_lease_release(&l));
	ck_assert_int_eq(fcntl(fd, F_GETLEASE), F_UNLCK);
	/* The kernel had taken it by force. */
	ck_assert(pm_lease_release(&l));
	close(fd);
}
END_TEST

START_TEST(a_refused_lease_tells_why)
{
	struct pm_lease l = start();
	fake_fail(FAKE_setlease, 1, EACCES);
	pm_lease_take(&l);
	ck_assert(!atomic_load(&l.is_held));
	ck_assert_int_eq(l.error, EACCES);
	pm_lease_take(&l);
	ck_assert(atomic_load(&l.is_held) && !l.error);
	pm_lease_end(&l);
	close(fd);
}
END_TEST

/* The program closed the descriptor, and its number is another file's: no lease of that file is touched. */
START_TEST(a_number_of_another_file_is_left_alone)
{
	struct stat st;
	struct statx stx;
	struct pm_kept_file identity = {.inode = 0};
	struct pm_lease l = start();
	ck_assert(!fstat(fd, &st) && !pm_sys->statx(fd, "", AT_EMPTY_PATH, &stx));
	pm_kept_file_keep(&identity, fd, &stx, false);
	l.identity = &identity;
	pm_lease_take(&l);
	ck_assert(atomic_load(&l.is_held));
	int other = open(unit_file("other", 1), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(dup2(other, fd), fd);
	fake_forget();
	ck_assert(!pm_lease_is_broken(&l));
	ck_assert(pm_lease_release(&l));
	pm_lease_end(&l);
	pm_lease_take(&l);
	ck_assert_int_eq(l.error, EBADF);
	ck_assert_uint_eq(fake_calls(FAKE_setlease) + fake_calls(FAKE_fcntl_setown), 0);
	pm_kept_file_release(&identity);
	close(other);
	close(fd);
}
END_TEST

/* ---- Back-off ---- */

/* Milliseconds until the next attempt is due, however often it is asked for. */
static unsigned wait_of(struct pm_lease *l)
{
	unsigned ms = 0;
	for (; !pm_backoff_is_over(l); ms++)
		fake_time_passes(1);
	return ms;
}

START_TEST(attempts_become_rarer)
{
	static const unsigned expected[] = {0, 1, 2, 4, 8, 16, 32, 64, 64, 64}; /* in seconds */
	struct pm_lease l = start();
	atomic_store(&fake.watcher_sleeps, true);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		ck_assert_uint_eq(wait_of(&l), 1000 * expected[i]);
		pm_backoff_note(&l, false);
	}
	wait_of(&l);
	pm_backoff_note(&l, true);
	ck_assert_uint_eq(wait_of(&l), 0);
	close(fd);
}
END_TEST

/* With a lease that was taken anew nothing is waited for. */
START_TEST(a_new_lease_begins_anew)
{
	struct pm_lease l = start();
	for (int i = 0; i < 5; i++)
		pm_backoff_note(&l, false);
	ck_assert(!pm_backoff_is_over(&l));
	pm_lease_take(&l);
	ck_assert(pm_backoff_is_over(&l));
	pm_lease_end(&l);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("lease_part");
	tcase_add_test(c, a_lease_names_the_thread_to_signal);
	tcase_add_test(c, a_broken_lease_is_held_until_it_is_released);
	tcase_add_test(c, a_refused_lease_tells_why);
	tcase_add_test(c, a_number_of_another_file_is_left_alone);
	tcase_add_test(c, attempts_become_rarer);
	tcase_add_test(c, a_new_lease_begins_anew);
	return unit_run();
}
