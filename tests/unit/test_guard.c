/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a fault goes: to which guard, with which address; and what is left behind. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guarding.h"
#include "mapping/mapping.h"

/* The thread sanitizer delivers a signal that was sent when it sees fit, and blocks all others in its handler. */
#ifdef __SANITIZE_THREAD__
#define SIGNALS_COME_LATE 1
#else
#define SIGNALS_COME_LATE 0
#endif

static size_t page;

static void start(void)
{
	page = unit_page();
	guarding_start();
}

static int answer(void *value)
{
	guarding_ran++;
	return *(int *)value;
}

/* ---- Without a fault ---- */

START_TEST(the_value_is_passed_through)
{
	static int values[] = {0, 1, -1, -EIO, 12345};
	start();
	fake_start(&fake_plain);
	fake.guards = true;
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	for (size_t i = 0; i < COUNT(values); i++) {
		struct pm_fault f;
		memset(&f, 0x55, sizeof(f));
		fake_forget();
		ck_assert_int_eq(pm_guarded(m, answer, &values[i], &f, sizeof(f)), values[i]);
		ck_assert_uint_eq(fake_syscalls(), 1);
		ck_assert_uint_eq(f.size, sizeof(f));
		ck_assert(unit_is_zero((char *)&f + sizeof(f.size), sizeof(f) - sizeof(f.size)));
		ck_assert_int_eq(pm_guarded(m, answer, &values[i], NULL, 0), values[i]);
	}
	ck_assert_int_eq(guarding_ran, 2 * (int)COUNT(values));
	unit_ok(pm_unmap(m));
	unit_ok(pm_guard_remove());
}
END_TEST

START_TEST(bad_calls_run_nothing)
{
	struct pm_fault f;
	int value = 1;
	start();
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	ck_assert_int_eq(pm_guarded(m, NULL, NULL, &f, sizeof(f)), -EINVAL);
	ck_assert_int_eq(pm_guarded(m, answer, &value, &f, offsetof(struct pm_fault, offset) - 1), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), guarding_path));
	unit_ok(pm_guard_remove());
	ck_assert_int_eq(pm_guarded(m, answer, &value, &f, sizeof(f)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "pm_guard_install"));
	ck_assert_int_eq(guarding_ran, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_caller_of_another_version)
{
	struct {
		struct pm_fault f;
		char more[16];
	} room;
	start();
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	guarding_cut(0);
	memset(&room, 0x55, sizeof(room));
	ck_assert_int_eq(pm_guarded(m, guarding_store, pm_base(m), &room.f, sizeof(room)), -EIO);
	ck_assert_uint_eq(room.f.size, sizeof(room.f));
	ck_assert_int_eq(room.more[0], 0x55);
	memset(&room, 0x55, sizeof(room));
	const size_t small = offsetof(struct pm_fault, offset);
	ck_assert_int_eq(pm_guarded(m, guarding_store, pm_base(m), &room.f, small), -EIO);
	ck_assert_uint_eq(room.f.size, small);
	ck_assert_int_eq(room.f.error, -EIO);
	ck_assert_int_eq(*((char *)&room + small), 0x55);
	guarding_unmap_cut(m);
}
END_TEST

/* ---- A file that is cut off ---- */

static const struct {
	unsigned flags;
	uint64_t offset;
} views[] = {{0, 0}, {0, 777}, {0, 50000}, {PM_READ_ONLY, 777}, {PM_PRIVATE, 0}};

