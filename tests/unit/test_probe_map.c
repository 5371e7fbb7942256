/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pm_probe() fails where pm_map() fails, with the same code and the same reason; and it is of one mind with it
 * elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "unit.h"

#define SIZE 65536u

static struct pm_report probed, mapped;
static char sentence[1024];

/* What follows the call and the path, which may be cut. */
static const char *reason_in(const char *text)
{
	const char *at = strstr(text, "': ");
	return at ? at : text;
}

static void remove_again(const char *path);

/* pm_map() may say besides what stays of its attempt, of which a probe makes none. */
static void check_reason(void)
{
	static const char grown[] = "; the file was grown to ", blocks[] = "; blocks that were reserved behind";
	const char *reason = reason_in(pm_error_detail()), *more = reason + strlen(sentence);
	bool is_foretold = !strncmp(reason, sentence, strlen(sentence)) &&
	                   (!*more || !strncmp(more, grown, strlen(grown)) || !strncmp(more, blocks, strlen(blocks)));
	ck_assert_msg(is_foretold, "\"%s\" and then \"%s\"", sentence, reason);
}

/* Blocks of what was written just now may be counted by and by, as the kernel writes it back. */
static void settle(const char *path)
{
	struct stat st;
	int fd = !stat(path, &st) && S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

/* Returns what pm_map() did, which pm_probe() foretold. */
static int agree(const char *path, const struct pm_options *o)
{
	struct stat before, after;
	struct pm_mapping *m = NULL;
	settle(path);
	bool exists = !stat(path, &before);
	unsigned open_files = unit_open_files();
	int foretold = pm_probe(path, o, &probed, sizeof(probed));
	snprintf(sentence, sizeof(sentence), "%s", foretold ? reason_in(pm_error_detail()) : "");
	ck_assert_uint_eq(unit_open_files(), open_files);
	ck_assert_int_eq(stat(path, &after), exists ? 0 : -1);
	if (exists) {
		ck_assert_int_eq(after.st_size, before.st_size);
		ck_assert_int_eq(after.st_blocks, before.st_blocks);
		ck_assert_int_eq(memcmp(&after.st_mtim, &before.st_mtim, sizeof(after.st_mtim)), 0);
	}
	int rc = pm_map(path, o, &m);
	unsigned flags = o ? o->flags : 0;
	if (rc && !foretold && probed.verdict == PM_VERDICT_REFUSED)
		return rc;
	ck_assert_msg(rc == foretold, "%s, flags 0x%x: %d, and then %d (%s)", path, flags, foretold, rc,
	              pm_error_detail());
	if (rc) {
		check_reason();
		return rc;
	}
	mapped = *unit_query(m);
	unit_ok(pm_unmap(m));
	if (!exists)
		remove_again(path);
	ck_assert_int_eq(probed.granularity, mapped.granularity);
	ck_assert_int_eq(probed.sync, mapped.sync);
	ck_assert_int_eq(probed.direct, mapped.direct);
	ck_assert_int_eq(probed.grade, mapped.grade);
	ck_assert_int_eq(probed.verdict, mapped.verdict);
	ck_assert_int_eq(probed.reason, mapped.reason);
	ck_assert_uint_eq(probed.length, mapped.length);
	return 0;
}

static const struct pm_options asks[] = {
	{.flags = 0},
	{.flags = PM_READ_ONLY},
	{.flags = PM_PRIVATE},
	{.flags = PM_PRIVATE | PM_READ_ONLY},
	{.offset = 100, .length = 7},
	{.offset = 4096},
	{.offset = 1 << 20},
	{.length = 1 << 20},
	{.sync = PM_GUARANTEE},
	{.direct = PM_GUARANTEE},
	{.sync = PM_AVOID, .direct = PM_AVOID},
	{.flags = PM_TRUST_KERNEL},
	{.flags = PM_PREPARE},
	{.flags = PM_CREATE},
	{.flags = PM_CREATE, .length = SIZE},
	{.flags = PM_CREATE | PM_EXCLUSIVE, .length = SIZE},
	{.flags = PM_CREATE, .length = 3 * SIZE},
	{.flags = PM_CREATE | PM_SPARSE, .length = 5 * SIZE},
	{.flags = PM_CREATE | PM_PREPARE, .offset = 6 * SIZE, .length = SIZE},
	{.flags = PM_READ_ONLY, .offset = 5, .length = 1},
};

/* ---- Files that refuse it ---- */

static int made = -1;

static const char *sealed(unsigned seals)
{
	static char path[40];
	made = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert(made >= 0 && !ftruncate(made, SIZE) && !fcntl(made, F_ADD_SEALS, seals));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", made);
	return path;
}

static const char *sealed_for_good(void)
{
	return sealed(F_SEAL_WRITE);
}

static const char *sealed_from_now(void)
{
	return sealed(0x0010 /* F_SEAL_FUTURE_WRITE */);
}

static const char *sealed_in_size(void)
{
	return sealed(F_SEAL_SHRINK | F_SEAL_GROW);
}

static const char *sealed_in_growth(void)
{
	return sealed(F_SEAL_GROW);
}

static const char *sealed_in_growth_and_content(void)
{
	return sealed(F_SEAL_GROW | F_SEAL_WRITE);
}

/* By an attribute, which is taken off at the end: else the file could not be removed. */
static const char *fixed;

static bool set_attribute(const char *path, int flag)
{
	int flags = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool is_set = fd >= 0 && !ioctl(fd, FS_IOC_GETFLAGS, &flags);
	flags = (flags & ~(FS_IMMUTABLE_FL | FS_APPEND_FL)) | flag;
	is_set = is_set && !ioctl(fd, FS_IOC_SETFLAGS, &flags);
	if (fd >= 0)
		close(fd);
	fixed = is_set && flag ? path : NULL;
	return is_set;
}

/* So that the next ask finds what this one did. */
static void remove_again(const char *path)
{
	const char *directory = fixed;
	if (directory)
		set_attribute(directory, 0);
	ck_assert_int_eq(unlink(path), 0);
	if (directory)
		set_attribute(directory, FS_APPEND_FL);
}

static const char *with_attribute(int flag)
{
	const char *path = unit_file("fixed", SIZE);
	return set_attribute(path, flag) ? path : NULL;
}

static const char *immutable(void)
{
	return with_attribute(FS_IMMUTABLE_FL);
}

static const char *append_only(void)
{
	return with_attribute(FS_APPEND_FL);
}

static char in_directory[PATH_MAX];

static const char *in_fixed(int flag, const char *name)
{
	const char *directory = unit_path("directory");
	ck_assert_int_eq(mkdir(directory, 0700), 0);
	snprintf(in_directory, sizeof(in_directory), "%s/%s", directory, name);
	return set_attribute(directory, flag) ? in_directory : NULL;
}

static const char *in_immutable(void)
{
	return in_fixed(FS_IMMUTABLE_FL, "new");
}

static const char *in_append_only(void)
{
	return in_fixed(FS_APPEND_FL, "new");
}

static const char *in_plain(void)
{
	return in_fixed(0, "new");
}

static const char *with_a_long_name(void)
{
	char name[NAME_MAX + 1];
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = 0;
	return in_fixed(0, name);
}

static const char *with_too_long_a_name(void)
{
	char name[NAME_MAX + 2];
	memset(name, 'n', NAME_MAX + 1);
	name[NAME_MAX + 1] = 0;
	return in_fixed(0, name);
}

static const char *in_no_directory(void)
{
	return in_fixed(0, "missing/new");
}

static const char *in_a_file(void)
{
	static char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/new", unit_file("file", SIZE));
	return path;
}

static const char *linked(const char *target)
{
	const char *path = unit_path("link");
	ck_assert_int_eq(symlink(target, path), 0);
	return path;
}

static const char *link_to_nothing(void)
{
	return linked("nothing");
}

static const char *link_to_itself(void)
{
	return linked("link");
}

static const char *a_directory(void)
{
	const char *path = unit_path("directory");
	ck_assert_int_eq(mkdir(path, 0700), 0);
	return path;
}

static const char *a_directory_by_a_slash(void)
{
	return in_fixed(0, "new/");
}

static const char *a_fifo(void)
{
	const char *path = unit_path("fifo");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	return path;
}

static const char *a_device(void)
{
	return "/dev/null";
}

static const char *empty(void)
{
	return unit_file("empty", 0);
}

/* One that can be written, so that it is the mapping that is refused. */
static const char *of_sysfs(void)
{
	static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
	return access(path, R_OK | W_OK) ? NULL : path;
}

static const char *of_sysfs_to_read(void)
{
	static const char path[] = "/sys/kernel/uevent_seqnum";
	return access(path, R_OK) ? NULL : path;
}

static const char *of_procfs(void)
{
	return "/proc/version";
}

static const char *plain(void)
{
	return unit_file("file", SIZE);
}

static const char *write_protected(void)
{
	const char *path = unit_file("protected", SIZE);
	ck_assert_int_eq(chmod(path, 0400), 0);
	return path;
}

static const char *on_memory(void)
{
	static char path[] = "/dev/shm/pm_probe_map";
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, SIZE))
		return NULL;
	close(fd);
	return path;
}

