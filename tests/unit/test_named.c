/* SPDX-License-Identifier: BSD-3-Clause */
/* The file's name while it is mapped: each way to lose it is one event, with its reason; other changes are none. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "watching.h"

static const char *directory, *second;

static struct pm_mapping *mapped(const struct fake_machine *machine, const char *name, const struct pm_options *o)
{
	directory = unit_path("directory");
	second = unit_path("second");
	ck_assert_int_eq(mkdir(directory, 0700), 0);
	watched_path = unit_file(name, SIZE);
	fake_start(machine);
	struct pm_mapping *m = unit_map(watched_path, o);
	while (only(m).kind)
		;
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_NAMED].state, PM_YES);
	return m;
}

/* ---- What becomes of it ---- */

static void unlinked(void)
{
	ck_assert_int_eq(unlink(watched_path), 0);
}

static void replaced(void)
{
	ck_assert_int_eq(rename(unit_file("new", 10), watched_path), 0);
}

static void replaced_by_a_link(void)
{
	ck_assert_int_eq(symlink("nowhere", second), 0);
	ck_assert_int_eq(rename(second, watched_path), 0);
}

static void replaced_with_a_link_left(void)
{
	ck_assert_int_eq(link(watched_path, second), 0);
	replaced();
}

static void moved(void)
{
	ck_assert_int_eq(rename(watched_path, second), 0);
}

static void moved_with_its_directory(void)
{
	char to[300];
	snprintf(to, sizeof(to), "%s-elsewhere", directory);
	ck_assert_int_eq(rename(directory, to), 0);
}

static void unlinked_with_its_directory(void)
{
	unlinked();
	ck_assert_int_eq(rmdir(directory), 0);
}

static void unlinked_with_two_links_left(void)
{
	ck_assert_int_eq(link(watched_path, second), 0);
	ck_assert_int_eq(link(watched_path, unit_path("third")), 0);
	unlinked();
}

static void moved_by_links(void)
{
	ck_assert_int_eq(link(watched_path, second), 0);
	unlinked();
}

static const struct way {
	void (*act)(void);
	const char *name;
	enum pm_reason reason;
	int error;
	const char *text;
	uint64_t links;
} ways[] = {
	{unlinked, "file", PM_REASON_UNLINKED, ENOENT, "unlinked", 0},
	{unlinked, "file (deleted)", PM_REASON_UNLINKED, ENOENT, "unlinked", 0},
	{replaced, "file", PM_REASON_UNLINKED, EEXIST, "replaced", 0},
	{replaced_by_a_link, "file", PM_REASON_UNLINKED, EEXIST, "replaced", 0},
	{moved, "file", PM_REASON_MOVED, EREMCHG, "/second", 1},
	{moved_with_its_directory, "directory/file", PM_REASON_MOVED, EREMCHG, "-elsewhere/file", 1},
	{unlinked_with_its_directory, "directory/file", PM_REASON_UNLINKED, ENOENT, "unlinked", 0},
	{unlinked_with_two_links_left, "file", PM_REASON_UNLINKED, ENOENT, "unlinked; 2 other links remain", 2},
	{moved_by_links, "file", PM_REASON_UNLINKED, ENOENT, "unlinked; 1 other link remains", 1},
};

static bool ends_with(const char *text, const char *end)
{
	return strlen(text) >= strlen(end) && !strcmp(text + strlen(text) - strlen(end), end);
}

