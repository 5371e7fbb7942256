/* SPDX-License-Identifier: BSD-3-Clause */
/* Words: names, sentences, and how much of a report one gets. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "facts/explain.h"
#include "unit.h"

START_TEST(every_value_has_a_name)
{
	for (int i = 0; i < PM_EVIDENCE_ROWS; i++) {
		const char *name = pm_evidence_name((enum pm_evidence_row)i);
		ck_assert_str_ne(name, "unknown");
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(name, pm_evidence_name((enum pm_evidence_row)j));
	}
	for (int i = 0; i <= PM_REASON_DESCRIPTOR_LOST; i++) {
		const char *name = pm_reason_name((enum pm_reason)i);
		ck_assert_str_ne(name, "unknown");
		ck_assert_ptr_null(strchr(name, ' '));
	}
	for (int i = PM_NONE; i <= PM_BYTE; i++)
		ck_assert_str_ne(pm_granularity_name((enum pm_granularity)i), "unknown");
	ck_assert_str_eq(pm_granularity_name(PM_CACHE_LINE), "cache line");
	ck_assert_str_eq(pm_reason_name(PM_REASON_PAGE_CACHE), "page-cache");
	ck_assert_str_eq(pm_evidence_name(PM_EV_MAP_SYNC), "MAP_SYNC accepted");
	ck_assert_str_eq(pm_state_name(PM_UNKNOWN), "unknown");
	ck_assert_str_eq(pm_state_name(PM_NO), "no");
	ck_assert_str_eq(pm_state_name(PM_YES), "yes");
}
END_TEST

/* The manual says that the name of a reason is the end of its constant, in lower case and with hyphens. */
START_TEST(a_reason_is_named_as_its_constant)
{
#define NAMED(constant) {PM_REASON_##constant, #constant}
	static const struct {
		enum pm_reason reason;
		const char *constant;
	} named[] = {
		NAMED(NONE), NAMED(PRIVATE), NAMED(ANONYMOUS), NAMED(VOLATILE), NAMED(AVOIDED), NAMED(ENV_OVERRIDE),
		NAMED(MAP_SYNC_IGNORED), NAMED(PAGE_CACHE), NAMED(DIRECT_UNKNOWN), NAMED(SYNC_REFUSED), NAMED(CPU),
		NAMED(EMULATED_PMEM), NAMED(REGION_UNKNOWN), NAMED(FLUSH_COMMAND), NAMED(EXTENTS_UNKNOWN), NAMED(HOLE),
		NAMED(UNWRITTEN), NAMED(SHARED), NAMED(SHAREABLE), NAMED(NO_DOMAIN), NAMED(TRUSTED),
			NAMED(NO_WRITE_BACK),
		NAMED(WRITE_BACK_FAILED), NAMED(NOT_PROMOTED), NAMED(LEASE_REFUSED), NAMED(LEASE_BROKEN),
		NAMED(LEASE_FORCED), NAMED(TRUNCATED), NAMED(DAX_FLAG), NAMED(MODIFIED), NAMED(OPENED_WRITING),
		NAMED(OPENED_DIRECT), NAMED(READ_ONLY), NAMED(SHUT_DOWN), NAMED(DEVICE_GONE), NAMED(BAD_BLOCKS),
		NAMED(FSYNC_INCOMPLETE), NAMED(UNLINKED), NAMED(MOVED), NAMED(UNNAMED), NAMED(COPIED_UP),
		NAMED(SYNC_IGNORED), NAMED(NO_DEVICE_FLUSH), NAMED(FAST_COMMIT), NAMED(NOT_ARMED), NAMED(IMMUTABLE),
		NAMED(MOUNTED_OVER), NAMED(DESCRIPTOR_LOST),
	};
	/* A reason that is added is added here. */
	ck_assert_str_eq(pm_reason_name((enum pm_reason)COUNT(named)), "unknown");
	for (size_t i = 0; i < COUNT(named); i++) {
		const char *name = pm_reason_name(named[i].reason), *c = named[i].constant;
		ck_assert_uint_eq(strlen(name), strlen(c));
		for (size_t j = 0; c[j]; j++)
			ck_assert_msg(name[j] == (c[j] == '_' ? '-' : tolower((unsigned char)c[j])), "%s: %s", c, name);
	}
}
END_TEST