static const struct {
	const char *(*make)(void);
	int to_write, to_read, private; /* of the whole file */
	const char *word;               /* in the sentence */
} files[] = {
	{plain, 0, 0, 0, NULL},
	{on_memory, 0, 0, 0, NULL},
	{write_protected, 0, 0, 0, NULL}, /* but for root -EACCES, which the machine at hand tells */
	{sealed_for_good, -EPERM, 0, 0, "sealed"},
	{sealed_from_now, -EPERM, 0, 0, "sealed"},
	{sealed_in_size, 0, 0, 0, NULL},
	{of_sysfs, -ENODEV, -ENODEV, -ENODEV, "no shared mappings"},
	{of_sysfs_to_read, -EACCES, -ENODEV, -ENODEV, NULL},
	{of_procfs, -EACCES, -EINVAL, -EINVAL, NULL},
	{sealed_in_growth, 0, 0, 0, NULL},
	{sealed_in_growth_and_content, -EPERM, 0, 0, "sealed against writing"},
	{immutable, -EPERM, 0, 0, "chattr -i"},
	{append_only, -EPERM, 0, 0, "chattr -a"},
	{in_plain, -ENOENT, -ENOENT, -ENOENT, NULL},
	{in_immutable, -ENOENT, -ENOENT, -ENOENT, NULL},
	{in_append_only, -ENOENT, -ENOENT, -ENOENT, NULL},
	{with_a_long_name, -ENOENT, -ENOENT, -ENOENT, NULL},
	{with_too_long_a_name, -ENAMETOOLONG, -ENAMETOOLONG, -ENAMETOOLONG, NULL},
	{in_no_directory, -ENOENT, -ENOENT, -ENOENT, NULL},
	{in_a_file, -ENOTDIR, -ENOTDIR, -ENOTDIR, NULL},
	{link_to_nothing, -ENOENT, -ENOENT, -ENOENT, NULL},
	{link_to_itself, -ELOOP, -ELOOP, -ELOOP, NULL},
	{a_directory, -EISDIR, -EISDIR, -EISDIR, NULL},
	{a_directory_by_a_slash, -ENOENT, -ENOENT, -ENOENT, NULL},
	{a_fifo, -ENODEV, -ENODEV, -ENODEV, NULL},
	{a_device, -ENODEV, -ENODEV, -ENODEV, NULL},
	{empty, -EINVAL, -EINVAL, -EINVAL, NULL},
};

