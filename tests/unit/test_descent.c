/* SPDX-License-Identifier: BSD-3-Clause */
/* What is concluded of a file system from the devices below it, without any device. */
#include <errno.h>
#include <string.h>

#include "facts/descent.h"
#include "unit.h"

#define STATES 3u

/* The worst first: of two results the one that stands before the other counts. */
static const enum pm_state volatiles[STATES] = {PM_YES, PM_UNKNOWN, PM_NO};
static const enum pm_state flushes[STATES] = {PM_NO, PM_UNKNOWN, PM_YES};

static struct pm_descent found(unsigned is_volatile, unsigned is_flushed, const char *name)
{
	struct pm_descent b = {.is_volatile = volatiles[is_volatile], .flushes = flushes[is_flushed]};
	strcpy(b.what, name);
	strcpy(b.how, name);
	return b;
}

/* Of equal ones the first is named. */
START_TEST(the_worse_counts)
{
	for (unsigned i = 0; i < STATES * STATES * STATES * STATES; i++) {
		unsigned v1 = i % 3, v2 = i / 3 % 3, f1 = i / 9 % 3, f2 = i / 27;
		struct pm_descent b = {.error = 0}, first = found(v1, f1, "first"), second = found(v2, f2, "second");
		pm_descent_merge(&b, &first);
		ck_assert(b.is_met && b.is_volatile == volatiles[v1] && b.flushes == flushes[f1]);
		ck_assert_str_eq(b.what, "first");
		pm_descent_merge(&b, &second);
		ck_assert_int_eq(b.is_volatile, volatiles[v1 < v2 ? v1 : v2]);
		ck_assert_int_eq(b.flushes, flushes[f1 < f2 ? f1 : f2]);
		ck_assert_str_eq(b.what, v2 < v1 ? "second" : "first");
		ck_assert_str_eq(b.how, f2 < f1 ? "second" : "first");
	}
}
END_TEST

/* That no disk has a cache, and that nothing can be exchanged, holds only if it holds of each. */
START_TEST(what_holds_of_all)
{
	struct pm_descent b = {.error = 0}, good = found(2, 2, "good"), bad = good;
	good.has_no_cache = good.is_settled = true;
	pm_descent_merge(&b, &good);
	ck_assert(b.has_no_cache && b.is_settled);
	pm_descent_merge(&b, &good);
	ck_assert(b.has_no_cache && b.is_settled);
	pm_descent_merge(&b, &bad);
	ck_assert(!b.has_no_cache && !b.is_settled);
	pm_descent_merge(&b, &good);
	ck_assert(!b.has_no_cache && !b.is_settled);
}
END_TEST

START_TEST(the_first_error_stays)
{
	struct pm_descent b = found(2, 2, "");
	b.is_met = true;
	pm_descent_end(&b, EACCES, "%s: not reached", "sda");
	ck_assert(b.error == EACCES && b.is_volatile == PM_UNKNOWN && b.flushes == PM_UNKNOWN);
	ck_assert_str_eq(b.what, "sda: not reached");
	ck_assert_str_eq(b.how, "sda: not reached");
	pm_descent_end(&b, ENOENT, "another");
	pm_descent_doubt(&b, EIO, "a third");
	ck_assert_int_eq(b.error, EACCES);
	ck_assert_str_eq(b.what, "sda: not reached");
}
END_TEST

/* What is known to be bad is not taken back; what is good holds no more. */
START_TEST(a_doubt)
{
	for (unsigned i = 0; i < STATES * STATES; i++) {
		struct pm_descent b = found(i % 3, i / 3, "seen");
		b.has_no_cache = b.is_settled = b.is_met = true;
		pm_descent_doubt(&b, ESTALE, "path %d", 1);
		ck_assert_int_eq(b.is_volatile, volatiles[i % 3] == PM_YES ? PM_YES : PM_UNKNOWN);
		ck_assert_int_eq(b.flushes, flushes[i / 3] == PM_NO ? PM_NO : PM_UNKNOWN);
		ck_assert_str_eq(b.what, volatiles[i % 3] == PM_NO ? "path 1" : "seen");
		ck_assert_str_eq(b.how, flushes[i / 3] == PM_YES ? "path 1" : "seen");
		ck_assert(!b.has_no_cache && !b.is_settled && b.error == ESTALE);
	}
}
END_TEST

/* Whether flushes are sent says nothing there. */
START_TEST(a_memory_forgets)
{
	struct pm_descent b = found(2, 2, "disk");
	b.is_met = true;
	pm_descent_forgets(&b, "brd");
	ck_assert_int_eq(b.is_volatile, PM_YES);
	ck_assert_str_eq(b.what, "brd");
	struct pm_descent part = pm_descent_part(&b);
	ck_assert(!part.is_met && part.is_volatile == PM_UNKNOWN && !part.what[0]);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("descent");
	tcase_add_test(c, the_worse_counts);
	tcase_add_test(c, what_holds_of_all);
	tcase_add_test(c, the_first_error_stays);
	tcase_add_test(c, a_doubt);
	tcase_add_test(c, a_memory_forgets);
	return unit_run();
}
