/* SPDX-License-Identifier: BSD-3-Clause */
/* From pm_map() to pm_unmap(): what is made, what is made durable, and whose it is. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#define HUGE_PAGE ((size_t)2 << 20)

static uint64_t inode_of(const char *path)
{
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_ino;
}

static uint64_t allocated(const char *path)
{
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* The two syncs of a creation: the file, then the directory that holds its entry. */
static void check_published(const char *file, const char *directory)
{
	ck_assert_uint_eq(fake_calls(FAKE_fsync), 2);
	ck_assert_uint_eq(fake_find(FAKE_fsync, 0)->inode, inode_of(file));
	ck_assert_uint_eq(fake_find(FAKE_fsync, 1)->inode, inode_of(directory));
}

/* ---- Creating ---- */

START_TEST(a_created_file_is_there_durably)
{
	static const struct {
		unsigned mode, expected;
	} modes[] = {{0, 0644}, {0600, 0600}, {0666, 0644}, {0777, 0755}, {0440, 0440}};
	mode_t mask = umask(022);
	for (size_t i = 0; i < COUNT(modes); i++) {
		const char *path = unit_path("file");
		struct stat st;
		fake_start(&fake_plain);
		struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 10000, .offset = 123,
		                                                   .mode = modes[i].mode));
		check_published(path, unit_path("."));
		ck_assert_uint_eq(unit_size_of(path), 10123);
		ck_assert_uint_ge(allocated(path), 10123);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_eq(st.st_mode & 07777, modes[i].expected);
		ck_assert(unit_is_zero(pm_base(m), 10000));
		unit_ok(pm_unmap(m));
		ck_assert_int_eq(unlink(path), 0);
	}
	umask(mask);
}
END_TEST

START_TEST(an_existing_file_is_kept_and_grown)
{
	const char *path = unit_file("file", 5000);
	uint64_t inode = inode_of(path);
	fake_start(&fake_plain);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 20000));
	check_published(path, unit_path("."));
	ck_assert_uint_eq(inode_of(path), inode);
	ck_assert_uint_eq(unit_size_of(path), 20000);
	ck_assert(unit_has_pattern(pm_base(m), 0, 5000));
	ck_assert_int_eq(((char *)pm_base(m))[5000], 0);
	unit_ok(pm_unmap(m));
	/* Long enough: nothing grows, and its length is its own. */
	m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE));
	ck_assert_uint_eq(pm_length(m), 20000);
	unit_ok(pm_unmap(m));
	fake_forget();
	m = unit_map(path, NULL);
	ck_assert_uint_eq(fake_calls(FAKE_fsync), 0);
	unit_ok(pm_unmap(m));
	m = unit_map(unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE | PM_EXCLUSIVE, .length = 1));
	unit_ok(pm_unmap(m));
}
END_TEST

/* Link, its target as the link says, and the directory that must be synced; all below the test's directory. */
static const struct {
	const char *link, *target, *directory, *file;
} links[] = {
	{"link", "file", ".", "file"},
	{"link", "sub/file", "sub", "sub/file"},
	{"sub/link", "../other/file", "other", "other/file"},
	{"sub/link", "file", "sub", "sub/file"},
	{"other/link", "../sub/../other/file", "other", "other/file"},
};

START_TEST(the_directory_that_holds_the_entry_is_synced)
{
	char absolute[4200];
	ck_assert_int_eq(mkdir(unit_path("sub"), 0755), 0);
	ck_assert_int_eq(mkdir(unit_path("other"), 0755), 0);
	ck_assert_int_eq(symlink(links[_i].target, unit_path(links[_i].link)), 0);
	ck_assert_int_eq(symlink(unit_path(links[_i].link), unit_path("absolute")), 0);
	strcpy(absolute, unit_path("absolute"));
	ck_assert_int_eq(chdir(unit_path("sub")), 0);
	const char *names[] = {unit_path(links[_i].link), absolute, "../absolute"};
	for (size_t i = 0; i < COUNT(names); i++) {
		fake_start(&fake_plain);
		/* Dangling the first time, then leading to a file. */
		for (int round = 0; round < 2; round++) {
			fake_forget();
			struct pm_mapping *m = unit_map(names[i], UNIT_OPTIONS(.flags = PM_CREATE, .length = 10));
			check_published(unit_path(links[_i].file), unit_path(links[_i].directory));
			unit_ok(pm_unmap(m));
		}
		const struct pm_options *o = UNIT_OPTIONS(.flags = PM_CREATE | PM_EXCLUSIVE, .length = 10);
		struct pm_mapping *m;
		ck_assert_int_eq(pm_map(names[i], o, &m), -EEXIST);
		ck_assert_uint_eq(fake_open_files(), 0);
		ck_assert_int_eq(unlink(unit_path(links[_i].file)), 0);
	}
}
END_TEST

