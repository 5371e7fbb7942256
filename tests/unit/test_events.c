/* SPDX-License-Identifier: BSD-3-Clause */
/* Events: when, once, with what in them, and at whose cost. */
#include <errno.h>
#include <string.h>

#include "mapping/mapping.h"
#include "providers/providers.h"
#include "unit.h"

static struct {
	unsigned count;
	struct pm_mapping *mapping;
	struct pm_event last;
	void *arg;
} heard;

static void hear(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	heard.count++;
	heard.mapping = m;
	heard.last = *event;
	heard.arg = arg;
}

static void start(const struct fake_machine *machine)
{
	memset(&heard, 0, sizeof(heard));
	fake_start(machine);
}

static const struct pm_options listening = {
	.size = sizeof(listening), .offset = 8192, .length = 8192, .on_event = hear, .event_arg = &heard};

START_TEST(a_hint_that_is_not_met_is_an_event)
{
	const char *path = unit_file("file", 65536);
	start(fake_machines[_i]);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.length = 65536, .on_event = hear, .event_arg = &heard));
	const struct pm_report *r = unit_query(m);
	ck_assert_uint_eq(heard.count, r->verdict == PM_VERDICT_DEMOTED);
	if (heard.count) {
		const struct pm_event *e = &heard.last;
		ck_assert_ptr_eq(heard.mapping, m);
		ck_assert_ptr_eq(heard.arg, &heard);
		ck_assert_uint_eq(e->size, sizeof(*e));
		ck_assert_int_eq(e->kind, PM_EVENT_DEMOTED);
		ck_assert_int_eq(e->reason, r->reason);
		ck_assert_int_eq(e->error, 0);
		ck_assert_uint_eq(e->length, 65536);
		ck_assert_int_eq(e->old_granularity, PM_GRANULARITY_UNKNOWN);
		ck_assert_int_eq(e->new_granularity, r->granularity);
		ck_assert_int_eq(e->sync, r->sync);
		ck_assert_int_eq(e->direct, r->direct);
		ck_assert_ptr_nonnull(memchr(e->where, 0, sizeof(e->where)));
	}
	unit_ok(pm_unmap(m));
	ck_assert_uint_le(heard.count, 1);
}
END_TEST

/* A program that asks late gets the event of the start first, and then what came after it. */
START_TEST(a_hint_that_is_not_met_is_told_to_who_asks_later)
{
	struct pm_event event;
	start(fake_machines[_i / 2]);
	if (_i % 2) /* with the kernel's word for the lines of some, of which it is not known whether they are direct */
		fake.machine.dax = PM_UNKNOWN;
	struct pm_mapping *m = unit_map(unit_file("file", 65536), UNIT_OPTIONS(.flags = PM_TRUST_KERNEL));
	enum pm_granularity before = pm_granularity_of(m);
	struct pm_report r = {0};
	if (_i % 2) { /* also after something else has happened */
		fake.machine.dax = PM_NO;
		r = *unit_query(m);
	}
	bool lost = _i % 2 && r.granularity < before;
	int rc = pm_next_event(m, &event, sizeof(event));
	if (!rc && event.old_granularity == PM_GRANULARITY_UNKNOWN) {
		ck_assert_int_eq(event.kind, PM_EVENT_DEMOTED);
		ck_assert_int_eq(event.new_granularity, before);
		ck_assert_int_eq(event.old_sync, PM_UNKNOWN);
		ck_assert_uint_eq(event.length, 65536);
		rc = pm_next_event(m, &event, sizeof(event));
	} else {
		ck_assert_int_gt(before, PM_PAGE);
	}
	ck_assert_int_eq(rc, lost ? 0 : -EAGAIN);
	if (lost) {
		ck_assert_int_eq(event.old_granularity, before);
		ck_assert_int_eq(pm_next_event(m, &event, sizeof(event)), -EAGAIN);
	}
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(what_was_avoided_is_no_event)
{
	const char *path = unit_file("file", 65536);
	start(&fake_dax);
	struct pm_options o = listening;
	o.sync = PM_AVOID;
	struct pm_mapping *m = unit_map(path, &o);
	ck_assert_uint_eq(heard.count, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_promise_lost_later_is_one_event)
{
	const char *path = unit_file("file", 65536);
	start(&fake_dax);
	struct pm_mapping *m = unit_map(path, &listening);
	ck_assert_uint_eq(heard.count, 0);
	unit_query(m);
	ck_assert_uint_eq(heard.count, 0);
	fake.machine.fiemap_errno = EIO;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(unit_query(m)->granularity, PM_PAGE);
	ck_assert_uint_eq(heard.count, 1);
	ck_assert_int_eq(heard.last.kind, PM_EVENT_DEMOTED);
	ck_assert_int_eq(heard.last.reason, PM_REASON_EXTENTS_UNKNOWN);
	ck_assert_int_eq(heard.last.old_granularity, PM_CACHE_LINE);
	ck_assert_int_eq(heard.last.new_granularity, PM_PAGE);
	ck_assert_uint_eq(heard.last.offset, 8192);
	ck_assert_uint_eq(heard.last.length, 8192);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A guarantee is lost like a hint once the mapping lives: it goes on, durable through the kernel. */
START_TEST(a_guarantee_lost_later)
{
	const char *path = unit_file("file", 65536);
	start(&fake_dax);
	struct pm_options o = listening;
	o.sync = PM_GUARANTEE;
	struct pm_mapping *m = unit_map(path, &o);
	fake.machine.fiemap_errno = EIO;
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->verdict, PM_VERDICT_REFUSED);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	ck_assert_uint_eq(heard.count, 1);
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 1));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_lost_guarantee_can_be_made_to_fail)
{
	const char *path = unit_file("file", 65536);
	start(&fake_dax);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.sync = PM_GUARANTEE, .flags = PM_FAIL_ON_DEMOTION));
	unit_ok(pm_persist(m, pm_base(m), 1));
	fake.machine.fiemap_errno = EIO;
	ck_assert_int_eq(unit_query(m)->error, -PM_ENOTSYNC);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -PM_ENOTSYNC);
		ck_assert_int_eq(pm_flush(m, pm_base(m), 1), -PM_ENOTSYNC);
		ck_assert_int_eq(pm_drain(m), -PM_ENOTSYNC);
		ck_assert_int_eq(pm_memset(m, pm_base(m), 1, 1, 0), -PM_ENOTSYNC);
		ck_assert_int_eq(pm_sync(m), -PM_ENOTSYNC);
	}
	unit_ok(pm_clear_error(m));
	fake_forget();
	unit_ok(pm_persist(m, pm_base(m), 1));
	ck_assert_uint_eq(fake_calls(FAKE_msync), 1);
	ck_assert_int_eq(unit_query(m)->error, 0);
	unit_ok(pm_persist(m, pm_base(m), 1));
	unit_ok(pm_unmap(m));
}
END_TEST

