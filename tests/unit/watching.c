/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "watching.h"

const char *watched_path;

bool is_readable(struct pm_mapping *m, int timeout_ms)
{
	int fd = pm_event_fd(m);
	ck_assert_int_ge(fd, 0);
	return unit_is_readable(fd, timeout_ms);
}

struct pm_event only(struct pm_mapping *m)
{
	struct pm_event event = {.kind = 0}, more;
	int rc = pm_next_event(m, &event, sizeof(event));
	ck_assert_msg(!rc || rc == -EAGAIN, "%d", rc);
	rc = pm_next_event(m, &more, sizeof(more));
	ck_assert_msg(rc == -EAGAIN, "a second event, kind %d reason %d", (int)more.kind, (int)more.reason);
	return event;
}

struct pm_mapping *watched(const struct fake_machine *machine)
{
	static const struct fake_health sound = {.bad_blocks = ""};
	struct pm_event event;
	watched_path = unit_file("file", SIZE);
	fake_start(machine);
	/* The driver of such memory always keeps a list. */
	fake.machine.health = machine->region ? &sound : NULL;
	struct pm_mapping *m = unit_map(watched_path, NULL);
	/* Readable for what happened before it was asked for. */
	ck_assert_int_eq(is_readable(m, 0), unit_query(m)->verdict == PM_VERDICT_DEMOTED);
	while (!pm_next_event(m, &event, sizeof(event)))
		ck_assert_int_eq(event.kind, PM_EVENT_DEMOTED);
	ck_assert_int_eq(only(m).kind, 0);
	return m;
}
