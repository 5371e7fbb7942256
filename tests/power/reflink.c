/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A DAX file of XFS that was cloned, and is then written to by write(2), taken apart from its clone, or loaded anew.
 * What a page shows through a mapping, and what is stored through it into another, is printed as VERB (promise or
 * control) once the library has said that it is durable.
 *
 *   reflink write VERB NAME FILE    pm_write() into shared extents; by default it is refused, and goes on after stores
 *   reflink unshare VERB NAME FILE  a second mapping with PM_PREPARE takes the extents apart under the first
 *   reflink soil FILE               whose content all free blocks have when it is gone again
 *   reflink grow HOW VERB NAME FILE grown, or a hole filled, with PM_PREPARE
 *   reflink open AS NAME FILE       the same while it is open elsewhere, which is refused or done
 *   reflink clone FILE CLONE
 *   reflink look AS NAME FILE       the report and what guarantees come to, AS direct or cached; a store is a promise
 *   reflink found NAME FILE         tells what the file holds
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pmdirect.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "../guest/check.h"
#include "digest.h"

#define PAGE ((size_t)4096)
#define SIZE (16 * PAGE)
#define SHOWN PAGE
#define STORED (2 * PAGE)
#define LOOKED_AT (3 * PAGE)
#define PATIENCE 10u /* seconds */

static void tell_as(const char *verb, const char *name, const char *what, const void *page)
{
	char full[128];
	snprintf(full, sizeof(full), "%s-%s", name, what);
	tell(verb, full, page, PAGE);
}

static int clone_file(const char *path, const char *clone)
{
	int from = open(path, O_RDONLY), to = open(clone, O_RDWR | O_CREAT | O_TRUNC, 0600);
	int rc = from < 0 || to < 0 || ioctl(to, FICLONE, from) || fsync(to) ? complain(path, "clone") : 0;
	close(from);
	close(to);
	return rc;
}

/* Another's content, in the blocks that it is left with. */
static int fill_file(const char *path, char c)
{
	char page[PAGE];
	int fd = open(path, O_WRONLY), rc = fd < 0;
	memset(page, c, PAGE);
	for (size_t at = 0; at < SIZE && !rc; at += PAGE)
		rc = pwrite(fd, page, PAGE, (off_t)at) != (ssize_t)PAGE;
	rc = rc || fsync(fd) ? complain(path, "fill") : 0;
	close(fd);
	return rc;
}

static struct pm_mapping *map(const char *path, unsigned flags, size_t length)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags, .length = length};
	struct pm_mapping *m = NULL;
	if (pm_map(path, &o, &m))
		complain(path, "pm_map");
	return m;
}

/*
 * A mapping whose pages are durable and were read since another process cloned the file: they are in the page tables.
 */
static struct pm_mapping *map_cloned(const char *path, size_t length, char clone[PATH_MAX])
{
	struct pm_mapping *m = map(path, PM_CREATE | PM_PREPARE, length);
	snprintf(clone, PATH_MAX, "%s.clone", path);
	if (!m || pm_memset(m, pm_base(m), 'o', length, 0))
		return complain(path, "pm_memset"), NULL;
	if (clone_file(path, clone))
		return NULL;
	for (size_t at = 0; at < length; at += PAGE)
		if (((volatile char *)pm_base(m))[at] != 'o')
			return complain(path, "a page has changed"), NULL;
	return m;
}

static sigjmp_buf out_of_store;

static void leave_store(int signal)
{
	(void)signal;
	siglongjmp(out_of_store, 1);
}

/* Whether a store ends; by this process, whose page tables have the page. */
static bool store_ends(char *page)
{
	signal(SIGALRM, leave_store);
	if (sigsetjmp(out_of_store, 1))
		return false;
	alarm(PATIENCE);
	memset(page, 's', PAGE);
	alarm(0);
	return true;
}

static int check_shown(const char *name, const char *page, char c)
{
	if (page[0] == c && !memcmp(page, page + 1, PAGE - 1))
		return 0;
	dprintf(STDOUT_FILENO, "%s: the mapping does not show what was written\n", name);
	return 1;
}

/* What the mapping shows, which is c where that is a promise, and a store into it. */
static int prove(struct pm_mapping *m, const char *verb, const char *name, char c)
{
	char *base = pm_base(m), wanted[PAGE];
	if (!strcmp(verb, "promise") && check_shown(name, base + SHOWN, c))
		return 1;
	if (pm_sync(m))
		return complain(name, "pm_sync");
	tell_as(verb, name, "shown", base + SHOWN);
	if (store_ends(base + STORED)) {
		if (pm_persist(m, base + STORED, PAGE))
			return complain(name, "pm_persist");
	} else {
		dprintf(STDOUT_FILENO, "note %s: a store does not end within %u s\n", name, PATIENCE);
	}
	memset(wanted, 's', PAGE);
	tell_as(verb, name, "stored", wanted);
	return 0;
}

