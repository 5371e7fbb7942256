/* SPDX-License-Identifier: BSD-3-Clause */
/* A call that fails leaves the file system, the descriptors and the address space as they were. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kernel/fiemap.h"
#include "kernel/magic.h"
#include "machine/machine.h"
#include "mapping/mapping.h"
#include "unit.h"

#define ATTEMPTS 400u

static const struct {
	const char *name;
	bool file_exists;
	bool by_fd;
	struct pm_options options;
} makings[] = {
	{"create", false, false, {.flags = PM_CREATE, .length = 20000}},
	{"create exclusively", false, false, {.flags = PM_CREATE | PM_EXCLUSIVE, .length = 20000}},
	{"create sparsely", false, false, {.flags = PM_CREATE | PM_SPARSE, .length = 20000, .offset = 777}},
	{"create prepared", false, false, {.flags = PM_CREATE | PM_PREPARE, .length = 20000}},
	{"grow", true, false, {.flags = PM_CREATE, .length = 20000}},
	{"grow prepared", true, false, {.flags = PM_CREATE | PM_PREPARE, .length = 20000}},
	{"prepare", true, false, {.flags = PM_PREPARE}},
	{"existing", true, false, {.flags = 0}},
	{"read-only", true, false, {.flags = PM_READ_ONLY}},
	{"private", true, false, {.flags = PM_PRIVATE}},
	{"descriptor", true, true, {.flags = PM_CREATE, .length = 20000}},
};
#define SIZE 5000u

static const struct fake_machine *const machines[] = {&fake_plain, &fake_dax, &fake_xfs_reflink};
static const int errors[] = {ENOSPC, EIO, ENOMEM};

static int make(int number, const char *path, int fd, struct pm_mapping **m)
{
	struct pm_options o = makings[number].options;
	o.size = sizeof(o);
	return makings[number].by_fd ? pm_map_fd(fd, &o, m) : pm_map(path, &o, m);
}

static bool is_mapped(const char *path)
{
	char line[4400];
	bool found = false;
	FILE *maps = fopen("/proc/self/maps", "re");
	while (maps && fgets(line, sizeof(line), maps))
		found = found || strstr(line, path);
	if (maps)
		fclose(maps);
	return found;
}

static void check_as_before(int number, const char *path, unsigned open_before)
{
	ck_assert_uint_eq(fake_open_files(), 0);
	ck_assert_uint_eq(fake_mapped_bytes(), 0);
	ck_assert_uint_eq(unit_open_files(), open_before);
	ck_assert(!is_mapped(path));
	ck_assert_int_eq(unit_exists(path), makings[number].file_exists);
	if (!makings[number].file_exists)
		return;
	/* The caller has the descriptor, and may have stored into what was added. */
	if (makings[number].by_fd && unit_size_of(path) != SIZE) {
		ck_assert_uint_eq(unit_size_of(path), makings[number].options.length);
		ck_assert_int_eq(truncate(path, SIZE), 0);
	}
	ck_assert_uint_eq(unit_size_of(path), SIZE);
	char content[SIZE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(read(fd, content, sizeof(content)), SIZE);
	close(fd);
	ck_assert(unit_has_pattern(content, 0, SIZE));
}

/* Some failures are no reason to fail: what a report would show stays unknown. */
static void check_made(int number, const char *path, struct pm_mapping *m)
{
	uint64_t length = makings[number].options.length;
	ck_assert_uint_eq(pm_length(m), length ? length : SIZE);
	unit_ok(pm_unmap(m));
	if (makings[number].file_exists)
		ck_assert_int_eq(truncate(path, SIZE), 0);
	else
		ck_assert_int_eq(unlink(path), 0);
}