START_TEST(the_fault_says_where)
{
	struct pm_fault f;
	start();
	const uint64_t cuts[] = {GUARDING_PAGES * page - 1, 10 * page + 1, 10 * page, 1, 0};
	const struct pm_options *o = UNIT_OPTIONS(.flags = views[_i].flags, .offset = views[_i].offset);
	struct pm_mapping *m = unit_map(guarding_path, o);
	char *base = pm_base(m), sentence[64];
	for (size_t i = 0; i < COUNT(cuts); i++) {
		uint64_t there = (cuts[i] + page - 1) / page * page;
		guarding_cut(cuts[i]);
		snprintf(sentence, sizeof(sentence), "truncated to %llu", (unsigned long long)cuts[i]);
		for (unsigned n = 0; n < 50; n++) {
			uint64_t at = unit_random() % pm_length(m), offset = at + views[_i].offset;
			bool is_there = offset < there;
			int rc = pm_guarded(m, guarding_load, base + at, &f, sizeof(f));
			if (is_there) {
				unit_expect(rc == 8 || rc == 9);
				unit_expect(f.error == 0);
				continue;
			}
			unit_expect(rc == -EIO);
			guarding_check(&f, m, base + at, -EIO);
			unit_expect(f.code == BUS_ADRERR && f.length == page);
			unit_expect(strstr(pm_error_detail(), sentence));
		}
	}
	/* Stores as well, and all is well again with the file. */
	if (!(views[_i].flags & PM_READ_ONLY)) {
		ck_assert_int_eq(pm_guarded(m, guarding_store, base, &f, sizeof(f)), -EIO);
		guarding_check(&f, m, base, -EIO);
	}
	guarding_cut(GUARDING_PAGES * page);
	ck_assert_int_eq(pm_guarded(m, guarding_load, base, &f, sizeof(f)), 9);
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), 0);
	if (views[_i].flags)
		unit_ok(pm_unmap(m));
	else
		guarding_unmap_cut(m);
}
END_TEST

/* The bytes of its last page that the mapping does not own are in no other mapping. */
START_TEST(around_the_mapping)
{
	struct pm_fault f;
	start();
	struct pm_mapping *m = unit_map(guarding_path, UNIT_OPTIONS(.offset = page + 100, .length = page));
	char *base = pm_base(m);
	guarding_cut(0);
	ck_assert_int_eq(pm_guarded(m, guarding_load, base - 100, &f, sizeof(f)), -EIO);
	ck_assert_uint_eq(f.offset, page);
	ck_assert_int_eq(pm_guarded(m, guarding_load, base + 2 * page - 101, &f, sizeof(f)), -EIO);
	ck_assert_uint_eq(f.offset, 3 * page - 1);
	struct guarding_forged outside[] = {{BUS_ADRERR, base - 101, 0}, {BUS_ADRERR, base - 100 + 2 * page, 0}};
	for (size_t i = 0; i < COUNT(outside); i++)
		ck_assert_int_eq(pm_guarded(m, guarding_forge, &outside[i], &f, sizeof(f)), 7);
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), COUNT(outside));
	guarding_unmap_cut(m);
}
END_TEST

/* ---- Nesting ---- */

struct nest {
	struct pm_mapping *inner;
	char *at;    /* accessed in the inner guard */
	char *later; /* accessed after it, unless NULL */
	int inner_rc;
	struct pm_fault fault; /* of the inner guard */
	bool went_on;
};

static int nested(void *arg)
{
	struct nest *n = arg;
	n->inner_rc = pm_guarded(n->inner, guarding_load, n->at, &n->fault, sizeof(n->fault));
	n->went_on = true;
	return n->later ? guarding_load(n->later) : 11;
}

START_TEST(the_innermost_guard_of_the_address_returns)
{
	struct pm_fault f;
	start();
	struct pm_mapping *a = unit_map(guarding_path, NULL), *b = unit_map(guarding_path, NULL);
	char *in_a = (char *)pm_base(a) + 5 * page, *in_b = (char *)pm_base(b) + 6 * page;
	guarding_cut(4 * page);
	struct nest n = {.inner = b, .at = in_b};
	ck_assert_int_eq(pm_guarded(a, nested, &n, &f, sizeof(f)), 11);
	ck_assert_int_eq(f.error, 0);
	ck_assert_int_eq(n.inner_rc, -EIO);
	guarding_check(&n.fault, b, in_b, -EIO);
	/* The outer one's address in the inner guard. */
	n = (struct nest){.inner = b, .at = in_a};
	ck_assert_int_eq(pm_guarded(a, nested, &n, &f, sizeof(f)), -EIO);
	guarding_check(&f, a, in_a, -EIO);
	ck_assert(!n.went_on);
	/* The inner one is gone: after it the outer one serves, and no guard serves b. */
	n = (struct nest){.inner = b, .at = pm_base(b), .later = in_a};
	ck_assert_int_eq(pm_guarded(a, nested, &n, &f, sizeof(f)), -EIO);
	ck_assert(n.went_on);
	guarding_check(&f, a, in_a, -EIO);
	/* Of two on the same mapping the inner one. */
	n = (struct nest){.inner = a, .at = in_a};
	ck_assert_int_eq(pm_guarded(a, nested, &n, &f, sizeof(f)), 11);
	guarding_check(&n.fault, a, in_a, -EIO);
	struct guarding_forged late = {BUS_ADRERR, in_b, 0};
	guarding_forge(&late);
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), 1);
	guarding_unmap_cut(a);
	guarding_unmap_cut(b);
}
END_TEST