START_TEST(a_relative_path)
{
	static const char *const names[] = {"file", "./file", "sub/file", "sub/../file", "../here/file"};
	ck_assert_int_eq(mkdir(unit_path("here"), 0755), 0);
	ck_assert_int_eq(mkdir(unit_path("here/sub"), 0755), 0);
	ck_assert_int_eq(chdir(unit_path("here")), 0);
	for (size_t i = 0; i < COUNT(names); i++) {
		fake_start(&fake_plain);
		struct pm_mapping *m = unit_map(names[i], UNIT_OPTIONS(.flags = PM_CREATE, .length = 10));
		check_published(names[i], i == 2 ? "sub" : ".");
		unit_ok(pm_unmap(m));
		m = unit_map(names[i], NULL);
		unit_ok(pm_unmap(m));
		ck_assert_int_eq(unlink(names[i]), 0);
	}
}
END_TEST

/* Entered but not read: it can be neither opened for reading nor synced. */
START_TEST(an_unreadable_directory_is_synced_with_its_file_system)
{
	const char *path = unit_path("file");
	fake_start(&fake_plain);
	fake_fail(FAKE_openat, 2, EACCES);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 10));
	ck_assert_uint_ne(fake_find(FAKE_openat, 2)->flags & O_PATH, 0);
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 1);
	ck_assert_uint_eq(fake_find(FAKE_syncfs, 0)->inode, inode_of(path));
	unit_ok(pm_unmap(m));
	/* A file system whose directories have no fsync. */
	fake_forget();
	fake_fail(FAKE_fsync, 2, EINVAL);
	m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 10));
	ck_assert_uint_eq(fake_calls(FAKE_syncfs), 1);
	unit_ok(pm_unmap(m));
}
END_TEST

/* ---- Shape of the file ---- */

START_TEST(a_sparse_file_is_not_allocated)
{
	const char *path = unit_path("file");
	fake_start(_i ? &fake_dax : &fake_plain);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE | PM_SPARSE, .length = 1 << 20));
	ck_assert_uint_eq(unit_size_of(path), 1 << 20);
	ck_assert_uint_lt(allocated(path), 1 << 19);
	/* Only its last byte, which gives it its size and cannot shrink it. */
	ck_assert_uint_eq(fake_calls(FAKE_fallocate), 1);
	ck_assert_uint_eq(fake_find(FAKE_fallocate, 0)->length, 1);
	ck_assert_uint_eq(fake_calls(FAKE_ftruncate), 0);
	for (unsigned n = 0; fake_find(FAKE_madvise, n); n++)
		ck_assert_uint_ne(fake_find(FAKE_madvise, n)->flags, MADV_POPULATE_WRITE);
	unit_ok(pm_unmap(m));
}
END_TEST

/* Nothing is left that would need the file system at a store, and nothing was lost. */
static void check_extents(const char *path, uint64_t size)
{
	_Alignas(struct fiemap) char room[sizeof(struct fiemap) + 64 * sizeof(struct fiemap_extent)] = {0};
	struct fiemap *map = (struct fiemap *)room;
	map->fm_length = size;
	map->fm_extent_count = 64;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc = (int)syscall(SYS_ioctl, fd, FS_IOC_FIEMAP, map);
	close(fd);
	if (rc)
		return;
	uint64_t at = 0;
	for (unsigned i = 0; i < map->fm_mapped_extents; i++) {
		ck_assert_uint_eq(map->fm_extents[i].fe_flags & (FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_DELALLOC), 0);
		ck_assert_uint_le(map->fm_extents[i].fe_logical, at);
		at = map->fm_extents[i].fe_logical + map->fm_extents[i].fe_length;
	}
	ck_assert_uint_ge(at, size);
}

START_TEST(preparing_keeps_content_and_leaves_no_work)
{
	const uint64_t page = unit_page(), size = 40 * page + 5;
	const char *path = unit_file("file", 3 * page);
	ck_assert_int_eq(truncate(path, (off_t)size), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "middle", 6, (off_t)(20 * page)), 6);
	close(fd);
	/* On the real file system. */
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_PREPARE));
	char *base = pm_base(m);
	ck_assert_uint_eq(pm_length(m), size);
	ck_assert(unit_has_pattern(base, 0, 3 * page));
	ck_assert_int_eq(memcmp(base + 20 * page, "middle", 7), 0);
	ck_assert(unit_is_zero(base + 3 * page, 17 * page));
	ck_assert(unit_is_zero(base + 21 * page, size - 21 * page));
	unit_ok(pm_unmap(m));
	ck_assert_uint_eq(unit_size_of(path), size);
	if (!unit_is_emulated())
		check_extents(path, size);
	m = unit_map(unit_path("new"), UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = size));
	unit_ok(pm_unmap(m));
	if (!unit_is_emulated())
		check_extents(unit_path("new"), size);
}
END_TEST

