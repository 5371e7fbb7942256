/* SPDX-License-Identifier: BSD-3-Clause */
/* The cause of a fault: a full file system is no failing one. And what the library itself leaves behind. */
#include <errno.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guarding.h"
#include "kernel/magic.h"
#include "mapping/mapping.h"

static size_t page;

static void start(void)
{
	page = unit_page();
	guarding_start();
}

static const struct {
	const char *name;
	uint32_t extent_flags;
	bool is_hole;
	int fiemap_errno;
	unsigned flags; /* of the mapping */
	int allocate_errno;
	int again_errno; /* when the access is made again; 0: it can be made */
	bool is_asked;   /* for a block */
	int error;
	const char *says;
} causes[] = {
	{"written", 0, false, 0, 0, ENOSPC, EFAULT, false, -EIO, "the medium failed"},
	{"written, lost memory", 0, false, 0, 0, ENOSPC, EHWPOISON, false, -EIO, "the medium failed"},
	{"written by now", 0, false, 0, 0, ENOSPC, 0, false, -EAGAIN, "can be made now"},
	{"written, not tried", 0, false, 0, 0, ENOSPC, EINVAL, false, -EIO, "is unknown"},
	{"written, no memory", 0, false, 0, 0, ENOSPC, ENOMEM, false, -EIO, "is unknown"},
	{"a hole, full", 0, true, 0, 0, ENOSPC, EFAULT, true, -ENOSPC, "no free block"},
	{"a hole, quota", 0, true, 0, 0, EDQUOT, EFAULT, true, -EDQUOT, "no free block"},
	{"a hole, failing", 0, true, 0, 0, EIO, EFAULT, true, -EIO, "the medium failed"},
	{"a hole, failed", 0, true, 0, 0, EIO, 0, true, -EAGAIN, "can be made now"},
	{"a hole, room again", 0, true, 0, 0, 0, 0, true, -EAGAIN, "has a block by now"},
	{"a hole, room again, not tried", 0, true, 0, 0, 0, EINVAL, true, -EAGAIN, "has a block by now"},
	{"a hole, room again, failing", 0, true, 0, 0, 0, EFAULT, true, -EIO, "the medium failed"},
	{"unwritten, full", FIEMAP_EXTENT_UNWRITTEN, false, 0, 0, ENOSPC, EFAULT, true, -ENOSPC, "no free block"},
	{"shared, full", FIEMAP_EXTENT_SHARED, false, 0, 0, ENOSPC, EFAULT, true, -ENOSPC, "no free block"},
	{"delayed, full", FIEMAP_EXTENT_DELALLOC, false, 0, 0, ENOSPC, EFAULT, true, -ENOSPC, "no free block"},
	{"not told, full", 0, false, EOPNOTSUPP, 0, ENOSPC, EFAULT, true, -ENOSPC, "no free block"},
	{"not told, not known", 0, false, EOPNOTSUPP, 0, EOPNOTSUPP, EFAULT, true, -EIO, "the medium failed"},
	{"not told, and well", 0, false, EOPNOTSUPP, 0, EOPNOTSUPP, 0, true, -EAGAIN, "can be made now"},
	{"read-only", 0, true, 0, PM_READ_ONLY, ENOSPC, EFAULT, false, -EIO, "the medium failed"},
	{"read-only, and well", 0, true, 0, PM_READ_ONLY, ENOSPC, 0, false, -EAGAIN, "can be made now"},
	{"private", 0, true, 0, PM_PRIVATE, ENOSPC, EFAULT, false, -EIO, "the medium failed"},
	{"private, and well", 0, true, 0, PM_PRIVATE, ENOSPC, 0, false, -EAGAIN, "can be made now"},
};