static void call_back(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	struct pm_report report;
	unsigned *count = arg;
	(void)event;
	(*count)++;
	int expected = event->kind == PM_EVENT_WRITE_BACK_FAILED ? event->error : 0;
	ck_assert_int_eq(pm_query(m, &report, sizeof(report)), 0);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), expected);
	ck_assert_int_eq(pm_sync(m), expected);
	if (event->kind == PM_EVENT_WRITE_BACK_FAILED)
		ck_assert_int_eq(pm_clear_error(m), 0);
}

/* No lock is held: a handler may call anything but what ends the mapping, even mend it. */
START_TEST(a_handler_may_use_the_mapping)
{
	unsigned count = 0;
	const char *path = unit_file("file", 65536);
	start(&fake_plain);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.on_event = call_back, .event_arg = &count));
	ck_assert_uint_eq(count, 1);
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	ck_assert_uint_eq(count, 2);
	unit_ok(pm_persist(m, pm_base(m), 1));
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Whose call ---- */

START_TEST(nothing_is_loaded_for_who_does_not_listen)
{
	const char *path = unit_file("file", 65536), *text;
	start(&fake_plain);
	bool loaded_before = pm_libunwind_loaded(&text);
	struct pm_mapping *m = unit_map(path, NULL);
	unit_ok(pm_persist(m, pm_base(m), 1));
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_sync(m), -EIO);
	unit_query(m);
	ck_assert_int_eq(pm_unmap(m), -EIO);
	ck_assert_uint_eq(fake_calls(FAKE_dlopen), 0);
	ck_assert_int_eq(pm_libunwind_loaded(&text), loaded_before);
}
END_TEST