static unsigned break_each_call(int number, const struct fake_machine *machine, int error)
{
	const char *path = unit_path("file");
	struct pm_mapping *const none = (struct pm_mapping *)&path;
	unsigned failures = 0;
	if (makings[number].file_exists)
		path = unit_file("file", SIZE);
	int fd = makings[number].by_fd ? open(path, O_RDWR | O_CLOEXEC) : -1;
	unsigned open_before = unit_open_files();
	for (unsigned n = 1; n < ATTEMPTS; n++) {
		struct pm_mapping *m = none;
		fake_start(machine);
		fake_fail_any(n, error);
		int rc = make(number, path, fd, &m);
		bool has_failed = fake_any_has_failed();
		fake_fail_any(0, 0);
		if (rc == 0) {
			check_made(number, path, m);
		} else {
			ck_assert_ptr_eq(m, none);
			ck_assert_msg(rc == -error, "%s, call %u: %d", makings[number].name, n, rc);
			ck_assert_msg(pm_error_detail()[0], "no detail");
			failures++;
		}
		check_as_before(number, path, open_before);
		if (!has_failed) {
			ck_assert_int_eq(rc, 0);
			close(fd);
			return failures;
		}
	}
	ck_abort_msg("more than %u calls", ATTEMPTS);
}

START_TEST(whatever_fails_nothing_is_left)
{
	/* What is asked once in a process is asked before the calls are numbered. */
	fake_start(&fake_plain);
	unit_ok(pm_unmap(unit_map(unit_file("before", SIZE), NULL)));
	for (size_t i = 0; i < COUNT(machines); i++)
		for (size_t j = 0; j < COUNT(errors); j++)
			ck_assert_uint_ge(break_each_call(_i, machines[i], errors[j]), 3);
}
END_TEST

START_TEST(no_signal_is_seen)
{
	static const enum fake_call blocking[] = {FAKE_openat, FAKE_read, FAKE_ftruncate, FAKE_fallocate, FAKE_fsync,
	                                          FAKE_syncfs, FAKE_fdatasync, FAKE_madvise, FAKE_msync};
	const char *path = unit_path("file");
	if (makings[_i].file_exists)
		path = unit_file("file", SIZE);
	int fd = makings[_i].by_fd ? open(path, O_RDWR | O_CLOEXEC) : -1;
	for (size_t i = 0; i < COUNT(machines); i++) {
		struct pm_mapping *m = NULL;
		fake_start(machines[i]);
		for (size_t c = 0; c < COUNT(blocking); c++)
			fake_interrupt(blocking[c], 3);
		unit_ok(make(_i, path, fd, &m));
		unit_ok(pm_sync(m));
		ck_assert_uint_eq(unit_query(m)->evidence[PM_EV_MOUNT].state, PM_YES);
		check_made(_i, path, m);
	}
	close(fd);
}
END_TEST

/* A guarantee that cannot be met. */
START_TEST(a_refusal_leaves_nothing)
{
	const struct fake_machine *machine = fake_machines[_i / 2];
	const struct pm_options *o = UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000, .sync = PM_GUARANTEE,
	                                          .direct = PM_GUARANTEE);
	bool exists = _i % 2;
	if (machine->is_device_dax || machine->is_block_device)
		return;
	const char *path = exists ? unit_file("file", SIZE) : unit_path("file");
	fake_start(machine);
	unsigned open_before = unit_open_files();
	struct pm_mapping *m = NULL;
	int rc = pm_map(path, o, &m);
	if (rc) {
		ck_assert(rc == -PM_ENOTSYNC || rc == -PM_ENOTDIRECT || rc == -PM_EVOLATILE);
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), pm_strerror(rc)));
		ck_assert_ptr_nonnull(strstr(pm_error_detail(), path));
		/* It was known before the file was touched. */
		ck_assert_uint_eq(fake_calls(FAKE_fallocate) + fake_calls(FAKE_ftruncate) + fake_calls(FAKE_fsync), 0);
		ck_assert_ptr_null(strstr(pm_error_detail(), "stays"));
		check_as_before(exists ? 4 : 0, path, open_before);
	} else {
		unit_ok(pm_unmap(m));
	}
	bool proven = machine == &fake_dax || machine == &fake_eadr;
	/* An existing file is not prepared unasked: what is new in it is unwritten. */
	ck_assert_int_eq(rc == 0, proven && !exists);
}
END_TEST