struct depth {
	struct pm_mapping *m[2];
	char *at;
	unsigned left, returned;
};

static int deeper(void *arg)
{
	struct depth *d = arg;
	if (!d->left)
		return guarding_load(d->at);
	/* The last ones are of the other mapping. */
	int rc = pm_guarded(d->m[--d->left < 10], deeper, d, NULL, 0);
	d->returned++;
	return rc;
}

START_TEST(recursion)
{
	start();
	struct depth d = {.m = {unit_map(guarding_path, NULL), unit_map(guarding_path, NULL)}, .left = 50};
	d.at = (char *)pm_base(d.m[0]) + 9 * page;
	guarding_cut(0);
	ck_assert_int_eq(deeper(&d), -EIO);
	/* Ten are left at once, by the jump to the 40th, which then returns. */
	ck_assert_uint_eq(d.returned, 40);
	d.left = 50;
	d.returned = 0;
	d.at = pm_base(d.m[1]);
	ck_assert_int_eq(deeper(&d), -EIO);
	ck_assert_uint_eq(d.returned, 50);
	guarding_unmap_cut(d.m[0]);
	guarding_unmap_cut(d.m[1]);
}
END_TEST

/* ---- The signal mask ---- */

static bool is_blocked(int number)
{
	sigset_t now;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, number) == 1;
}

static void set_mask(int how, int number)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, number);
	ck_assert_int_eq(pthread_sigmask(how, &s, NULL), 0);
}

static int change_the_mask(void *at)
{
	unit_expect(!is_blocked(SIGBUS));
	set_mask(SIG_BLOCK, SIGUSR1);
	set_mask(SIG_UNBLOCK, SIGUSR2);
	return at ? guarding_load(at) : 3;
}

START_TEST(the_mask_is_as_before)
{
	start();
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	guarding_cut(0);
	for (int blocked = 0; blocked < 2; blocked++) {
		set_mask(blocked ? SIG_BLOCK : SIG_UNBLOCK, SIGBUS);
		for (int i = 0; i < 3; i++) {
			set_mask(SIG_BLOCK, SIGUSR2);
			set_mask(SIG_UNBLOCK, SIGUSR1);
			ck_assert_int_eq(pm_guarded(m, change_the_mask, pm_base(m), NULL, 0), -EIO);
			ck_assert(!is_blocked(SIGUSR1) && is_blocked(SIGUSR2));
			ck_assert_int_eq(is_blocked(SIGBUS), blocked);
			/* What it changes and returns is its own affair. */
			ck_assert_int_eq(pm_guarded(m, change_the_mask, NULL, NULL, 0), 3);
			ck_assert(is_blocked(SIGUSR1) && !is_blocked(SIGUSR2));
			ck_assert_int_eq(is_blocked(SIGBUS), blocked);
		}
	}
	guarding_unmap_cut(m);
}
END_TEST

static void touch_from_a_handler(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	guarding_load(info->si_value.sival_ptr);
}

static int interrupt(void *at)
{
	unit_expect(!sigqueue(getpid(), SIGUSR1, (union sigval){.sival_ptr = at}));
	return 3;
}

START_TEST(a_handler_that_touches_the_mapping)
{
	struct sigaction a = {.sa_sigaction = touch_from_a_handler, .sa_flags = SA_SIGINFO};
	if (SIGNALS_COME_LATE)
		return;
	start();
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	guarding_cut(0);
	ck_assert_int_eq(sigaction(SIGUSR1, &a, NULL), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(pm_guarded(m, interrupt, pm_base(m), NULL, 0), -EIO);
		ck_assert(!is_blocked(SIGUSR1));
	}
	guarding_unmap_cut(m);
}
END_TEST

