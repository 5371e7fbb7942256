/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The health of the medium: bad blocks of the range, unsafe shutdowns, names, nodes, page size. No decision
 * stands on it. Reading without the risk of a load.
 */
#include <errno.h>
#include <linux/fiemap.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#define PAGE 4096u
#define SIZE (64u * PAGE)
#define DISK (1u << 20) /* where on the disk the file begins, unless a test says otherwise */

static const struct fake_extent plain[] = {{0, SIZE, 0}};
static const uint64_t disk[] = {DISK};

static const struct pm_evidence *row_of(enum pm_evidence_row row, const struct pm_options *o)
{
	static struct pm_report r;
	unit_ok(pm_probe(unit_file("f", SIZE), o, &r, sizeof(r)));
	return &r.evidence[row];
}

static void start(const struct fake_machine *machine, const struct fake_health *h)
{
	fake_start(machine);
	fake.machine.health = h;
	fake.machine.extents = plain;
	fake.machine.extent_count = 1;
}

/* Sectors of 512 bytes; the file occupies [2048, 2560) of the disk. */
static const struct {
	const char *list;
	enum pm_state state;
	uint64_t first;
	const char *text;
} lists[] = {
	{"", PM_NO, 0, ""},
	{"\n", PM_UNKNOWN, 0, "the driver keeps no list"},
	{"2047 1\n", PM_NO, 0, ""},
	{"2560 8\n", PM_NO, 0, ""},
	{"2048 1\n", PM_YES, 0, "1 sectors of 512 bytes"},
	{"2559 1\n", PM_YES, 511 * 512, "1 sectors of 512 bytes"},
	{"2040 16\n", PM_YES, 0, "8 sectors of 512 bytes"},
	{"2552 16\n", PM_YES, 504 * 512, "8 sectors of 512 bytes"},
	{"0 1000000\n", PM_YES, 0, "512 sectors of 512 bytes"},
	{"8 8\n100 4\n2056 2\n2100 8\n9000 8\n", PM_YES, 8 * 512, "10 sectors of 512 bytes"},
	{"nonsense\n", PM_UNKNOWN, 0, ""},
};

START_TEST(bad_blocks_of_a_file)
{
	const struct fake_health h = {.bad_blocks = lists[_i].list, .physical = disk};
	start(&fake_dax, &h);
	const struct pm_evidence *e = row_of(PM_EV_BAD_BLOCKS, NULL);
	ck_assert_msg(e->state == lists[_i].state, "%s: %s", lists[_i].list, pm_state_name(e->state));
	ck_assert_uint_eq(e->value, lists[_i].first);
	ck_assert_str_eq(e->text, lists[_i].text);
}
END_TEST