/* What growing made of the extents is seen only then. */
START_TEST(a_late_refusal_takes_back_what_was_done)
{
	static const struct fake_extent shared[] = {{0, 1 << 20, 0x2000 /* FIEMAP_EXTENT_SHARED */}};
	const char *path = unit_path("file");
	struct pm_mapping *m = NULL;
	fake_start(&fake_dax);
	fake.machine.extents = shared;
	fake.machine.extent_count = 1;
	unsigned open_before = unit_open_files();
	fake_fail(FAKE_madvise, 0, EINVAL);
	int rc = pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000, .sync = PM_GUARANTEE), &m);
	ck_assert_int_eq(rc, -PM_ENOTSYNC);
	check_as_before(0, path, open_before);
	/* Without the guarantee it is mapped, and not prepared. */
	m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000));
	ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_SHARED);
	unit_ok(pm_unmap(m));
	ck_assert_int_eq(unlink(path), 0);
	/* Asked for in so many words it is an error. */
	rc = pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = 20000), &m);
	ck_assert_int_eq(rc, -EOPNOTSUPP);
	check_as_before(0, path, open_before);
}
END_TEST

/* Nor is there an append of its own: no zero is written at a place that another process may have stored to. */
START_TEST(zeros_where_nothing_can_be_appended)
{
	const char *path = unit_file("file", SIZE);
	int other = open(path, O_RDONLY | O_CLOEXEC);
	fake_start(&fake_plain);
	fake_fail(FAKE_fallocate, 0, EOPNOTSUPP);
	fake_fail(FAKE_fallocate_keep_size, 0, EOPNOTSUPP);
	fake_fail(FAKE_madvise, 0, EINVAL);
	fake_fail(FAKE_pwritev2_append, 0, ENOSYS);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 3 * SIZE));
	ck_assert_uint_eq(fake_calls(FAKE_pwrite), 0);
	ck_assert_uint_ge(unit_size_of(path), 3 * SIZE);
	ck_assert(unit_has_pattern(pm_base(m), 0, SIZE));
	ck_assert(unit_is_zero((char *)pm_base(m) + SIZE, 2 * SIZE));
	unit_ok(pm_unmap(m));
	close(other);
}
END_TEST

/* A file system that cannot allocate has zeros written at its end, and if they do not fit, they go. */
START_TEST(zeros_where_nothing_can_be_allocated)
{
	bool exists = _i & 1, contested_by_other = _i & 2;
	const char *path = exists ? unit_file("file", SIZE) : unit_path("file");
	struct pm_mapping *m = NULL;
	const struct pm_options *o = UNIT_OPTIONS(.flags = PM_CREATE, .length = 3000000);
	fake_start(&fake_plain);
	int other = exists && contested_by_other ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	unsigned open_before = unit_open_files();
	fake_fail(FAKE_fallocate, 0, EOPNOTSUPP);
	fake_fail(FAKE_fallocate_keep_size, 0, EOPNOTSUPP);
	/* It is not asked for: PM_PREPARE would need it. */
	fake_fail(FAKE_madvise, 0, EINVAL);
	fake_fail(FAKE_pwritev2_append, 3, ENOSPC);
	ck_assert_int_eq(pm_map(path, o, &m), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), pm_strerror(ENOSPC)));
	if (other >= 0) {
		ck_assert_uint_ge(unit_size_of(path), SIZE);
		ck_assert_int_eq(truncate(path, SIZE), 0);
	}
	check_as_before(exists ? 4 : 0, path, open_before);
	m = unit_map(path, o);
	ck_assert_uint_eq(unit_size_of(path), 3000000);
	const char *base = pm_base(m);
	uint64_t kept = exists ? SIZE : 0;
	ck_assert(unit_has_pattern(base, 0, kept));
	ck_assert(unit_is_zero(base + kept, 3000000 - kept));
	unit_ok(pm_unmap(m));
	if (other >= 0)
		close(other);
}
END_TEST

/* Before Linux 4.16: at the end that was seen. */
START_TEST(zeros_without_appending)
{
	fake_start(&fake_plain);
	fake_fail(FAKE_fallocate, 0, ENOSYS);
	fake_fail(FAKE_pwritev2_append, 0, EOPNOTSUPP);
	struct pm_mapping *m = unit_map(unit_path("file"), UNIT_OPTIONS(.flags = PM_CREATE, .length = 300000));
	ck_assert_uint_eq(fake_calls(FAKE_ftruncate), 0);
	ck_assert(unit_is_zero(pm_base(m), 300000));
	unit_ok(pm_unmap(m));
}
END_TEST