START_TEST(a_name_is_lost)
{
	const struct way *way = &ways[_i % (int)COUNT(ways)];
	bool is_direct = _i >= (int)COUNT(ways);
	struct pm_mapping *m = mapped(is_direct ? &fake_dax : &fake_plain, way->name, NULL);
	enum pm_granularity before = pm_granularity_of(m);
	way->act();
	struct pm_event event = only(m);
	ck_assert_int_eq(event.kind, PM_EVENT_NAME_LOST);
	ck_assert_int_eq(event.reason, way->reason);
	ck_assert_uint_eq(event.length, SIZE);
	const struct pm_report *r = unit_query(m);
	const struct pm_evidence *e = &r->evidence[PM_EV_NAMED];
	ck_assert_int_eq(e->state, PM_NO);
	ck_assert_int_eq(e->error, way->error);
	ck_assert_uint_eq(e->value, way->links);
	ck_assert_msg(ends_with(e->text, way->text), "%s", e->text);
	ck_assert_int_eq(r->verdict, PM_VERDICT_DEMOTED);
	ck_assert_int_eq(r->reason, way->reason);
	ck_assert_int_eq(r->advice, way->reason == PM_REASON_MOVED ? PM_ADVICE_MAP_AGAIN : PM_ADVICE_NAME);
	/* The blocks are reached as before. */
	ck_assert_int_eq(r->granularity, before);
	ck_assert_int_lt(r->grade, PM_GRADE_TRUSTED);
	unit_ok(pm_persist(m, pm_base(m), 8));
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- What leads to the file still ---- */

static void touched(void)
{
	ck_assert_int_eq(chmod(watched_path, 0640), 0);
}

static void linked_too(void)
{
	ck_assert_int_eq(link(watched_path, second), 0);
}

static void another_link_removed(void)
{
	linked_too();
	ck_assert_int_eq(unlink(second), 0);
}

static void there_and_back(void)
{
	moved();
	ck_assert_int_eq(rename(second, watched_path), 0);
}

/* The kernel still tells the name that was removed. */
static void linked_again(void)
{
	linked_too();
	unlinked();
	ck_assert_int_eq(link(second, watched_path), 0);
}

static const struct {
	void (*act)(void);
	const char *name;
	uint64_t links;
} kept[] = {
	{touched, "file", 1},
	{touched, "file (deleted)", 1},
	{touched, "#1 (deleted)", 1},
	{linked_too, "file", 2},
	{another_link_removed, "file", 1},
	{there_and_back, "file", 1},
	{there_and_back, "file (deleted)", 1},
	{linked_again, "file", 2},
	{linked_again, "file (deleted)", 2},
};

START_TEST(a_name_is_kept)
{
	struct pm_mapping *m = mapped(&fake_dax, kept[_i].name, UNIT_OPTIONS(.sync = PM_GUARANTEE));
	kept[_i].act();
	ck_assert_int_eq(only(m).kind, 0);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->evidence[PM_EV_NAMED].state, PM_YES);
	ck_assert_uint_eq(r->evidence[PM_EV_NAMED].value, kept[_i].links);
	ck_assert_int_eq(r->verdict, PM_VERDICT_MET);
	ck_assert_int_eq(r->grade, PM_GRADE_PROVEN);
	unit_ok(pm_unmap(m));
}
END_TEST

static void of_a_server(void)
{
	fake.machine.magic = FUSE_SUPER_MAGIC;
	fake.machine.unique_mount++;
}

static void under_its_own_mount(void)
{
	fake.machine.over = FAKE_THE_FILE;
}

static bool asks_for_path(struct pm_mapping *m)
{
	const struct fake_record *r;
	bool asks = false;
	fake_forget();
	unit_query(m);
	for (unsigned i = 0; (r = fake_find(FAKE_readlinkat, i)); i++)
		asks |= !strncmp(r->path, "/proc/self/fd/", 14);
	return asks;
}

static const struct {
	void (*act)(void);
	enum pm_state state;
	bool asks;
} lookups[] = {
	{touched, PM_YES, false}, {linked_too, PM_YES, false}, {linked_again, PM_YES, false},
	{moved, PM_NO, true},     {replaced, PM_NO, true},     {unlinked, PM_NO, true},
	{moved_with_its_directory, PM_NO, true}, {replaced_with_a_link_left, PM_NO, true},
	/* A server may give the number of the file to another one. Over the path another mount may show the file. */
	{of_a_server, PM_YES, true}, {under_its_own_mount, PM_YES, true},
};

/* The kernel is asked for the path of the file where the path known leads to it no longer, or that is not certain. */
START_TEST(a_path_that_leads_there_is_not_asked_for)
{
	struct pm_mapping *m = mapped(&fake_plain, "directory/file", NULL);
	ck_assert(!asks_for_path(m));
	lookups[_i].act();
	ck_assert_int_eq(asks_for_path(m), lookups[_i].asks);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_NAMED].state, lookups[_i].state);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Another file is named as the kernel would call ours. */
START_TEST(a_name_that_looks_removed_is_anothers)
{
	struct pm_mapping *m = mapped(&fake_plain, "file", NULL);
	unit_file("file (deleted)", 10);
	unlinked();
	struct pm_event event = only(m);
	ck_assert_int_eq(event.kind, PM_EVENT_NAME_LOST);
	ck_assert_int_eq(event.reason, PM_REASON_UNLINKED);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- A guarantee ---- */

START_TEST(a_guarantee_ends_with_the_name)
{
	unsigned flags = _i ? PM_FAIL_ON_DEMOTION : 0;
	struct pm_mapping *m = mapped(&fake_dax, "file", UNIT_OPTIONS(.sync = PM_GUARANTEE, .flags = flags));
	unlinked();
	ck_assert_int_eq(only(m).reason, PM_REASON_UNLINKED);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->verdict, PM_VERDICT_REFUSED);
	ck_assert_int_eq(r->granularity, PM_CACHE_LINE);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 8), _i ? -PM_ENOTSYNC : 0);
	ck_assert_int_eq(pm_drain(m), _i ? -PM_ENOTSYNC : 0);
	unit_ok(pm_clear_error(m));
	unit_ok(pm_persist(m, pm_base(m), 8));
	ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_REFUSED);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Moved on purpose: to acknowledge that is to take the new path for the file's. */
