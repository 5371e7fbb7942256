/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pm_explain() on what befell a mapping: a table of states against what the text must say, and must not. No sentence
 * promises what the evidence denies, the worst comes first, and the remedy is the one that helps.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "mapping/mapping.h"
#include "watching.h"

#define WORDS 6

static struct pm_mapping *m;

static void nothing(void)
{
}

static void shut_down(void)
{
	fake.machine.statx_errno = EIO;
}

static void gone(void)
{
	fake.machine.is_gone = true;
}

static void read_only(void)
{
	fake.machine.is_read_only = true;
}

/* As ext4 says it from Linux 6.15 on. */
static void emergency(void)
{
	fake.machine.mount = "ext4 /dev/pmem0 rw,emergency_ro";
}

static void poisoned(void)
{
	fake_fail(FAKE_msync, 0, EIO);
	pm_flush(m, pm_base(m), 8);
	ck_assert_int_eq(pm_granularity_of(m) == PM_PAGE ? pm_drain(m) : pm_deep_persist(m, pm_base(m), 8), -EIO);
}

static void truncated(void)
{
	ck_assert_int_eq(truncate(watched_path, 5000), 0);
}

static void unlinked(void)
{
	ck_assert_int_eq(unlink(watched_path), 0);
}

static void moved(void)
{
	ck_assert_int_eq(rename(watched_path, unit_path("second")), 0);
}

static void copied_up(void)
{
	fake.machine.born_later = 1;
}

static void worn(void)
{
	static const struct fake_health health = {.bad_blocks = "32 8\n"};
	fake.machine.health = &health;
}

static void immutable(void)
{
	fake.machine.is_immutable = true;
}

static void append_only(void)
{
	fake.machine.is_append_only = true;
}

static void mistyped(void)
{
	fake.machine.granularity_word = "pages";
}

static void forced_to_pages(void)
{
	fake.machine.granularity_word = "page";
}

static void forced_to_lines(void)
{
	fake.machine.granularity_word = "cache_line";
}

static void forced_to_lines_and_unlinked(void)
{
	forced_to_lines();
	unlinked();
}

static void forced_to_lines_and_shut_down(void)
{
	forced_to_lines();
	shut_down();
}

static void closed(void)
{
	ck_assert_int_eq(close(m->file.fd), 0);
}

static void unlinked_and_shut_down(void)
{
	unlinked();
	shut_down();
}

static void poisoned_and_truncated(void)
{
	poisoned();
	truncated();
}

static void linked_and_unlinked(void)
{
	ck_assert_int_eq(link(watched_path, unit_path("other-link")), 0);
	unlinked();
}

static void lost(void)
{
	unlinked();
	unit_query(m);
}

#define PROMISES "become durable by", "is met: every fact holds", "proven by", "user space commits alone"

