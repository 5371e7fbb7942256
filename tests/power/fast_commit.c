/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ext4 with fast_commit forgets, once something has made the running transaction ineligible for a fast commit, that a
 * write fault on a MAP_SYNC mapping has to commit the block it allocated: fs/ext4/inode.c ext4_inode_datasync_dirty
 * looks at a list that such an inode is not on. The store is on the medium, in a block that belongs to nobody.
 *
 *   fast_commit store DIRECTORY  tells what the library promises there, and what it does not
 *   fast_commit found DIRECTORY
 */
#include <pmdirect.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "../guest/check.h"
#include "digest.h"

#define PAGE ((size_t)4096)
#define SIZE (64 * PAGE)

static const struct file {
	const char *name, *verb;
	unsigned flags;
	enum pm_granularity granularity;
} files[] = {
	{"prepared", "promise", 0, PM_CACHE_LINE},
	{"sparse", "promise", PM_SPARSE, PM_PAGE},
	/* Holes, and the kernel's word that it commits when they are filled. Last: another's sync would commit for them. */
	{"trusted/1", "control", PM_SPARSE | PM_TRUST_KERNEL, PM_CACHE_LINE},
	{"trusted/2", "control", PM_SPARSE | PM_TRUST_KERNEL, PM_CACHE_LINE},
	{"trusted/3", "control", PM_SPARSE | PM_TRUST_KERNEL, PM_CACHE_LINE},
};
#define FILES (sizeof(files) / sizeof(files[0]))

static struct pm_mapping *mappings[FILES];

/* A change that a fast commit cannot record, in another file. */
static int make_ineligible(void)
{
	static int count;
	char value[32];
	snprintf(value, sizeof(value), "%d", count++);
	if (!setxattr("other", "user.pmdirect", value, strlen(value), 0))
		return 0;
	perror("setxattr");
	return 1;
}

static int map(size_t i)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | files[i].flags, .length = SIZE};
	struct pm_report r;
	if (pm_map(files[i].name, &o, &mappings[i]) || pm_query(mappings[i], &r, sizeof(r)))
		return complain(files[i].name, "pm_map");
	if (r.granularity == files[i].granularity)
		return 0;
	dprintf(STDOUT_FILENO, "%s: %s, reason %s\n", files[i].name, pm_granularity_name(r.granularity),
	        pm_reason_name(r.reason));
	return 1;
}

static int store(size_t i)
{
	char *at = (char *)pm_base(mappings[i]) + 2 * PAGE;
	memset(at, 'N', 100);
	if (pm_persist(mappings[i], at, 100))
		return complain(files[i].name, "pm_persist");
	tell(files[i].verb, files[i].name, at, PAGE);
	return 0;
}

static int store_all(void)
{
	int rc = mkdir("trusted", 0700);
	close(open("other", O_CREAT | O_WRONLY, 0600));
	for (size_t i = 0; i < FILES && !rc; i++)
		rc = map(i);
	if (rc)
		return rc;
	sync();
	for (size_t i = 0; i < FILES && !rc; i++)
		rc = make_ineligible() || store(i);
	if (!rc)
		dprintf(STDOUT_FILENO, "cut\n");
	pause();
	return 0;
}

static int find_all(void)
{
	for (size_t i = 0; i < FILES; i++)
		tell_found(files[i].name, files[i].name, 2 * PAGE, PAGE);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3 || chdir(argv[2]))
		return 2;
	return strcmp(argv[1], "store") ? find_all() : store_all();
}