/* A second open file description would wait for the lease of the first, which the library gives back first. */
START_TEST(appending_does_not_wait_for_the_own_lease)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	fake.machine.magic = 0x12345; /* a lease there is no proof that no other process has the file open */
	fake_fail(FAKE_fallocate, 0, EOPNOTSUPP);
	fake_fail(FAKE_fallocate_keep_size, 0, EOPNOTSUPP);
	fake_fail(FAKE_pwritev2_append, 0, ENOSYS);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 3 * SIZE));
	unit_ok(pm_unmap(m));
	const struct fake_record *opened, *leased = fake_find(FAKE_setlease, 0),
					  *given_back = fake_find(FAKE_setlease, 1);
	unsigned n = 0;
	while ((opened = fake_find(FAKE_openat, n++)) && !(opened->flags & O_APPEND))
		;
	ck_assert(opened && leased && given_back);
	ck_assert(leased->flags == F_WRLCK && given_back->flags == F_UNLCK);
	ck_assert(leased < given_back && given_back < opened);
	ck_assert_uint_ge(unit_size_of(path), 3 * SIZE);
}
END_TEST

/* Blocks beyond an end that could not be set, of which the size tells nothing. */
START_TEST(what_was_reserved_is_released)
{
	const char *path = unit_file("file", SIZE);
	struct stat before, after;
	struct pm_mapping *m;
	sync();
	ck_assert_int_eq(stat(path, &before), 0);
	fake_start(&fake_plain);
	fake_fail(FAKE_fallocate, 0, EIO);
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 1 << 20), &m), -EIO);
	ck_assert_uint_eq(fake_calls(FAKE_fallocate_keep_size), 1);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_eq(after.st_size, before.st_size);
	ck_assert_int_eq(after.st_blocks, before.st_blocks);
}
END_TEST

#define GROWN ((uint64_t)1 << 20)

static struct machine machine;
static unsigned reservations;

/*
 * Another process has the file open, so that blocks could not be given back: none are taken where they do not suffice.
 * Where they could, none are taken on ext4, on which the growth would take all that is free before it fails.
 */
static const struct growth {
	bool is_open, is_new, is_almost_full, is_reserved;
	bool has_cluster; /* to which all of the growth belongs, and which no extent shows */
	uint32_t magic; /* 0: whatever it is */
	int result;
} growths[] = {
	{true, false, false, false, false, 0, 0},
	{true, false, true, false, false, 0, -ENOSPC},
	{false, false, false, false, false, EXT4_SUPER_MAGIC, 0},
	{false, false, true, false, false, EXT4_SUPER_MAGIC, -ENOSPC},
	{false, true, false, false, false, EXT4_SUPER_MAGIC, 0},
	{false, true, true, false, false, EXT4_SUPER_MAGIC, -ENOSPC},
	/* Blocks that are there need not be free; also of a file that has a hole before its end. */
	{true, false, true, true, false, 0, 0},
	{false, false, true, true, false, EXT4_SUPER_MAGIC, 0},
	{false, false, true, false, true, EXT4_SUPER_MAGIC, 0},
	/* These may yet find more, and what is taken is given back. */
	{false, false, true, false, false, XFS_SUPER_MAGIC, 0},
	{false, true, true, false, false, XFS_SUPER_MAGIC, 0},
}, *growth;

static int tell_free_blocks(int fd, struct statfs *s)
{
	int rc = machine.below->fstatfs(fd, s);
	uint64_t missing = growth->is_new ? GROWN : GROWN - SIZE;
	s->f_bfree = growth->is_almost_full ? missing / (uint64_t)s->f_bsize - 1 : GROWN / (uint64_t)s->f_bsize;
	s->f_bfree = growth->is_reserved ? 0 : s->f_bfree;
	if (growth->magic)
		s->f_type = growth->magic;
	return rc;
}

static int tell_blocks(int fd, const char *path, int flags, struct statx *stx)
{
	int rc = machine.below->statx(fd, path, flags, stx);
	if (growth->has_cluster)
		stx->stx_blocks = GROWN / 512;
	return rc;
}

static int count_reservation(int fd, uint64_t offset, uint64_t length)
{
	reservations++;
	return machine.below->fallocate_keep_size(fd, offset, length);
}

static int count_growth(int fd, uint64_t offset, uint64_t length)
{
	reservations++;
	return machine.below->fallocate(fd, offset, length);
}

static int see_extent(void *arg, const struct fiemap_extent *x)
{
	(void)arg;
	(void)x;
	return 0;
}

