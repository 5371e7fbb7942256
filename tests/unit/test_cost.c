/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an operation costs: every system call it makes, in order, and the lines it writes back (L), the lines it streams
 * (S) and its fences (F). One byte is read and written, since the fake machine takes half of what is longer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "durability/lines_after_pages.h"
#include "leasing.h"

#define SIZE 65536u
#define LINE 64u
#define LARGE 512u /* is streamed, unless a flag says otherwise */

static struct pm_mapping *m;
static char *base;
static char made[2048]; /* the calls of this thread: those of the library's thread come when they like */

static void note(enum fake_call c)
{
	size_t used = strlen(made);
	if (pthread_equal(pthread_self(), main_thread))
		snprintf(made + used, sizeof(made) - used, "%s%s", used ? " " : "", fake_name(c));
}

static void add(unsigned count, char what)
{
	size_t used = strlen(made);
	if (count)
		snprintf(made + used, sizeof(made) - used, "%s%u%c", used ? " " : "", count, what);
}

static void count_from_now(void)
{
	fake_forget();
	made[0] = 0;
}

static void check_cost(const char *state, const char *operation, const char *cost)
{
	add(fake.lines, 'L');
	add(fake.streamed_lines, 'S');
	add(fake.fences, 'F');
	ck_assert_msg(!strcmp(made, cost), "%s, %s: '%s', not '%s'", state, operation, made, cost);
}

/* ---- What a mapping may be ---- */

enum state { PAGES, READ_ONLY, VOLATILE, DEMOTED, BYTES, LINES, LEASED, PROMOTED, WATCHED, STATES };

static const struct {
	const char *name;
	const struct fake_machine *machine;
	unsigned flags;
} states[STATES] = {
	[PAGES] = {"pages", &fake_plain, 0},
	[READ_ONLY] = {"pages, read-only", &fake_plain, PM_READ_ONLY},
	[VOLATILE] = {"volatile", &fake_tmpfs, 0},
	[DEMOTED] = {"demoted to pages", &fake_dax, 0},
	[BYTES] = {"bytes", &fake_eadr, 0},
	[LINES] = {"lines", &fake_dax, 0},
	[LEASED] = {"lines, leased", &fake_xfs_reflink, PM_LEASE},
	[PROMOTED] = {"lines again", &fake_xfs_reflink, PM_LEASE},
	[WATCHED] = {"pages, watched", &fake_plain, PM_WATCH},
};