/* The access is made again as it was made: a page that may be stored to is not only read, and no other is touched. */
static void check_again(const struct pm_mapping *m, const char *at)
{
	const struct fake_record *r;
	for (unsigned n = 0; (r = fake_find(FAKE_madvise, n)); n++) {
		bool stores = !(m->flags & (PM_READ_ONLY | PM_PRIVATE));
		ck_assert_int_eq((int)r->flags, stores ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
		ck_assert_uint_eq(r->length, page);
		ck_assert_uint_eq(r->address, (uintptr_t)at / page * page);
	}
}

START_TEST(why_it_failed)
{
	struct pm_fault f;
	start();
	const uint64_t size = GUARDING_PAGES * page - 10;
	const struct fake_extent extents[] = {{0, 3 * page, 0},
	                                      {3 * page, causes[_i].is_hole ? 0 : page, causes[_i].extent_flags},
	                                      {4 * page, 99 * page, 0}};
	guarding_cut(size);
	fake_start(&fake_plain);
	fake.guards = true;
	struct pm_mapping *m = unit_map(guarding_path, UNIT_OPTIONS(.flags = causes[_i].flags, .offset = 500));
	fake.machine.extents = extents;
	fake.machine.extent_count = COUNT(extents);
	fake.machine.fiemap_errno = causes[_i].fiemap_errno;
	fake_fail(FAKE_fallocate_keep_size, 0, causes[_i].allocate_errno);
	fake_interrupt(FAKE_fallocate_keep_size, 2);
	fake_fail(FAKE_madvise, 0, causes[_i].again_errno);
	fake_interrupt(FAKE_madvise, 2);
	char *at = (char *)pm_base(m) + 3 * page;
	fake_forget();
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &(struct guarding_forged){BUS_ADRERR, at, 0}, &f, sizeof(f)),
	                 causes[_i].error);
	guarding_check(&f, m, at, causes[_i].error);
	ck_assert_msg(!!strstr(pm_error_detail(), causes[_i].says), "%s: %s", causes[_i].name, pm_error_detail());
	check_again(m, at);
	ck_assert_uint_eq(fake_calls(FAKE_fallocate_keep_size) > 0, causes[_i].is_asked);
	if (causes[_i].is_asked) {
		ck_assert_uint_eq(fake_find(FAKE_fallocate_keep_size, 0)->offset, 3 * page);
		ck_assert_uint_eq(fake_find(FAKE_fallocate_keep_size, 0)->length, page);
	}
	/* The last page, of which only a part belongs to the file. */
	fake.machine.extent_count = 1;
	atomic_store(&fake.populated, false);
	fake_forget();
	at = (char *)pm_base(m) + pm_length(m) + 5;
	pm_guarded(m, guarding_forge, &(struct guarding_forged){BUS_ADRERR, at, 0}, &f, sizeof(f));
	ck_assert_ptr_null(strstr(pm_error_detail(), "truncated"));
	if (causes[_i].is_asked)
		ck_assert_uint_eq(fake_find(FAKE_fallocate_keep_size, 0)->length, page - 10);
	ck_assert_uint_eq(unit_size_of(guarding_path), size);
	unit_ok(pm_unmap(m));
}
END_TEST

static void cut_meanwhile(enum fake_call c)
{
	if (c == FAKE_fallocate_keep_size)
		guarding_cut(0);
}

START_TEST(asking_makes_no_file_longer)
{
	static const struct fake_extent nothing = {0, 0, 0};
	start();
	fake_start(&fake_plain);
	fake.guards = true;
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	fake.machine.extents = &nothing;
	fake.machine.extent_count = 1;
	counting.hook = cut_meanwhile;
	struct guarding_forged forged = {BUS_ADRERR, (char *)pm_base(m) + 3 * page, 0};
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &forged, NULL, 0), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "past the end of the file"));
	ck_assert_uint_eq(fake_calls(FAKE_fallocate_keep_size), 2);
	ck_assert_uint_eq(unit_size_of(guarding_path), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A hole beside it says nothing of a page that has its block. */
START_TEST(a_hole_beside)
{
	start();
	const struct fake_extent extents[] = {{0, 5 * page, 0}, {6 * page, 99 * page, 0}};
	fake_start(&fake_plain);
	fake.guards = true;
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	fake.machine.extents = extents;
	fake.machine.extent_count = COUNT(extents);
	fake_fail(FAKE_madvise, 0, EINVAL);
	struct guarding_forged forged = {BUS_ADRERR, (char *)pm_base(m) + 3 * page, 0};
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &forged, NULL, 0), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "is unknown"));
	ck_assert_uint_gt(fake_calls(FAKE_fallocate_keep_size), 0);
	unit_ok(pm_unmap(m));
}
END_TEST

static unsigned asked, shows_at;
static const struct fake_extent hole, whole = {0, 1 << 20, 0};

/* After each question another process changes what the next one finds. */
static void fill_and_punch(enum fake_call c)
{
	if (c == FAKE_madvise) {
		fake.machine.extents = asked++ == shows_at ? &hole : &whole;
		fake_fail(FAKE_madvise, 0, EFAULT);
	}
}

