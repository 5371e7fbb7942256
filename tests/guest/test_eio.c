/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device fails under live mappings, and heals. Runs in the guest: test_eio FILE, with eio.sh beside it, which
 * breaks and heals the device when the files /tmp/break and /tmp/heal appear.
 */
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#define SIZE ((size_t)1 << 20)
#define PAGE ((size_t)4096)

static int events;
static struct pm_event last_event;

static void on_event(struct pm_mapping *mapping, const struct pm_event *event, void *arg)
{
	(void)mapping;
	(void)arg;
	if (event->kind != PM_EVENT_WRITE_BACK_FAILED)
		return;
	events++;
	last_event = *event;
}

/* Asks the script to act, and waits until it has. */
static void ask(const char *what)
{
	char path[64];
	snprintf(path, sizeof(path), "/tmp/%s", what);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	while (access(path, F_OK) == 0)
		usleep(20000);
}

static struct pm_mapping *map(const char *path, unsigned flags)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags, .length = SIZE, .on_event = on_event};
	struct pm_mapping *m;
	if (pm_map(path, &o, &m)) {
		printf("%s\n", pm_error_detail());
		exit(1);
	}
	return m;
}

/* What is on the disk, past the page cache. */
static char on_disk(const char *path, size_t offset)
{
	void *buffer;
	int fd = open(path, O_RDONLY | O_DIRECT);
	char c = 0;
	if (fd >= 0 && !posix_memalign(&buffer, PAGE, PAGE) && pread(fd, buffer, PAGE, (off_t)offset) == (ssize_t)PAGE)
		c = *(char *)buffer;
	close(fd);
	return c;
}

/* That the kernel forgets: the reason for the latch. */
static void check_kernel(const char *path)
{
	int fd = open(path, O_RDWR);
	char *raw = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ask("break");
	raw[8 * PAGE] = 'R';
	CHECK(msync(raw + 8 * PAGE, PAGE, MS_SYNC) != 0);
	CHECK(msync(raw + 8 * PAGE, PAGE, MS_SYNC) == 0);
	printf("raw msync: an error, then 0 with the data not on the disk\n");
	ask("heal");
	CHECK(on_disk(path, 8 * PAGE) != 'R');
	munmap(raw, SIZE);
	close(fd);
}

static void check_library(const char *path)
{
	struct pm_mapping *m = map(path, 0), *other = map(path, 0);
	char *base = pm_base(m);
	memset(base, 'A', SIZE);
	CHECK(pm_sync(m) == 0);
	ask("break");
	base[0] = base[2 * PAGE] = 'B';
	CHECK(pm_persist(m, base, 1) == -EIO);
	CHECK(pm_persist(m, base, 1) == -EIO);
	CHECK(pm_persist(m, base + 4 * PAGE, 1) == -EIO);
	CHECK(pm_drain(other) == -EIO);
	struct pm_mapping *late = map(path, 0);
	CHECK(pm_sync(late) == -EIO);
	CHECK(events == 3 && last_event.error == -EIO && last_event.reason == PM_REASON_WRITE_BACK_FAILED);
	CHECK(pm_clear_error(m) != 0);
	ask("heal");
	CHECK(pm_persist(m, base, 1) == -EIO);
	CHECK(pm_clear_error(m) == 0);
	CHECK(pm_persist(m, base, 1) == 0);
	CHECK(on_disk(path, 0) == base[0] && on_disk(path, 2 * PAGE) == base[2 * PAGE]);
	CHECK(pm_drain(other) == -EIO);
	CHECK(pm_unmap(late) == -EIO);
	CHECK(pm_unmap(other) == -EIO);
	CHECK(pm_unmap(m) == 0);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	CHECK(pm_unmap(map(argv[1], PM_CREATE | PM_PREPARE)) == 0);
	check_kernel(argv[1]);
	check_library(argv[1]);
	printf("%d failures\n", failures);
	return failures != 0;
}