/* Of a disk, not of a direct medium: what it cannot have any more is not looked for again. */
START_TEST(what_a_device_lacks)
{
	struct fake_health h = {.bad_blocks = NULL, .physical = disk};
	start(&fake_plain, &h);
	h.start = _i ? "64" : NULL; /* the same of a partition of such a disk */
	struct pm_mapping *m = unit_map(unit_file("f", SIZE), NULL);
	for (unsigned times = 0; times < 3; times++) {
		fake.machine.replaced = times / 2;
		fake_forget();
		const struct pm_evidence *e = unit_query(m)->evidence;
		bool looks = times != 1; /* the first time, and at another device under the same number */
		ck_assert_int_eq(e[PM_EV_BAD_BLOCKS].state, PM_UNKNOWN);
		ck_assert_int_eq(e[PM_EV_BAD_BLOCKS].error, ENOENT);
		ck_assert_int_eq(e[PM_EV_REGION].state, PM_UNKNOWN);
		ck_assert_int_eq(e[PM_EV_REGION].error, ENODEV);
		/* One of them is the queue's, whose descriptor is kept. */
		ck_assert_uint_eq(fake_calls(FAKE_openat), looks ? 3u : 0u);
		/* The place of the device. */
		ck_assert_uint_eq(fake_calls(FAKE_readlinkat), looks);
	}
	/* That one has a list, and a region. */
	h.bad_blocks = _i ? "2112 1\n" : "2048 1\n";
	fake.machine.region = fake_dax.region;
	fake.machine.replaced++;
	const struct pm_evidence *e = unit_query(m)->evidence;
	ck_assert_int_eq(e[PM_EV_BAD_BLOCKS].state, PM_YES);
	ck_assert_int_eq(e[PM_EV_REGION].state, PM_YES);
	/* What there is, is read each time. */
	h.bad_blocks = "";
	ck_assert_int_eq(unit_query(m)->evidence[PM_EV_BAD_BLOCKS].state, PM_NO);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_file_system_without_a_device)
{
	start(&fake_tmpfs, NULL);
	fake.machine.has_no_device = true;
	struct pm_mapping *m = unit_map(unit_file("f", SIZE), NULL);
	/* Once the table of mounts has said that it is one. */
	unit_query(m);
	fake_forget();
	const struct pm_evidence *e = unit_query(m)->evidence;
	ck_assert_int_eq(e[PM_EV_BAD_BLOCKS].state, PM_UNKNOWN);
	ck_assert_int_eq(e[PM_EV_REGION].state, PM_UNKNOWN);
	ck_assert_int_eq(e[PM_EV_FS_ONLINE].state, PM_UNKNOWN);
	/* There is nothing of it in sysfs. */
	ck_assert_uint_eq(fake_calls(FAKE_openat) + fake_calls(FAKE_readlinkat), 1);
	ck_assert_int_eq(strncmp(fake_find(FAKE_readlinkat, 0)->path, "/proc/self/fd/", 14), 0);
	/* The file, and its path. */
	ck_assert_uint_eq(fake_calls(FAKE_statx), 2);
	/* Its mount does not speak for it. */
	ck_assert_uint_eq(fake_calls(FAKE_fstatfs), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A device that stands on others may be put upon others. */
START_TEST(what_lies_below_a_device_is_looked_at_again)
{
	static const struct fake_region none;
	start(&fake_plain, NULL);
	fake.machine.below[0] = &none;
	struct pm_mapping *m = unit_map(unit_file("f", SIZE), NULL);
	unit_query(m);
	fake_forget();
	unit_query(m);
	ck_assert_uint_ge(fake_calls(FAKE_readlinkat), 2);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(bad_blocks_outside_the_range)
{
	const struct fake_health h = {.bad_blocks = "2056 8\n", .physical = disk}; /* the file's second page */
	start(&fake_dax, &h);
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, UNIT_OPTIONS(.length = PAGE))->state, PM_NO);
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, UNIT_OPTIONS(.offset = 2 * PAGE))->state, PM_NO);
	const struct pm_evidence *e = row_of(PM_EV_BAD_BLOCKS, UNIT_OPTIONS(.offset = PAGE, .length = PAGE));
	ck_assert_int_eq(e->state, PM_YES);
	ck_assert_uint_eq(e->value, PAGE);
}
END_TEST

START_TEST(bad_blocks_follow_the_extents)
{
	/* Three extents backwards on the disk, a hole, and one that has no place on it. */
	static const struct fake_extent mixed[] = {
		{0, PAGE, 0}, {PAGE, PAGE, FIEMAP_EXTENT_UNWRITTEN}, {3 * PAGE, PAGE, 0},
		{4 * PAGE, 60 * PAGE, FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN}};
	static const uint64_t places[] = {30 * PAGE, 20 * PAGE, 10 * PAGE, 0};
	const struct fake_health h = {.bad_blocks = "8 8\n80 8\n160 8\n", .physical = places};
	start(&fake_dax, &h);
	fake.machine.extents = mixed;
	fake.machine.extent_count = 4;
	const struct pm_evidence *e = row_of(PM_EV_BAD_BLOCKS, NULL);
	ck_assert_int_eq(e->state, PM_YES);
	ck_assert_uint_eq(e->value, PAGE);
	ck_assert_str_eq(e->text, "16 sectors of 512 bytes");
}
END_TEST

