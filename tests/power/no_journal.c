/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ext4 without a journal: an msync that converts a block from unwritten leaves the inode out, on kernels that do not
 * know better (lib/kernel/trusted_sync.c). A file is allocated and synced, then stored to. Each volume has one file and
 * its last sync, since another's would write the same block of inodes.
 *
 *   no_journal store DIRECTORY control|promise   raw: whether msync alone fails, or is known to keep its word
 *   no_journal found DIRECTORY
 */
#include <pmdirect.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "../guest/check.h"
#include "digest.h"

#define PAGE ((size_t)4096)
#define SIZE (64 * PAGE)
#define AT (2 * PAGE)
#define GROWN (SIZE / 2 + AT)

static int make(const char *file)
{
	int fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 && !posix_fallocate(fd, 0, (off_t)SIZE) && !fsync(fd))
		return fd;
	return perror(file), -1;
}

static int store_raw(const char *file, const char *verb)
{
	int fd = make(file);
	char *at = fd < 0 ? MAP_FAILED : mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return 1;
	memset(at + AT, 'R', 100);
	if (msync(at + AT, PAGE, MS_SYNC))
		return perror(file), 1;
	tell(verb, file, at + AT, PAGE);
	return 0;
}

static bool is_as_expected(const char *file, const struct pm_report *r)
{
	enum pm_reason reason = strncmp(file, "dax", 3) ? PM_REASON_PAGE_CACHE : PM_REASON_FSYNC_INCOMPLETE;
	bool good =
		r->granularity == PM_PAGE && r->reason == reason && r->evidence[PM_EV_FSYNC_COMPLETE].state == PM_NO;
	if (!good)
		printf("%s: %s, reason %s\n", file, pm_granularity_name(r->granularity), pm_reason_name(r->reason));
	return good;
}

static int promise(const char *file, struct pm_mapping *m, uint64_t offset, char byte)
{
	char *at = (char *)pm_base(m) + offset;
	memset(at, byte, 100);
	if (pm_persist(m, at, 100))
		return complain(file, "pm_persist");
	tell("promise", file, at, PAGE);
	return 0;
}

static int store(const char *file)
{
	struct pm_options guarantee = {.size = sizeof(guarantee), .sync = PM_GUARANTEE, .length = SIZE};
	struct pm_mapping *m;
	struct pm_report r;
	int fd = make(file);
	if (fd < 0 || close(fd))
		return 1;
	if (pm_map(file, &guarantee, &m) != -PM_ENOTSYNC)
		return complain(file, "a guarantee");
	if (pm_map(file, NULL, &m) || pm_query(m, &r, sizeof(r)))
		return complain(file, "pm_map");
	if (!is_as_expected(file, &r))
		return 1;
	return promise(file, m, AT, 'N');
}

/* What write(2) put there, by a mapping that only reads. */
static int write_and_persist(const char *file)
{
	static char bytes[PAGE] = "W";
	struct pm_options reading = {.size = sizeof(reading), .flags = PM_READ_ONLY};
	struct pm_mapping *m;
	int fd = make(file);
	if (fd < 0 || pwrite(fd, bytes, PAGE, (off_t)AT) != (ssize_t)PAGE)
		return 1;
	if (pm_map(file, &reading, &m) || pm_persist(m, (char *)pm_base(m) + AT, PAGE))
		return complain(file, "pm_persist");
	tell("promise", file, bytes, PAGE);
	return 0;
}

/* All was written, and nothing but an msync needed; then the program itself takes blocks back. */
static int zero_and_store(const char *file)
{
	struct pm_mapping *m;
	int fd = make(file);
	if (fd < 0 || pm_map(file, NULL, &m))
		return complain(file, "pm_map");
	char *base = pm_base(m);
	for (int i = 0; i < 3; i++) {
		memset(base, 'A' + i, SIZE);
		if (pm_persist(m, base, SIZE))
			return complain(file, "pm_persist");
	}
	if (fallocate(fd, FALLOC_FL_ZERO_RANGE, (off_t)AT, (off_t)PAGE) || fsync(fd))
		return perror(file), 1;
	return promise(file, m, AT, 'Z');
}

/* By msync(2) alone: the blocks were written before the syncfs(2) of pm_map(), and of pm_resize(). */
static int store_prepared(const char *file)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_PREPARE, .length = SIZE / 2};
	struct pm_mapping *m;
	if (pm_map(file, &o, &m))
		return complain(file, "pm_map");
	memset(pm_base(m), 'P', 100);
	if (pm_persist(m, pm_base(m), 100) || pm_resize(m, SIZE))
		return complain(file, "pm_resize");
	return promise(file, m, GROWN, 'G');
}

static const struct volume {
	const char *file;
	int (*store)(const char *file); /* NULL: raw */
	size_t at;                      /* 0: AT */
} volumes[] = {{"disk/file", store, 0},
               {"dax/file", store, 0},
               {"disk-read/file", write_and_persist, 0},
               {"disk-zeroed/file", zero_and_store, 0},
               {"disk-prepared/file", store_prepared, GROWN},
               {"disk-raw/file", NULL, 0},
               {"dax-raw/file", NULL, 0}};
#define VOLUMES (sizeof(volumes) / sizeof(volumes[0]))

int main(int argc, char **argv)
{
	int rc = 0;
	if (argc < 3 || chdir(argv[2]))
		return 2;
	if (!strcmp(argv[1], "found")) {
		for (size_t i = 0; i < VOLUMES; i++)
			tell_found(volumes[i].file, volumes[i].file, volumes[i].at ? volumes[i].at : AT, PAGE);
		return 0;
	}
	for (size_t i = 0; i < VOLUMES && !rc; i++)
		rc = volumes[i].store ? volumes[i].store(volumes[i].file) : store_raw(volumes[i].file, argv[3]);
	if (!rc)
		dprintf(STDOUT_FILENO, "cut\n");
	while (!rc)
		pause();
	return rc;
}
