/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of enums, sentences for events, the log, and the text that they are made of. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "facts/text.h"
#include "unit.h"

#define SIZE 65536u

/* ---- Names ---- */

#define NAMES(function, first, last)                                                                                   \
	{                                                                                                              \
#function, (const char *(*)(unsigned))function, (unsigned)first, (unsigned)last, 0                     \
	}

static const struct {
	const char *function;
	const char *(*name)(unsigned);
	unsigned first, last, former; /* former: a number that is not used again */
} names[] = {
	NAMES(pm_granularity_name, PM_GRANULARITY_UNKNOWN, PM_BYTE),
	NAMES(pm_state_name, PM_UNKNOWN, PM_YES),
	NAMES(pm_request_name, PM_HINT, PM_AVOID),
	NAMES(pm_grade_name, PM_GRADE_NONE, PM_GRADE_PROVEN),
	NAMES(pm_verdict_name, PM_VERDICT_UNKNOWN, PM_VERDICT_REFUSED),
	NAMES(pm_evidence_name, 0, PM_EVIDENCE_ROWS - 1),
	NAMES(pm_reason_name, PM_REASON_NONE, PM_REASON_DESCRIPTOR_LOST),
	{"pm_advice_name", (const char *(*)(unsigned))pm_advice_name, PM_ADVICE_NONE, PM_ADVICE_RANDOM_ACCESS, 10},
	NAMES(pm_access_name, PM_ACCESS_UNSET, PM_ACCESS_SEQUENTIAL),
	NAMES(pm_event_name, PM_EVENT_DEMOTED, PM_EVENT_NAME_LOST),
};

START_TEST(every_value_has_a_name_of_its_own)
{
	unsigned last = names[_i].last;
	const char *(*name)(unsigned) = names[_i].name;
	for (unsigned value = names[_i].first; value <= last; value++) {
		ck_assert_msg(name(value) && name(value)[0], "%s(%u)", names[_i].function, value);
		bool is_former = value && value == names[_i].former;
		ck_assert_msg(!value || is_former == !strcmp(name(value), "unknown"), "%s(%u)", names[_i].function,
		              value);
		for (unsigned other = names[_i].first; other < value; other++)
			ck_assert_str_ne(name(value), name(other));
	}
	ck_assert_str_eq(name(last + 1), "unknown");
	ck_assert_str_eq(name(~0u), "unknown");
}
END_TEST

/* ---- Sentences for events ---- */

static const struct {
	struct pm_event event;
	const char *text;
} sentences[] = {
	{{.kind = PM_EVENT_DEMOTED,
          .reason = PM_REASON_PAGE_CACHE,
          .old_granularity = PM_CACHE_LINE,
          .new_granularity = PM_PAGE,
          .old_sync = PM_YES,
          .sync = PM_NO,
          .frames = 1,
          .where = "main+0x10 (db)"},
         "A request is not met, and the mapping was demoted: the file is not DAX, so its pages go through the page "
         "cache. "
         "Granularity was cache line, and is page. Sync was yes, and is no. The call came from main+0x10 (db)."},
	{{.kind = PM_EVENT_WRITE_BACK_FAILED,
          .reason = PM_REASON_WRITE_BACK_FAILED,
          .error = -EIO,
          .offset = 4096,
          .length = 8192},
         "A write-back failed, so data may be lost; the mapping is poisoned until pm_clear_error() (bytes 4096 to "
         "12287 of "
         "the file). Error -5: Input/output error."},
	{{.kind = PM_EVENT_PROMOTED, .old_granularity = PM_PAGE, .new_granularity = PM_CACHE_LINE},
         "The mapping was promoted: user space commits alone again. Granularity was page, and is cache line."},
	{{.kind = PM_EVENT_HOLE, .reason = PM_REASON_HOLE, .offset = 0, .length = 1},
         "Blocks were taken from the file: punched, or truncated and grown again (bytes 0 to 0 of the file)."},
	{{.kind = PM_EVENT_NAME_LOST, .reason = PM_REASON_MOVED, .offset = 5, .length = 6},
         "The path does not lead to the file any more: the file has another path than when it was mapped."},
	{{.kind = (enum pm_event_kind)99, .reason = PM_REASON_HOLE}, "An event of an unknown kind."},
};

START_TEST(an_event_in_a_sentence)
{
	char text[512], small[16], whole[512];
	struct pm_event event = sentences[_i].event;
	event.size = sizeof(event);
	int length = pm_explain_event(&event, text, sizeof(text));
	ck_assert_str_eq(text, sentences[_i].text);
	ck_assert_int_eq(length, (int)strlen(text));
	ck_assert_int_eq(pm_explain_event(&event, small, sizeof(small)), length);
	memcpy(whole, text, sizeof(small));
	whole[sizeof(small) - 1] = 0;
	ck_assert_str_eq(small, whole);
	ck_assert_int_eq(pm_explain_event(&event, NULL, 0), length);
}
END_TEST