START_TEST(an_almost_full_file_system_keeps_its_blocks)
{
	growth = &growths[_i];
	const char *path = growth->is_new ? unit_path("new") : unit_file("file", SIZE);
	struct stat before, after;
	struct pm_mapping *m = NULL;
	int other = growth->is_new ? -1 : open(path, O_RDWR | O_CLOEXEC);
	/* tmpfs does not say where the blocks of a file are. */
	if (growth->is_reserved && pm_each_extent(other, 0, SIZE, see_extent, NULL)) {
		close(other);
		return;
	}
	if (growth->is_reserved) {
		ck_assert_int_eq(fallocate(other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE), 0);
		ck_assert_int_eq(fallocate(other, FALLOC_FL_KEEP_SIZE, SIZE, GROWN - SIZE), 0);
	}
	if (!growth->is_open && other >= 0)
		close(other);
	sync();
	ck_assert_int_eq(stat(path, &before), growth->is_new ? -1 : 0);
	machine_put(&machine, MACHINE(.fstatfs = tell_free_blocks, .statx = tell_blocks, .fallocate = count_growth,
	                              .fallocate_keep_size = count_reservation));
	int rc = pm_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = GROWN), &m);
	ck_assert_int_eq(rc, growth->result);
	ck_assert_uint_eq(reservations > 0, !rc);
	ck_assert(!rc || (strstr(pm_error_detail(), "free space") && !strstr(pm_error_detail(), "may stay")));
	ck_assert_int_eq(unit_exists(path), !rc || !growth->is_new);
	if (!stat(path, &after))
		ck_assert_uint_eq((uint64_t)after.st_size, rc ? SIZE : GROWN);
	ck_assert(!rc || growth->is_new || after.st_blocks == before.st_blocks);
	if (m)
		unit_ok(pm_unmap(m));
	machine_remove(&machine);
	if (growth->is_open)
		close(other);
}
END_TEST

static const char *contested;
static int others = -1; /* descriptor: an open(2) or truncate(2) by this thread would wait for the lease */
static uint64_t grown_to;

static void come_between(enum fake_call c)
{
	if (c != FAKE_fsync)
		return;
	if (grown_to) {
		ck_assert_int_eq(ftruncate(others, (off_t)grown_to), 0);
	} else {
		ck_assert_int_eq(unlink(contested), 0);
		close(open(contested, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
}

/* Another process did something with the file meanwhile: what is theirs stays. */
START_TEST(only_our_own_work_is_undone)
{
	struct pm_mapping *m = NULL;
	const struct pm_options *o = UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000);
	contested = unit_path("file");
	grown_to = 0;
	fake_start(&fake_plain);
	counting.hook = come_between;
	fake_fail(FAKE_fsync, 1, EIO);
	ck_assert_int_eq(pm_map(contested, o, &m), -EIO);
	ck_assert(unit_exists(contested));
	ck_assert_uint_eq(unit_size_of(contested), 0);
	contested = unit_file("file", SIZE);
	grown_to = 100000;
	others = open(contested, O_RDWR | O_CLOEXEC);
	fake_fail(FAKE_fsync, 1, EIO);
	ck_assert_int_eq(pm_map(contested, o, &m), -EIO);
	ck_assert_uint_eq(unit_size_of(contested), grown_to);
	close(others);
	counting.hook = NULL;
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("faults");
	tcase_add_loop_test(c, whatever_fails_nothing_is_left, 0, (int)COUNT(makings));
	tcase_add_loop_test(c, no_signal_is_seen, 0, (int)COUNT(makings));
	tcase_add_loop_test(c, a_refusal_leaves_nothing, 0, (int)fake_machines_count * 2);
	tcase_add_test(c, a_late_refusal_takes_back_what_was_done);
	tcase_add_test(c, zeros_where_nothing_can_be_appended);
	tcase_add_loop_test(c, zeros_where_nothing_can_be_allocated, 0, 4);
	tcase_add_test(c, zeros_without_appending);
	tcase_add_test(c, what_was_reserved_is_released);
	tcase_add_loop_test(c, an_almost_full_file_system_keeps_its_blocks, 0, (int)COUNT(growths));
	tcase_add_test(c, appending_does_not_wait_for_the_own_lease);
	tcase_add_test(c, only_our_own_work_is_undone);
	return unit_run();
}
