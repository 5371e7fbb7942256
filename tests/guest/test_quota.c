/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Full is not broken: test_quota DIRECTORY DEVICE [DIRECTORY DEVICE]...; test_quota --limit DIRECTORY DEVICE USER BYTES
 * makes a directory for another program. A user's quota, a project's, and one of inodes, each met where a file is
 * created, grown, prepared, written and stored to. Every call says what it is, loses nothing, leaves nothing behind,
 * and goes well once there is room again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#ifndef PRJQUOTA
#define PRJQUOTA 2
#endif
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)
#define LIMIT (8 * MIB)
#define TOO_MUCH (16 * MIB)
#define PATIENCE 30 /* seconds */
#define HELP "; raise the quota of the file's user, group or project, or remove files that count for it"
#define HELP_SPACE "; free space on its file system or in the quota of its project"
#define LESS ", or ask for less"

static char path[256], filler[256];
/* XFS says of a project that there is no space (fs/xfs/xfs_trans_dquot.c xfs_trans_dqresv). */
static int full;

/* ---- What is seen ---- */

static uint64_t blocks_of(const char *file)
{
	struct stat st;
	return stat(file, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

static int64_t size_of(const char *file)
{
	struct stat st;
	return stat(file, &st) ? -1 : st.st_size;
}

/* The call, the path, what it is, and what helps: to ask for less where the call was given a length. */
static bool says(const char *call)
{
	const char *text = pm_error_detail();
	char begin[300];
	snprintf(begin, sizeof(begin), "%s '%s': ", call, path);
	bool has_length = !strcmp(call, "pm_map") || !strcmp(call, "pm_resize");
	if (full == -ENOSPC && has_length != !!strstr(text, LESS))
		return false;
	return !strncmp(text, begin, strlen(begin)) && strstr(text, pm_strerror(full)) &&
	       strstr(text, full == -EDQUOT ? HELP : HELP_SPACE);
}

static int map(unsigned flags, size_t length, struct pm_mapping **m)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags, .length = length};
	return pm_map(path, &o, m);
}

static bool is_at(const char *base, size_t at, char value)
{
	char there = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool read = pread(fd, &there, 1, (off_t)at) == 1;
	close(fd);
	return base[at] == value && read && there == value;
}

/* Cut first: its blocks are given back before the call returns, on XFS as well. */
static void drop(const char *file)
{
	CHECK(!truncate(file, 0) && !unlink(file), "%s: %m", file);
}

/* Nothing of a failed call counts for the quota any more: the whole allowance is free again. */
static void check_nothing_is_held(void)
{
	int fd = open(filler, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = -1;
	/* XFS takes the blocks of a removed file in the background (fs/xfs/xfs_icache.c xfs_inodegc_worker). */
	for (int i = 0; i < PATIENCE * 100 && rc; i++) {
		rc = fallocate(fd, 0, 0, (off_t)(LIMIT - 512 * 1024));
		if (rc)
			usleep(10000);
	}
	CHECK(!rc, "%m");
	close(fd);
	drop(filler);
}

/* ---- Creating, growing, preparing ---- */

static void check_create(void)
{
	static const unsigned flags[] = {0, PM_PREPARE, PM_EXCLUSIVE | PM_PREPARE, PM_WATCH};
	struct pm_mapping *m;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		int rc = map(PM_CREATE | flags[i], TOO_MUCH, &m);
		CHECK(rc == full, "%d with %#x: %s", rc, flags[i], pm_error_detail());
		CHECK(says("pm_map"), "%s", pm_error_detail());
		CHECK(size_of(path) == -1, "a file of %lld bytes", (long long)size_of(path));
		check_nothing_is_held();
		if (!rc)
			pm_unmap(m), drop(path);
	}
	/* The same name; most of what there may be, so that nothing can be reserved twice. */
	CHECK(map(PM_CREATE | PM_PREPARE, 5 * MIB, &m) == 0);
	CHECK(pm_memset(m, pm_base(m), 'k', 5 * MIB, 0) == 0);
	CHECK(pm_unmap(m) == 0);
	CHECK(map(PM_PREPARE, 0, &m) == 0 && pm_unmap(m) == 0);
	/* A file that was there, and is to be longer. */
	int rc = map(PM_CREATE | PM_PREPARE, TOO_MUCH, &m);
	CHECK(rc == full && says("pm_map"), "%d, %s", rc, pm_error_detail());
	CHECK(size_of(path) == (int64_t)(5 * MIB) && blocks_of(path) < 5 * MIB + 64 * 1024);
	drop(path);
}