START_TEST(no_value_is_too_strange)
{
	static const int strange[] = {-1, 1000, INT_MAX, INT_MIN};
	for (size_t i = 0; i < COUNT(strange); i++) {
		ck_assert_str_eq(pm_granularity_name((enum pm_granularity)strange[i]), "unknown");
		ck_assert_str_eq(pm_state_name((enum pm_state)strange[i]), "unknown");
		ck_assert_str_eq(pm_evidence_name((enum pm_evidence_row)strange[i]), "unknown");
		ck_assert_str_eq(pm_reason_name((enum pm_reason)strange[i]), "unknown");
		if (strange[i] != -1)
			ck_assert_str_eq(pm_strerror(strange[i]), "unknown error");
	}
	ck_assert_str_eq(pm_evidence_name(PM_EVIDENCE_ROWS), "unknown");
}
END_TEST

START_TEST(errors_with_and_without_their_sign)
{
	static const int own[] = {PM_ENOTSYNC, PM_ENOTDIRECT, PM_EVOLATILE};
	for (size_t i = 0; i < COUNT(own); i++) {
		ck_assert_str_ne(pm_strerror(own[i]), "unknown error");
		ck_assert_str_eq(pm_strerror(own[i]), pm_strerror(-own[i]));
		ck_assert_ptr_nonnull(strstr(pm_strerror(own[i]), "guarantee"));
	}
	/* Also of a medium that keeps what reaches it, below a mount without flushes. */
	ck_assert_ptr_null(strstr(pm_strerror(PM_EVOLATILE), "volatile"));
	ck_assert_str_eq(pm_strerror(-EIO), pm_strerror(EIO));
	ck_assert_str_ne(pm_strerror(-EIO), pm_strerror(ENOSPC));
	ck_assert_str_ne(pm_strerror(-EIO), "unknown error");
}
END_TEST

/* Nothing was written back in vain: only the promise is gone, and nothing is said of a medium that failed. */
START_TEST(a_lost_guarantee_is_no_failed_write_back)
{
	static const struct {
		int error;
		bool is_loss;
	} errors[] = {{PM_ENOTSYNC, true}, {PM_ENOTDIRECT, true}, {PM_EVOLATILE, true}, {EIO, false}};
	struct pm_report r = {.size = sizeof(r), .error = -errors[_i].error, .verdict = PM_VERDICT_REFUSED};
	char text[1000], number[40];
	ck_assert_int_gt(pm_explain(&r, text, sizeof(text)), 0);
	snprintf(number, sizeof(number), "error -%d", errors[_i].error);
	ck_assert_ptr_nonnull(strstr(text, number));
	const char *first =
		errors[_i].is_loss ? "The guarantee was lost, and" : "The mapping is poisoned by a failed write-back";
	ck_assert_msg(!strncmp(text, first, strlen(first)), "%s", text);
	ck_assert_ptr_null(strstr(text, errors[_i].is_loss ? "poisoned" : "guarantee was lost"));
}
END_TEST