static const struct state {
	const struct fake_machine *machine;
	void (*act)(void);
	struct pm_options options;
	const char *first; /* how the text begins */
	const char *has[WORDS], *has_not[WORDS];
} states[] = {
	{&fake_dax, nothing, {0}, "Stores become durable by cache-line", {"proven by", "is met"},
	 {"not met", "Advice", "lost"}},
	{&fake_plain, nothing, {0}, "Stores become durable by the kernel", {"Advice: put the file on"},
	 {"proven", "lost"}},
	{&fake_xfs_reflink, nothing, {0}, "Stores become durable by the kernel", {"Sync is unknown", "PM_LEASE"},
	 {"proven by", "promised by", "is met"}},
	{&fake_dax, shut_down, {0}, "The file system was shut down", {"mount it again", "not met"}, {PROMISES}},
	{&fake_plain, shut_down, {0}, "The file system was shut down", {"mount it again"}, {PROMISES, "Advice: put"}},
	{&fake_dax, gone, {0}, "The device under the file system is gone", {"mount it again"}, {PROMISES}},
	{&fake_plain, gone, {0}, "The device under the file system is gone", {"mount it again"},
	 {PROMISES, "Advice: put"}},
	{&fake_dax, read_only, {0}, "The file system is read-only", {"mount it again"}, {PROMISES}},
	{&fake_plain, emergency, {0}, "The file system is read-only", {"mount it again"}, {PROMISES, "Advice: put"}},
	{&fake_dax, poisoned, {0}, "The mapping is poisoned by a failed write-back (error -5", {"pm_clear_error()"},
	 {PROMISES}},
	{&fake_plain, poisoned, {0}, "The mapping is poisoned", {"pm_clear_error()", "not met"},
	 {PROMISES, "Advice: put"}},
	{&fake_dax, truncated, {0}, "The file ends at 5000",
	 {"what was stored behind it is lost", "SIGBUS; pm_resize() to what is left, or map again."},
	 {PROMISES, "PM_PREPARE"}},
	{&fake_plain, truncated, {0}, "The file ends at 5000", {"map again"}, {PROMISES, "Advice: put"}},
	{&fake_dax, unlinked, {0}, "No path leads to the file (unlinked)",
	 {"map the file that has the name now, or create it anew", "not met"},
	 {PROMISES, "linkat"}},
	{&fake_plain, unlinked, {0}, "No path leads to the file (unlinked)",
	 {"map the file that has the name now"},
	 {PROMISES, "linkat"}},
	{&fake_dax, linked_and_unlinked, {0},
	 "The path does not lead to the file any more (unlinked; 1 other link remains",
	 {"map it again by another link", "cache-line"}, {"No path", "linkat", "proven by"}},
	{&fake_dax, moved, {0}, "The file was moved to", {"/second", "pm_clear_error()"},
	 {"every fact holds", "proven by"}},
	{&fake_plain, copied_up, {.flags = PM_READ_ONLY}, "The overlay copied the file up", {"map again"},
	 {PROMISES}},
	{&fake_dax, worn, {0}, "The medium has bad blocks", {"restore the file", "is met otherwise", "offset 16384"},
	 {"every fact holds", "proven by"}},
	{&fake_plain, immutable, {0}, "The file is immutable", {"SIGBUS", "chattr"},
	 {"proven by", "Advice: put", "The medium", "hint is not met"}},
	{&fake_dax, append_only, {0}, "The file is append-only", {"chattr"}, {"every fact holds", "proven by"}},
	{&fake_dax, unlinked_and_shut_down, {0}, "The file system was shut down", {"No path leads to the file"},
	 {PROMISES}},
	{&fake_plain, poisoned_and_truncated, {0}, "The mapping is poisoned", {"The file ends at 5000"}, {PROMISES}},
	{&fake_dax, lost, {.sync = PM_GUARANTEE, .flags = PM_FAIL_ON_DEMOTION}, "The guarantee was lost",
	 {"No path leads", "So a guarantee is not met", "pm_clear_error()"}, {PROMISES, "poisoned"}},
	{&fake_dax, shut_down, {.sync = PM_GUARANTEE}, "The file system was shut down", {"So a guarantee is not met"},
	 {PROMISES}},
	{&fake_dax, mistyped, {0}, "Stores become durable by cache-line",
	 {"PMDIRECT_GRANULARITY=pages changes nothing", "proven"},
	 {"lowers"}},
	/* What the variable lowers, and where it changes nothing. */
	{&fake_forced, nothing, {0}, "Stores become durable by the kernel",
	 {"GRANULARITY=page lowers the promise"}, {NULL}},
	{&fake_forced, unlinked, {0}, "No path leads to the file (unlinked)",
	 {"GRANULARITY=page lowers the promise"}, {NULL}},
	{&fake_plain, forced_to_pages, {0}, "Stores become durable by the kernel", {"Advice: put"},
	 {"lowers", "GRANULARITY"}},
	{&fake_dax, forced_to_lines, {0}, "Stores become durable by cache-line", {"proven"}, {"lowers", "GRANULARITY"}},
	{&fake_eadr, forced_to_lines, {0}, "Stores become durable by cache-line",
	 {"GRANULARITY=cache_line lowers the promise"}, {NULL}},
	{&fake_eadr, forced_to_lines_and_unlinked, {0}, "No path leads to the file (unlinked)",
	 {"GRANULARITY=cache_line lowers the promise"}, {NULL}},
	{&fake_eadr, forced_to_lines_and_shut_down, {0}, "The file system was shut down", {"mount it again"},
	 {"lowers"}},
	{&fake_plain, closed, {0}, "The program closed the library's descriptor", {"unmap and map again", "not met"},
	 {PROMISES, "Advice", "inotify"}},
	{&fake_dax, closed, {.flags = PM_WATCH}, "The program closed the library's descriptor", {"unmap and map again"},
	 {PROMISES, "Advice", "inotify"}},
	{&fake_plain, read_only, {.flags = PM_READ_ONLY}, "Stores become", {"Advice: put"}, {"read-only"}},
};

