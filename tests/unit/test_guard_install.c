/* SPDX-License-Identifier: BSD-3-Clause */
/* Installing and removing, beside other code that does the same. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "guarding.h"

static void set(void (*handler)(int, siginfo_t *, void *), unsigned flags)
{
	struct sigaction a = {.sa_sigaction = handler, .sa_flags = (int)(flags | SA_SIGINFO)};
	ck_assert_int_eq(sigaction(SIGBUS, &a, NULL), 0);
}

static struct sigaction in_force(void)
{
	struct sigaction a;
	memset(&a, 0, sizeof(a));
	ck_assert_int_eq(sigaction(SIGBUS, NULL, &a), 0);
	return a;
}

static atomic_uint top_calls, second_calls;
static struct sigaction below_top;

/* One that passes on, as it should. */
static void top(int number, siginfo_t *info, void *context)
{
	atomic_fetch_add(&top_calls, 1);
	below_top.sa_sigaction(number, info, context);
}

static void second(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	(void)context;
	atomic_fetch_add(&second_calls, 1);
}

static void install_top(void)
{
	struct sigaction a = {.sa_sigaction = top, .sa_flags = SA_SIGINFO};
	ck_assert_int_eq(sigaction(SIGBUS, &a, &below_top), 0);
}

static void send(void)
{
	guarding_forge(&(struct guarding_forged){BUS_ADRERR, &top_calls, 0});
}

static bool guards(void)
{
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	guarding_cut(0);
	int rc = pm_guarded(m, guarding_load, pm_base(m), NULL, 0);
	guarding_cut(GUARDING_PAGES * unit_page());
	ck_assert(rc == -EIO || rc == -EINVAL);
	if (rc == -EIO)
		guarding_unmap_cut(m);
	else
		unit_ok(pm_unmap(m));
	return rc == -EIO;
}

START_TEST(it_counts)
{
	guarding_start();
	unit_ok(pm_guard_install());
	struct sigaction ours = in_force();
	unit_ok(pm_guard_remove());
	ck_assert(guards());
	unit_ok(pm_guard_remove());
	ck_assert(!guards());
	ck_assert_ptr_ne(in_force().sa_sigaction, ours.sa_sigaction);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(pm_guard_remove(), -EINVAL);
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_guard_install"));
	}
	for (int i = 0; i < 5; i++) {
		unit_ok(pm_guard_install());
		ck_assert(guards());
		unit_ok(pm_guard_remove());
	}
	send();
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), 1);
}
END_TEST

START_TEST(what_was_there_comes_back)
{
	static const unsigned flags[] = {0, SA_NODEFER, SA_ONSTACK | SA_RESTART, SA_RESETHAND};
	for (size_t i = 0; i < 3 * COUNT(flags); i++) {
		struct sigaction before = {.sa_flags = (int)flags[i % COUNT(flags)]};
		if (i < COUNT(flags)) {
			before.sa_sigaction = second;
			before.sa_flags |= SA_SIGINFO;
			sigaddset(&before.sa_mask, SIGUSR2);
		} else {
			before.sa_handler = i < 2 * COUNT(flags) ? SIG_DFL : SIG_IGN;
		}
		ck_assert_int_eq(sigaction(SIGBUS, &before, NULL), 0);
		before = in_force();
		unit_ok(pm_guard_install());
		ck_assert_ptr_ne(in_force().sa_sigaction, before.sa_sigaction);
		unit_ok(pm_guard_remove());
		struct sigaction after = in_force();
		ck_assert_ptr_eq(after.sa_sigaction, before.sa_sigaction);
		ck_assert_int_eq(after.sa_flags, before.sa_flags);
		for (int s = 1; s < 32; s++)
			ck_assert_int_eq(sigismember(&after.sa_mask, s), sigismember(&before.sa_mask, s));
	}
}
END_TEST

START_TEST(one_for_once_does_not_come_back)
{
	guarding_start();
	unit_ok(pm_guard_remove());
	set(second, SA_RESETHAND);
	unit_ok(pm_guard_install());
	send();
	ck_assert_uint_eq(atomic_load(&second_calls), 1);
	ck_assert(guards());
	unit_ok(pm_guard_remove());
	ck_assert_ptr_eq(in_force().sa_handler, SIG_DFL);
}
END_TEST

START_TEST(one_that_lies_over_ours)
{
	guarding_start();
	struct sigaction ours = in_force();
	install_top();
	/* It passes on, so all is well. */
	ck_assert(guards());
	unit_ok(pm_guard_install());
	unit_ok(pm_guard_remove());
	ck_assert_uint_eq(atomic_load(&top_calls), 1);
	ck_assert_int_eq(pm_guard_remove(), -EBUSY);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "below"));
	ck_assert_ptr_eq(in_force().sa_sigaction, top);
	/* Ours is still called, and only passes on. */
	ck_assert(!guards());
	send();
	ck_assert_uint_eq(atomic_load(&top_calls), 2);
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), 1);
	ck_assert_int_eq(pm_guard_remove(), -EINVAL);
	ck_assert_int_eq(pm_guard_install(), -EBUSY);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "over the library's"));
	ck_assert(!guards());
	/* It goes. */
	ck_assert_int_eq(sigaction(SIGBUS, &below_top, NULL), 0);
	unit_ok(pm_guard_install());
	ck_assert_ptr_eq(in_force().sa_sigaction, ours.sa_sigaction);
	ck_assert(guards());
	send();
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), 2);
	unit_ok(pm_guard_remove());
	send();
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), 3);
}
END_TEST