START_TEST(prepared_memory_is_populated_and_aligned)
{
	const char *path = unit_path("file");
	const uint64_t offsets[] = {0, HUGE_PAGE, HUGE_PAGE / 2, 3 * unit_page() + 7};
	for (size_t i = 0; i < COUNT(offsets); i++) {
		fake_start(&fake_dax);
		const struct pm_options *o =
			UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .offset = offsets[i], .length = 2 * HUGE_PAGE);
		struct pm_mapping *m = unit_map(path, o);
		unsigned last = fake_calls(FAKE_madvise) - 1;
		ck_assert_uint_eq(fake_find(FAKE_madvise, last)->flags, MADV_POPULATE_WRITE);
		ck_assert_uint_eq(fake_find(FAKE_madvise, last)->address, (uintptr_t)m->medium.map);
		ck_assert_uint_eq(fake_find(FAKE_madvise, last)->length, m->medium.map_length);
		if (!unit_is_emulated())
			ck_assert_uint_eq(((uintptr_t)pm_base(m) - offsets[i]) % HUGE_PAGE, 0);
		ck_assert_uint_eq(fake_mapped_bytes(), m->medium.map_length);
		unit_ok(pm_unmap(m));
	}
}
END_TEST

/* A page cache is filled page by page: of large folios a store of a byte would make all dirty. */
START_TEST(readahead_has_no_part_in_preparing)
{
	fake_start(_i ? &fake_dax : &fake_plain);
	struct pm_mapping *m =
		unit_map(unit_path("file"), UNIT_OPTIONS(.flags = PM_CREATE | PM_PREPARE, .length = 1 << 20));
	const struct fake_record *first = fake_find(FAKE_madvise, 0), *second = fake_find(FAKE_madvise, 1);
	ck_assert_uint_eq(first->flags, _i ? MADV_POPULATE_WRITE : MADV_RANDOM);
	ck_assert_uint_eq(first->length, 1 << 20);
	ck_assert_uint_eq(second->flags, MADV_POPULATE_WRITE);
	/* The range is synced by now: a write fault would make each page of the cache dirty again. */
	unsigned last = fake_calls(FAKE_madvise) - 1;
	const struct fake_record *populated = fake_find(FAKE_madvise, last);
	ck_assert_uint_eq(populated->flags, _i ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	ck_assert_uint_eq(populated->address, (uintptr_t)m->medium.map);
	ck_assert(populated->number > fake_find(FAKE_fsync, fake_calls(FAKE_fsync) - 1)->number);
	fake_forget();
	unit_ok(pm_resize(m, 2 << 20));
	last = fake_calls(FAKE_madvise) - 1;
	populated = fake_find(FAKE_madvise, last);
	ck_assert_uint_eq(populated->flags, _i ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	ck_assert_uint_eq(populated->address, (uintptr_t)m->medium.map + (1 << 20));
	unit_ok(pm_unmap(m));
}
END_TEST

/* Unwritten until they are populated, as fallocate(2) leaves them. */
START_TEST(a_file_created_on_a_direct_medium_is_prepared)
{
	static const struct fake_extent unwritten = {0, 1 << 20, FIEMAP_EXTENT_UNWRITTEN};
	static const struct {
		unsigned flags;
		enum pm_granularity granularity;
	} ways[] = {
		{PM_CREATE, PM_CACHE_LINE}, {PM_CREATE | PM_PREPARE, PM_CACHE_LINE}, {PM_CREATE | PM_SPARSE, PM_PAGE}};
	const char *path = unit_path("file");
	for (size_t i = 0; i < COUNT(ways); i++) {
		fake_start(&fake_dax);
		fake.machine.extents = &unwritten;
		fake.machine.extent_count = 1;
		struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = ways[i].flags, .length = 1 << 20));
		ck_assert_int_eq(pm_granularity_of(m), ways[i].granularity);
		unit_ok(pm_unmap(m));
		/* Once it exists it is taken as it is. */
		fake_start(&fake_dax);
		fake.machine.extents = &unwritten;
		fake.machine.extent_count = 1;
		m = unit_map(path, UNIT_OPTIONS(.flags = PM_CREATE));
		ck_assert_int_eq(pm_granularity_of(m), PM_PAGE);
		ck_assert_uint_eq(fake_calls(FAKE_madvise), 0);
		unit_ok(pm_unmap(m));
		ck_assert_int_eq(unlink(path), 0);
	}
}
END_TEST