/* The hole is filled when it is asked for, and a hole again when the access is made again: once, or six times. */
START_TEST(the_file_is_asked_again)
{
	start();
	fake_start(&fake_plain);
	fake.guards = true;
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	fake.machine.extents = &whole;
	fake.machine.extent_count = 1;
	asked = 0;
	shows_at = _i ? 5 : 0;
	counting.hook = fill_and_punch;
	fake_fail(FAKE_madvise, 0, EFAULT);
	fake_fail(FAKE_fallocate_keep_size, 0, EDQUOT);
	struct guarding_forged forged = {BUS_ADRERR, (char *)pm_base(m) + 3 * page, 0};
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &forged, NULL, 0), -EDQUOT);
	unit_ok(pm_unmap(m));
}
END_TEST

/* On the kernel's own calls: a page that is well is not blamed, and is as it was. */
START_TEST(a_page_that_is_well)
{
	start();
	fake_stop();
	struct pm_mapping *m = unit_map(guarding_path, UNIT_OPTIONS(.flags = _i ? PM_READ_ONLY : 0));
	char *at = (char *)pm_base(m) + 3 * page + 9, before = *at;
	struct guarding_forged forged = {BUS_ADRERR, at, 0};
	int rc = pm_guarded(m, guarding_forge, &forged, NULL, 0);
	/* EIO: before Linux 5.14 */
	ck_assert_msg(rc == -EAGAIN || (rc == -EIO && strstr(pm_error_detail(), "is unknown")), "%d: %s", rc,
	              pm_error_detail());
	ck_assert_int_eq(*at, before);
	unit_ok(pm_unmap(m));
}
END_TEST

/* A file that cannot be asked is not said to be short, or to have a hole. */
START_TEST(a_file_system_that_does_not_answer)
{
	start();
	fake_start(&fake_plain);
	fake.guards = true;
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	fake.machine.statx_errno = EIO;
	struct guarding_forged forged = {BUS_ADRERR, (char *)pm_base(m) + 3 * page, 0};
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &forged, NULL, 0), -EIO);
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), "the file system does not answer: "));
	ck_assert_ptr_nonnull(strstr(pm_error_detail(), pm_strerror(EIO)));
	fake.machine.statx_errno = 0;
	unit_ok(pm_unmap(m));
}
END_TEST

/* What others did before is. */
START_TEST(asking_is_no_news)
{
	static const struct fake_extent nothing = {0, 0, 0};
	struct pm_event event;
	start();
	fake_start(&fake_plain);
	fake.guards = true;
	fake.machine.extents = &nothing;
	fake.machine.extent_count = 1;
	int fd = open(guarding_path, O_WRONLY);
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	ck_assert_int_ge(pm_event_fd(m), 0);
	while (!pm_next_event(m, &event, sizeof(event)))
		;
	if (_i)
		ck_assert_int_eq(pwrite(fd, "x", 1, 0), 1);
	struct guarding_forged forged = {BUS_ADRERR, (char *)pm_base(m) + 3 * page, 0};
	ck_assert_int_eq(pm_guarded(m, guarding_forge, &forged, NULL, 0), -EAGAIN);
	ck_assert_uint_eq(fake_calls(FAKE_fallocate_keep_size), 2);
	ck_assert_int_eq(pm_next_event(m, &event, sizeof(event)), _i ? 0 : -EAGAIN);
	unit_ok(pm_unmap(m));
	close(fd);
}
END_TEST

/* A file system of our own that is soon full; needs a mount namespace. */
START_TEST(a_full_file_system)
{
	struct pm_fault f;
	start();
	const char *place = unit_path("full");
	ck_assert_int_eq(mkdir(place, 0700), 0);
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", place, "tmpfs", 0, "size=64k")) {
		printf("not tried: a full file system, since none can be mounted here (%s)\n", strerror(errno));
		return;
	}
	guarding_path = unit_path("full/file");
	struct pm_mapping *m =
		unit_map(guarding_path, UNIT_OPTIONS(.flags = PM_CREATE | PM_SPARSE, .length = 1 << 20));
	char *base = pm_base(m);
	size_t at = 0;
	int rc;
	while ((rc = pm_guarded(m, guarding_store, base + at, &f, sizeof(f))) == 7)
		at += page;
	ck_assert_int_eq(rc, -ENOSPC);
	ck_assert_uint_le(at, 65536);
	ck_assert_uint_gt(at, 0);
	guarding_check(&f, m, base + at, -ENOSPC);
	ck_assert_int_eq(base[0], 1);
	/* What is cut off is no want of space. */
	guarding_cut(page);
	ck_assert_int_eq(pm_guarded(m, guarding_store, base + at, &f, sizeof(f)), -EIO);
	guarding_cut(1 << 20);
	ck_assert_int_eq(pm_guarded(m, guarding_store, base + at, &f, sizeof(f)), 7);
	unit_ok(pm_unmap(m));
	umount(place);
}
END_TEST