/* The program sets the default: no handler can be passing on to ours. */
START_TEST(ours_was_thrown_away)
{
	guarding_start();
	for (int i = 0; i < 2; i++) {
		signal(SIGBUS, SIG_DFL);
		unit_ok(pm_guard_install());
		ck_assert(guards());
		unit_ok(pm_guard_remove());
		if (i == 0)
			unit_ok(pm_guard_remove());
		ck_assert_ptr_eq(in_force().sa_handler, SIG_DFL);
		install_top();
		if (i == 0)
			continue;
		/* Not linked any more, so that this is a handler as any other. */
		below_top.sa_sigaction = second;
		unit_ok(pm_guard_install());
		send();
		ck_assert_uint_eq(atomic_load(&top_calls), 1);
		ck_assert_uint_eq(atomic_load(&second_calls), 1);
		unit_ok(pm_guard_remove());
	}
}
END_TEST

/* ---- Between two calls ---- */

static unsigned countdown;
static void (*quick)(int, siginfo_t *, void *);

static void be_quicker(enum fake_call c)
{
	if (c == FAKE_sigaction && --countdown == 0)
		set(quick, 0);
}

START_TEST(somebody_installs_meanwhile)
{
	guarding_start();
	unit_ok(pm_guard_remove());
	fake_start(&fake_plain);
	fake.guards = true;
	counting.hook = be_quicker;
	countdown = 2;
	quick = second;
	unit_ok(pm_guard_install());
	send();
	ck_assert_uint_eq(atomic_load(&second_calls), 1);
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), 0);
	/* The same when removing: theirs stays. */
	countdown = 2;
	quick = top;
	ck_assert_int_eq(pm_guard_remove(), -EBUSY);
	ck_assert_ptr_eq(in_force().sa_sigaction, top);
}
END_TEST

/* Not even for a moment: a fault of another thread would be missed. */
START_TEST(another_handler_is_never_taken_away)
{
	guarding_start();
	fake_start(&fake_plain);
	fake.guards = true;
	set(second, 0);
	ck_assert_int_eq(pm_guard_remove(), -EBUSY);
	ck_assert_uint_eq(fake_calls(FAKE_sigaction), 1);
}
END_TEST

START_TEST(a_failing_system_call)
{
	for (unsigned n = 1; n <= 2; n++) {
		guarding_start();
		unit_ok(pm_guard_remove());
		fake_start(&fake_plain);
		fake.guards = true;
		struct sigaction before = in_force();
		fake_fail(FAKE_sigaction, n, EINVAL);
		ck_assert_int_eq(pm_guard_install(), -EINVAL);
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), "sigaction"));
		ck_assert_ptr_eq(in_force().sa_sigaction, before.sa_sigaction);
		ck_assert(!guards());
		unit_ok(pm_guard_install());
		struct pm_mapping *m = unit_map(guarding_path, NULL);
		fake_fail(FAKE_pthread_sigmask, 1, EINVAL);
		guarding_ran = 0;
		ck_assert_int_eq(pm_guarded(m, guarding_load, pm_base(m), NULL, 0), -EINVAL);
		ck_assert_int_eq(guarding_ran, 0);
		unit_ok(pm_unmap(m));
		unit_ok(pm_guard_remove());
		fake_stop();
	}
}
END_TEST

/* While removing: what is still in force is counted, and can be removed; what is not is not. */
START_TEST(a_failing_removal)
{
	guarding_start();
	fake_start(&fake_plain);
	fake.guards = true;
	fake_fail(FAKE_sigaction, (unsigned)_i + 1, EINVAL);
	if (_i == 2) {
		counting.hook = be_quicker;
		countdown = 2;
		quick = second;
	}
	ck_assert_int_eq(pm_guard_remove(), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "sigaction"));
	counting.hook = NULL;
	bool is_in_force = _i < 2;
	if (is_in_force)
		ck_assert(guards());
	ck_assert_int_eq(pm_guard_remove(), is_in_force ? 0 : -EINVAL);
	unit_ok(pm_guard_install());
	ck_assert(guards());
	unit_ok(pm_guard_remove());
}
END_TEST

int main(void)
{
	if (!guarding_is_possible())
		return 77;
	TCase *c = unit_case("guard_install");
	tcase_add_test(c, it_counts);
	tcase_add_test(c, what_was_there_comes_back);
	tcase_add_test(c, one_for_once_does_not_come_back);
	tcase_add_test(c, one_that_lies_over_ours);
	tcase_add_test(c, ours_was_thrown_away);
	tcase_add_test(c, somebody_installs_meanwhile);
	tcase_add_test(c, another_handler_is_never_taken_away);
	tcase_add_test(c, a_failing_system_call);
	tcase_add_loop_test(c, a_failing_removal, 0, 3);
	return unit_run();
}