static int write_cloned(const char *verb, const char *name, const char *path, bool rule)
{
	char clone[PATH_MAX], page[2 * PAGE];
	struct pm_mapping *m = map_cloned(path, SIZE, clone);
	if (!m)
		return 1;
	char *at = (char *)pm_base(m) + SHOWN;
	memset(page, 'w', sizeof(page));
	int rc = pm_write(m, at, page, sizeof(page));
	if (rule && rc != -EBUSY) {
		dprintf(STDOUT_FILENO, "%s: pm_write into shared extents returned %d\n", name, rc);
		return 1;
	}
	if (rule) {
		dprintf(STDOUT_FILENO, "note %s: refused: %s\n", name, pm_error_detail());
		rc = pm_memset(m, at, 'o', sizeof(page), 0);
		if (!rc)
			rc = pm_write(m, at, page, sizeof(page));
	}
	if (rc)
		return complain(name, "pm_write");
	return prove(m, verb, name, 'w');
}

static int unshare(const char *verb, const char *name, const char *path)
{
	char clone[PATH_MAX];
	struct pm_report before, after;
	struct pm_mapping *first = map_cloned(path, SIZE, clone), *second;
	if (!first || pm_query(first, &before, sizeof(before)))
		return 1;
	second = map(path, PM_PREPARE, SIZE);
	if (!second || pm_query(first, &after, sizeof(after)))
		return 1;
	if (before.evidence[PM_EV_UNSHARED].state != PM_NO || after.evidence[PM_EV_UNSHARED].state != PM_YES) {
		dprintf(STDOUT_FILENO, "%s: unshared: %s, then %s\n", name,
			pm_state_name(before.evidence[PM_EV_UNSHARED].state),
			pm_state_name(after.evidence[PM_EV_UNSHARED].state));
		return 1;
	}
	if (fill_file(clone, 'c') || prove(first, verb, name, 'o'))
		return 1;
	if (!memcmp(pm_base(first), pm_base(second), SIZE))
		return 0;
	dprintf(STDOUT_FILENO, "%s: two mappings differ\n", name);
	return 1;
}

/* ---- Grown ---- */

/* Leaves no free block without content; of a file system that no other process writes to. */
static int soil(const char *path)
{
	static char bytes[1 << 20];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	memset(bytes, 'd', sizeof(bytes));
	while (write(fd, bytes, sizeof(bytes)) > 0)
		;
	int rc = errno != ENOSPC || fsync(fd) ? complain(path, "soil") : 0;
	close(fd);
	unlink(path);
	sync();
	return rc;
}

/* What a file is grown by, and what was a hole, is zeros. */
static int prove_zeros(struct pm_mapping *m, const char *verb, const char *name)
{
	static const char zeros[SIZE];
	if (!m || pm_sync(m))
		return complain(name, "pm_sync");
	if (!strcmp(verb, "promise") && memcmp((char *)pm_base(m) + LOOKED_AT, zeros, SIZE - LOOKED_AT)) {
		dprintf(STDOUT_FILENO, "%s: not zeros\n", name);
		return 1;
	}
	tell_as(verb, name, "looked", zeros);
	return 0;
}

static int punch(const char *path)
{
	int fd = open(path, O_WRONLY), mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	int rc = fd < 0 || fallocate(fd, mode, LOOKED_AT, SIZE - LOOKED_AT) ? complain(path, "punch") : 0;
	close(fd);
	return rc;
}

/*
 * HOW: map grows it; hole fills its former end; left and resize grow it when stores have taken its extents apart and
 * left the blocks that were set aside.
 */
static int grow(const char *how, const char *verb, const char *name, const char *path)
{
	char clone[PATH_MAX];
	bool hole = !strcmp(how, "hole");
	struct pm_mapping *m = map_cloned(path, hole ? SIZE : LOOKED_AT, clone);
	if (!m || (hole && punch(path)))
		return 1;
	bool resize = !strcmp(how, "resize"), left = resize || !strcmp(how, "left");
	if (left && pm_memset(m, pm_base(m), 'o', LOOKED_AT, 0))
		return complain(name, "pm_memset");
	if (resize) {
		if (pm_resize(m, SIZE))
			return complain(name, "pm_resize");
		return prove_zeros(m, verb, name);
	}
	if (pm_unmap(m))
		return complain(name, "pm_unmap");
	return prove_zeros(map(path, PM_CREATE | PM_PREPARE, SIZE), verb, name);
}

/*
 * While another description of the file is open: refused, and as long as it was made, since what that may rely on is
 * not taken back; or else zeros.
 */
