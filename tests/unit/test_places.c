/* SPDX-License-Identifier: BSD-3-Clause */
/* From an address to its mapping, while others come and go; and one of many leaves without a walk over the rest. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "places.h"
#include "shared_file.h"
#include "unit.h"

#define MANY 600u
#define STEP 4096u
#define ROUNDS 40000u

static struct pm_place *place[MANY];
static char owner[MANY];

static char *low_of(unsigned n)
{
	return (char *)((uintptr_t)1 << 32) + (size_t)n * STEP;
}

static void add(unsigned n)
{
	place[n] = pm_place_new();
	unit_expect(place[n]);
	pm_place_add(place[n], low_of(n), STEP - 10, &owner[n]);
}

static void take_out(unsigned n)
{
	pm_place_remove(place[n]);
	pm_place_free(place[n]);
	place[n] = NULL;
}

static void check_one(unsigned n)
{
	void *wanted = place[n] ? &owner[n] : NULL;
	unit_expect(pm_place_find(low_of(n)) == wanted);
	unit_expect(pm_place_find(low_of(n) + STEP - 11) == wanted);
	unit_expect(!pm_place_find(low_of(n) + STEP - 10));
	unit_expect(!pm_place_find(low_of(n) + STEP - 1));
}

START_TEST(any_order_of_coming_and_going)
{
	for (unsigned round = 0; round < 20 * MANY; round++) {
		unsigned n = unit_random() % MANY;
		if (place[n])
			take_out(n);
		else
			add(n);
		check_one(n);
		check_one(unit_random() % MANY);
	}
	for (unsigned n = 0; n < MANY; n++) {
		check_one(n);
		if (place[n])
			take_out(n);
	}
	ck_assert_ptr_null(pm_place_find(NULL));
	ck_assert_ptr_null(pm_place_find((void *)UINTPTR_MAX));
}
END_TEST

/* ---- Beside others ---- */

static atomic_bool is_over;
static atomic_uint wrong;

/* Every third place stays, every third comes and goes, and the rest is never there. */
static void *look_up(void *arg)
{
	uint32_t state = 17 + (uint32_t)(uintptr_t)arg;
	while (!atomic_load(&is_over)) {
		state = state * 1664525u + 1013904223u;
		unsigned n = (state >> 8) % MANY;
		void *found = pm_place_find(low_of(n) + 5);
		bool good = n % 3 == 0 ? found == &owner[n] : n % 3 == 1 ? !found || found == &owner[n] : !found;
		atomic_fetch_add(&wrong, !good);
	}
	return NULL;
}

static void *come_and_go(void *arg)
{
	unsigned part = (unsigned)(uintptr_t)arg;
	uint32_t state = 99 + part;
	for (unsigned round = 0; round < ROUNDS; round++) {
		state = state * 1664525u + 1013904223u;
		/* Each thread has places of its own. */
		unsigned n = (state >> 8) % (MANY / 6) * 6 + (part ? 1 : 4);
		if (place[n])
			take_out(n);
		else
			add(n);
	}
	return NULL;
}

START_TEST(readers_beside_writers)
{
	pthread_t readers[2], writers[2];
	for (unsigned n = 0; n < MANY; n += 3)
		add(n);
	for (uintptr_t i = 0; i < 2; i++) {
		unit_expect(!pthread_create(&readers[i], NULL, look_up, (void *)i));
		unit_expect(!pthread_create(&writers[i], NULL, come_and_go, (void *)i));
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(writers[i], NULL);
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	ck_assert_uint_eq(atomic_load(&wrong), 0);
}
END_TEST

/* ---- Mappings ---- */

static void check_found(struct pm_mapping *m)
{
	const char *base = pm_base(m);
	uint64_t length = pm_length(m);
	ck_assert_ptr_eq(pm_find(base), m);
	ck_assert_ptr_eq(pm_find(base + length - 1), m);
	ck_assert_ptr_ne(pm_find(base + length), m);
	ck_assert_ptr_ne(pm_find(base - 1), m);
}

START_TEST(a_mapping_is_found_wherever_it_is)
{
	uint64_t page = unit_page();
	fake_start(&fake_plain);
	struct pm_mapping *plain = unit_map(unit_file("plain", 3 * page), UNIT_OPTIONS(.offset = 77));
	struct pm_mapping *kept = unit_map(unit_file("kept", page), UNIT_OPTIONS(.reserve = 50 * page));
	struct pm_mapping *memory = unit_map(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = 100));
	for (uint64_t pages = 1; pages < 600; pages = 2 * pages + 1) {
		const char *before = pm_base(plain);
		unit_ok(pm_resize(plain, pages * page));
		check_found(plain);
		if (pm_base(plain) != before)
			ck_assert_ptr_ne(pm_find(before), plain);
		unit_ok(pm_resize(kept, pages % 50 * page + 1));
		check_found(kept);
		check_found(memory);
	}
	const char *at = pm_base(plain), *inside = pm_base(kept);
	unit_ok(pm_unmap(plain));
	ck_assert_ptr_null(pm_find(at));
	ck_assert_ptr_eq(pm_find(inside), kept);
	unit_ok(pm_unmap(kept));
	unit_ok(pm_unmap(memory));
	ck_assert_ptr_null(pm_find(inside));
	ck_assert_ptr_null(pm_find(NULL));
	struct pm_mapping *none = NULL;
	ck_assert_int_ne(pm_map(unit_path("absent"), NULL, &none), 0);
}
END_TEST

/* ---- One of many ---- */

#define USERS 64u

/* Each on a page of its own; all but the neighbours are out of reach. */
START_TEST(a_user_leaves_without_a_walk_over_the_others)
{
	size_t page = unit_page();
	bool alone;
	struct statx stx;
	const char *path = unit_file("file", page);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	fake_start(&fake_plain);
	unit_expect(fd >= 0 && !pm_sys_linux.statx(fd, "", AT_EMPTY_PATH, &stx));
	char *room = mmap(NULL, USERS * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pm_shared_file *shared = NULL;
	for (unsigned i = 0; i < USERS; i++) {
		struct pm_file_user *user = (struct pm_file_user *)(room + i * page);
		user->fd = fd;
		shared = pm_shared_file_join(&stx, user, &alone);
		unit_expect(shared && alone == !i);
	}
	unsigned middle = USERS / 2;
	unit_expect(!mprotect(room, (middle - 1) * page, PROT_NONE));
	unit_expect(!mprotect(room + (middle + 2) * page, (USERS - middle - 2) * page, PROT_NONE));
	pm_shared_file_leave(shared, (struct pm_file_user *)(room + middle * page));
	unit_expect(!mprotect(room, USERS * page, PROT_READ | PROT_WRITE));
	for (unsigned i = 0; i < USERS; i++)
		if (i != middle)
			pm_shared_file_leave(shared, (struct pm_file_user *)(room + i * page));
	munmap(room, USERS * page);
	close(fd);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("places");
	tcase_add_test(c, any_order_of_coming_and_going);
	tcase_add_test(c, readers_beside_writers);
	tcase_add_test(c, a_mapping_is_found_wherever_it_is);
	tcase_add_test(c, a_user_leaves_without_a_walk_over_the_others);
	return unit_run();
}