/* ---- The library's own accesses ---- */

/* What a CPU does when it writes back a line that is not there. */
static int touch(const void *address, size_t length)
{
	for (size_t i = 0; i < length; i++)
		(void)((const volatile char *)address)[i];
	return 0;
}

static int do_nothing(void)
{
	return 0;
}

static const struct pm_cpu touching_cpu = {.name = "touching", .reaches_media = true, .line = 64,
                                           .write_back = touch, .fence = do_nothing, .persist = touch};

struct library_call {
	struct pm_mapping *m;
	int number;
};
#define LIBRARY_CALLS 6
#define SYNC 4

static int call_library(void *arg)
{
	static const char source[8192];
	struct library_call *c = arg;
	char *at = (char *)pm_base(c->m) + 8 * page;
	switch (c->number) {
	case 0:
		return pm_memcpy(c->m, at, source, 2000, 0);
	case 1:
		return pm_memset(c->m, at, 1, 10, PM_NODRAIN);
	case 2:
		return pm_memmove(c->m, (char *)pm_base(c->m), at, 100, 0);
	case 3:
		return pm_persist(c->m, at, 100);
	case SYNC:
		return pm_sync(c->m);
	default:
		return pm_deep_persist(c->m, at, 100);
	}
}

static void *use_it(void *arg)
{
	struct pm_mapping *m = arg;
	return (void *)(intptr_t)(pm_memset(m, pm_base(m), 1, 10, 0) || pm_persist(m, pm_base(m), 10));
}

/* On pages, on lines, and on pages of a medium whose CPU caches msync leaves alone. */
START_TEST(the_librarys_own_accesses_leave_nothing_behind)
{
	static const struct fake_region skipping = {"ACPI.NFIT", "nd_pmem", "memory_controller", "1",
	                                            "0",         false,     {"", NULL},          false};
	struct fake_machine machines[] = {fake_plain, fake_dax, fake_dax};
	pthread_t other;
	void *failed;
	start();
	machines[2].region = &skipping;
	machines[2].granularity_word = "page";
	fake_start(&machines[_i]);
	fake.guards = true;
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	ck_assert_int_eq(m->medium.flush_caches_before_msync, _i > 0);
	m->medium.cpu = &touching_cpu;
	pm_terms_set_strategy(&m->terms, &m->medium, m->terms.strategy);
	for (int i = 0; i < LIBRARY_CALLS; i++) {
		guarding_cut(GUARDING_PAGES * page);
		unit_ok(pm_resize(m, pm_length(m))); /* what was cut off is there again */
		ck_assert_int_eq(pm_guarded(m, call_library, &(struct library_call){m, i}, NULL, 0), 0);
		guarding_cut(4 * page);
		int rc = pm_guarded(m, call_library, &(struct library_call){m, i}, NULL, 0);
		/* Of lines a sync asks first where the file ends; what accesses no byte asks then. */
		bool is_access = i < 3 || (_i > 0 && (i != SYNC || _i == 2));
		ck_assert_msg(rc == (is_access ? -EIO : -ERANGE), "call %d: %d", i, rc);
		ck_assert(!m->medium.writeback.is_led);
		ck_assert_uint_eq(m->medium.walks.count[0] + m->medium.walks.count[1], 0);
		ck_assert_ptr_null(m->medium.writeback.waiting);
		ck_assert_int_eq(pthread_create(&other, NULL, use_it, m), 0);
		pthread_join(other, &failed);
		ck_assert_ptr_null(failed);
	}
	guarding_cut(GUARDING_PAGES * page);
	/* Where lines are written back before pages are recorded, no flush got further than that. */
	ck_assert_int_eq(pm_unmap(m), _i == 2 ? 0 : -ERANGE);
}
END_TEST