START_TEST(every_kind_has_a_sentence)
{
	char text[512];
	struct pm_event event = {.size = sizeof(event)};
	for (unsigned kind = PM_EVENT_DEMOTED; kind <= PM_EVENT_NAME_LOST; kind++) {
		event.kind = (enum pm_event_kind)kind;
		ck_assert_int_gt(pm_explain_event(&event, text, sizeof(text)), 10);
		ck_assert_ptr_null(strstr(text, "unknown"));
	}
	ck_assert_int_eq(pm_drain(NULL), -EINVAL);
	ck_assert_int_eq(pm_explain_event(NULL, text, sizeof(text)), -EINVAL);
	ck_assert_str_eq(pm_error_detail(), "pm_explain_event: the event is NULL, or leaves no room for the reason");
	ck_assert_int_eq(pm_explain_event(&event, NULL, 10), -EINVAL);
	ck_assert_str_eq(pm_error_detail(), "pm_explain_event: the buffer is NULL, and buffer_size is not 0");
	event.size = offsetof(struct pm_event, error) - 1;
	ck_assert_int_eq(pm_explain_event(&event, text, sizeof(text)), -EINVAL);
}
END_TEST

/* ---- The log ---- */

struct heard {
	unsigned times;
	char last[1024];
};

static void hear(const char *sentence, void *arg)
{
	struct heard *h = arg;
	h->times++;
	snprintf(h->last, sizeof(h->last), "%s", sentence);
}

/* A mapping without a handler is heard of as well. */
START_TEST(the_log_hears_of_each_event)
{
	struct heard first = {.times = 0}, second = {.times = 0};
	const char *path = unit_file("file", SIZE);
	char begin[256];
	fake_start(&fake_plain);
	pm_set_log(hear, &first);
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert_uint_eq(first.times, 1);
	snprintf(begin, sizeof(begin), "%s: A request is not met, and the mapping was demoted: the file is not DAX",
	         path);
	ck_assert_msg(!strncmp(first.last, begin, strlen(begin)), "%s", first.last);
	pm_set_log(hear, &second);
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 1), -EIO);
	ck_assert_uint_eq(second.times, 1);
	ck_assert_ptr_nonnull(strstr(second.last, "A write-back failed"));
	pm_set_log(NULL, NULL);
	pm_unmap(m);
	unit_ok(pm_unmap(unit_map(unit_file("other", SIZE), NULL)));
	ck_assert_uint_eq(first.times, 1);
	ck_assert_uint_eq(second.times, 1);
}
END_TEST

/* No path makes two lines, or tells a terminal what to do; other bytes stay. */
START_TEST(a_line_of_the_log_is_one)
{
	struct heard h = {.times = 0};
	const char *path = unit_file("two\nlines\r\033[2J\177 of \303\244", SIZE);
	fake_start(&fake_plain);
	pm_set_log(hear, &h);
	struct pm_mapping *m = unit_map(path, NULL);
	pm_set_log(NULL, NULL);
	ck_assert_uint_eq(h.times, 1);
	ck_assert_msg(strstr(h.last, "two?lines??[2J? of \303\244: "), "%s", h.last);
	for (const char *c = h.last; *c; c++)
		ck_assert_msg((unsigned char)*c >= ' ' && *c != 0x7f, "%s", h.last);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- A text that may be longer than its buffer ---- */

START_TEST(a_text_counts_behind_its_buffer)
{
	static const char whole[] = "one, 2, three";
	char buffer[sizeof(whole) + 2];
	for (size_t room = 0; room <= sizeof(buffer); room++) {
		struct pm_text t = {.at = room ? buffer : NULL, .room = room};
		memset(buffer, '#', sizeof(buffer));
		pm_text_say(&t, "one, ");
		pm_text_say(&t, "%d, ", 2);
		pm_text_say(&t, "%s", "");
		pm_text_say(&t, "three ");
		ck_assert_int_eq(pm_text_end(&t), (int)strlen(whole));
		size_t kept = room < sizeof(whole) ? room : sizeof(whole);
		ck_assert(!kept || (!memcmp(buffer, whole, kept - 1) && !buffer[kept - 1]));
		for (size_t at = room; at < sizeof(buffer); at++)
			ck_assert_int_eq(buffer[at], '#');
	}
}
END_TEST

int main(void)
{
	TCase *c = unit_case("words");
	tcase_add_test(c, a_line_of_the_log_is_one);
	tcase_add_loop_test(c, every_value_has_a_name_of_its_own, 0, sizeof(names) / sizeof(names[0]));
	tcase_add_loop_test(c, an_event_in_a_sentence, 0, sizeof(sentences) / sizeof(sentences[0]));
	tcase_add_test(c, every_kind_has_a_sentence);
	tcase_add_test(c, the_log_hears_of_each_event);
	tcase_add_test(c, a_text_counts_behind_its_buffer);
	return unit_run();
}