START_TEST(bad_blocks_in_the_last_of_many_extents)
{
	static struct fake_extent many[64];
	static uint64_t places[64];
	const struct fake_health h = {.bad_blocks = "8184 8\n", .physical = places}; /* page 1023 of the disk */
	start(&fake_dax, &h);
	for (unsigned i = 0; i < 64; i++) {
		many[i] = (struct fake_extent){i * PAGE, PAGE, 0};
		places[i] = (uint64_t)(960 + i) * PAGE;
	}
	fake.machine.extents = many;
	fake.machine.extent_count = 64;
	ck_assert_uint_eq(row_of(PM_EV_BAD_BLOCKS, NULL)->value, 63 * PAGE);
}
END_TEST

START_TEST(bad_blocks_of_a_partition)
{
	const struct fake_health h = {.bad_blocks = "4096 8\n", .start = "2048", .physical = disk};
	start(&fake_dax, &h);
	const struct pm_evidence *e = row_of(PM_EV_BAD_BLOCKS, NULL);
	ck_assert_int_eq(e->state, PM_YES);
	ck_assert_uint_eq(e->value, 0);
}
END_TEST

START_TEST(bad_blocks_of_a_block_device)
{
	const struct fake_health h = {.bad_blocks = "16 8\n"};
	start(&fake_block_device, &h);
	const struct pm_evidence *e = row_of(PM_EV_BAD_BLOCKS, UNIT_OPTIONS(.length = SIZE));
	ck_assert_int_eq(e->state, PM_YES);
	ck_assert_uint_eq(e->value, 2 * PAGE);
}
END_TEST

START_TEST(bad_blocks_of_a_device_dax)
{
	struct fake_health h = {.bad_blocks = ""};
	start(&fake_device_dax, &h);
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, NULL)->state, PM_NO);
	h.bad_blocks = "8 8\n";
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, NULL)->state, PM_UNKNOWN);
	h.bad_blocks = NULL;
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, NULL)->state, PM_UNKNOWN);
}
END_TEST

START_TEST(bad_blocks_that_nobody_tells)
{
	struct fake_health h = {.bad_blocks = ""};
	start(&fake_xfs_reflink, &h);
	fake.machine.is_realtime = true;
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, NULL)->error, EXDEV);
	fake.machine.is_realtime = false;
	fake_fail(FAKE_fstatfs, 0, EIO); /* which would have told that it is an XFS */
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, NULL)->error, EIO);
	fake_fail(FAKE_fstatfs, 0, 0);
	h.bad_blocks = NULL;
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, NULL)->error, ENOENT);
	h.bad_blocks = "8 8\n";
	fake.machine.fiemap_errno = EOPNOTSUPP;
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, NULL)->state, PM_UNKNOWN);
	fake.machine.health = NULL;
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, NULL)->state, PM_UNKNOWN);
}
END_TEST

/* sysfs shows one page of it: what may follow is not known to be good. */
START_TEST(a_list_that_is_cut)
{
	static char text[8192];
	const struct fake_health h = {.bad_blocks = text, .physical = disk};
	size_t used = 0;
	for (unsigned i = 0; used < 5000; i++)
		used += (size_t)sprintf(text + used, "%u 1\n", 100000 + 2 * i);
	start(&fake_dax, &h);
	ck_assert_int_eq(row_of(PM_EV_BAD_BLOCKS, NULL)->state, PM_UNKNOWN);
	memcpy(text, "002048", 6);
	const struct pm_evidence *e = row_of(PM_EV_BAD_BLOCKS, NULL);
	ck_assert_int_eq(e->state, PM_YES);
	ck_assert_str_eq(e->text, "at least 1 sectors of 512 bytes");
}
END_TEST