/* The remedy once; that such a file is not watched either needs no remedy of its own. */
START_TEST(a_lost_descriptor_is_said_once)
{
	struct pm_report r = {.size = sizeof(r), .error = -EBADF, .verdict = PM_VERDICT_DEMOTED,
	                      .reason = PM_REASON_DESCRIPTOR_LOST, .advice = PM_ADVICE_MAP_AGAIN};
	char text[1000];
	r.evidence[PM_EV_WATCHED] = (struct pm_evidence){.state = PM_NO, .error = EBADF};
	ck_assert_int_gt(pm_explain(&r, text, sizeof(text)), 0);
	const char *remedy = strstr(text, "unmap and map again");
	ck_assert_msg(remedy && !strstr(remedy + 1, "unmap and map again"), "%s", text);
	ck_assert_msg(!strstr(text, "inotify"), "%s", text);
	r.reason = PM_REASON_PAGE_CACHE;
	pm_explain(&r, text, sizeof(text));
	ck_assert_msg(strstr(text, "inotify, error 9"), "%s", text);
}
END_TEST

START_TEST(the_first_sentence_is_what_the_mapping_is)
{
	static const struct {
		unsigned flags;
		bool is_memory;
		const char *first;
	} natures[] = {{PM_PRIVATE, false, "The mapping is a private copy"},
	               {PM_PRIVATE, true, "The mapping is a private copy"},
	               {PM_ANONYMOUS, false, "The mapping is memory without a file"},
	               {0, true, "No store in the file is safe from a power failure (tmpfs)"},
	               {0, false, "Stores become durable"}};
	bool has_file = !(natures[_i].flags & PM_ANONYMOUS);
	const char *path = has_file ? unit_file("file", 4096) : NULL;
	fake_start(natures[_i].is_memory ? &fake_tmpfs : &fake_plain);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = natures[_i].flags, .length = 4096));
	char text[2000];
	ck_assert_int_gt(pm_explain(unit_query(m), text, sizeof(text)), 0);
	ck_assert_msg(!strncmp(text, natures[_i].first, strlen(natures[_i].first)), "%s", text);
	unit_ok(pm_unmap(m));
}
END_TEST

#define FORMER_ADVICE 10 /* the number is not used again */

/* Every reason and every advice has a sentence of its own. */
START_TEST(every_value_has_a_sentence)
{
	char text[300], other[300];
	for (int i = 0; i <= PM_REASON_DESCRIPTOR_LOST; i++) {
		pm_explain_reason((enum pm_reason)i, PM_ADVICE_NONE, text, sizeof(text));
		ck_assert_uint_gt(strlen(text), 10);
		ck_assert_ptr_null(strstr(text, "unknown reason"));
		for (int j = 0; j < i; j++) {
			pm_explain_reason((enum pm_reason)j, PM_ADVICE_NONE, other, sizeof(other));
			ck_assert_str_ne(text, other);
		}
	}
	for (int i = 1; i <= PM_ADVICE_RANDOM_ACCESS; i++) {
		pm_explain_reason(PM_REASON_NONE, (enum pm_advice)i, text, sizeof(text));
		if (i == FORMER_ADVICE) {
			ck_assert_ptr_null(strstr(text, "; "));
			continue;
		}
		ck_assert_ptr_nonnull(strstr(text, "; "));
		ck_assert_uint_gt(strlen(strstr(text, "; ")), 8);
	}
}
END_TEST

static const struct pm_report *report_of(const struct fake_machine *machine)
{
	const char *path = unit_file("file", 65536);
	fake_start(machine);
	return unit_report(path, NULL);
}

START_TEST(a_report_in_words)
{
	static const struct {
		const struct fake_machine *machine;
		const char *words[3];
	} texts[] = {
		{&fake_plain, {"msync", "page cache", "DAX"}},
		{&fake_dax, {"fence", "proven", "Sync: user space"}},
		{&fake_dax_no_domain, {"promised", "domain", "Advice"}},
		{&fake_xfs_reflink, {"reflink", "mkfs.xfs", "Sync is unknown"}},
		{&fake_e820, {"DRAM", "not known", "Advice"}},
		{&fake_virtio_pmem, {"virtio-pmem", "flush command", "Direct: no page cache"}},
		{&fake_eadr, {"CPU caches survive", "proven", "Direct: "}},
		{&fake_tmpfs,
	         {"volatile", "Nothing is known to make a store durable", "Not direct: the page cache lies"}},
		{&fake_shim, {"shim", "sandbox", "not met"}},
		{&fake_forced, {"=page lowers the promise", "PMDIRECT_GRANULARITY", "unset"}},
		{&fake_weak_cpu, {"CPU", "CLWB", "not met"}},
	};
	char text[1024];
	const struct pm_report *r = report_of(texts[_i].machine);
	int length = pm_explain(r, text, sizeof(text));
	ck_assert_int_eq(length, (int)strlen(text));
	for (int i = 0; i < 3; i++)
		ck_assert_msg(strstr(text, texts[_i].words[i]), "%s: no '%s'", text, texts[_i].words[i]);
	ck_assert_int_eq(text[length - 1], '.');
	ck_assert_ptr_null(strstr(text, "  "));
}
END_TEST

