/* SPDX-License-Identifier: BSD-3-Clause */
/* Every call of the table fails once, at every place of a mapping's life, with each of many errors. */
#include <unistd.h>

#include "sweeping.h"
#include "sweeping_internal.h"
#include "unit.h"

static void existing(void)
{
	uint64_t page = unit_page();
	(void)(sweep_map(NULL) || sweep_store(10, 100) || sweep_persist(10, 100) || sweep_store(page, 64) ||
	       sweep_store(2 * page + 5, 1000) || sweep_flush(page, 64) || sweep_flush(2 * page + 5, 1000) ||
	       sweep_drain() || sweep_store(500, 77) || sweep_sync() || sweep_store(page + 9, 9) ||
	       sweep_flush(page + 9, 9) || sweep_unmap());
}

static void copies(void)
{
	uint64_t page = unit_page();
	(void)(sweep_map(UNIT_OPTIONS(.offset = 100)) || sweep_copy(page, 1000, 0) ||
	       sweep_copy(7, 300, PM_NONTEMPORAL | PM_NODRAIN) || sweep_fill(2 * page, 333, PM_TEMPORAL) ||
	       sweep_copy(2000, 70, PM_TEMPORAL) || sweep_fill(0, 5, PM_NOFLUSH) || sweep_persist(0, 5) ||
	       sweep_deep_persist(100, 300) || sweep_unmap());
}

/* Pages too far from one another to be written as one. */
static void apart(void)
{
	uint64_t page = unit_page();
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE, .length = 40 * page)) || sweep_store(0, 10) ||
	       sweep_store(20 * page, 10) || sweep_store(39 * page, 10) || sweep_flush(0, 10) ||
	       sweep_flush(20 * page, 10) || sweep_flush(39 * page, 10) || sweep_drain() || sweep_store(1, 3) ||
	       sweep_store(38 * page, 10) || sweep_flush(1, 3) || sweep_flush(38 * page, 10) || sweep_unmap());
}

static void create(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE | PM_EXCLUSIVE, .length = 20000)) || sweep_store(10000, 100) ||
	       sweep_persist(10000, 100) || sweep_unmap());
}

static void create_through_a_link(void)
{
	unit_expect(!symlink("file", sweep_link));
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000)) || sweep_fill(10000, 100, 0) ||
	       sweep_unmap());
}

static void create_sparsely(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE | PM_SPARSE, .length = 20000, .offset = 777)) ||
	       sweep_fill(10000, 100, 0) || sweep_unmap());
}

static void create_prepared(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = 20000)) || sweep_fill(10000, 100, 0) ||
	       sweep_unmap());
}

static void create_guaranteed(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000, .sync = PM_GUARANTEE)) ||
	       sweep_fill(10000, 100, 0) || sweep_unmap());
}

static void from_medium(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_FROM_MEDIUM)) || sweep_store(10, 100) || sweep_persist(10, 100) ||
	       sweep_unmap());
}

static void create_by_name(void)
{
	fake.machine.has_unnamed_files = false;
	/* Refused on a page cache: what was created goes. */
	create_guaranteed();
}

static void create_with_zeros(void)
{
	fake.machine.lacks_fallocate = true;
	create();
}

static void grow_with_zeros(void)
{
	fake.machine.lacks_fallocate = true;
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE, .length = 5 * unit_page())) || sweep_fill(10000, 100, 0) ||
	       sweep_resize(7 * unit_page()) || sweep_unmap());
}

static void grow_at_once(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE, .length = 5 * unit_page())) || sweep_fill(10000, 100, 0) ||
	       sweep_unmap());
}

static void prepare(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = 5 * unit_page())) ||
	       sweep_fill(10000, 100, 0) || sweep_resize(7 * unit_page()) || sweep_fill(6 * unit_page(), 10, 0) ||
	       sweep_unmap());
}

static void descriptor(void)
{
	(void)(sweep_map_fd(UNIT_OPTIONS(.flags = PM_CREATE, .length = 5 * unit_page())) || sweep_fill(10000, 100, 0) ||
	       sweep_unmap());
}

static void read_only(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_READ_ONLY)) || sweep_persist(0, 10) || sweep_sync() ||
	       sweep_deep_persist(0, 10) || sweep_read(5, 100) || sweep_query() || sweep_unmap());
}

static void private(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_PRIVATE)) || sweep_store(0, 10) || sweep_persist(0, 10) ||
	       sweep_query() || sweep_unmap());
}

static void anonymous(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = 10000)) || sweep_store(0, 10) || sweep_query() ||
	       sweep_unmap());
}

static void options_in_two_pages(void)
{
	static _Alignas(4096) char room[8192];
	struct pm_options *o = (struct pm_options *)(room + 4096 - sizeof(size_t));
	*o = *UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = 10000);
	(void)(sweep_map(o) || sweep_unmap());
}