/* Where msync leaves the CPU caches alone, each drain finds the lines written back. */
START_TEST(lines_are_written_before_pages)
{
	static const struct fake_region skipping = {"ACPI.NFIT", "nd_pmem", "memory_controller", "1",
	                                            "0",         false,     {"", NULL},          false};
	struct fake_machine machine = fake_dax;
	start();
	machine.region = &skipping;
	machine.granularity_word = "page";
	fake_start(&machine);
	fake.recovers = true;
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	char *base = pm_base(m);
	fake_watch(base, pm_length(m));
	memset(base + 100, 'x', 300);
	unit_ok(pm_persist(m, base + 100, 300));
	ck_assert(fake_medium_has(100, 300));
	memset(base + 5000, 'y', 300);
	unit_ok(pm_flush(m, base + 5000, 300));
	unit_ok(pm_drain(m));
	ck_assert(fake_medium_has(5000, 300));
	memset(base + 9000, 'z', 10000);
	unit_ok(pm_sync(m));
	ck_assert(fake_medium_has(0, pm_length(m)));
	fake_fail(FAKE_msync, 1, EIO);
	ck_assert_int_eq(pm_persist(m, base, 1), -EIO);
	memset(base, 'c', pm_length(m));
	unit_ok(pm_clear_error(m));
	ck_assert(fake_medium_has(0, pm_length(m)));
	unit_ok(pm_unmap(m));
}
END_TEST

/*
 * Whether the attribute of chattr(1) could be set, or taken off: that needs CAP_LINUX_IMMUTABLE and a file system with
 * it.
 */
static bool set_attribute(const char *path, int attribute, bool on)
{
	/* The C libraries differ in the type of ioctl's second argument. */
	int flags, fd = open(path, O_RDONLY | O_CLOEXEC);
	bool done = fd >= 0 && !syscall(SYS_ioctl, fd, FS_IOC_GETFLAGS, &flags);
	flags = on ? flags | attribute : flags & ~attribute;
	done = done && !syscall(SYS_ioctl, fd, FS_IOC_SETFLAGS, &flags);
	close(fd);
	return done;
}

static bool is_dax(const char *path)
{
	struct statx stx;
	ck_assert_int_eq(pm_sys_linux.statx(AT_FDCWD, path, 0, &stx), 0);
	return stx.stx_attributes & stx.stx_attributes_mask & STATX_ATTR_DAX;
}

/*
 * A store to a clean page asks the file system, which refuses (fs/ext4/inode.c ext4_page_mkwrite): the medium is well.
 */
START_TEST(a_file_made_immutable)
{
	struct pm_fault f;
	int attribute = _i ? FS_APPEND_FL : FS_IMMUTABLE_FL;
	start();
	fake_start(&fake_plain);
	fake.guards = true;
	struct pm_mapping *m = unit_map(guarding_path, NULL);
	if (!set_attribute(guarding_path, attribute, true)) {
		puts("not tried: no right to set attributes, or none here");
		unit_ok(pm_unmap(m));
		return;
	}
	int rc = pm_guarded(m, guarding_store, (char *)pm_base(m) + 3 * page, &f, sizeof(f));
	char why[256];
	snprintf(why, sizeof(why), "%s", pm_error_detail());
	ck_assert(set_attribute(guarding_path, attribute, false));
	/*
	 * Of what may only be appended to ext4 lets a mapping go on, on DAX of any file; XFS does not ask at a fault
	 * (fs/xfs/xfs_file.c xfs_write_fault).
	 */
	struct statfs stfs;
	ck_assert_int_eq(statfs(guarding_path, &stfs), 0);
	bool asks = !_i && stfs.f_type == EXT4_SUPER_MAGIC && !is_dax(guarding_path);
	ck_assert_msg(rc == -EPERM || (!asks && rc == 7), "%d, %s", rc, why);
	ck_assert(rc == 7 || (strstr(why, "chattr") && !strstr(why, "medium")));
	ck_assert_int_eq(pm_guarded(m, guarding_store, (char *)pm_base(m) + 3 * page, &f, sizeof(f)), 7);
	unit_ok(pm_unmap(m));
}
END_TEST

int main(void)
{
	if (!guarding_is_possible())
		return 77;
	TCase *c = unit_case("guard_cause");
	tcase_add_loop_test(c, why_it_failed, 0, COUNT(causes));
	tcase_add_test(c, asking_makes_no_file_longer);
	tcase_add_test(c, a_hole_beside);
	tcase_add_loop_test(c, the_file_is_asked_again, 0, 2);
	tcase_add_loop_test(c, a_page_that_is_well, 0, 2);
	tcase_add_test(c, a_file_system_that_does_not_answer);
	tcase_add_loop_test(c, asking_is_no_news, 0, 2);
	tcase_add_test(c, a_full_file_system);
	tcase_add_loop_test(c, a_file_made_immutable, 0, 2);
	tcase_add_loop_test(c, the_librarys_own_accesses_leave_nothing_behind, 0, 3);
	tcase_add_test(c, lines_are_written_before_pages);
	return unit_run();
}
