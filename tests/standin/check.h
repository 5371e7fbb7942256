/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of Check (libcheck) that the unit tests use, for a C library that no package of Check is made for. Each test
 * runs in a process of its own, in a process group that is killed at its end, with a time limit.
 */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct Suite Suite;
typedef struct TCase TCase;
typedef struct SRunner SRunner;
typedef void check_function(int _i);
struct check_test {
	const char *name;
	check_function *function;
};

enum print_output { CK_ENV };

Suite *suite_create(const char *name);
TCase *tcase_create(const char *name);
void suite_add_tcase(Suite *, TCase *);
void tcase_add_checked_fixture(TCase *, void (*setup)(void), void (*teardown)(void));
void tcase_set_timeout(TCase *, double seconds);
void tcase_set_tags(TCase *, const char *tags);
void tcase_add_loop_test(TCase *, const struct check_test *, int start, int end);
#define tcase_add_test(tcase, test) tcase_add_loop_test(tcase, test, 0, 1)
SRunner *srunner_create(Suite *);
void srunner_run_all(SRunner *, enum print_output);
int srunner_ntests_failed(SRunner *);
int srunner_ntests_run(SRunner *);
void srunner_free(SRunner *);

__attribute__((noreturn, format(printf, 3, 4)))
void check_fail(const char *file, int line, const char *format, ...);

#define START_TEST(test_name)                                                                                \
	static void test_name##_function(int _i);                                                            \
	static const struct check_test test_name##_test = {#test_name, test_name##_function};                \
	static const struct check_test *test_name = &test_name##_test;                                       \
	static void test_name##_function(int _i __attribute__((unused)))
#define END_TEST

#define ck_abort_msg(...) check_fail(__FILE__, __LINE__, __VA_ARGS__)
#define ck_assert_msg(condition, ...) ((condition) ? (void)0 : ck_abort_msg(__VA_ARGS__))
#define ck_assert(condition) ck_assert_msg(condition, "%s", #condition)

#define CHECK_COMPARE(type, format, a, operation, b)                                                         \
	do {                                                                                                 \
		type a_ = (a);                                                                               \
		type b_ = (b);                                                                               \
		if (!(a_ operation b_))                                                                      \
			ck_abort_msg("%s %s %s: %" format ", %" format, #a, #operation, #b, a_, b_);         \
	} while (0)
#define ck_assert_int_eq(a, b) CHECK_COMPARE(intmax_t, PRIdMAX, a, ==, b)
#define ck_assert_int_ne(a, b) CHECK_COMPARE(intmax_t, PRIdMAX, a, !=, b)
#define ck_assert_int_lt(a, b) CHECK_COMPARE(intmax_t, PRIdMAX, a, <, b)
#define ck_assert_int_le(a, b) CHECK_COMPARE(intmax_t, PRIdMAX, a, <=, b)
#define ck_assert_int_gt(a, b) CHECK_COMPARE(intmax_t, PRIdMAX, a, >, b)
#define ck_assert_int_ge(a, b) CHECK_COMPARE(intmax_t, PRIdMAX, a, >=, b)
#define ck_assert_uint_eq(a, b) CHECK_COMPARE(uintmax_t, PRIuMAX, a, ==, b)
#define ck_assert_uint_ne(a, b) CHECK_COMPARE(uintmax_t, PRIuMAX, a, !=, b)
#define ck_assert_uint_lt(a, b) CHECK_COMPARE(uintmax_t, PRIuMAX, a, <, b)
#define ck_assert_uint_le(a, b) CHECK_COMPARE(uintmax_t, PRIuMAX, a, <=, b)
#define ck_assert_uint_gt(a, b) CHECK_COMPARE(uintmax_t, PRIuMAX, a, >, b)
#define ck_assert_uint_ge(a, b) CHECK_COMPARE(uintmax_t, PRIuMAX, a, >=, b)
#define ck_assert_ptr_eq(a, b) CHECK_COMPARE(const void *, "p", a, ==, b)
#define ck_assert_ptr_ne(a, b) CHECK_COMPARE(const void *, "p", a, !=, b)
#define ck_assert_ptr_null(a) ck_assert_ptr_eq(a, NULL)
#define ck_assert_ptr_nonnull(a) ck_assert_ptr_ne(a, NULL)

#define CHECK_TEXTS(a, operation, b)                                                                         \
	do {                                                                                                 \
		const char *a_ = (a), *b_ = (b);                                                             \
		if (!a_ || !b_ || !(strcmp(a_, b_) operation 0))                                             \
			ck_abort_msg("%s %s %s: \"%s\", \"%s\"", #a, #operation, #b, a_ ? a_ : "(null)",     \
			             b_ ? b_ : "(null)");                                                    \
	} while (0)
#define ck_assert_str_eq(a, b) CHECK_TEXTS(a, ==, b)
#define ck_assert_str_ne(a, b) CHECK_TEXTS(a, !=, b)
#define ck_assert_mem_eq(a, b, length) ck_assert_msg(!memcmp(a, b, length), "%s == %s", #a, #b)

#endif
