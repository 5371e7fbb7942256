/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process meets a failed write-back and ends; the device heals; another process maps the file. Runs in the guest:
 * test_restart FILE, with eio.sh beside it, which breaks and heals the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define SIZE ((size_t)1 << 20)
#define AT ((size_t)8192)

static int map(const char *path, unsigned flags, struct pm_mapping **m)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags};
	int rc = pm_map(path, &o, m);
	if (rc)
		printf("flags %#x: %d, %s\n", flags, rc, pm_error_detail());
	return rc;
}

static int store(struct pm_mapping *m, char value)
{
	return pm_memset(m, (char *)pm_base(m) + AT, value, 100, 0);
}

static void first_process(const char *path)
{
	struct pm_mapping *m;
	CHECK(map(path, 0, &m) == 0);
	CHECK(store(m, 'o') == 0);
	ask("break");
	CHECK(store(m, 'N') == -EIO);
	_exit(failures != 0);
}

/* What the process with these flags sees. */
static char seen(const char *path, unsigned flags)
{
	struct pm_mapping *m;
	if (map(path, flags, &m))
		return 0;
	char value = ((char *)pm_base(m))[AT];
	CHECK(pm_unmap(m) == 0);
	return value;
}

int main(int argc, char **argv)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_PREPARE, .length = SIZE};
	struct pm_mapping *m, *holder;
	int status = 1;
	if (argc < 2)
		return 2;
	CHECK(pm_map(argv[1], &o, &m) == 0 && pm_unmap(m) == 0);
	pid_t first = fork();
	if (!first)
		first_process(argv[1]);
	waitpid(first, &status, 0);
	CHECK(status == 0);
	ask("heal");
	/*
	 * The control: a mapping without PM_FROM_MEDIUM shows what the medium does not hold, and its drains return 0.
	 */
	CHECK(map(argv[1], 0, &m) == 0);
	CHECK(((char *)pm_base(m))[AT] == 'N');
	CHECK(pm_sync(m) == 0);
	/* As long as that mapping holds the page it cannot be dropped. */
	CHECK(map(argv[1], PM_FROM_MEDIUM, &holder) == -EBUSY);
	CHECK(strstr(pm_error_detail(), "another mapping") != NULL);
	CHECK(pm_unmap(m) == 0);
	CHECK(seen(argv[1], 0) == 'N');
	CHECK(seen(argv[1], PM_FROM_MEDIUM | PM_READ_ONLY) == 'o');
	CHECK(seen(argv[1], 0) == 'o');
	CHECK(map(argv[1], PM_FROM_MEDIUM, &m) == 0);
	CHECK(((char *)pm_base(m))[AT] == 'o');
	CHECK(store(m, 'n') == 0 && pm_unmap(m) == 0);
	CHECK(seen(argv[1], PM_FROM_MEDIUM | PM_PRIVATE) == 'n');
	return failures != 0;
}