static void check_resize(unsigned flags)
{
	struct pm_mapping *m;
	if (map(PM_CREATE | flags, 2 * MIB, &m)) {
		CHECK(false);
		return;
	}
	for (int round = 0; round < 3; round++) {
		CHECK(pm_memset(m, (char *)pm_base(m) + MIB, 'a' + round, PAGE, 0) == 0);
		int rc = pm_resize(m, TOO_MUCH);
		CHECK(rc == full && says("pm_resize"), "%d, %s", rc, pm_error_detail());
		CHECK(pm_length(m) == 2 * MIB && size_of(path) == (int64_t)(2 * MIB));
		CHECK(blocks_of(path) <= 2 * MIB + 64 * 1024, "%llu", (unsigned long long)blocks_of(path));
		CHECK(is_at(pm_base(m), MIB, (char)('a' + round)));
		CHECK(pm_persist(m, (char *)pm_base(m) + MIB, PAGE) == 0 && pm_sync(m) == 0);
	}
	CHECK(pm_resize(m, 7 * MIB) == 0);
	CHECK(is_at(pm_base(m), MIB, 'c'));
	CHECK(pm_unmap(m) == 0);
	drop(path);
	check_nothing_is_held();
}

static void make_sparse(size_t length)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(ftruncate(fd, (off_t)length) == 0);
	CHECK(pwrite(fd, "kept", 4, 0) == 4 && fsync(fd) == 0);
	close(fd);
}

static void check_prepare(void)
{
	struct pm_mapping *m;
	make_sparse(TOO_MUCH);
	int rc = map(PM_PREPARE, 0, &m);
	CHECK(rc == full && says("pm_map"), "%d, %s", rc, pm_error_detail());
	CHECK(size_of(path) == (int64_t)TOO_MUCH);
	if (!rc)
		pm_unmap(m);
	/* What it got before it failed is the file's, and is given back with it. */
	drop(path);
	check_nothing_is_held();
}

/* ---- Stores and writes ---- */

static int store(void *at)
{
	*(volatile char *)at = 's';
	return 7;
}

struct copy {
	struct pm_mapping *m;
	char *to;
};

static int copy(void *arg)
{
	struct copy *c = arg;
	return pm_memcpy(c->m, c->to, "copied", 6, 0) ? 8 : 7;
}

/* Guarded stores into holes until there is no block any more: where. */
static size_t store_until_full(struct pm_mapping *m, int *rc)
{
	struct pm_fault f;
	size_t at = PAGE;
	for (; at < TOO_MUCH; at += PAGE) {
		*rc = pm_guarded(m, store, (char *)pm_base(m) + at, &f, sizeof(f));
		if (*rc != 7)
			break;
		if (at / PAGE % 64 == 0)
			CHECK(pm_persist(m, (char *)pm_base(m) + at, 1) == 0);
	}
	CHECK(*rc == 7 || (f.error == full && f.offset == at), "%d at %llu", f.error, (unsigned long long)f.offset);
	return at;
}

static void count_stores(struct pm_mapping *m, size_t end)
{
	unsigned lost = 0;
	CHECK(pm_drain(m) == 0 && pm_sync(m) == 0);
	for (size_t at = PAGE; at < end; at += PAGE)
		lost += !is_at(pm_base(m), at, 's');
	CHECK(!lost, "%u of %zu stores are not in the file", lost, end / PAGE - 1);
}

static void check_full_mapping(struct pm_mapping *m, size_t at)
{
	char *base = pm_base(m);
	struct pm_fault f;
	struct copy c = {m, base + at + 100 * PAGE};
	int rc = 7;
	/* A sync gives back what ext4 set aside for metadata. */
	for (; rc == 7 && c.to < base + TOO_MUCH - 100 * PAGE; c.to += PAGE)
		rc = pm_guarded(m, copy, &c, &f, sizeof(f));
	CHECK(rc == full && says("pm_guarded"), "%d, %s", rc, pm_error_detail());
	/* Where a store wanted blocks for a large folio, a page is still to be had. */
	size_t to = at + 50 * PAGE;
	for (rc = 0; !rc && to < TOO_MUCH - PAGE; to += PAGE)
		rc = pm_write(m, base + to, "written", 7);
	CHECK(rc == full && says("pm_write"), "%d, %s", rc, pm_error_detail());
	/* No call is poisoned by it. */
	CHECK(pm_persist(m, base, 4) == 0 && pm_drain(m) == 0);
	CHECK(pm_memcpy(m, base, "KEPT", 4, 0) == 0 && pm_write(m, base + 1, "e", 1) == 0);
	CHECK(pm_deep_persist(m, base, 4) == 0);
	CHECK(!memcmp(base, "KePT", 4));
	/* A hole is no page that could be written; what the file has is committed. */
	base[5] = 'c', base[2 * PAGE] = 'c';
	CHECK(pm_commit(m, (struct pm_range[]){{base + 2 * PAGE, 1}, {base + TOO_MUCH - PAGE, PAGE}, {base, 6}}, 3) ==
	      0);
	CHECK(is_at(base, 5, 'c') && is_at(base, 2 * PAGE, 'c'));
	base[2 * PAGE] = 's';
}