/* ---- Kinds of mapping ---- */

START_TEST(a_read_only_mapping)
{
	const char *path = unit_file("file", 5000);
	ck_assert_int_eq(chmod(path, 0444), 0);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_READ_ONLY));
	char *base = pm_base(m);
	ck_assert(unit_has_pattern(base, 0, 5000));
	ck_assert_int_eq(fcntl(m->file.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	ck_assert_int_eq(pm_memcpy(m, base, "x", 1, 0), -EACCES);
	ck_assert_int_eq(pm_memmove(m, base, "x", 1, 0), -EACCES);
	ck_assert_int_eq(pm_memset(m, base, 0, 1, 0), -EACCES);
	ck_assert_int_eq(pm_memset(m, base, 0, 0, 0), -EACCES);
	unit_ok(pm_persist(m, base, 5000));
	unit_ok(pm_unmap(m));
}
END_TEST

START_TEST(a_private_mapping_never_reaches_the_file)
{
	const char *path = unit_file("file", 5000);
	struct pm_mapping *m = unit_map(path, UNIT_OPTIONS(.flags = PM_PRIVATE)), *other = unit_map(path, NULL);
	char *base = pm_base(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_NONE);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_PRIVATE);
	unit_ok(pm_memset(m, base, 'x', 5000, 0));
	ck_assert_int_eq(base[4999], 'x');
	ck_assert(unit_has_pattern(pm_base(other), 0, 5000));
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(other));
	ck_assert_int_eq(pm_map(path, UNIT_OPTIONS(.flags = PM_PRIVATE, .sync = PM_GUARANTEE), &m), -PM_EVOLATILE);
}
END_TEST

START_TEST(anonymous_memory)
{
	struct pm_mapping *m = unit_map(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = 5000));
	char *base = pm_base(m);
	ck_assert_int_eq(pm_granularity_of(m), PM_NONE);
	ck_assert_uint_eq(pm_length(m), 5000);
	ck_assert_int_eq(base[4999], 0);
	unit_ok(pm_memcpy(m, base, "abc", 3, 0));
	unit_ok(pm_sync(m));
	unit_ok(pm_clear_error(m));
	ck_assert_int_eq(pm_persist(m, base, 5001), -ERANGE);
	const struct pm_report *r = unit_query(m);
	ck_assert_int_eq(r->reason, PM_REASON_ANONYMOUS);
	ck_assert_int_eq(r->direct, PM_NO);
	unit_ok(pm_unmap(m));
	for (enum pm_request sync = PM_HINT; sync <= PM_AVOID; sync++) {
		int rc = pm_map(NULL, UNIT_OPTIONS(.flags = PM_ANONYMOUS, .length = 1, .sync = sync), &m);
		ck_assert_int_eq(rc, sync == PM_GUARANTEE ? -PM_EVOLATILE : 0);
		if (!rc)
			unit_ok(pm_unmap(m));
	}
	unit_ok(pm_unmap(NULL));
}
END_TEST

/* ---- Descriptors ---- */

START_TEST(a_descriptor_stays_the_callers)
{
	const char *path = unit_file("file", 5000);
	int fd = open(path, O_RDWR | O_CLOEXEC), reader = open(path, O_RDONLY | O_CLOEXEC);
	struct pm_mapping *m = NULL, *r = NULL;
	ck_assert_int_eq(unlink(path), 0);
	fake_start(&fake_plain);
	unit_ok(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_CREATE, .length = 9000), &m));
	unit_ok(pm_map_fd(reader, UNIT_OPTIONS(.flags = PM_READ_ONLY), &r));
	/* Its entry is not ours to care for. */
	ck_assert_uint_eq(fake_calls(FAKE_fsync), 1);
	unit_ok(pm_sync(m));
	unit_ok(pm_sync(r));
	/* No call that could take an error from the caller's description, or lose one to it. */
	for (enum fake_call c = FAKE_fsync; c <= FAKE_syncfs; c++)
		for (unsigned i = 0; i < fake_calls(c); i++) {
			ck_assert_int_ne(fake_find(c, i)->fd, fd);
			ck_assert_int_ne(fake_find(c, i)->fd, reader);
		}
	ck_assert_int_ne(fake_find(FAKE_mmap, fake_calls(FAKE_mmap) - 1)->fd, reader);
	off_t end = lseek(fd, 0, SEEK_END);
	ck_assert_int_eq(end, 9000);
	ck_assert_int_eq(lseek(m->file.fd, 0, SEEK_CUR), 0);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(close(reader), 0);
	unit_ok(pm_memset(m, pm_base(m), 'x', 9000, 0));
	ck_assert_int_eq(*(char *)pm_base(r), 'x');
	unit_ok(pm_unmap(m));
	unit_ok(pm_unmap(r));
}
END_TEST