START_TEST(a_text_is_cut_at_any_length)
{
	char whole[1024], cut[1024];
	const struct pm_report *r = report_of(fake_machines[_i]);
	int length = pm_explain(r, whole, sizeof(whole));
	ck_assert_int_gt(length, 50);
	ck_assert_int_eq(pm_explain(r, NULL, 0), length);
	for (size_t size = 0; size <= (size_t)length + 3; size++) {
		memset(cut, '#', sizeof(cut));
		ck_assert_int_eq(pm_explain(r, cut, size), length);
		ck_assert_int_eq(cut[size], '#');
		size_t kept = size > (size_t)length ? (size_t)length : size - 1;
		if (size) {
			ck_assert_uint_eq(strlen(cut), kept);
			ck_assert_int_eq(memcmp(cut, whole, kept), 0);
		}
	}
}
END_TEST

START_TEST(a_report_that_cannot_be_read)
{
	struct pm_report r = *report_of(&fake_plain);
	char text[16];
	/* With a sentence of its own, not that of an earlier call. */
	ck_assert_int_eq(pm_drain(NULL), -EINVAL);
	ck_assert_int_eq(pm_explain(NULL, text, sizeof(text)), -EINVAL);
	ck_assert_str_eq(pm_error_detail(), "pm_explain: the report is NULL, or does not reach its evidence");
	ck_assert_int_eq(pm_explain(&r, NULL, 1), -EINVAL);
	ck_assert_str_eq(pm_error_detail(), "pm_explain: the buffer is NULL, and buffer_size is not 0");
	r.size = 0;
	ck_assert_int_eq(pm_explain(&r, text, sizeof(text)), -EINVAL);
	r.size = offsetof(struct pm_report, evidence) - 1;
	ck_assert_int_eq(pm_explain(&r, text, sizeof(text)), -EINVAL);
	/* That of a program older than the last row. */
	r.size = sizeof(r) - sizeof(r.evidence[0]);
	ck_assert_int_gt(pm_explain(&r, text, sizeof(text)), 0);
	r.size = sizeof(r) + 100;
	ck_assert_int_gt(pm_explain(&r, text, sizeof(text)), 0);
	r.granularity = (enum pm_granularity)99;
	r.verdict = (enum pm_verdict)99;
	r.reason = (enum pm_reason)-1;
	r.advice = (enum pm_advice)99;
	ck_assert_int_gt(pm_explain(&r, text, sizeof(text)), 0);
}
END_TEST