START_TEST(a_probe_fails_as_the_mapping)
{
	const char *path = files[_i].make();
	if (!path)
		return;
	for (size_t i = 0; i < COUNT(asks); i++) {
		struct pm_options o = asks[i];
		o.size = sizeof(o);
		int rc = agree(path, &o);
		if (o.offset || o.length || o.sync || o.direct || o.flags & PM_TRUST_KERNEL)
			continue;
		int expected = o.flags & PM_PRIVATE ? files[_i].private : o.flags & PM_READ_ONLY ? files[_i].to_read
		                                                                                 : files[_i].to_write;
		/* Root may open what it cannot write. */
		bool may_differ = expected == -EACCES || files[_i].make == write_protected;
		if (o.flags & (PM_PREPARE | PM_CREATE))
			continue;
		ck_assert_msg(rc == expected || may_differ, "%d: %d, %s", _i, rc, pm_error_detail());
		if (rc == files[_i].to_write && rc && files[_i].word)
			ck_assert_ptr_nonnull(strstr(sentence, files[_i].word));
	}
	if (made >= 0)
		close(made);
	made = -1;
	if (fixed)
		set_attribute(fixed, 0);
	if (files[_i].make == on_memory)
		unlink(path);
}
END_TEST

/* ---- What a file system, or the process, refuses ---- */