START_TEST(a_move_is_acknowledged)
{
	struct pm_mapping *m =
		mapped(&fake_dax, "file", UNIT_OPTIONS(.sync = PM_GUARANTEE, .flags = PM_FAIL_ON_DEMOTION));
	moved();
	ck_assert_int_eq(only(m).reason, PM_REASON_MOVED);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 8), -PM_ENOTSYNC);
	unit_ok(pm_clear_error(m));
	unit_ok(pm_persist(m, pm_base(m), 8));
	ck_assert_int_eq(unit_query(m)->verdict, PM_VERDICT_MET);
	ck_assert_int_eq(only(m).kind, 0);
	ck_assert_int_eq(unlink(second), 0);
	ck_assert_int_eq(only(m).reason, PM_REASON_UNLINKED);
	ck_assert_int_eq(pm_persist(m, pm_base(m), 8), -PM_ENOTSYNC);
	pm_unmap(m);
}
END_TEST

/* First moved, then removed: that is worse. */
START_TEST(a_name_is_lost_in_two_ways)
{
	struct pm_mapping *m = mapped(&fake_plain, "file", NULL);
	moved();
	ck_assert_int_eq(only(m).reason, PM_REASON_MOVED);
	ck_assert_int_eq(unlink(second), 0);
	ck_assert_int_eq(only(m).reason, PM_REASON_UNLINKED);
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_file_unlinked_before)
{
	struct pm_mapping *m = NULL;
	watched_path = unit_file("file", SIZE);
	int fd = open(watched_path, O_RDWR);
	unlinked();
	fake_start(&fake_dax);
	ck_assert_int_eq(pm_map_fd(fd, UNIT_OPTIONS(.sync = PM_GUARANTEE), &m), -PM_ENOTSYNC);
	unit_ok(pm_map_fd(fd, NULL, &m));
	ck_assert_int_eq(only(m).reason, PM_REASON_UNLINKED);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_UNLINKED);
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
	close(fd);
}
END_TEST

/* ---- Not to know ---- */

START_TEST(a_kernel_that_tells_no_path)
{
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_dax);
	fake_fail(FAKE_readlinkat, _i ? 2 : 0, ENOENT); /* at pm_map() the first is of the region's place */
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.direct = PM_GUARANTEE));
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->evidence[PM_EV_NAMED].state, _i ? PM_YES : PM_UNKNOWN);
	ck_assert_int_ne(r->verdict, PM_VERDICT_REFUSED);
	/* The links are shown all the same. */
	unlinked();
	r = unit_query(m);
	ck_assert_int_eq(r->evidence[PM_EV_NAMED].state, PM_NO);
	ck_assert_int_eq(r->verdict, PM_VERDICT_REFUSED);
	ck_assert_int_eq(r->reason, PM_REASON_UNLINKED);
	unit_ok(pm_unmap(m));
}
END_TEST

/*
 * In another root directory the kernel tells the end of the path, and here there is no /proc to ask. In a child, since
 * this program needs its own root for what it leaves behind.
 */
static enum pm_state state_in_another_root(struct pm_mapping *m, bool has_proc)
{
	struct pm_report r;
	const char *root = unit_path(""), *proc = unit_path("proc");
	if (has_proc && (mkdir(proc, 0700) || mount("/proc", proc, NULL, MS_BIND | MS_REC, NULL)))
		return PM_UNKNOWN;
	int rc = chroot(root) || chdir("/") ? -1 : pm_query(m, &r, sizeof(r));
	if (has_proc)
		umount2("/proc", MNT_DETACH);
	return rc ? PM_NO : r.evidence[PM_EV_NAMED].state;
}

START_TEST(another_root_is_no_move)
{
	int status;
	struct pm_mapping *m = mapped(&fake_plain, "file", NULL);
	pid_t child = fork();
	if (!child)
		_exit(geteuid() ? (int)PM_UNKNOWN : (int)state_in_another_root(m, _i));
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), PM_UNKNOWN);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A server need not count links. */
START_TEST(a_server_that_counts_no_links)
{
	struct pm_mapping *m = mapped(&fake_plain, "file", NULL);
	fake.machine.counts_no_links = true;
	fake.machine.magic = FUSE_SUPER_MAGIC;
	ck_assert_int_eq(only(m).kind, 0);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_NAMED].state, PM_YES);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- An overlay's copy ---- */