/* A program built against another version has room for more, or for less. */
START_TEST(a_report_of_any_size)
{
	const char *path = unit_file("file", 65536);
	const size_t least = offsetof(struct pm_report, evidence);
	const size_t sizes[] = {least, least + 2 * sizeof(struct pm_evidence), least + sizeof(struct pm_evidence),
	                        sizeof(struct pm_report), sizeof(struct pm_report) + 64};
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, NULL);
	char room[sizeof(struct pm_report) + 128] __attribute__((aligned(16)));
	struct pm_report *r = (struct pm_report *)room;
	for (size_t i = 0; i < 2 * COUNT(sizes); i++) {
		size_t size = sizes[i / 2], filled = size < sizeof(*r) ? size : sizeof(*r);
		memset(room, '#', sizeof(room));
		ck_assert_int_eq(i % 2 ? pm_query(m, r, size) : pm_probe(path, NULL, r, size), 0);
		ck_assert_uint_eq(r->size, filled);
		ck_assert_int_eq(r->granularity, PM_PAGE);
		for (size_t at = filled; at < sizeof(room); at++)
			ck_assert(room[at] == '#');
	}
	memset(room, '#', sizeof(room));
	ck_assert_int_eq(pm_query(m, r, least - 1), -EINVAL);
	ck_assert_int_eq(pm_query(m, r, 0), -EINVAL);
	ck_assert_int_eq(pm_query(m, r, least + 1), -EINVAL); /* inside a row */
	ck_assert_int_eq(pm_query(m, r, sizeof(*r) - 1), -EINVAL);
	ck_assert_int_eq(pm_probe(path, NULL, r, least - 1), -EINVAL);
	ck_assert(room[0] == '#');
	unit_ok(pm_unmap(m));
}
END_TEST

/*
 * A program built against an older header has no room for the rows that tell of a loss. Another loss, which leaves the
 * rest its worth, hides neither the reason nor the limit. The room is of exact size.
 */
START_TEST(a_report_that_lacks_the_row_of_a_loss)
{
	const enum pm_reason lost[] = {PM_REASON_NONE, PM_REASON_TRUNCATED, PM_REASON_UNLINKED, PM_REASON_SHUT_DOWN,
	                               PM_REASON_READ_ONLY, PM_REASON_MOVED, PM_REASON_WRITE_BACK_FAILED,
	                               PM_REASON_IMMUTABLE};
	for (size_t i = 0; i < PM_EVIDENCE_ROWS * COUNT(lost); i++) {
		enum pm_reason reason = lost[i % COUNT(lost)];
		size_t rows = i / COUNT(lost), size = offsetof(struct pm_report, evidence) +
		                                      rows * sizeof(struct pm_evidence);
		struct pm_report whole = {.size = size, .granularity = PM_PAGE, .reason = reason};
		struct pm_report *r = malloc(size);
		char text[2048];
		ck_assert_ptr_nonnull(r);
		whole.verdict = reason == PM_REASON_NONE ? PM_VERDICT_MET : PM_VERDICT_DEMOTED;
		if (_i)
			whole.evidence[PM_EV_BAD_BLOCKS].state = PM_YES;
		memcpy(r, &whole, size);
		ck_assert_int_gt(pm_explain(r, text, sizeof(text)), 0);
		bool is_promised = strstr(text, "Stores become durable");
		bool is_limited = strstr(text, "The report ends before the row");
		ck_assert_msg(is_promised == (reason == PM_REASON_NONE), "%zu rows: %s", rows, text);
		ck_assert_msg(is_limited == (reason == PM_REASON_NONE && rows <= PM_EV_IN_FILE), "%zu rows: %s",
		              rows, text);
		ck_assert_msg(!is_limited || !strstr(text, "its name") == (rows > PM_EV_NAMED), "%zu rows: %s", rows,
		              text);
		free(r);
	}
}
END_TEST

/* A loss that its row tells of is said once, and what holds besides it is said as well. */
START_TEST(a_loss_in_part_is_said_once)
{
	static const struct {
		enum pm_reason reason;
		enum pm_evidence_row row;
		struct pm_evidence told;
	} losses[] = {{PM_REASON_IMMUTABLE, PM_EV_WRITABLE, {.state = PM_NO, .error = EPERM}},
	              {PM_REASON_MOVED, PM_EV_NAMED, {.state = PM_NO, .error = EREMCHG, .value = 1}},
	              {PM_REASON_UNLINKED, PM_EV_NAMED, {.state = PM_NO, .error = ENOENT, .value = 1}}};
	struct pm_report r = {.size = sizeof(r), .granularity = PM_PAGE, .verdict = PM_VERDICT_DEMOTED,
	                      .reason = losses[_i].reason};
	char text[1000];
	r.evidence[losses[_i].row] = losses[_i].told;
	ck_assert_int_gt(pm_explain(&r, text, sizeof(text)), 0);
	ck_assert_msg(!strstr(text, "may be lost") && strstr(text, "Stores become durable"), "%s", text);
}
END_TEST