/* ---- What is sent ---- */

START_TEST(memory_errors)
{
	struct pm_fault f;
	start();
	struct pm_mapping *m = unit_map(guarding_path, UNIT_OPTIONS(.offset = 500));
	char *at = (char *)pm_base(m) + 3 * page + 5;
	struct guarding_forged small = {BUS_MCEERR_AR, at, 12}, large = {BUS_MCEERR_AR, at, 21};
	struct guarding_forged news = {BUS_MCEERR_AO, at, 12};
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &small, &f, sizeof(f)), -EHWPOISON);
	guarding_check(&f, m, at, -EHWPOISON);
	ck_assert_uint_eq(f.length, 4096);
	ck_assert_int_eq(f.code, BUS_MCEERR_AR);
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &large, &f, sizeof(f)), -EHWPOISON);
	ck_assert_uint_eq(f.length, 2 << 20);
	ck_assert_int_eq(guarding_ran, 0);
	/* The medium says that it failed. */
	struct guarding_forged object = {BUS_OBJERR, at, 0};
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &object, &f, sizeof(f)), -EIO);
	guarding_check(&f, m, at, -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "medium failed"));
	ck_assert_int_eq(guarding_ran, 0);
	/* News does not end the function. */
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &news, &f, sizeof(f)), -EHWPOISON);
	ck_assert_int_eq(guarding_ran, 1);
	guarding_check(&f, m, at, -EHWPOISON);
	ck_assert_int_eq(f.code, BUS_MCEERR_AO);
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), 0);
	guarding_forge(&news);
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), 1);
	ck_assert_int_eq(guarding_passed_code, BUS_MCEERR_AO);
	unit_ok(pm_unmap(m));
}
END_TEST

static int send_itself(void *how)
{
	if (how)
		unit_expect(!sigqueue(getpid(), SIGBUS, (union sigval){.sival_ptr = how}));
	else
		unit_expect(!kill(getpid(), SIGBUS));
	guarding_ran++;
	return 7;
}

START_TEST(what_is_no_fault_of_the_medium_is_passed_on)
{
	start();
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	struct guarding_forged forgeries[] = {{BUS_ADRALN, pm_base(m), 0},
	                                      {BUS_ADRERR, NULL, 0},
	                                      {BUS_ADRERR, &guarding_ran, 0},
	                                      {BUS_MCEERR_AR, &guarding_ran, 12},
	                                      {BUS_MCEERR_AO, &guarding_ran, 12}};
	for (size_t i = 0; i < COUNT(forgeries); i++) {
		ck_assert_int_eq(pm_guarded(m, guarding_forge, &forgeries[i], NULL, 0), 7);
		ck_assert_int_eq(guarding_passed_code, forgeries[i].code);
	}
	ck_assert_int_eq(pm_guarded(m, send_itself, NULL, NULL, 0), 7);
	ck_assert_int_eq(guarding_passed_code, SI_USER);
	/* Where the siginfo has no address, what lies there is not one. */
	ck_assert_int_eq(pm_guarded(m, send_itself, pm_base(m), NULL, 0), 7);
	ck_assert_int_eq(guarding_passed_code, SI_QUEUE);
	ck_assert_uint_eq(atomic_load(&guarding_passed_on), COUNT(forgeries) + 2);
	ck_assert_int_eq(guarding_ran, (int)COUNT(forgeries) + 2);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	if (!guarding_is_possible())
		return 77;
	TCase *c = unit_case("guard");
	tcase_add_test(c, the_value_is_passed_through);
	tcase_add_test(c, bad_calls_run_nothing);
	tcase_add_test(c, a_caller_of_another_version);
	tcase_add_loop_test(c, the_fault_says_where, 0, COUNT(views));
	tcase_add_test(c, around_the_mapping);
	tcase_add_test(c, the_innermost_guard_of_the_address_returns);
	tcase_add_test(c, recursion);
	tcase_add_test(c, the_mask_is_as_before);
	tcase_add_test(c, a_handler_that_touches_the_mapping);
	tcase_add_test(c, memory_errors);
	tcase_add_test(c, what_is_no_fault_of_the_medium_is_passed_on);
	return unit_run();
}
