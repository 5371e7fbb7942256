/* SPDX-License-Identifier: BSD-3-Clause */
/* What a commit writes, and what it leaves alone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "syncing.h"

#define RECORDED 10000u

static void record_many(void)
{
	for (unsigned i = 0; i < RECORDED; i++) {
		++*counter(i);
		unit_ok(pm_flush(syncing_mapping, counter(i), 1));
	}
}

START_TEST(a_commit_beside_many_recorded_pages_is_one_call)
{
	syncing_start(syncing_systems[_i]);
	record_many();
	ck_assert_uint_eq(kernel.syncs + kernel.ranges, 0);
	unsigned record = RECORDED + 100;
	++*counter(record);
	unit_ok(commit_page(record));
	ck_assert_uint_eq(kernel.syncs, 1);
	ck_assert_uint_eq(kernel.ranges, 0);
	ck_assert_uint_eq(kernel.pages, 1);
	ck_assert_uint_eq(kernel.medium[record], 1);
	/* Between two of its ranges there are some. */
	++*counter(1), ++*counter(3);
	unit_ok(pm_commit(syncing_mapping, (struct pm_range[]){{counter(3), 1}, {counter(1), 1}}, 2));
	ck_assert_uint_eq(kernel.pages, 3);
	ck_assert_uint_eq(kernel.medium[1] + kernel.medium[3], 4);
	for (unsigned i = 0; i < RECORDED; i++)
		ck_assert_uint_eq(kernel.medium[i], i == 1 || i == 3 ? 2 : 0);
	/* They are recorded still. */
	unit_ok(pm_drain(syncing_mapping));
	for (unsigned i = 0; i < RECORDED; i++)
		ck_assert_uint_eq(kernel.medium[i], i == 1 || i == 3 ? 2 : 1);
	syncing_stop();
}
END_TEST

/* Page by page what was asked for is written, and where the syncs are complete no page that was only flushed. */
START_TEST(random_ranges_are_committed)
{
	static struct pm_range ranges[10000];
	static bool asked[SYNCING_PAGES];
	syncing_start(syncing_systems[_i]);
	size_t size = SYNCING_PAGES * syncing_page;
	bool whole = syncing_systems[_i] == FUSE_SUPER_MAGIC;
	for (unsigned round = 0; round < 20; round++) {
		size_t count = round ? unit_random() % 300 + 1 : 10000;
		memset(asked, 0, sizeof(asked));
		for (unsigned i = 0; i < SYNCING_PAGES; i += 1 + unit_random() % 7) {
			++*counter(i);
			unit_ok(pm_flush(syncing_mapping, counter(i), 1));
		}
		for (size_t i = 0; i < count; i++) {
			size_t at = unit_random() % size, most = size - at;
			size_t length = unit_random() % (unit_random() % 4 ? 100 : 9 * syncing_page);
			length = length < most ? length : most;
			ranges[i] = (struct pm_range){(char *)pm_base(syncing_mapping) + at, length};
			for (size_t n = at / syncing_page; length && n <= (at + length - 1) / syncing_page; n++)
				asked[n] = true;
		}
		uint32_t before[SYNCING_PAGES];
		memcpy(before, kernel.medium, sizeof(before));
		unit_ok(pm_commit(syncing_mapping, ranges, count));
		for (unsigned i = 0; i < SYNCING_PAGES; i++)
			ck_assert(kernel.medium[i] == (asked[i] ? *counter(i) : before[i]) || (whole && !asked[i]));
	}
	unit_ok(pm_drain(syncing_mapping));
	for (unsigned i = 0; i < SYNCING_PAGES; i++)
		ck_assert_uint_eq(kernel.medium[i], *counter(i));
	syncing_stop();
}
END_TEST

/* Pages between two ranges that no flush recorded: which are written, by how many calls. */
static const struct {
	unsigned last;     /* the page of the second range; the first is page 5 */
	unsigned recorded; /* a page between, flushed; 0: none */
	bool joined;
} gaps[] = {{6, 0, true},  {7, 0, true},   {21, 0, true},   {22, 0, true},  {23, 0, false},
            {200, 0, false}, {22, 6, false}, {22, 21, false}, {15, 10, false}, {22, 23, true}};