/* As if another process opened the file, and kept it open. */
static void lose_lease(void)
{
	fake_fail(FAKE_getlease, 0, EAGAIN);
	unit_query(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
}

/* As the watcher does, which sleeps: it would drain what is announced of this thread. */
static void wait_for_promotion(void)
{
	fake_fail(FAKE_getlease, 0, 0);
	for (int i = 0; pm_granularity_of(m) == PM_PAGE && i < WAIT_MS; i++) {
		observe(m);
		usleep(1000);
	}
	ck_assert_ptr_eq(atomic_load(&m->terms.strategy), &pm_strategy_line_after_page);
}

/* What is asked once in a process has been asked. */
static void start(enum state s)
{
	leased_path = unit_file("file", SIZE);
	fake_start(states[s].machine);
	fake.machine.cached_from = SIZE;
	atomic_store(&fake.watcher_sleeps, true);
	main_thread = pthread_self();
	unit_ok(pm_unmap(unit_map(leased_path, UNIT_OPTIONS(.flags = states[s].flags))));
	counting.hook = note;
	count_from_now();
}

static void map(enum state s)
{
	start(s);
	m = unit_map(leased_path, UNIT_OPTIONS(.flags = states[s].flags));
	base = pm_base(m);
	fake.machine.cached_from = 0;
	if (s == DEMOTED) {
		fake.machine.sync = FAKE_REFUSES;
		ck_assert_int_eq(unit_query(m)->granularity, PM_PAGE);
	}
	if (s == PROMOTED) {
		lose_lease();
		wait_for_promotion();
	}
	unit_query(m);
	count_from_now();
}

/* ---- What is done to it ---- */

static char other[LARGE];
static struct pm_report report;

#define OPERATION(name, expression)                                                                          \
	static int name(void)                                                                                \
	{                                                                                                    \
		return expression;                                                                           \
	}
OPERATION(ask, pm_granularity_of(m) == PM_GRANULARITY_UNKNOWN || !pm_base(m) || !pm_length(m))
OPERATION(flush, pm_flush(m, base + LINE, LINE))
OPERATION(drain, pm_drain(m))
OPERATION(flush_and_drain, flush() || drain())
OPERATION(persist, pm_persist(m, base + LINE, LINE))
OPERATION(commit, pm_commit(m, (struct pm_range[]){{base + LINE, LINE}, {base, 0}}, 2))
OPERATION(publish, pm_publish64(m, (uint64_t *)(void *)(base + LINE), 1))
OPERATION(deep_persist, pm_deep_persist(m, base + LINE, LINE))
OPERATION(sync_all, pm_sync(m))
OPERATION(clear_error, pm_clear_error(m))
OPERATION(copy, pm_memcpy(m, base + LINE, other, LINE, 0))
OPERATION(copy_nodrain, pm_memcpy(m, base + LINE, other, LINE, PM_NODRAIN))
OPERATION(copy_noflush, pm_memcpy(m, base + LINE, other, LINE, PM_NOFLUSH))
OPERATION(copy_large, pm_memcpy(m, base + 1, other, LARGE, 0))
OPERATION(copy_temporal, pm_memcpy(m, base + LINE, other, LARGE, PM_TEMPORAL))
OPERATION(copy_nontemporal, pm_memcpy(m, base + LINE, other, 2 * LINE, PM_NONTEMPORAL))
OPERATION(move, pm_memmove(m, base + LINE, base + 1, LINE, 0))
OPERATION(move_nodrain, pm_memmove(m, base + LINE, base + 1, LINE, PM_NODRAIN))
OPERATION(move_noflush, pm_memmove(m, base + LINE, base + 1, LINE, PM_NOFLUSH))
OPERATION(move_large, pm_memmove(m, base + LINE, base + 1, LARGE, 0))
OPERATION(move_temporal, pm_memmove(m, base + LINE, base + 1, LARGE, PM_TEMPORAL))
OPERATION(set, pm_memset(m, base + LINE, 1, LINE, 0))
OPERATION(set_nodrain, pm_memset(m, base + LINE, 1, LARGE, PM_NODRAIN))
OPERATION(set_noflush, pm_memset(m, base + LINE, 1, LARGE, PM_NOFLUSH))
OPERATION(set_large, pm_memset(m, base + LINE, 1, LARGE, 0))
OPERATION(set_temporal, pm_memset(m, base + LINE, 1, LARGE, PM_TEMPORAL))
OPERATION(read_byte, pm_read(m, other, base + LINE, 1))
OPERATION(write_byte, pm_write(m, base + LINE, other, 1))
OPERATION(query_verdict, pm_query(m, &report, offsetof(struct pm_report, evidence)))
OPERATION(query_all, pm_query(m, &report, sizeof(report)))
OPERATION(grow, pm_resize(m, SIZE + 4096))
OPERATION(shrink, pm_resize(m, SIZE - 4096))
OPERATION(unmap, pm_unmap(m))
OPERATION(flush_and_unmap, flush() || unmap())
OPERATION(copy_and_unmap, copy_nodrain() || unmap())

/* ---- Durability ---- */

/* An msync, whether it can be believed, and whether the file still has what was written: its descriptor and its end. */
#define MSYNC "msync faccessat2_write statx_now"
/* Once in a piece of the file: whether it still is the file, and the pages lie in a large folio. */
#define FIRST_COMMIT "statx_now cachestat "
/* Whose the descriptor is, before the caller's memory changes and after, for a number that is reused meanwhile. */
#define READ "statx_now pread statx_now"
/* The kernel would cache what it reads in large folios. */
#define READ_PAGES "statx_now madvise pread statx_now"
/* The time of the file is moved, where it still is the file. */
#define TOUCH "statx_now futimens_now"
#define COMMIT " msync faccessat2_write"
/* As lines know no kernel, they ask that first. */
#define DEEP "statx_now msync faccessat2_write"
#define FILE_SYNC "statx_now fdatasync"
/* A read-only mapping refuses it. */
#define REFUSED NULL

enum column { BY_PAGES, BY_ALL_PAGES, BY_FILE, BY_NOTHING, BY_BYTES, BY_LINES, COLUMNS };

/* Lines cost the same, whether or not the file is watched, and whatever the mapping was before. */
static const enum column column_of[STATES] = {
	[PAGES] = BY_PAGES,      [DEMOTED] = BY_ALL_PAGES, [READ_ONLY] = BY_FILE,
	[VOLATILE] = BY_NOTHING, [BYTES] = BY_BYTES,       [LINES] = BY_LINES,
	[LEASED] = BY_LINES,     [PROMOTED] = BY_LINES,    [WATCHED] = BY_PAGES,
};

static const struct {
	const char *name;
	int (*run)(void);
	const char *cost[COLUMNS];
} durability[] = {
	{"ask", ask, {"", "", "", "", "", ""}},
	{"flush", flush, {"", "1L 1F", "", "", "", "1L"}},
	{"drain", drain, {"", MSYNC " 1024L 1F", "", "", "1F", "1F"}},
	{"flush, drain", flush_and_drain, {MSYNC, MSYNC " 1025L 2F", FILE_SYNC, "", "1F", "1L 1F"}},
	{"persist", persist, {MSYNC, MSYNC " 1025L 2F", FILE_SYNC, "", "1F", "1L 1F"}},
	{"commit", commit, {MSYNC, MSYNC " 1L 1F", FILE_SYNC, "", "1F", "1L 1F"}},
	/* A drain, and the commit of the word. */
	{"publish", publish, {MSYNC, MSYNC " " MSYNC " 1025L 2F", REFUSED, "", "2F", "1L 2F"}},
	{"deep_persist", deep_persist,
	 {MSYNC, MSYNC " 1025L 2F", FILE_SYNC, "", DEEP " 1L 2F", DEEP " 1L 1F"}},
	{"sync", sync_all, {MSYNC, MSYNC " 1024L 1F", FILE_SYNC, "", TOUCH COMMIT " 1F", TOUCH COMMIT " 1024L 1F"}},
	{"clear_error", clear_error, {"", "", "", "", "", ""}},
	/* Whether it was the file that was read. */
	{"read", read_byte, {READ_PAGES, READ, READ, READ, READ, READ}},
	{"copy", copy, {MSYNC, MSYNC " 1025L 2F", REFUSED, "", "1F", "1L 1F"}},
	{"copy, nodrain", copy_nodrain, {"", "1L 1F", REFUSED, "", "", "1L"}},
	{"copy, noflush", copy_noflush, {"", "", REFUSED, "", "", ""}},
	{"copy, large", copy_large, {MSYNC, MSYNC " 1033L 2F", REFUSED, "", "7S 1F", "2L 7S 1F"}},
	{"copy, temporal", copy_temporal, {MSYNC, MSYNC " 1032L 2F", REFUSED, "", "1F", "8L 1F"}},
	{"copy, nontemporal", copy_nontemporal, {MSYNC, MSYNC " 1026L 2F", REFUSED, "", "2S 1F", "2S 1F"}},
	{"move", move, {MSYNC, MSYNC " 1025L 2F", REFUSED, "", "1F", "1L 1F"}},
	{"move, nodrain", move_nodrain, {"", "1L 1F", REFUSED, "", "", "1L"}},
	{"move, noflush", move_noflush, {"", "", REFUSED, "", "", ""}},
	{"move, large", move_large, {MSYNC, MSYNC " 1032L 2F", REFUSED, "", "8S 1F", "8S 1F"}},
	{"move, temporal", move_temporal, {MSYNC, MSYNC " 1032L 2F", REFUSED, "", "1F", "8L 1F"}},
	{"set", set, {MSYNC, MSYNC " 1025L 2F", REFUSED, "", "1F", "1L 1F"}},
	{"set, large, nodrain", set_nodrain, {"", "8L 1F", REFUSED, "", "8S", "8S"}},
	{"set, large, noflush", set_noflush, {"", "", REFUSED, "", "", ""}},
	{"set, large", set_large, {MSYNC, MSYNC " 1032L 2F", REFUSED, "", "8S 1F", "8S 1F"}},
	{"set, temporal", set_temporal, {MSYNC, MSYNC " 1032L 2F", REFUSED, "", "1F", "8L 1F"}},
};

START_TEST(what_durability_costs)
{
	map((enum state)_i);
	for (size_t i = 0; i < COUNT(durability); i++) {
		const char *cost = durability[i].cost[column_of[_i]];
		count_from_now();
		ck_assert_int_eq(durability[i].run(), cost ? 0 : -EACCES);
		check_cost(states[_i].name, durability[i].name, cost ? cost : "");
		/* Nothing is left to the next. */
		unit_ok(pm_drain(m));
	}
	unit_ok(pm_unmap(m));
}
END_TEST

static const struct {
	const char *name;
	int (*run)(void);
	const char *cost;
} payments[] = {
	{"drain", drain, MSYNC " 1F"},
	{"persist", persist, MSYNC " 1L 1F"},
	{"copy", copy, MSYNC " 1L 1F"},
	{"sync", sync_all, TOUCH COMMIT " " MSYNC " 1024L 1F"},
};

/* What was flushed before the mapping was promoted is written by the next drain, and by no other. */
START_TEST(a_promoted_mapping_pays_once_for_its_past)
{
	map(LEASED);
	lose_lease();
	unit_ok(pm_flush(m, base, 1));
	wait_for_promotion();
	count_from_now();
	unit_ok(payments[_i].run());
	check_cost("leased", payments[_i].name, payments[_i].cost);
	count_from_now();
	unit_ok(pm_drain(m));
	check_cost("leased", "the next drain", "1F");
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Life, truth, and writing ---- */

/*
 * The trial of MAP_SYNC, on the file, with what smaps shows of it, and on memory; what the region says, and the
 * extents.
 */
#define TRIAL "mmap openat fstatfs read close munmap memfd_create mmap close"
#define ATTRIBUTE " openat fstatfs read close"
/*
 * The mount, whether the disk is still there, and its queue, whose descriptor is kept; of persistent memory what its
 * region and its bus are.
 */
#define BELOW "statmount statx fcntl_getsig pread"
#define BELOW_MEMORY BELOW ATTRIBUTE ATTRIBUTE
/* Bus and region; its NVDIMM and that there is no other; that it can be written; the device. */
#define REGION                                                                                               \
	"openat fstatfs read close" ATTRIBUTE ATTRIBUTE ATTRIBUTE ATTRIBUTE ATTRIBUTE " openat" ATTRIBUTE ATTRIBUTE
/* Of an ext4: which one is mounted, for what is remembered of it. */
#define MOUNTED "statx"
/*
 * pm_resize() looks before it changes the file, and grown, before the new part is mapped; then at what it changed. The
 * size is read again before the file is made shorter, when no other mapping can change it any more.
 */
#define LOOK "statx ioctl"
#define LOOK_AT_PAGES "statx " BELOW " wrong_sync wrong_sync mmap ioctl " LOOK
#define LOOK_AT_LINES                                                                                                  \
	"statx " BELOW_MEMORY " wrong_sync wrong_sync " TRIAL " " REGION " wrong_sync ioctl " MOUNTED " " LOOK
/* The room for the new part is tried before the file grows. */
#define GROW                                                                                                           \
	"statx_now statx mmap munmap getrlimit_fsize getlease lease_signal setlease lease_silence statx fstatfs "      \
	"fallocate_keep_size fallocate fsync faccessat2_write statx"
#define SHRINK "statx_now statx statx mremap ftruncate fsync faccessat2_write"
#define SEE_ANEW "statx_now ioctl"
/*
 * The lease, the watch of the file, and with the last mapping the thread and its descriptors, each shown to be the
 * library's still.
 */
#define CLOSE "fcntl_getsig close"
#define END_OF_WATCH                                                                                                   \
	"statx_now setlease fcntl_getsig inotify_remove fcntl_getsig write " CLOSE " " CLOSE " " CLOSE " " CLOSE

/* The last mapping of the process: the descriptor of the queue is closed as well. */
#define LAST "munmap statx_now close " CLOSE

static const struct {
	enum state state;
	const char *name;
	int (*run)(void);
	const char *cost;
} life[] = {
	{PAGES, "write", write_byte, "statx_now pwrite " MSYNC},
	{VOLATILE, "write", write_byte, "statx_now pwrite " MSYNC},
	/* On DAX the extents are looked at. */
	{LINES, "write", write_byte, "statx_now ioctl pwrite " MSYNC},
	{BYTES, "write", write_byte, "statx_now ioctl pwrite " MSYNC},
	{DEMOTED, "write", write_byte, "statx_now ioctl pwrite " MSYNC},
	/* Announcements about other processes are distinguished from those about this one. */
	{LEASED, "write", write_byte,
	 "fcntl_getsig read statx_now fcntl_getfl ioctl pwrite fcntl_getsig read fcntl_getsig read "
	 MSYNC},

	{PAGES, "query, verdict", query_verdict,
	 "statx " BELOW " wrong_sync mmap ioctl statx ioctl"},
	{PAGES, "query", query_all,
	 "statx " BELOW " wrong_sync mmap ioctl statx ioctl uname cachestat"},
	{LINES, "query, verdict", query_verdict,
	 "statx " BELOW_MEMORY " wrong_sync " TRIAL " " REGION " wrong_sync wrong_sync ioctl " MOUNTED
	 " statx ioctl"},

	{PAGES, "grow", grow, LOOK_AT_PAGES " " GROW " " LOOK_AT_PAGES " mremap setlease " SEE_ANEW},
	{PAGES, "shrink", shrink, LOOK_AT_PAGES " " SHRINK " " SEE_ANEW},
	{LINES, "grow", grow, LOOK_AT_LINES " " GROW " " LOOK_AT_LINES " mremap setlease " SEE_ANEW " 1F"},
	{LINES, "shrink", shrink, LOOK_AT_LINES " " SHRINK " " SEE_ANEW " 1F"},

	{PAGES, "unmap", unmap, LAST},
	{READ_ONLY, "unmap", unmap, LAST},
	{VOLATILE, "unmap", unmap, "munmap statx_now close"},
	{LINES, "unmap", unmap, TOUCH " " LAST " 1F"},
	{BYTES, "unmap", unmap, TOUCH " " LAST " 1F"},
	{DEMOTED, "unmap", unmap, MSYNC " " TOUCH " " LAST " 1024L 1F"},
	{LEASED, "unmap", unmap, TOUCH " " END_OF_WATCH " " LAST " 1F"},
	{PROMOTED, "unmap", unmap, TOUCH " " END_OF_WATCH " " LAST " 1F"},
	{PAGES, "flush, unmap", flush_and_unmap, FIRST_COMMIT MSYNC " " LAST},
	{READ_ONLY, "flush, unmap", flush_and_unmap, FILE_SYNC " " LAST},
	{VOLATILE, "flush, unmap", flush_and_unmap, "munmap statx_now close"},
	{LINES, "flush, unmap", flush_and_unmap, TOUCH " " LAST " 1L 1F"},
	{BYTES, "flush, unmap", flush_and_unmap, TOUCH " " LAST " 1F"},
	{DEMOTED, "flush, unmap", flush_and_unmap, MSYNC " " TOUCH " " LAST " 1025L 2F"},
	{LEASED, "flush, unmap", flush_and_unmap, TOUCH " " END_OF_WATCH " " LAST " 1L 1F"},
	{PAGES, "copy, unmap", copy_and_unmap, FIRST_COMMIT MSYNC " " LAST},
	{LINES, "copy, unmap", copy_and_unmap, TOUCH " " LAST " 1L 1F"},
};

START_TEST(what_a_life_costs)
{
	map(life[_i].state);
	unit_ok(life[_i].run());
	check_cost(states[life[_i].state].name, life[_i].name, life[_i].cost);
	if (!strstr(life[_i].name, "unmap"))
		unit_ok(pm_unmap(m));
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

/* Where lines are chosen: the file and its path are synced, the extents looked at again. */
#define PUBLISH " fsync faccessat2_write syncfs ioctl "

/* What the region is was read for the mapping before; what can change of it is read anew. */
#define STATE " openat fstatfs read close"
#define STATE_OF_REGION STATE STATE " openat" STATE STATE
static const struct {
	enum state state;
	const char *cost;
} births[] = {
	{PAGES, "openat statx wrong_sync readlinkat mmap madvise cachestat"},
	{READ_ONLY, "openat statx fstatfs wrong_sync readlinkat mmap"},
	{VOLATILE, "openat statx readlinkat mmap"},
	{LINES, "openat statx wrong_sync " TRIAL " statx" STATE_OF_REGION " wrong_sync wrong_sync ioctl " MOUNTED
	 " readlinkat" PUBLISH "mmap"},
	{BYTES, "openat statx wrong_sync " TRIAL " statx" STATE STATE STATE_OF_REGION
	 " wrong_sync wrong_sync ioctl " MOUNTED
	 " readlinkat" PUBLISH "mmap"},
};

START_TEST(what_mapping_costs)
{
	enum state s = births[_i].state;
	start(s);
	m = unit_map(leased_path, UNIT_OPTIONS(.flags = states[s].flags));
	check_cost(states[s].name, "map", births[_i].cost);
	unit_ok(pm_unmap(m));
}
END_TEST

/*
 * The first mapping starts the watcher, which has four descriptors; each further one shows three of them to be the
 * library's still, adds the file to the inotify instance, takes what that announces, asks for the extents, with which
 * the first look compares, and wakes the thread. That is at most three times the calls of a mapping that is not
 * watched.
 */
#define KEEP "fcntl_setsig"
#define WATCH_FILE "fcntl_getsig inotify_add"
#define TAKE "fcntl_getsig read"
#define RING "fcntl_getsig write"
START_TEST(what_watching_costs)
{
	static const char *const map[] = {
		"openat statx eventfd " KEEP " signalfd " KEEP " openat " KEEP " inotify " KEEP " " WATCH_FILE
		" wrong_sync readlinkat mmap madvise cachestat " TAKE " ioctl " RING,
		"openat statx fcntl_getsig fcntl_getsig fcntl_getsig " WATCH_FILE
		" wrong_sync readlinkat mmap madvise cachestat " TAKE " ioctl " RING};
	struct pm_mapping *watched[2];
	start(WATCHED);
	for (unsigned i = 0; i < 2; i++) {
		const char *path = unit_file(i ? "second" : "first", SIZE);
		count_from_now();
		watched[i] = unit_map(path, UNIT_OPTIONS(.flags = PM_WATCH));
		check_cost("watched", i ? "map another" : "map the first", map[i]);
	}
	/* The thread goes on with the other. */
	count_from_now();
	unit_ok(pm_unmap(watched[0]));
	check_cost("watched", "unmap one of two", "fcntl_getsig inotify_remove munmap statx_now close");
	unit_ok(pm_unmap(watched[1]));
}
END_TEST

int main(void)
{
	TCase *c = unit_case("cost");
	tcase_add_loop_test(c, what_durability_costs, 0, STATES);
	tcase_add_loop_test(c, a_promoted_mapping_pays_once_for_its_past, 0, (int)COUNT(payments));
	tcase_add_loop_test(c, what_a_life_costs, 0, (int)COUNT(life));
	tcase_add_loop_test(c, what_mapping_costs, 0, (int)COUNT(births));
	tcase_add_test(c, what_watching_costs);
	return unit_run();
}
