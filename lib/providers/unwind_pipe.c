/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kept.h"
#include "providers/unwind_pipe.h"
#include "sys/sys.h"

#define TABLE "/proc/self/fd"

/* The ends of pipes that the process has. */
struct ends {
	struct end {
		int fd;
		char name[32]; /* "pipe:[INODE]" */
	} *end;
	size_t count, room;
	int error;
};

static enum { NOT_FOUND, FOUND, LOST } state;
static struct ends before;
static struct pm_kept_file ends_kept[2];

static void clear(struct ends *e)
{
	free(e->end);
	*e = (struct ends){.error = 0};
}

static void add_end(struct ends *e, const struct end *end)
{
	if (e->count == e->room) {
		size_t room = e->room ? 2 * e->room : 16;
		struct end *larger = realloc(e->end, room * sizeof(*larger));
		if (!larger) {
			e->error = -ENOMEM;
			return;
		}
		e->end = larger;
		e->room = room;
	}
	e->end[e->count++] = *end;
}

/* The link alone is read: no file of the program is asked, which may be on a server that does not answer. */
static void visit(void *arg, const char *number)
{
	struct end end = {.fd = atoi(number)};
	char path[sizeof(TABLE) + 16];
	snprintf(path, sizeof(path), TABLE "/%d", end.fd);
	ssize_t length = pm_sys->readlinkat(AT_FDCWD, path, end.name, sizeof(end.name) - 1);
	if (length > 0 && !strncmp(end.name, "pipe:[", 6))
		add_end(arg, &end);
}

static int list(struct ends *e)
{
	clear(e);
	int rc = pm_sys->each_entry(TABLE, visit, e);
	return rc ? rc : e->error;
}

static bool was_there(const struct end *end)
{
	for (size_t i = 0; i < before.count; i++)
		if (!strcmp(before.end[i].name, end->name))
			return true;
	return false;
}

/* The two new ends, and how many there are. */
static unsigned find_new(const struct ends *now, const struct end *found[2])
{
	unsigned count = 0;
	for (size_t i = 0; i < now->count; i++) {
		if (was_there(&now->end[i]))
			continue;
		if (count < 2)
			found[count] = &now->end[i];
		count++;
	}
	return count;
}

static bool keep_end(struct pm_kept_file *kept, int fd)
{
	struct statx stx;
	if (PM_RETRY(pm_sys->statx_now(fd, &stx)) || !S_ISFIFO(stx.stx_mode))
		return false;
	pm_kept_file_keep(kept, fd, &stx, false);
	return true;
}

/* One end reads and the other writes, and neither waits. */
static bool is_libunwinds(const struct end *a, const struct end *b)
{
	int modes[2] = {pm_sys->fcntl_getfl(a->fd), pm_sys->fcntl_getfl(b->fd)};
	int either = modes[0] >= 0 && modes[1] >= 0 ? (modes[0] ^ modes[1]) & O_ACCMODE : 0;
	return !strcmp(a->name, b->name) && either == (O_RDONLY ^ O_WRONLY) && modes[0] & modes[1] & O_NONBLOCK &&
	       keep_end(&ends_kept[0], a->fd) && keep_end(&ends_kept[1], b->fd);
}

bool pm_unwind_pipe_is_safe(void)
{
	struct statx now;
	if (state == NOT_FOUND && list(&before))
		state = LOST;
	for (int i = 0; state == FOUND && i < 2; i++)
		if (pm_kept_file_stat(&ends_kept[i], &now))
			state = LOST;
	return state != LOST;
}

void pm_unwind_pipe_find(void)
{
	const struct end *found[2];
	struct ends now = {.error = 0};
	if (state == NOT_FOUND) {
		unsigned count = list(&now) ? 3 : find_new(&now, found);
		/* More than two: another thread has opened a pipe meanwhile. */
		if (count)
			state = count == 2 && is_libunwinds(found[0], found[1]) ? FOUND : LOST;
	}
	clear(&now);
	clear(&before);
}