/* Up to 16 pages between cost no call of their own, and are written; a page that was flushed is left to its drain. */
START_TEST(a_small_gap_between_ranges_is_one_call)
{
	const unsigned first = 5, last = gaps[_i].last, between = last - first - 1;
	syncing_start(EXT4_SUPER_MAGIC);
	for (unsigned n = first; n <= last; n++)
		++*counter(n);
	if (gaps[_i].recorded)
		unit_ok(pm_flush(syncing_mapping, counter(gaps[_i].recorded), 1));
	unit_ok(pm_commit(syncing_mapping, (struct pm_range[]){{counter(last), 1}, {counter(first), 1}}, 2));
	ck_assert_uint_eq(kernel.syncs, 1);
	ck_assert_uint_eq(kernel.ranges, gaps[_i].joined ? 0 : 1);
	ck_assert_uint_eq(kernel.pages, gaps[_i].joined ? between + 2 : 2);
	for (unsigned n = first + 1; n < last; n++)
		ck_assert_uint_eq(kernel.medium[n], gaps[_i].joined);
	ck_assert_uint_eq(kernel.medium[first] + kernel.medium[last], 2);
	if (gaps[_i].recorded) {
		unit_ok(pm_drain(syncing_mapping));
		ck_assert_uint_eq(kernel.medium[gaps[_i].recorded], *counter(gaps[_i].recorded));
	}
	syncing_stop();
}
END_TEST

START_TEST(a_range_outside_commits_nothing)
{
	syncing_start(XFS_SUPER_MAGIC);
	char *base = pm_base(syncing_mapping), *end = base + SYNCING_PAGES * syncing_page;
	const struct pm_range wrong[] = {
		{base - 1, 1}, {end, 1}, {end - 1, 2}, {base, (size_t)(end - base) + 1}, {base + 1, SIZE_MAX}};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char told[128];
		ck_assert_int_eq(pm_commit(syncing_mapping, (struct pm_range[]){{base, 1}, wrong[i], {base, 1}}, 3),
		                 -ERANGE);
		/* Which of them it is. */
		snprintf(told, sizeof(told), "the range of %zu bytes at %td leaves the mapping of %td bytes",
		         wrong[i].length, (const char *)wrong[i].address - base, end - base);
		ck_assert_msg(strstr(pm_error_detail(), told), "%s: %s", told, pm_error_detail());
	}
	/* Far away, as NULL is. */
	const void *const far[] = {NULL, end + 2 * (end - base)};
	for (size_t i = 0; i < COUNT(far); i++) {
		char told[128];
		ck_assert_int_eq(pm_commit(syncing_mapping, &(struct pm_range){far[i], 5}, 1), -ERANGE);
		snprintf(told, sizeof(told), "the range of 5 bytes begins at %p, which lies outside the mapping of %td",
		         far[i], end - base);
		ck_assert_msg(strstr(pm_error_detail(), told), "%s: %s", told, pm_error_detail());
	}
	ck_assert_int_eq(pm_publish64(syncing_mapping, NULL, 1), -ERANGE);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "lies outside the mapping"));
	unit_ok(pm_commit(syncing_mapping, NULL, 0));
	unit_ok(pm_commit(syncing_mapping, (struct pm_range[]){{end, 0}, {NULL, 0}}, 2));
	ck_assert_int_eq(pm_commit(syncing_mapping, NULL, 1), -EINVAL);
	ck_assert_int_eq(pm_commit(NULL, NULL, 0), -EINVAL);
	ck_assert_uint_eq(kernel.syncs + kernel.ranges, 0);
	syncing_stop();
}
END_TEST

/* A word that makes the rest visible comes after the rest. */
START_TEST(a_published_word_comes_last)
{
	syncing_start(XFS_SUPER_MAGIC);
	uint64_t *word = (uint64_t *)(void *)counter(1);
	++*counter(5);
	unit_ok(pm_flush(syncing_mapping, counter(5), 1));
	unit_ok(pm_publish64(syncing_mapping, word, 7));
	ck_assert_uint_eq(*word, 7);
	ck_assert_uint_eq(kernel.medium[1], 7);
	ck_assert_uint_eq(kernel.medium[5], 1);
	ck_assert_uint_eq(kernel.syncs, 2);
	ck_assert_int_eq(pm_publish64(syncing_mapping, (uint64_t *)(void *)((char *)word + 4), 8), -EINVAL);
	ck_assert_int_eq(pm_publish64(syncing_mapping, word + SYNCING_PAGES * syncing_page, 8), -ERANGE);
	ck_assert_int_eq(pm_publish64(NULL, word, 8), -EINVAL);
	/* The rest is lost: the word stays. */
	++*counter(5);
	unit_ok(pm_flush(syncing_mapping, counter(5), 1));
	kernel.fails_one_in = 1;
	ck_assert_int_eq(pm_publish64(syncing_mapping, word, 8), -EIO);
	ck_assert_uint_eq(*word, 7);
	kernel.fails_one_in = 0;
	unit_ok(pm_clear_error(syncing_mapping));
	syncing_stop();
}
END_TEST

int main(void)
{
	TCase *c = unit_case("commit");
	tcase_add_loop_test(c, a_commit_beside_many_recorded_pages_is_one_call, 0, 4);
	tcase_add_loop_test(c, random_ranges_are_committed, 0, 4);
	tcase_add_loop_test(c, a_small_gap_between_ranges_is_one_call, 0, (int)COUNT(gaps));
	tcase_add_test(c, a_range_outside_commits_nothing);
	tcase_add_test(c, a_published_word_comes_last);
	return unit_run();
}
