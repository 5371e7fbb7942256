/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clearing stores every page again, by write faults of the real file; what another thread stores meanwhile must come
 * through.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "unit.h"

static struct pm_mapping *shared;
static atomic_bool finished;

static void *store_on(void *arg)
{
	char *at = arg, value = 0;
	intptr_t lost = 0;
	while (!atomic_load(&finished)) {
		__atomic_store_n(at, ++value, __ATOMIC_RELAXED);
		for (int i = 0; i < 20; i++)
			lost += __atomic_load_n(at, __ATOMIC_RELAXED) != value;
	}
	return (void *)lost;
}

START_TEST(clearing_keeps_what_is_stored_meanwhile)
{
	pthread_t thread;
	void *lost;
	fake_start(&fake_plain);
	counting.recording = false;
	shared = unit_map(unit_file("file", 4 * unit_page()), NULL);
	atomic_store(&finished, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, store_on, pm_base(shared)), 0);
	for (unsigned round = 0, rounds = unit_rounds(20000); round < rounds; round++) {
		fake_fail(FAKE_msync, 1, EIO);
		unit_expect(pm_sync(shared) == -EIO);
		unit_ok(pm_clear_error(shared));
	}
	atomic_store(&finished, true);
	pthread_join(thread, &lost);
	ck_assert_ptr_null(lost);
	unit_ok(pm_unmap(shared));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("clearing");
	tcase_add_test(c, clearing_keeps_what_is_stored_meanwhile);
	return unit_run();
}