static void resize(void)
{
	uint64_t page = unit_page();
	(void)(sweep_map(NULL) || sweep_store(10, 10) || sweep_flush(10, 10) || sweep_resize(6 * page + 100) ||
	       sweep_store(6 * page, 50) || sweep_persist(6 * page, 50) || sweep_resize(page + 10) ||
	       sweep_store(page, 10) || sweep_persist(page, 10) || sweep_resize(2 * page) || sweep_fill(page, 20, 0) ||
	       sweep_unmap());
}

static void create_in_a_reserve(void)
{
	uint64_t page = unit_page();
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = 2 * page, .reserve = 8 * page)) ||
	       sweep_resize(5 * page) || sweep_fill(4 * page, 50, 0) || sweep_unmap());
}

static void borrowed(void)
{
	(void)(sweep_borrow(UNIT_OPTIONS(.flags = PM_BORROW_FD)) || sweep_fill(1000, 100, 0) || sweep_write(50, 7) ||
	       sweep_query() || sweep_resize(5 * unit_page()) || sweep_fill(4 * unit_page(), 10, 0) || sweep_unmap());
}

static void at_address(void)
{
	size_t length = 8 * unit_page();
	void *room = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sweep_map(UNIT_OPTIONS(.address = room, .map_flags = MAP_FIXED)) || sweep_fill(10, 10, 0) || sweep_unmap())
		return;
	munmap(room, length);
	(void)(sweep_map(UNIT_OPTIONS(.address = room, .map_flags = MAP_FIXED_NOREPLACE)) || sweep_fill(10, 10, 0) ||
	       sweep_unmap());
}

/* Of pages that were only flushed none need be written. */
static void commit(void)
{
	uint64_t page = unit_page();
	(void)(sweep_map(NULL) || sweep_store(0, 10) || sweep_store(2 * page, 10) || sweep_store(page, 10) ||
	       sweep_flush(page, 10) || sweep_commit(0, 2 * page, 10) || sweep_drain() || sweep_store(2 * page, 9) ||
	       sweep_commit(2 * page, 2 * page + 20, 9) || sweep_unmap());
}

static void resize_sparsely(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.flags = PM_CREATE | PM_SPARSE, .length = 3 * unit_page() + 1000)) ||
	       sweep_resize(6 * unit_page() + 100) || sweep_fill(6 * unit_page(), 50, 0) || sweep_unmap());
}

static void resize_in_a_reserve(void)
{
	uint64_t page = unit_page();
	(void)(sweep_map(UNIT_OPTIONS(.reserve = 8 * page)) || sweep_store(10, 10) || sweep_resize(6 * page + 100) ||
	       sweep_fill(6 * page, 50, 0) || sweep_resize(page + 10) || sweep_fill(page, 10, 0) || sweep_unmap());
}

static void query(void)
{
	(void)(sweep_map(UNIT_OPTIONS(.sync = PM_AVOID)) || sweep_query() || sweep_query() || sweep_unmap() ||
	       sweep_map(NULL) || sweep_query() || sweep_unmap());
}

static void probe(void)
{
	(void)(sweep_probe(NULL) || sweep_probe(UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000)) ||
	       sweep_probe(UNIT_OPTIONS(.flags = PM_READ_ONLY)));
}

static void probe_fd(void)
{
	(void)(sweep_probe_fd(NULL) || sweep_probe_fd(UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000)) ||
	       sweep_probe_fd(UNIT_OPTIONS(.flags = PM_READ_ONLY | PM_BORROW_FD)));
}

static void probe_the_absent(void)
{
	(void)(sweep_probe(UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000, .sync = PM_GUARANTEE)));
}

static void write_and_read(void)
{
	uint64_t page = unit_page();
	(void)(sweep_map(NULL) || sweep_write(page - 10, 100) || sweep_read(page - 10, 200) || sweep_store(0, 10) ||
	       sweep_flush(0, 10) || sweep_write(50, 7) || sweep_drain() || sweep_unmap());
}

static void clear_bad_blocks(void)
{
	uint64_t page = unit_page();
	fake.bad[0].offset = page;
	fake.bad[0].length = 512;
	(void)(sweep_map(NULL) || sweep_query() || sweep_clear_bad_blocks(0, (size_t)(3 * page)) ||
	       sweep_persist(0, 10) || sweep_unmap());
}

/* A write-back fails anyway, and then whatever is swept. */
static void recover(void)
{
	uint64_t page = unit_page();
	if (sweep_map(NULL) || sweep_store(10, 100) || sweep_store(page, 100))
		return;
	kernel_fail_write_back();
	if (!sweep_sync())
		return;
	(void)(sweep_clear_error() || sweep_sync() || sweep_store(20, 10) || sweep_persist(20, 10) || sweep_unmap());
}

