/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Syncs that a filter of system calls ignores, as systemd-nspawn --suppress-sync=yes does: what pm_persist() and
 * pm_sync() answered with 0 is gone after the cut, and the library has said before the first store that it promises
 * nothing.
 *
 *   suppressed store PLACE DIRECTORY...
 *   suppressed found PLACE DIRECTORY...
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "../guest/check.h"
#include "digest.h"

#define PAGE ((size_t)4096)
#define SIZE (4 * PAGE)

static void name_file(char path[static 256], const char *directory)
{
	snprintf(path, 256, "%s/suppressed", directory);
}

static bool ignore_syncs(void)
{
	static const unsigned ignored[] = {SYS_msync,  SYS_fsync, SYS_fdatasync,
	                                   SYS_syncfs, SYS_sync,  SYS_sync_file_range};
	enum { COUNT = sizeof(ignored) / sizeof(ignored[0]) };
	struct sock_filter filter[2 * COUNT + 2] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	for (size_t i = 0; i < COUNT; i++) {
		filter[1 + 2 * i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ignored[i], 0, 1);
		filter[2 + 2 * i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO);
	}
	filter[1 + 2 * COUNT] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {2 * COUNT + 2, filter};
	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* Blocks and size are durable, so that only content is at stake. */
static int make(const char *directory)
{
	char path[256];
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_PREPARE, .length = SIZE};
	struct pm_mapping *m;
	name_file(path, directory);
	if (pm_map(path, &o, &m))
		return complain(path, "pm_map");
	memset(pm_base(m), 'o', SIZE);
	return pm_sync(m) || pm_unmap(m) ? complain(path, "setting up") : 0;
}

static bool is_said(struct pm_mapping *m)
{
	struct pm_report r;
	return pm_granularity_of(m) == PM_NONE && !pm_query(m, &r, sizeof(r)) && r.granularity == PM_NONE &&
	       r.reason == PM_REASON_SYNC_IGNORED && r.evidence[PM_EV_SYNC_IGNORED].state == PM_YES;
}

/* On DAX a store is in the emulator's image at once, and nothing is to be lost. */
static int store(const char *place, const char *directory)
{
	char path[256], name[128];
	struct pm_options guarantee = {.size = sizeof(guarantee), .sync = PM_GUARANTEE}, hint = {.size = sizeof(hint)};
	struct pm_mapping *m;
	name_file(path, directory);
	if (pm_map(path, &guarantee, &m) != -PM_EVOLATILE)
		return complain(path, "a guarantee is not refused for ignored syncs");
	if (pm_map(path, &hint, &m))
		return complain(path, "pm_map");
	if (!is_said(m))
		return complain(path, "ignored syncs are not said before a store");
	char *base = pm_base(m);
	memset(base, 'p', PAGE);
	memset(base + 2 * PAGE, 's', PAGE);
	if (pm_persist(m, base, PAGE) || pm_sync(m))
		return complain(path, "calls that are made all the same");
	dprintf(STDOUT_FILENO, "note %s: syncs ignored, and said\n", place);
	for (size_t at = 0; at < SIZE && strstr(place, "disk"); at += 2 * PAGE) {
		snprintf(name, sizeof(name), "ignored-%s/%zu", place, at);
		tell("control", name, base + at, PAGE);
	}
	return 0;
}

static void find(const char *place, const char *directory)
{
	char path[256], name[128];
	name_file(path, directory);
	for (size_t at = 0; at < SIZE && strstr(place, "disk"); at += 2 * PAGE) {
		snprintf(name, sizeof(name), "ignored-%s/%zu", place, at);
		tell_found(name, path, at, PAGE);
	}
}

int main(int argc, char **argv)
{
	bool storing = argc > 3 && !strcmp(argv[1], "store");
	int rc = argc < 4 || argc % 2 ? 2 : 0;
	for (int i = 2; i + 1 < argc && storing && !rc; i += 2)
		rc = make(argv[i + 1]);
	if (storing && !rc && !ignore_syncs())
		rc = complain("seccomp", "no filter");
	for (int i = 2; i + 1 < argc && !rc; i += 2) {
		if (storing)
			rc = store(argv[i], argv[i + 1]);
		else
			find(argv[i], argv[i + 1]);
	}
	return rc;
}
