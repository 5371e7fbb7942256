/* SPDX-License-Identifier: BSD-3-Clause */
/* What is left of a range of which pieces were given up, against a map with a flag for each address. */
#include <stdlib.h>

#include "parts.h"
#include "unit.h"

#define ADDRESSES 24u
#define CUTS 8u
#define ROUNDS 40u

static struct pm_parts parts;
static bool is_left[ADDRESSES];

static void cut(unsigned low, unsigned high)
{
	struct pm_gaps *room = pm_parts_prepare(&parts);
	ck_assert_ptr_nonnull(room);
	pm_parts_cut(&parts, room, low, high);
	for (unsigned at = low; at < high; at++)
		is_left[at] = false;
}

static bool are_left(unsigned low, unsigned high)
{
	for (; low < high && is_left[low]; low++)
		;
	return low >= high;
}

static void check_first(unsigned low, unsigned high)
{
	struct pm_part part = {0, 0};
	unsigned from = low, to;
	while (from < high && !is_left[from])
		from++;
	for (to = from; to < high && is_left[to]; to++)
		;
	bool is_any = pm_parts_first(&parts, low, high, &part);
	ck_assert_int_eq(is_any, from < high);
	ck_assert(!is_any || (part.low == from && part.high == to));
}

/* Each part is whole, and none is left out. */
static void check_each(unsigned low, unsigned high)
{
	unsigned at = low;
	PM_EACH_PART(part, &parts, low, high)
	{
		for (; at < part.low; at++)
			ck_assert(!is_left[at]);
		ck_assert(part.low < part.high && are_left((unsigned)part.low, (unsigned)part.high));
		at = (unsigned)part.high;
		ck_assert(at == high || !is_left[at]);
	}
	for (; at < high; at++)
		ck_assert(!is_left[at]);
}

static void check_all(void)
{
	for (unsigned low = 0; low < ADDRESSES; low++)
		for (unsigned high = low; high < ADDRESSES; high++) {
			ck_assert_int_eq(pm_parts_hold(&parts, low, high), are_left(low, high));
			check_first(low, high);
			check_each(low, high);
		}
}

static void begin(void)
{
	parts = (struct pm_parts){NULL};
	for (unsigned at = 0; at < ADDRESSES; at++)
		is_left[at] = true;
}

START_TEST(all_is_left_at_first)
{
	begin();
	ck_assert(!pm_parts_have_gaps(&parts));
	check_all();
	pm_parts_free(&parts);
}
END_TEST

/* Pieces that are apart, touch, overlap, lie in another, or come twice. */
START_TEST(whatever_is_given_up)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		begin();
		for (unsigned n = 0; n < CUTS; n++) {
			unsigned low = unit_random() % ADDRESSES, high = low + 1 + unit_random() % 5;
			cut(low, high < ADDRESSES ? high : ADDRESSES);
			ck_assert(pm_parts_have_gaps(&parts));
			check_all();
		}
		pm_parts_free(&parts);
	}
}
END_TEST

/* It was prepared for a piece that was then not given up. */
START_TEST(room_that_is_not_used)
{
	begin();
	cut(3, 5);
	free(pm_parts_prepare(&parts));
	check_all();
	pm_parts_free(&parts);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("parts");
	tcase_add_test(c, all_is_left_at_first);
	tcase_add_test(c, whatever_is_given_up);
	tcase_add_test(c, room_that_is_not_used);
	return unit_run();
}