static int grow_open(bool refused, const char *name, const char *path)
{
	char clone[PATH_MAX];
	struct stat st;
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_PREPARE, .length = SIZE};
	struct pm_mapping *first = map_cloned(path, LOOKED_AT, clone), *m = NULL;
	if (!first || pm_unmap(first) || open(path, O_RDONLY | O_CLOEXEC) < 0)
		return complain(path, "open");
	int rc = pm_map(path, &o, &m);
	if (!rc && !refused)
		return prove_zeros(m, "promise", name);
	if (!rc)
		return complain(name, "not refused");
	dprintf(STDOUT_FILENO, "note %s: refused: %s\n", name, pm_error_detail());
	if (refused && rc == -EBUSY && !stat(path, &st) && st.st_size == SIZE)
		return 0;
	return complain(name, "pm_map");
}

/* ---- Loaded anew ---- */

static int try_guarantee(const char *name, const char *path, struct pm_options o, int expected)
{
	struct pm_mapping *m = NULL;
	o.size = sizeof(o);
	int rc = pm_map(path, &o, &m);
	if (rc)
		dprintf(STDOUT_FILENO, "note %s: refused: %s\n", name, pm_error_detail());
	else
		pm_unmap(m);
	if (rc == expected)
		return 0;
	dprintf(STDOUT_FILENO, "%s: guarantee of %s: %d, expected %d\n", name, o.sync ? "sync" : "direct", rc,
		expected);
	return 1;
}

static int check_report(const char *name, const struct pm_report *r, bool direct)
{
	bool reason = direct ? r->reason == PM_REASON_SHARED || r->reason == PM_REASON_SHAREABLE
			     : r->reason == PM_REASON_PAGE_CACHE;
	dprintf(STDOUT_FILENO, "note %s: %s, direct %s, sync %s, %s\n", name, pm_granularity_name(r->granularity),
		pm_state_name(r->direct), pm_state_name(r->sync), pm_reason_name(r->reason));
	if (r->granularity == PM_PAGE && r->direct == (direct ? PM_YES : PM_NO) && reason &&
	    r->verdict == PM_VERDICT_DEMOTED)
		return 0;
	dprintf(STDOUT_FILENO, "%s: expected page, direct %s\n", name, direct ? "yes" : "no");
	return 1;
}

/* A hint falls back, and what it acknowledges is durable; a guarantee is refused where it cannot be kept. */
static int look(bool direct, const char *name, const char *path)
{
	struct pm_report r;
	struct pm_mapping *m = map(path, 0, SIZE);
	if (!m || pm_query(m, &r, sizeof(r)))
		return complain(name, "pm_query");
	int rc = check_report(name, &r, direct);
	char *at = (char *)pm_base(m) + LOOKED_AT;
	++*(uint64_t *)at;
	if (pm_persist(m, at, PAGE))
		return complain(name, "pm_persist");
	tell_as("promise", name, "looked", at);
	if (pm_unmap(m))
		return complain(name, "pm_unmap");
	struct pm_options only_direct = {.direct = PM_GUARANTEE};
	/* The lease and the preparing mend what a clone did, as long as the file is direct. */
	struct pm_options sync = {.sync = PM_GUARANTEE, .flags = PM_LEASE | PM_PREPARE};
	rc |= try_guarantee(name, path, only_direct, direct ? 0 : -PM_ENOTDIRECT);
	return rc | try_guarantee(name, path, sync, direct ? 0 : -PM_ENOTSYNC);
}

static void find(const char *name, const char *what, const char *path, size_t at)
{
	char full[128];
	snprintf(full, sizeof(full), "%s-%s", name, what);
	tell_found(full, path, at, PAGE);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "";
	if (argc == 5 && !strcmp(mode, "write"))
		return write_cloned(argv[2], argv[3], argv[4], !getenv("PMDIRECT_MUTATION"));
	if (argc == 5 && !strcmp(mode, "unshare"))
		return unshare(argv[2], argv[3], argv[4]);
	if (argc == 6 && !strcmp(mode, "grow"))
		return grow(argv[2], argv[3], argv[4], argv[5]);
	if (argc == 5 && !strcmp(mode, "open"))
		return grow_open(!strcmp(argv[2], "refused"), argv[3], argv[4]);
	if (argc == 3 && !strcmp(mode, "soil"))
		return soil(argv[2]);
	if (argc == 5 && !strcmp(mode, "look"))
		return look(!strcmp(argv[2], "direct"), argv[3], argv[4]);
	if (argc == 4 && !strcmp(mode, "clone"))
		return clone_file(argv[2], argv[3]);
	if (argc != 4 || strcmp(mode, "found"))
		return 2;
	find(argv[2], "shown", argv[3], SHOWN);
	find(argv[2], "stored", argv[3], STORED);
	find(argv[2], "looked", argv[3], LOOKED_AT);
	return 0;
}