START_TEST(a_copy_that_took_the_path)
{
	char byte;
	struct pm_event event;
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	fake.machine.magic = OVERLAYFS_SUPER_MAGIC;
	fake.machine.mount = "overlay overlay rw,lowerdir=/lower";
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.flags = _i ? PM_PRIVATE : PM_READ_ONLY));
	while (only(m).kind)
		;
	if (!_i)
		unit_ok(pm_read(m, &byte, pm_base(m), 1));
	fake.machine.born_later = 1, byte = 42; /* what would be read now is not what is mapped */
	int rc = pm_read(m, &byte, pm_base(m), 1);
	ck_assert(byte == 42 && rc == (_i ? -EOPNOTSUPP : -ESTALE));
	unit_ok(pm_next_event(m, &event, sizeof(event)));
	ck_assert_int_eq(event.kind, PM_EVENT_NAME_LOST);
	ck_assert_int_eq(event.reason, PM_REASON_COPIED_UP);
	/* Nor is what is done to the copy. */
	ck_assert_int_eq(truncate(watched_path, 100), 0);
	ck_assert_int_eq(only(m).kind, 0);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->evidence[PM_EV_NAMED].error, ESTALE);
	ck_assert_int_eq(r->evidence[PM_EV_IN_FILE].state, PM_UNKNOWN);
	ck_assert_int_eq(r->reason, _i ? PM_REASON_PRIVATE : PM_REASON_COPIED_UP);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A file that was opened for writing is the copy from the start. */
START_TEST(a_mapping_for_writing_is_of_the_copy)
{
	struct pm_mapping *m = mapped(&fake_plain, "file", NULL);
	fake.machine.magic = OVERLAYFS_SUPER_MAGIC;
	fake.machine.mount = "overlay overlay rw,lowerdir=/lower";
	fake.machine.born_later = 1;
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Announced ---- */

START_TEST(a_thread_hears_of_it)
{
	watched_path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(watched_path, UNIT_OPTIONS(.flags = PM_WATCH));
	struct pm_event event;
	while (!pm_next_event(m, &event, sizeof(event)))
		;
	second = unit_path("second");
	(_i ? moved : unlinked)();
	ck_assert(is_readable(m, WAIT_MS));
	unit_ok(pm_next_event(m, &event, sizeof(event)));
	ck_assert_int_eq(event.kind, PM_EVENT_NAME_LOST);
	ck_assert_int_eq(event.reason, _i ? PM_REASON_MOVED : PM_REASON_UNLINKED);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_probe_and_a_creation_have_a_name)
{
	struct pm_report r;
	fake_start(&fake_dax);
	fake.machine.has_unnamed_files = true;
	const struct pm_options *o = UNIT_OPTIONS(.flags = PM_CREATE, .length = SIZE, .sync = PM_GUARANTEE);
	unit_ok(pm_probe(unit_path("new"), o, &r, sizeof(r)));
	ck_assert_int_eq(r.verdict, PM_VERDICT_MET);
	ck_assert_int_ne(r.evidence[PM_EV_NAMED].state, PM_NO);
	struct pm_mapping *m = unit_map(unit_path("new"), o);
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_NAMED].state, PM_YES);
	ck_assert_int_eq(only(m).kind, 0);
	unit_ok(pm_probe(unit_path("new"), NULL, &r, sizeof(r)));
	ck_assert_int_eq(r.evidence[PM_EV_NAMED].state, PM_YES);
	ck_assert_int_eq(unlink(unit_path("new")), 0);
	ck_assert_int_eq(only(m).kind, PM_EVENT_NAME_LOST);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("named");
	tcase_add_loop_test(c, a_name_is_lost, 0, 2 * (int)COUNT(ways));
	tcase_add_loop_test(c, a_name_is_kept, 0, (int)COUNT(kept));
	tcase_add_loop_test(c, a_path_that_leads_there_is_not_asked_for, 0, (int)COUNT(lookups));
	tcase_add_test(c, a_name_that_looks_removed_is_anothers);
	tcase_add_loop_test(c, a_guarantee_ends_with_the_name, 0, 2);
	tcase_add_test(c, a_move_is_acknowledged);
	tcase_add_test(c, a_name_is_lost_in_two_ways);
	tcase_add_test(c, a_file_unlinked_before);
	tcase_add_loop_test(c, a_kernel_that_tells_no_path, 0, 2);
	tcase_add_loop_test(c, another_root_is_no_move, 0, 2);
	tcase_add_test(c, a_server_that_counts_no_links);
	tcase_add_loop_test(c, a_copy_that_took_the_path, 0, 2);
	tcase_add_test(c, a_mapping_for_writing_is_of_the_copy);
	tcase_add_loop_test(c, a_thread_hears_of_it, 0, 2);
	tcase_add_test(c, a_probe_and_a_creation_have_a_name);
	return unit_run();
}
