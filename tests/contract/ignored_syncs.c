/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Syncs that succeed and are not made, for real: ignored_syncs DIRECTORY [SHIM]. A filter of system calls has one of
 * them after the other return 0, as systemd-nspawn --suppress-sync=yes does with all; or the preloaded shim named by
 * SHIM does. Each case is a process of its own, as a filter cannot be taken back.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 65536u
#define SKIP 77

/* In the order of the bits that the cases have. */
static const struct {
	const char *name;
	int number;
} calls[] = {{"msync", SYS_msync}, {"fsync", SYS_fsync}, {"fdatasync", SYS_fdatasync}, {"syncfs", SYS_syncfs},
             {"sync_file_range", SYS_sync_file_range}};
#define COUNT (sizeof(calls) / sizeof(calls[0]))

static bool ignore(int number)
{
	struct sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	                               BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
	                               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
	                               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static bool ignore_all(unsigned mask)
{
	bool ok = true;
	for (unsigned i = 0; i < COUNT; i++)
		if (mask & 1u << i)
			ok &= ignore(calls[i].number);
	return ok;
}

enum when { BEFORE, AFTER };

/* What is wrong; NULL: nothing. */
static const char *look(const char *path, unsigned flags, unsigned mask, bool expected, enum when when)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags, .length = SIZE};
	struct pm_mapping *m;
	struct pm_report r;
	if (when == BEFORE && !ignore_all(mask))
		exit(SKIP);
	if (pm_map(path, &o, &m))
		return pm_error_detail();
	if (when == AFTER && !ignore_all(mask))
		exit(SKIP);
	if (when == BEFORE && (pm_granularity_of(m) == PM_NONE) != expected)
		return expected ? "pm_map() believes it" : "pm_map() takes an honest one for ignored";
	if (pm_query(m, &r, sizeof(r)))
		return pm_error_detail();
	if ((r.granularity == PM_NONE) != expected || (r.reason == PM_REASON_SYNC_IGNORED) != expected)
		return expected ? "pm_query() believes it" : "pm_query() takes an honest one for ignored";
	if (r.evidence[PM_EV_SYNC_IGNORED].state != (expected ? PM_YES : PM_NO))
		return "the row of evidence says something else";
	if (pm_persist(m, pm_base(m), 4096) || pm_unmap(m))
		return pm_error_detail();
	/* What was new is there by now, and pm_map() would make the same calls again. */
	o.sync = PM_GUARANTEE;
	int rc = pm_map(path, &o, &m);
	return !expected || rc == -PM_EVOLATILE ? NULL : "a guarantee is not refused for it";
}

/* In a process of its own: its exit status. */
static int try(const char *directory, const char *name, unsigned flags, unsigned mask, bool expected, enum when when)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/ignored-%d-%s", directory, (int)getpid(), flags & PM_CREATE ? "new" : "old");
	if (!(flags & PM_CREATE)) {
		int fd = open(path, O_RDWR | O_CREAT, 0600);
		if (fd < 0 || ftruncate(fd, SIZE) || close(fd))
			return perror(path), 1;
	}
	pid_t child = fork();
	if (child == 0) {
		const char *wrong = look(path, flags, mask, expected, when);
		printf("%-28s ignored 0x%02x %s: %s\n", name, mask, when == AFTER ? "later" : "     ",
		       wrong ? wrong : "right");
		fflush(stdout);
		_exit(wrong != NULL);
	}
	int status = 0;
	waitpid(child, &status, 0);
	unlink(path);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

enum { MSYNC = 1, FSYNC = 2, FDATASYNC = 4, SYNC_FILE_RANGE = 16, ALL = 31 };

static const struct {
	const char *name;
	unsigned flags, stands_on;
} kinds[] = {
	{"an existing file", 0, MSYNC},
	{"one to be read", PM_READ_ONLY, FDATASYNC},
	{"a new file", PM_CREATE, MSYNC | FSYNC},
	{"one that is prepared", PM_PREPARE, MSYNC | FSYNC},
};

static int by_filter(const char *directory)
{
	/* Not syncfs(2) alone: an ext4 without a journal stands on it, and which this is is not known here. */
	static const unsigned masks[] = {0, MSYNC, FSYNC, FDATASYNC, SYNC_FILE_RANGE, ALL};
	int failed = 0;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
			for (int when = BEFORE; when <= AFTER; when++) {
				int rc = try(directory, kinds[k].name, kinds[k].flags, masks[i],
				             masks[i] & kinds[k].stands_on, (enum when)when);
				if (rc == SKIP)
					return SKIP;
				failed += rc != 0;
			}
		}
	}
	return failed != 0;
}

static int by_shim(const char *directory)
{
	int failed = 0;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		failed += try(directory, kinds[k].name, kinds[k].flags, 0, true, BEFORE) != 0;
	return failed != 0;
}

/* Memory is volatile, filter or not. */
static bool is_memory(const char *directory)
{
	char path[512];
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE, .length = SIZE};
	struct pm_report r;
	snprintf(path, sizeof(path), "%s/never", directory);
	return pm_probe(path, &o, &r, sizeof(r)) || r.reason == PM_REASON_VOLATILE;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return fprintf(stderr, "usage: %s DIRECTORY [SHIM]\n", argv[0]), 2;
	if (argc > 2 && !getenv("LD_PRELOAD")) {
		setenv("LD_PRELOAD", argv[2], 1);
		execv(argv[0], argv);
		return perror(argv[0]), 1;
	}
	if (argc == 2 && is_memory(argv[1]))
		return printf("skipped: %s is memory\n", argv[1]), SKIP;
	int rc = argc > 2 ? by_shim(argv[1]) : by_filter(argv[1]);
	if (rc == SKIP)
		printf("skipped: no filter of system calls can be installed here\n");
	return rc;
}