static const struct {
	int error;
	unsigned flags;
	const char *word;
} refusals[] = {
	{ENODEV, 0, "no shared mappings"},
	{ENODEV, PM_READ_ONLY, "no shared mappings"},
	{EINVAL, 0, "no shared mappings to write by"}, /* 9p without a cache, before Linux 6.4 */
	{EPERM, 0, "mmap of 65536 bytes failed"}, /* not by the file */
	{ETXTBSY, 0, "swap"},
	{ENOMEM, 0, "memory"},
	{EAGAIN, 0, "mmap of 65536 bytes failed"},
	{EIO, PM_PRIVATE, "mmap of 65536 bytes failed"},
};

static int refused_mmap;

static int refuse_mmap(void **address, size_t length, int prot, int flags, int fd, uint64_t offset)
{
	if (fd >= 0 && (flags & MAP_TYPE) != MAP_SHARED_VALIDATE)
		return -refused_mmap;
	return pm_sys_linux.mmap(address, length, prot, flags, fd, offset);
}

START_TEST(a_refused_mapping_is_foretold)
{
	struct machine refusing;
	const char *path = plain();
	refused_mmap = refusals[_i].error;
	machine_put(&refusing, MACHINE(.mmap = refuse_mmap));
	/* Avoided, since a DAX file is mapped with MAP_SYNC. */
	struct pm_options o = {.size = sizeof(o), .flags = refusals[_i].flags, .sync = PM_AVOID};
	int rc = agree(path, &o);
	machine_remove(&refusing);
	ck_assert_int_eq(rc, -refusals[_i].error);
	ck_assert_msg(strstr(sentence, refusals[_i].word) != NULL, "%s", sentence);
}
END_TEST

START_TEST(a_limit_of_size_is_foretold)
{
	const char *path = plain();
	struct rlimit old, small = {2 * SIZE, RLIM_INFINITY};
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	ck_assert_int_eq(agree(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 3 * SIZE)), -EFBIG);
	ck_assert_int_eq(agree(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = 2 * SIZE)), 0);
	ck_assert_int_eq(agree(path, UNIT_OPTIONS(.flags = PM_CREATE, .length = SIZE, .offset = 2 * SIZE)), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
}
END_TEST

/* Under a guarantee it fails for want of what the evidence takes. */
START_TEST(a_shortage_is_foretold)
{
	const char *path = plain();
	fake_start(&fake_dax);
	fake_fail(FAKE_memfd_create, 0, EMFILE);
	ck_assert_int_eq(agree(path, UNIT_OPTIONS(.sync = PM_GUARANTEE)), -EMFILE);
	fake_fail(FAKE_memfd_create, 0, 0);
	ck_assert_int_eq(agree(path, UNIT_OPTIONS(.sync = PM_GUARANTEE)), 0);
}
END_TEST

/* A page of a hugetlbfs that is mapped to be written makes the file as long. */
START_TEST(a_file_of_huge_pages_does_not_grow)
{
	const char *path = unit_file("empty", 0);
	fake_start(&fake_tmpfs);
	fake.machine.magic = HUGETLBFS_MAGIC;
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE, .length = 2 * unit_page()};
	fake_forget();
	unit_ok(pm_probe(path, &o, &probed, sizeof(probed)));
	const struct fake_record *r;
	for (unsigned i = 0; (r = fake_find(FAKE_mmap, i)); i++)
		ck_assert_uint_ne(r->flags, MAP_SHARED);
	ck_assert_uint_eq(unit_size_of(path), 0);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("probe_map");
	tcase_add_loop_test(c, a_probe_fails_as_the_mapping, 0, (int)COUNT(files));
	tcase_add_loop_test(c, a_refused_mapping_is_foretold, 0, (int)COUNT(refusals));
	tcase_add_test(c, a_limit_of_size_is_foretold);
	tcase_add_test(c, a_shortage_is_foretold);
	tcase_add_test(c, a_file_of_huge_pages_does_not_grow);
	return unit_run();
}