START_TEST(a_descriptor_of_memory)
{
	struct pm_mapping *m = NULL;
	int fd = memfd_create("unit", MFD_CLOEXEC);
	if (fd < 0)
		return;
	unit_ok(pm_map_fd(fd, UNIT_OPTIONS(.flags = PM_CREATE, .length = 5000), &m));
	ck_assert_int_eq(pm_granularity_of(m), PM_NONE);
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_VOLATILE);
	unit_ok(pm_memset(m, pm_base(m), 'x', 5000, 0));
	unit_ok(pm_unmap(m));
	char c = 0;
	ck_assert_int_eq(pread(fd, &c, 1, 4999), 1);
	ck_assert_int_eq(c, 'x');
	close(fd);
}
END_TEST

/* ---- While it lives ---- */

START_TEST(renaming_and_unlinking_a_mapped_file)
{
	const char *path = unit_file("file", 5000), *other = unit_path("other");
	struct pm_mapping *m = unit_map(path, NULL);
	ck_assert_int_eq(rename(path, other), 0);
	unit_ok(pm_memset(m, pm_base(m), 'x', 10, 0));
	ck_assert_int_eq(unlink(other), 0);
	unit_ok(pm_memset(m, pm_base(m), 'y', 10, 0));
	unit_ok(pm_sync(m));
	unit_query(m);
	unit_ok(pm_unmap(m));
	ck_assert(!unit_exists(path) && !unit_exists(other));
}
END_TEST

START_TEST(a_thousand_mappings_of_one_file)
{
	static struct pm_mapping *m[1000];
	struct rlimit limit;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max < 2000 ? limit.rlim_max : 2000;
	setrlimit(RLIMIT_NOFILE, &limit);
	size_t count = limit.rlim_cur < 1100 ? limit.rlim_cur - 100 : 1000;
	const char *path = unit_file("file", 1000);
	fake_start(&fake_plain);
	counting.recording = false;
	for (size_t i = 0; i < count; i++)
		m[i] = unit_map(path, UNIT_OPTIONS(.offset = i, .length = 1));
	for (size_t i = 0; i < count; i++)
		unit_ok(pm_memset(m[i], pm_base(m[i]), (int)(i % 251), 1, 0));
	struct pm_mapping *all = unit_map(path, NULL);
	for (size_t i = 0; i < count; i++)
		unit_expect(((unsigned char *)pm_base(all))[i] == i % 251);
	for (size_t i = 0; i < count; i++)
		unit_ok(pm_unmap(m[i]));
	unit_ok(pm_unmap(all));
	ck_assert_uint_eq(fake_open_files() + fake_mapped_bytes(), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("life");
	tcase_add_test(c, a_created_file_is_there_durably);
	tcase_add_test(c, an_existing_file_is_kept_and_grown);
	tcase_add_loop_test(c, the_directory_that_holds_the_entry_is_synced, 0, (int)COUNT(links));
	tcase_add_test(c, a_relative_path);
	tcase_add_test(c, an_unreadable_directory_is_synced_with_its_file_system);
	tcase_add_loop_test(c, a_sparse_file_is_not_allocated, 0, 2);
	tcase_add_test(c, preparing_keeps_content_and_leaves_no_work);
	tcase_add_test(c, prepared_memory_is_populated_and_aligned);
	tcase_add_loop_test(c, readahead_has_no_part_in_preparing, 0, 2);
	tcase_add_test(c, a_file_created_on_a_direct_medium_is_prepared);
	tcase_add_test(c, a_read_only_mapping);
	tcase_add_test(c, a_private_mapping_never_reaches_the_file);
	tcase_add_test(c, anonymous_memory);
	tcase_add_test(c, a_descriptor_stays_the_callers);
	tcase_add_test(c, a_descriptor_of_memory);
	tcase_add_test(c, renaming_and_unlinking_a_mapped_file);
	tcase_add_test(c, a_thousand_mappings_of_one_file);
	return unit_run();
}