START_TEST(the_text_is_of_now)
{
	static const struct fake_health sound = {.bad_blocks = ""};
	const struct state *state = &states[_i];
	struct pm_options o = state->options;
	char text[2048];
	o.size = sizeof(o);
	watched_path = unit_file("file", SIZE);
	fake_start(state->machine);
	fake.machine.health = state->machine->region ? &sound : NULL;
	if (state->act == copied_up) {
		fake.machine.magic = OVERLAYFS_SUPER_MAGIC;
		fake.machine.mount = "overlay overlay rw,lowerdir=/lower";
	}
	m = unit_map(watched_path, &o);
	state->act();
	int length = pm_explain(unit_query(m), text, sizeof(text));
	ck_assert_int_eq(length, (int)strlen(text));
	ck_assert_msg(!strncmp(text, state->first, strlen(state->first)), "%s", text);
	for (size_t i = 0; i < WORDS && state->has[i]; i++)
		ck_assert_msg(strstr(text, state->has[i]), "%s: no '%s'", text, state->has[i]);
	for (size_t i = 0; i < WORDS && state->has_not[i]; i++)
		ck_assert_msg(!strstr(text, state->has_not[i]), "%s: '%s'", text, state->has_not[i]);
	ck_assert_int_eq(text[length - 1], '.');
	ck_assert_ptr_null(strstr(text, "  "));
	/* The consequence follows its cause. */
	const char *so = strstr(text, "So a "), *next = strstr(text, "irect:");
	ck_assert_msg(!so || !next || so < next, "%s", text);
	pm_unmap(m);
}
END_TEST

/* What limits a promise is no cause of it. */
START_TEST(a_limit_is_no_cause)
{
	static const struct fake_machine *const machines[] = {&fake_dax, &fake_dax_no_domain};
	char text[2048];
	watched_path = unit_file("file", 1 << 20);
	fake_start(machines[_i]);
	m = unit_map(watched_path, NULL);
	pm_explain(unit_query(m), text, sizeof(text));
	const char *verdict = _i ? "Every request is met, but the region" : "Every request is met: every fact holds";
	ck_assert_msg(strstr(text, verdict), "%s", text);
	unit_ok(pm_unmap(m));
}
END_TEST

/*
 * Preparing spares every drain the sync of a whole file system. It meets no request, so it is the advice only where all
 * is met.
 */
START_TEST(without_a_journal_preparing_makes_drains_cheap)
{
	bool is_unwritten = _i % 2, avoids = _i >= 2;
	static const struct fake_extent unwritten[] = {
		{.logical = 0, .length = 1 << 20, .flags = FIEMAP_EXTENT_UNWRITTEN}};
	char text[2048];
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	fake.machine.lacks_journal = true;
	enum pm_request request = avoids ? PM_AVOID : PM_HINT;
	m = unit_map(watched_path, UNIT_OPTIONS(.sync = request, .direct = request));
	fake.machine.extents = is_unwritten ? unwritten : NULL;
	fake.machine.extent_count = 1;
	pm_explain(unit_query(m), text, sizeof(text));
	ck_assert_msg(!strstr(text, "Advice: map with PM_PREPARE") == !(is_unwritten && avoids), "%s", text);
	ck_assert_msg(!strstr(text, "written; PM_PREPARE writes them") == !(is_unwritten && !avoids), "%s", text);
	ck_assert_msg(!strstr(text, "syncs the whole file system") == !is_unwritten, "%s", text);
	ck_assert_msg(!strstr(text, "Advice: put the file") == avoids, "%s", text);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- The attribute of the file, as an event ---- */

START_TEST(a_file_becomes_immutable)
{
	m = watched(&fake_plain);
	(_i ? append_only : immutable)();
	struct pm_event event = only(m);
	ck_assert_int_eq(event.kind, PM_EVENT_READ_ONLY);
	ck_assert_int_eq(event.reason, PM_REASON_IMMUTABLE);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->evidence[PM_EV_WRITABLE].state, PM_NO);
	ck_assert_str_eq(r->evidence[PM_EV_WRITABLE].text, _i ? "append-only" : "immutable");
	ck_assert_int_eq(r->reason, PM_REASON_IMMUTABLE);
	ck_assert_int_eq(r->granularity, PM_PAGE);
	unit_ok(pm_persist(m, pm_base(m), 8));
	fake.machine.is_immutable = fake.machine.is_append_only = false;
	ck_assert_int_eq(only(m).kind, 0);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_WRITABLE].state, PM_YES);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_PAGE_CACHE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* One that was so before it was mapped, for reading, is as it should be. */