START_TEST(without_libunwind_the_place_is_not_known)
{
	const char *path = unit_file("file", 65536), *text;
	start(&fake_plain);
	if (pm_libunwind_loaded(&text))
		return;
	struct pm_mapping *m = unit_map(path, &listening);
	ck_assert_uint_eq(heard.count, 1);
	ck_assert_uint_eq(heard.last.frames, 0);
	ck_assert_str_eq(heard.last.where, "");
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_LIBUNWIND].state, PM_NO);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(with_libunwind_the_place_is_known)
{
	const char *path = unit_file("file", 65536), *text;
	start(&fake_plain);
	fake.loads_providers = true;
	struct pm_mapping *m = unit_map(path, &listening);
	ck_assert_uint_eq(heard.count, 1);
	const struct pm_report *r = unit_query(m);
	if (pm_libunwind_loaded(&text)) {
		ck_assert_uint_gt(heard.last.frames, 0);
		ck_assert_uint_le(heard.last.frames, PM_EVENT_FRAMES);
		for (unsigned i = 0; i < heard.last.frames; i++)
			ck_assert_ptr_nonnull(heard.last.frame[i]);
		/* Which function it is depends on what is linked statically. */
		ck_assert_ptr_nonnull(strchr(heard.last.where, '('));
		ck_assert_int_eq(r->evidence[PM_EV_LIBUNWIND].state, PM_YES);
	} else {
		ck_assert_uint_eq(heard.last.frames, 0);
		ck_assert_str_eq(r->evidence[PM_EV_LIBUNWIND].text, text);
	}
	unit_ok(pm_unmap(m));
}
END_TEST

/* A caller that takes the event of pm_map() from the queue is the one that called it. */
START_TEST(the_map_itself_is_no_call_to_look_for)
{
	const char *path = unit_file("file", 65536);
	struct pm_event event;
	start(&fake_plain);
	fake.loads_providers = true;
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_WATCH));
	ck_assert_uint_eq(fake_calls(FAKE_dlopen), 0);
	unit_ok(pm_next_event(m, &event, sizeof(event)));
	ck_assert_int_eq(event.kind, PM_EVENT_DEMOTED);
	ck_assert_uint_eq(event.frames, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(libpmem_is_loaded_for_direct_mappings_only)
{
	const char *path = unit_file("file", 65536), *text;
	if (pm_libpmem_loaded(&text))
		return;
	start(&fake_plain);
	fake.loads_providers = true;
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert_uint_eq(fake_calls(FAKE_dlopen), 0);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_LIBPMEM].state, PM_NO);
	unit_ok(pm_unmap(m));
	start(&fake_dax);
	fake.loads_providers = true;
	m = unit_map(path, NULL);
	enum pm_state used = unit_query(m)->evidence[PM_EV_LIBPMEM].state;
	ck_assert_int_eq(used == PM_YES, pm_libpmem_loaded(&text) != NULL);
	ck_assert_int_eq(pm_granularity_of(m), PM_CACHE_LINE);
	/* It serves the same. */
	static char source[300000];
	memset(source, 'x', sizeof(source));
	struct pm_mapping *large = unit_map(unit_file("large", sizeof(source)), NULL);
	unit_ok(pm_memcpy(large, pm_base(large), source, sizeof(source), 0));
	ck_assert_int_eq(memcmp(pm_base(large), source, sizeof(source)), 0);
	unit_ok(pm_unmap(large));
	unit_ok(pm_unmap(m));
}
END_TEST

/* It is loaded in a thread that has a working directory of its own, or not at all. */
START_TEST(without_unshare_there_is_no_libpmem)
{
	const char *text;
	if (pm_libpmem_loaded(&text) || !strcmp(text, "built without it"))
		return;
	start(&fake_dax);
	fake.loads_providers = true;
	fake_fail(FAKE_unshare, 0, EPERM);
	struct pm_mapping *m = unit_map(unit_file("file", 65536), NULL);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_LIBPMEM].state, PM_NO);
	ck_assert_uint_eq(fake_calls(FAKE_unshare), 1);
	ck_assert_uint_eq(fake_calls(FAKE_dlopen), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("events");
	tcase_add_test(c, nothing_is_loaded_for_who_does_not_listen);
	tcase_add_test(c, without_libunwind_the_place_is_not_known);
	tcase_add_test(c, the_map_itself_is_no_call_to_look_for);
	tcase_add_test(c, with_libunwind_the_place_is_known);
	tcase_add_test(c, libpmem_is_loaded_for_direct_mappings_only);
	tcase_add_test(c, without_unshare_there_is_no_libpmem);
	tcase_add_loop_test(c, a_hint_that_is_not_met_is_an_event, 0, (int)fake_machines_count);
	tcase_add_loop_test(c, a_hint_that_is_not_met_is_told_to_who_asks_later, 0, 2 * (int)fake_machines_count);
	tcase_add_test(c, what_was_avoided_is_no_event);
	tcase_add_test(c, a_promise_lost_later_is_one_event);
	tcase_add_test(c, a_guarantee_lost_later);
	tcase_add_test(c, a_lost_guarantee_can_be_made_to_fail);
	tcase_add_test(c, a_handler_may_use_the_mapping);
	return unit_run();
}
