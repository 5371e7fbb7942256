/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "look.h"
#include "output.h"
#include "reach.h"
#include "scope.h"
#include "text.h"

static int take_pids(struct scope *s, const char *list)
{
	if (s->is_all)
		return say("-p: all processes are asked for already by --all"), -1;
	for (const char *at = list;; at++) {
		char *end;
		long pid = strtol(at, &end, 10);
		if (end == at || pid <= 0 || pid > INT32_MAX || (*end && *end != ',')) {
			say("-p: \"%s\" is no list of process numbers", list);
			return -1;
		}
		if (s->pid_count == SCOPE_PIDS) {
			say("-p: more than %d processes", SCOPE_PIDS);
			return -1;
		}
		s->pids[s->pid_count++] = (pid_t)pid;
		at = end;
		if (!*at)
			return 1;
	}
}

int scope_take(struct scope *s, int option)
{
	switch (option) {
	case 'p':
		return take_pids(s, optarg);
	case 'a':
		s->is_all = true;
		return s->pid_count ? (say("--all: -p has asked for some processes already"), -1) : 1;
	case 'f':
		s->file = optarg;
		return 1;
	case 'w':
		s->only_writable = true;
		return 1;
	default:
		return 0;
	}
}

/* By its numbers, as stat(2) has them for both; what cannot be reached is another file. */
static bool is_file(const struct area *a, const struct statx *wanted)
{
	struct reached r;
	if (a->inode != wanted->stx_ino)
		return false;
	if (a->major == wanted->stx_dev_major && a->minor == wanted->stx_dev_minor)
		return true;
	return !reach(a, &r) && r.stx.stx_ino == wanted->stx_ino && r.stx.stx_dev_major == wanted->stx_dev_major &&
	       r.stx.stx_dev_minor == wanted->stx_dev_minor;
}

static void leave_out(const struct scope *s, const struct statx *wanted, struct areas *areas)
{
	size_t kept = 0;
	for (size_t i = 0; i < areas->count; i++) {
		struct area *a = &areas->list[i];
		if ((s->only_writable && !a->is_writable) || (s->file && !is_file(a, wanted)))
			free(a->path);
		else
			areas->list[kept++] = *a;
	}
	areas->count = kept;
}

static int read_one(pid_t pid, struct areas *areas)
{
	int rc = areas_read(areas, pid);
	bool is_hidden = rc == -EACCES || rc == -EPERM, is_gone = rc == -ENOENT || rc == -ESRCH;
	if (rc)
		say("process %d: %s", (int)pid,
		    is_hidden ? "this user may not see its mappings, for want of CAP_SYS_PTRACE"
		    : is_gone ? "there is no such process"
		              : strerror(-rc));
	return rc ? -1 : 0;
}

static int read_listed(struct scope *s, struct areas *areas)
{
	size_t left = 0, count = s->pid_count;
	for (size_t i = 0; i < count; i++)
		if (!read_one(s->pids[i], areas))
			s->pids[left++] = s->pids[i];
	s->pid_count = left;
	return left == count ? 0 : -1;
}

static int read_all(struct scope_rows *ret)
{
	pid_t *all = processes();
	if (!all)
		return say("/proc is not there, or cannot be read"), -1;
	for (size_t i = 0; all[i]; i++) {
		int rc = areas_read(&ret->areas, all[i]);
		/* One that ended meanwhile has no mappings. */
		ret->unseen += rc == -EACCES || rc == -EPERM;
	}
	free(all);
	return 0;
}

int scope_read(struct scope *s, struct scope_rows *ret)
{
	struct statx wanted = {0};
	int rc;
	*ret = (struct scope_rows){.unseen = 0};
	int missing = s->file ? look_at(s->file, 0, &wanted) : 0;
	if (missing) {
		say("%s: %s", text_path(s->file), strerror(-missing));
		return -1;
	}
	rc = s->pid_count ? read_listed(s, &ret->areas) : read_all(ret);
	leave_out(s, &wanted, &ret->areas);
	return rc;
}