/* Two of one file: what fails for the one fails for the other. */
static void twice(void)
{
	struct pm_mapping *second = NULL;
	if (sweep_map(NULL))
		return;
	int rc = sweep_result("pm_map", pm_map(swept_path, NULL, &second));
	if (!rc && !sweep_store(0, 10))
		sweep_persist(0, 10);
	if (!rc) {
		sweep_disarm();
		pm_unmap(second);
	}
}

static const struct sweep_flow flows[] = {
	{"existing", existing, true, true, true, .is_absent = false},
	{"copies", copies, true, true, false, .is_absent = false},
	{"apart", apart, true, true, false, .is_absent = true},
	{"create", create, true, true, false, .is_absent = true},
	{"create through a link", create_through_a_link, true, true, false, .is_absent = true},
	{"create sparsely", create_sparsely, true, true, false, .is_absent = true},
	{"create prepared", create_prepared, true, true, false, .is_absent = true},
	{"create guaranteed", create_guaranteed, true, true, false, .is_absent = true},
	{"grow at once", grow_at_once, true, true, false, .is_absent = false},
	{"prepare", prepare, true, true, false, .is_absent = false},
	{"descriptor", descriptor, true, true, false, .is_absent = false},
	{"read-only", read_only, true, true, true, .is_absent = false},
	{"private", private, true, true, false, .is_absent = false},
	{"anonymous", anonymous, true, false, false, .is_absent = false},
	{"options in two pages", options_in_two_pages, true, false, false, .is_absent = false},
	{"from medium", from_medium, true, true, false, .is_absent = false},
	{"create by name", create_by_name, true, true, false, .is_absent = true},
	{"create with zeros", create_with_zeros, true, false, false, .is_absent = true},
	{"grow with zeros", grow_with_zeros, true, false, false, .is_absent = false},
	{"resize", resize, true, true, false, .is_absent = false},
	{"resize in a reserve", resize_in_a_reserve, true, true, false, .is_absent = false},
	{"create in a reserve", create_in_a_reserve, true, true, false, .is_absent = true},
	{"at an address", at_address, true, true, false, .is_absent = false},
	{"borrowed", borrowed, true, true, false, .is_absent = false},
	{"commit", commit, true, true, false, .is_absent = false},
	{"resize sparsely", resize_sparsely, true, true, false, .is_absent = false},
	{"query", query, true, true, true, .is_absent = false},
	{"probe", probe, true, true, true, .is_absent = false},
	{"probe of a descriptor", probe_fd, true, true, true, .is_absent = false},
	{"probe the absent", probe_the_absent, true, true, false, .is_absent = true},
	{"write and read", write_and_read, true, true, false, .is_absent = false},
	{"clear bad blocks", clear_bad_blocks, true, true, false, .is_absent = false},
	{"recover", recover, true, true, false, .is_absent = false},
	{"twice", twice, true, true, false, .is_absent = false},
	/* Where the numbers of the file do not tell that it is one. */
	{"twice by the kernel's word", twice, true, true, false, .only = {&fake_tmpfs, &fake_gvisor}},
	{"existing, fast commits searched for", existing, true, true, false,
	 .only = {&fake_counted, &fake_counted_by_commits}},
};

START_TEST(every_call_fails_once)
{
	sweep(flows, _i);
}
END_TEST

int main(void)
{
	sweep_begin();
	TCase *c = unit_case("sweep");
	tcase_set_timeout(c, 0); /* of all flows together there is one */
	tcase_add_loop_test(c, every_call_fails_once, 0, (int)COUNT(flows));
	/* test_sweep_watch.c has them; test_members.c, test_undo.c and test_events.c three. */
	static const enum fake_call elsewhere[] = {
		FAKE_write, FAKE_setlease, FAKE_getlease, FAKE_fcntl_getown, FAKE_fcntl_setown, FAKE_fcntl_setsig,
		FAKE_fcntl_getsig, FAKE_lease_signal, FAKE_lease_silence,
		FAKE_signalfd, FAKE_eventfd, FAKE_timerfd, FAKE_timer_set, FAKE_inotify, FAKE_inotify_add,
		FAKE_inotify_remove, FAKE_gettid, FAKE_epoll_create, FAKE_epoll_add,
		FAKE_poll, FAKE_kcmp_file, FAKE_each_entry, FAKE_sigaction, FAKE_pthread_sigmask,
		FAKE_rt_tgsigqueueinfo, FAKE_unshare,
		FAKE_statx_now, FAKE_statfs, FAKE_renameat2_noreplace, FAKE_getrlimit_nofile};
	return sweep_end(unit_run(), elsewhere, COUNT(elsewhere));
}