/* Another user may choose the path to which a file was moved. The room of the row may have no end. */
START_TEST(a_path_does_not_command_a_terminal)
{
	struct pm_report r = {.size = sizeof(r), .granularity = PM_PAGE, .reason = PM_REASON_MOVED};
	struct pm_evidence *named = &r.evidence[PM_EV_NAMED];
	char text[1000];
	named->state = PM_NO;
	named->error = EREMCHG;
	memset(named->text, '\n', sizeof(named->text));
	memcpy(named->text, "moved to /\033[2J\177\303\244\302\233K", 20);
	ck_assert_int_gt(pm_explain(&r, text, sizeof(text)), 0);
	ck_assert_msg(strstr(text, "moved to /?[2J?\303\244??K?"), "%s", text);
	for (size_t i = 0; text[i]; i++)
		ck_assert_msg(text[i] != 0x7f && (unsigned char)text[i] >= ' ', "%s", text);
}
END_TEST

/* pm_next_event() says how much it filled, and no more is read. */
START_TEST(an_event_of_any_size)
{
	const size_t sizes[] = {offsetof(struct pm_event, error), offsetof(struct pm_event, length),
	                        offsetof(struct pm_event, frames), sizeof(struct pm_event),
	                        sizeof(struct pm_event) + 64};
	const char *path = unit_file("file", 65536);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_WATCH));
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct pm_event *e = malloc(sizes[i]);
		char text[512];
		int rc = -EAGAIN;
		ck_assert_ptr_nonnull(e);
		ck_assert_int_eq(truncate(path, i % 2 ? 65536 : 100), 0);
		while (rc == -EAGAIN && !usleep(1000))
			rc = pm_next_event(m, e, sizes[i]);
		unit_ok(rc);
		ck_assert_uint_eq(e->size, sizes[i] < sizeof(*e) ? sizes[i] : sizeof(*e));
		ck_assert_int_gt(pm_explain_event(e, text, sizeof(text)), 0);
		e->size = sizes[0] - 1;
		ck_assert_int_eq(pm_explain_event(e, text, sizeof(text)), -EINVAL);
		free(e);
	}
	pm_unmap(m);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("explain");
	tcase_add_test(c, every_value_has_a_name);
	tcase_add_test(c, a_reason_is_named_as_its_constant);
	tcase_add_test(c, no_value_is_too_strange);
	tcase_add_test(c, errors_with_and_without_their_sign);
	tcase_add_loop_test(c, a_lost_guarantee_is_no_failed_write_back, 0, 4);
	tcase_add_test(c, a_lost_descriptor_is_said_once);
	tcase_add_loop_test(c, the_first_sentence_is_what_the_mapping_is, 0, 5);
	tcase_add_test(c, every_value_has_a_sentence);
	tcase_add_loop_test(c, a_report_in_words, 0, 11);
	tcase_add_loop_test(c, a_text_is_cut_at_any_length, 0, (int)fake_machines_count);
	tcase_add_test(c, a_report_that_cannot_be_read);
	tcase_add_test(c, a_report_of_any_size);
	tcase_add_loop_test(c, a_report_that_lacks_the_row_of_a_loss, 0, 2);
	tcase_add_loop_test(c, a_loss_in_part_is_said_once, 0, 3);
	tcase_add_test(c, a_path_does_not_command_a_terminal);
	tcase_add_test(c, an_event_of_any_size);
	return unit_run();
}