START_TEST(an_immutable_file_is_read)
{
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_dax);
	immutable();
	m = unit_map(watched_path, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	ck_assert_int_eq(only(m).kind, 0);
	ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_MET);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- What another process appends is not of the range ---- */

static void write_at(uint64_t at, uint64_t bytes)
{
	static const char zeros[4096];
	int fd = open(watched_path, O_WRONLY);
	ck_assert_int_eq((int)pwrite(fd, zeros, bytes, (off_t)at), (int)bytes);
	close(fd);
}

static void check_written(uint64_t offset, uint64_t length)
{
	struct pm_event event = only(m);
	ck_assert_int_eq(event.kind, PM_EVENT_MODIFIED);
	ck_assert_uint_eq(event.offset, offset);
	ck_assert_uint_eq(event.length, length);
}

START_TEST(an_append_is_told_as_one)
{
	m = watched(&fake_plain);
	write_at(SIZE, 100);
	check_written(SIZE, 100);
	write_at(SIZE + 100, 50);
	check_written(SIZE + 100, 50);
	/* Cut off again, but not into the range. */
	ck_assert_int_eq(truncate(watched_path, SIZE), 0);
	check_written(SIZE, 150);
	write_at(10, 10);
	check_written(0, SIZE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- The place of a hole ---- */

static const struct fake_extent punched_first[] = {{.logical = 4096, .length = 1 << 20}};
static const struct fake_extent punched_last[] = {{.logical = 0, .length = SIZE - 8192}};
static const struct fake_extent punched_twice[] = {
	{.logical = 0, .length = 8192}, {.logical = 12288, .length = 4096}, {.logical = 20480, .length = 1 << 20}};
static const struct fake_extent shared_in_parts[] = {
	{.logical = 0, .length = 8192}, {.logical = 8192, .length = 4096, .flags = FIEMAP_EXTENT_SHARED},
	{.logical = 12288, .length = 4096, .flags = FIEMAP_EXTENT_SHARED}, {.logical = 16384, .length = 4096},
	{.logical = 20480, .length = 1 << 20, .flags = FIEMAP_EXTENT_SHARED}};

static const struct {
	const struct fake_extent *extents;
	unsigned count;
	enum pm_event_kind kind;
	uint64_t offset, length;
} holes[] = {
	{punched_first, 1, PM_EVENT_HOLE, 0, 4096},
	{punched_last, 1, PM_EVENT_HOLE, SIZE - 8192, 8192},
	{punched_twice, 3, PM_EVENT_HOLE, 8192, 4096},
	{shared_in_parts, 5, PM_EVENT_SHARED, 8192, 8192},
};

START_TEST(a_hole_has_its_own_place)
{
	m = watched(&fake_plain);
	fake.machine.extents = holes[_i].extents;
	fake.machine.extent_count = holes[_i].count;
	struct pm_event event = only(m);
	ck_assert_int_eq(event.kind, holes[_i].kind);
	ck_assert_uint_eq(event.offset, holes[_i].offset);
	ck_assert_uint_eq(event.length, holes[_i].length);
	unit_ok(pm_unmap(m));
}
END_TEST

/* linkat(2) gives a name to the one, and refuses the other. */
START_TEST(how_a_file_gets_its_first_name)
{
	char text[2048];
	int fd = _i ? memfd_create("m", MFD_CLOEXEC) : open(unit_path(""), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, 8192), 0);
	fake_start(&fake_dax);
	struct pm_mapping *nameless = NULL;
	unit_ok(pm_map_fd(fd, NULL, &nameless));
	pm_explain(unit_query(nameless), text, sizeof(text));
	ck_assert_msg(strstr(text, _i ? "map a file of a file system" : "give it a name with linkat(2)") &&
	              !strstr(text, _i ? "linkat" : "memfd"), "%s", text);
	unit_ok(pm_unmap(nameless));
	close(fd);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("explain_now");
	tcase_add_loop_test(c, the_text_is_of_now, 0, (int)COUNT(states));
	tcase_add_loop_test(c, how_a_file_gets_its_first_name, 0, 2);
	tcase_add_loop_test(c, a_limit_is_no_cause, 0, 2);
	tcase_add_loop_test(c, without_a_journal_preparing_makes_drains_cheap, 0, 4);
	tcase_add_loop_test(c, a_file_becomes_immutable, 0, 2);
	tcase_add_test(c, an_immutable_file_is_read);
	tcase_add_test(c, an_append_is_told_as_one);
	tcase_add_loop_test(c, a_hole_has_its_own_place, 0, (int)COUNT(holes));
	return unit_run();
}