START_TEST(unsafe_shutdowns)
{
	struct fake_health h = {.dimm = {"nmem4,0,1048576,0", "nmem5,0,1048576,1"}, .dirty_shutdown = {"2", "0x3"}};
	start(&fake_dax, &h);
	ck_assert_int_eq(row_of(PM_EV_UNSAFE_SHUTDOWNS, NULL)->state, PM_YES);
	ck_assert_uint_eq(row_of(PM_EV_UNSAFE_SHUTDOWNS, NULL)->value, 5);
	h.dirty_shutdown[0] = h.dirty_shutdown[1] = "0";
	ck_assert_int_eq(row_of(PM_EV_UNSAFE_SHUTDOWNS, NULL)->state, PM_NO);
	h.family = "papr";
	ck_assert_int_eq(row_of(PM_EV_UNSAFE_SHUTDOWNS, NULL)->state, PM_NO);
	h.dirty_shutdown[0] = "7";
	h.dirty_shutdown[1] = NULL; /* one that does not say makes the sum unknown */
	ck_assert_int_eq(row_of(PM_EV_UNSAFE_SHUTDOWNS, NULL)->state, PM_UNKNOWN);
	ck_assert_uint_eq(row_of(PM_EV_UNSAFE_SHUTDOWNS, NULL)->value, 0);
	h.dimm[0] = h.dimm[1] = NULL;
	ck_assert_int_eq(row_of(PM_EV_UNSAFE_SHUTDOWNS, NULL)->state, PM_UNKNOWN);
}
END_TEST

START_TEST(device_id)
{
	struct fake_health h = {.dimm = {"nmem4,0,1048576,0"}, .id = {"8680-56341200"}, .set_cookie = "0x1234"};
	start(&fake_dax, &h);
	ck_assert_str_eq(row_of(PM_EV_DEVICE_ID, NULL)->text, "8680-56341200");
	h.dimm[1] = "nmem5,0,1048576,1";
	ck_assert_str_eq(row_of(PM_EV_DEVICE_ID, NULL)->text, "0x1234");
	h.set_cookie = "0x0"; /* a region without labels has none */
	ck_assert_int_eq(row_of(PM_EV_DEVICE_ID, NULL)->state, PM_UNKNOWN);
	ck_assert_str_eq(row_of(PM_EV_DEVICE_ID, NULL)->text, "");
}
END_TEST

START_TEST(numa_node)
{
	struct fake_health h = {.numa_node = "1"};
	start(&fake_dax, &h);
	ck_assert_int_eq(row_of(PM_EV_NUMA_NODE, NULL)->state, PM_YES);
	ck_assert_uint_eq(row_of(PM_EV_NUMA_NODE, NULL)->value, 1);
	h.numa_node = "-1";
	ck_assert_int_eq(row_of(PM_EV_NUMA_NODE, NULL)->state, PM_UNKNOWN);
	ck_assert_uint_eq(row_of(PM_EV_NUMA_NODE, NULL)->value, 0);
}
END_TEST

START_TEST(page_size)
{
	start(&fake_dax, NULL);
	ck_assert_int_eq(row_of(PM_EV_PAGE_SIZE, NULL)->state, PM_UNKNOWN);
	start(&fake_device_dax, NULL);
	const struct pm_evidence *e = row_of(PM_EV_PAGE_SIZE, NULL);
	ck_assert_int_eq(e->state, PM_YES);
	ck_assert_uint_eq(e->value, 2 * unit_page());
}
END_TEST

static const struct {
	bool tells, huge, small;
	enum pm_state state;
	uint64_t value; /* 1: a page */
} mapped[] = {
	{false, true, true, PM_UNKNOWN, 0}, {true, false, false, PM_UNKNOWN, 0}, {true, true, false, PM_YES, 2 << 20},
	{true, false, true, PM_YES, 1},     {true, true, true, PM_YES, 1},
};

