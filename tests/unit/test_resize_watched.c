/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mapping that its thread looks at while it is resized: for the thread sanitizer (-Db_sanitize=thread), and for what
 * the thread then tells: nothing that the library did itself, and no range that was never the mapping's.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "watching.h"

static atomic_uint looks, strange;

static void hear(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	struct pm_report r;
	(void)arg;
	unit_expect(pm_query(m, &r, sizeof(r)) == 0);
	atomic_fetch_add(&looks, 1);
	bool is_ours = event->kind == PM_EVENT_TRUNCATED || event->kind == PM_EVENT_HOLE || event->length > 3 * SIZE;
	atomic_fetch_add(&strange, is_ours);
}

/* Another process's file handle: it is announced, and the thread looks. */
static void *write_to_it(void *stop)
{
	int fd = open(watched_path, O_WRONLY);
	while (!atomic_load((atomic_bool *)stop)) {
		unit_expect(pwrite(fd, "x", 1, 10) == 1);
		usleep(500);
	}
	close(fd);
	return NULL;
}

static const struct {
	const struct fake_machine *machine;
	unsigned flags;
} kinds[] = {{&fake_plain, PM_WATCH}, {&fake_dax, PM_WATCH}, {&fake_dax, PM_WATCH | PM_PREPARE}, {&fake_plain, 0}};

START_TEST(a_watched_mapping_is_resized)
{
	pthread_t writer;
	atomic_bool stop = false;
	struct pm_event event;
	watched_path = unit_file("file", SIZE);
	fake_start(kinds[_i].machine);
	counting.recording = false;
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.flags = kinds[_i].flags, .on_event = hear));
	ck_assert_int_ge(pm_event_fd(m), 0);
	ck_assert_int_eq(pthread_create(&writer, NULL, write_to_it, &stop), 0);
	for (unsigned i = 0, rounds = unit_rounds(150); i < rounds; i++) {
		unit_expect(pm_resize(m, SIZE * (1 + i % 3)) == 0);
		((char *)pm_base(m))[pm_length(m) - 1] = 1;
		unit_expect(pm_persist(m, (char *)pm_base(m) + pm_length(m) - 1, 1) == 0);
		int rc = pm_next_event(m, &event, sizeof(event));
		unit_expect(!rc || rc == -EAGAIN);
	}
	atomic_store(&stop, true);
	pthread_join(writer, NULL);
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(atomic_load(&strange), 0);
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("resize_watched");
	tcase_add_loop_test(c, a_watched_mapping_is_resized, 0, (int)(sizeof(kinds) / sizeof(kinds[0])));
	return unit_run();
}