static void check_sparse(unsigned flags)
{
	struct pm_mapping *m;
	struct pm_fault f;
	int rc = 7;
	make_sparse(TOO_MUCH);
	/* Takes what the stores may not take. */
	int other = open(filler, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fallocate(other, 0, 0, (off_t)(6 * MIB)) == 0, "%m");
	if (map(flags, 0, &m)) {
		CHECK(false);
		return;
	}
	size_t at = store_until_full(m, &rc);
	CHECK(rc == full && says("pm_guarded"), "%d at %zu, %s", rc, at, pm_error_detail());
	CHECK(at > PAGE, "no store was made");
	count_stores(m, at);
	check_full_mapping(m, at);
	/* There is room again. */
	CHECK(ftruncate(other, 0) == 0 && fsync(other) == 0);
	CHECK(pm_guarded(m, store, (char *)pm_base(m) + at, &f, sizeof(f)) == 7, "%s", pm_error_detail());
	CHECK(pm_write(m, (char *)pm_base(m) + at + 50 * PAGE, "written", 7) == 0);
	CHECK(pm_sync(m) == 0);
	count_stores(m, at + PAGE);
	CHECK(pm_unmap(m) == 0);
	close(other);
	drop(filler);
	drop(path);
}

/* ---- Inodes ---- */

static void check_inodes(void)
{
	struct pm_mapping *m;
	int rc = map(PM_CREATE, PAGE, &m);
	CHECK(rc == full && says("pm_map"), "%d, %s", rc, pm_error_detail());
	CHECK(size_of(path) == -1);
	if (!rc)
		pm_unmap(m), drop(path);
}

/* ---- Which user or project is limited ---- */

static int live(const char *directory, unsigned uid, bool inodes, bool project)
{
	struct statfs fs;
	failures = 0;
	CHECK(!statfs(directory, &fs), "%m");
	full = project && fs.f_type == XFS_SUPER_MAGIC ? -ENOSPC : -EDQUOT;
	snprintf(path, sizeof(path), "%s/mapped", directory);
	snprintf(filler, sizeof(filler), "%s/filler", directory);
	if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid) || chdir(directory))
		return 1;
	if (inodes) {
		check_inodes();
		return failures;
	}
	CHECK(pm_guard_install() == 0);
	check_create();
	check_resize(0);
	check_resize(PM_PREPARE);
	check_prepare();
	check_sparse(0);
	check_sparse(PM_WATCH);
	return failures;
}

static void set_quota(const char *device, int type, unsigned id, uint64_t bytes, uint64_t inodes)
{
	struct dqblk d = {.dqb_bhardlimit = bytes / 1024, .dqb_ihardlimit = inodes, .dqb_valid = QIF_LIMITS};
	CHECK(!syscall(SYS_quotactl, QCMD(Q_SETQUOTA, type), device, id, &d), "quotactl %s: %m", device);
}

static void count_for_project(const char *directory, unsigned id)
{
	struct fsxattr x;
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(!ioctl(fd, FS_IOC_FSGETXATTR, &x), "%m");
	x.fsx_projid = id;
	x.fsx_xflags |= FS_XFLAG_PROJINHERIT;
	CHECK(!ioctl(fd, FS_IOC_FSSETXATTR, &x), "%m");
	close(fd);
}

static void check_as(const char *top, const char *device, unsigned which)
{
	static const char *const kinds[] = {"user", "project", "inodes"};
	static unsigned id = 1000;
	char directory[128];
	int status;
	id++;
	snprintf(directory, sizeof(directory), "%s/%s", top, kinds[which]);
	CHECK(!mkdir(directory, 0700) && !chown(directory, id, id), "%m");
	if (which == 1)
		count_for_project(directory, id);
	/* The directory is an inode of the user's as well. */
	set_quota(device, which == 1 ? PRJQUOTA : USRQUOTA, id, which == 2 ? 0 : LIMIT, which == 2);
	fflush(stdout);
	pid_t pid = fork();
	if (!pid) {
		status = live(directory, id, which == 2, which == 1);
		fflush(stdout);
		_exit(status ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
	printf("%s, %s quota: status %#x\n", top, kinds[which], status);
}

/* For programs that are to meet a quota: a directory of user ID. */
static int limit(const char *directory, const char *device, unsigned id, uint64_t bytes)
{
	CHECK(!mkdir(directory, 0700) && !chown(directory, id, id), "%m");
	set_quota(device, USRQUOTA, id, bytes, 0);
	return failures != 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 6 && !strcmp(argv[1], "--limit"))
		return limit(argv[2], argv[3], (unsigned)atoi(argv[4]), strtoull(argv[5], NULL, 0));
	for (int i = 1; i + 1 < argc; i += 2)
		for (unsigned which = 0; which < 3; which++) {
			place_checked = argv[i];
			check_as(argv[i], argv[i + 1], which);
		}
	printf("%d failures\n", failures);
	return argc < 3 ? 2 : failures != 0;
}