START_TEST(page_size_of_what_is_mapped)
{
	start(&fake_dax, NULL);
	struct pm_mapping *m = unit_map(unit_file("f", SIZE), NULL);
	fake.machine.tells_pages = mapped[_i].tells;
	fake.machine.has_huge_pages = mapped[_i].huge;
	fake.machine.has_small_pages = mapped[_i].small;
	const struct pm_evidence *e = &unit_query(m)->evidence[PM_EV_PAGE_SIZE];
	ck_assert_int_eq(e->state, mapped[_i].state);
	ck_assert_uint_eq(e->value, mapped[_i].value == 1 ? unit_page() : mapped[_i].value);
	ck_assert_int_eq(e->error, mapped[_i].tells ? 0 : ENOTTY);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Linux itself, on memory of which nothing is mapped at first: no huge page is ever made of it. */
START_TEST(pages_that_linux_tells_of)
{
	size_t size = 8 * unit_page();
	char *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int none = pm_sys_linux.pagemap_scan(base, size, PM_PAGE_PRESENT, PM_PAGE_HUGE);
	if (none < 0) {
		printf("not tried: pages, since this kernel does not tell of them (%s)\n", strerror(-none));
		munmap(base, size);
		return;
	}
	ck_assert_int_eq(none, 0);
	base[3 * unit_page()] = 1;
	ck_assert_int_eq(pm_sys_linux.pagemap_scan(base, size, PM_PAGE_PRESENT, PM_PAGE_HUGE), 1);
	ck_assert_int_eq(pm_sys_linux.pagemap_scan(base, size, PM_PAGE_PRESENT | PM_PAGE_HUGE, 0), 0);
	ck_assert_int_eq(pm_sys_linux.pagemap_scan(base, 3 * unit_page(), PM_PAGE_PRESENT, PM_PAGE_HUGE), 0);
	munmap(base, size);
}
END_TEST

/* The worst health there is changes neither the verdict nor what mapping costs. */
START_TEST(no_decision_stands_on_it)
{
	static const struct fake_health ill = {.bad_blocks = "0 1000000\n", .dimm = {"nmem4,0,4096,0"},
	                                       .dirty_shutdown = {"99"}, .numa_node = "1"};
	unsigned calls[2];
	for (unsigned i = 0; i < 2; i++) {
		start(&fake_dax, i ? &ill : NULL);
		unit_ok(pm_unmap(unit_map(unit_file("warm", SIZE), NULL)));
		fake_forget();
		struct pm_mapping *m = unit_map(unit_file("f", SIZE), UNIT_OPTIONS(.sync = PM_GUARANTEE));
		calls[i] = fake_syscalls();
		for (unsigned n = 0; n < fake_calls(FAKE_openat); n++)
			ck_assert_ptr_null(strstr(fake_find(FAKE_openat, n)->path, "badblocks"));
		const struct pm_report *r = unit_query(m);
		ck_assert_int_eq(r->verdict, PM_VERDICT_MET);
		ck_assert_int_eq(r->granularity, PM_CACHE_LINE);
		ck_assert_int_eq(r->evidence[PM_EV_BAD_BLOCKS].state, i ? PM_YES : PM_UNKNOWN);
		unit_ok(pm_unmap(m));
	}
	ck_assert_uint_eq(calls[0], calls[1]);
}
END_TEST

START_TEST(bad_blocks_in_words)
{
	struct fake_health h = {.bad_blocks = "2056 8\n", .physical = disk};
	struct pm_report r;
	char text[1024];
	start(&fake_dax, &h);
	unit_ok(pm_probe(unit_file("f", SIZE), NULL, &r, sizeof(r)));
	ck_assert_int_gt(pm_explain(&r, text, sizeof(text)), 0);
	ck_assert_ptr_nonnull(
		strstr(text, "bad blocks in the range (8 sectors of 512 bytes, the first at file offset 4096)"));
	/* A report cut before the row. */
	r.size = offsetof(struct pm_report, evidence) + PM_EV_BAD_BLOCKS * sizeof(r.evidence[0]);
	pm_explain(&r, text, sizeof(text));
	ck_assert_ptr_null(strstr(text, "bad blocks"));
	h.bad_blocks = "";
	unit_ok(pm_probe(unit_file("f", SIZE), NULL, &r, sizeof(r)));
	pm_explain(&r, text, sizeof(text));
	ck_assert_ptr_null(strstr(text, "bad blocks"));
}
END_TEST

START_TEST(read_gives_what_was_stored)
{
	char back[5 * PAGE];
	fake_start(_i ? &fake_dax : &fake_plain);
	struct pm_mapping *m = unit_map(unit_file("f", SIZE), UNIT_OPTIONS(.offset = 100));
	char *base = pm_base(m);
	unit_ok(pm_read(m, back, base + 7, sizeof(back)));
	ck_assert(unit_has_pattern(back, 107, sizeof(back)));
	memcpy(base + 50, "stored", 6);
	fake_interrupt(FAKE_pread, 2);
	memset(back, '#', 8);
	unit_ok(pm_read(m, back, base + 50, 7)); /* in parts, and not a byte more */
	ck_assert(!memcmp(back, "stored", 6));
	ck_assert_int_eq(back[7], '#');
	unit_ok(pm_read(m, back, base + pm_length(m) - 1, 1));
	ck_assert_int_eq(back[0], unit_pattern(SIZE - 1));
	fake_forget();
	unit_ok(pm_read(m, NULL, NULL, 0));
	ck_assert_int_eq(pm_read(m, back, base + pm_length(m) - 1, 2), -ERANGE);
	ck_assert_uint_eq(fake_syscalls(), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(read_of_a_bad_block)
{
	char back[2 * PAGE];
	fake_start(&fake_dax);
	const char *path = unit_file("f", SIZE);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	fake_fail(FAKE_pread, 2, EIO); /* after the first half */
	ck_assert_int_eq(pm_read(m, back, pm_base(m), sizeof(back)), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), path));
	/* It lost nothing that was acknowledged. */
	unit_ok(pm_drain(m));
	unit_ok(pm_read(m, back, pm_base(m), sizeof(back)));
	unit_ok(truncate(path, PAGE));
	ck_assert_int_eq(pm_read(m, back, pm_base(m), sizeof(back)), -ERANGE);
	pm_unmap(m);
}
END_TEST

START_TEST(read_where_it_could_not_keep_its_word)
{
	char back[8];
	struct pm_mapping *m;
	fake_start(_i ? &fake_device_dax : &fake_dax);
	const char *path = unit_file("f", SIZE);
	m = unit_map(path, _i ? NULL : UNIT_OPTIONS(.flags = PM_PRIVATE));
	fake_forget();
	ck_assert_int_eq(pm_read(m, back, pm_base(m), sizeof(back)), -EOPNOTSUPP);
	ck_assert_str_ne(pm_error_detail(), "");
	ck_assert_uint_eq(fake_syscalls(), 0);
	unit_ok(pm_unmap(m));
	m = unit_map(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = PAGE));
	ck_assert_int_eq(pm_read(m, back, pm_base(m), sizeof(back)), -EOPNOTSUPP);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	TCase *t = unit_case("health");
	tcase_add_loop_test(t, what_a_device_lacks, 0, 2);
	tcase_add_test(t, a_file_system_without_a_device);
	tcase_add_test(t, what_lies_below_a_device_is_looked_at_again);
	tcase_add_loop_test(t, bad_blocks_of_a_file, 0, (int)(sizeof(lists) / sizeof(lists[0])));
	tcase_add_test(t, bad_blocks_outside_the_range);
	tcase_add_test(t, bad_blocks_follow_the_extents);
	tcase_add_test(t, bad_blocks_in_the_last_of_many_extents);
	tcase_add_test(t, bad_blocks_of_a_partition);
	tcase_add_test(t, bad_blocks_of_a_block_device);
	tcase_add_test(t, bad_blocks_of_a_device_dax);
	tcase_add_test(t, bad_blocks_that_nobody_tells);
	tcase_add_test(t, a_list_that_is_cut);
	tcase_add_test(t, unsafe_shutdowns);
	tcase_add_test(t, device_id);
	tcase_add_test(t, numa_node);
	tcase_add_test(t, page_size);
	tcase_add_loop_test(t, page_size_of_what_is_mapped, 0, sizeof(mapped) / sizeof(mapped[0]));
	tcase_add_test(t, pages_that_linux_tells_of);
	tcase_add_test(t, no_decision_stands_on_it);
	tcase_add_test(t, bad_blocks_in_words);
	tcase_add_loop_test(t, read_gives_what_was_stored, 0, 2);
	tcase_add_test(t, read_of_a_bad_block);
	tcase_add_loop_test(t, read_where_it_could_not_keep_its_word, 0, 2);
	return unit_run();
}
