/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lies below the file system: disks upon disks, and the files that an overlay or a loop device stands on, which
 * the library opens by O_PATH only.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "fake.h"
#include "fake_internal.h"
#include "kernel/magic.h"

#define BTRFS "/sys/fs/btrfs"

static const char *last_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

int fake_over(struct statx *stx)
{
	stx->stx_mnt_id++;
	if (fake.machine.over == FAKE_A_FILE)
		stx->stx_ino++;
	return fake.machine.over == FAKE_A_DIRECTORY ? -ENOENT : 0;
}

bool fake_is_below(int fd)
{
	int flags = fake.machine.under.magic && fd < FAKE_VIRTUAL_FD ? fcntl(fd, F_GETFL) : -1;
	return flags >= 0 && flags & O_PATH;
}

bool fake_is_loop(const char *path)
{
	return !strcmp(path, "/dev/loop0");
}

int fake_loop_stat(struct statx *stx)
{
	*stx = (struct statx){.stx_mode = fake.machine.loop == FAKE_LOOP_A_FILE ? S_IFREG : S_IFBLK,
	                      .stx_rdev_major = fake.machine.loop == FAKE_LOOP_OTHER_DRIVER ? 8 : 7};
	return fake.machine.loop == FAKE_LOOP_NO_NODE ? -ENOENT : 0;
}

int fake_loop_open(void)
{
	if (fake.machine.loop == FAKE_LOOP_A_FILE || fake.machine.loop == FAKE_LOOP_OTHER_DRIVER)
		fake_violation("/dev/loop0 is opened and is no loop device");
	return fake.machine.loop == FAKE_LOOP_NO_PERMISSION ? -EACCES
	                                                    : pm_sys_linux.openat(AT_FDCWD, "/dev/null", O_RDONLY, 0);
}

/* The file that it stands on is the one at its path, unless the machine says something else. */
int fake_loop_ioctl(struct loop_info64 *info)
{
	const char *path;
	struct statx file;
	int way = fake.machine.loop;
	if (way == FAKE_LOOP_NO_ANSWER)
		return -ENOTTY;
	fake_below_attribute("/sys/dev/block/259:3/loop/backing_file", &path);
	int rc = path ? pm_sys->statx(AT_FDCWD, path, 0, &file) : -ENXIO;
	if (rc)
		return rc;
	*info = (struct loop_info64){
		.lo_number = way == FAKE_LOOP_OTHER_NUMBER,
		.lo_inode = file.stx_ino + (way == FAKE_LOOP_OTHER_FILE),
		.lo_device = makedev(file.stx_dev_major, file.stx_dev_minor + (way == FAKE_LOOP_OTHER_DEVICE))};
	return 0;
}

void fake_upper_numbers(struct statfs *stfs, bool by_path)
{
	int way = fake.machine.upper;
	bool is_busy = way == FAKE_UPPER_BUSY || way == FAKE_UPPER_BUSY_OWN_ID;
	stfs->f_bfree = stfs->f_bavail = by_path && is_busy ? 99 : 100;
	stfs->f_ffree = 50;
	memset(&stfs->f_fsid, !by_path && (way == FAKE_UPPER_OWN_ID || way == FAKE_UPPER_BUSY_OWN_ID) ? 2 : 1,
	       sizeof(stfs->f_fsid));
	stfs->f_blocks += by_path && way == FAKE_UPPER_BLOCKS;
	stfs->f_bsize *= by_path && way == FAKE_UPPER_BLOCK_SIZE ? 2 : 1;
}

/* The place of a disk after "devices/", by its name. */
static void place(const char *name, char *text, size_t size)
{
	bool hardware = !strncmp(name, "vd", 2) || !strncmp(name, "sd", 2) || !strncmp(name, "nvme", 4);
	snprintf(text, size, "../../devices/%s/block/%s", hardware ? "pci0000:00/host0" : "virtual", name);
}

#define JOURNALS "/proc/fs/jbd2"

bool fake_tells_members(const char *path)
{
	return !strncmp(path, JOURNALS, strlen(JOURNALS)) || !strncmp(path, "/proc/fs/f2fs/", 14) ||
	       !strcmp(path, "/proc/312/comm");
}

static bool journal_exists(const char *path)
{
	const char *name = path[strlen(JOURNALS)] ? last_of(path) : NULL;
	if (fake.machine.hides_journals)
		return false;
	for (int i = 0; name && i < 3 && fake.machine.journals[i]; i++)
		if (!strcmp(fake.machine.journals[i], name))
			return true;
	return !name || (!fake.machine.journals[0] && !fake.machine.lacks_journal && !fake.machine.hides_journal);
}

/* Of a path of procfs, too. */
static bool members_attribute(const char *path, const char **value)
{
	if (!strcmp(path, "/proc/312/comm"))
		*value = fake.machine.journal_thread;
	else if (!strncmp(path, "/proc/fs/f2fs/", 14))
		*value = fake.machine.disk_map;
	else
		return false;
	return true;
}

/* The first is 259:30. */
static const char *const nodes[] = {"vdj", "ram5", "vdk", "zram3", "dm-7", "mapper"};

bool fake_is_node(const char *path, struct statx *stx)
{
	/* The working directory is /. */
	path += path[0] == '/';
	for (unsigned i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		if (strncmp(path, "dev/fake/", 9) || strcmp(path + 9, nodes[i]))
			continue;
		*stx = (struct statx){.stx_mode = S_IFBLK, .stx_rdev_major = FAKE_MAJOR, .stx_rdev_minor = 30 + i};
		return true;
	}
	return false;
}

static bool node_link(const char *path, char *text, size_t size)
{
	unsigned minor;
	if (sscanf(path, "/sys/dev/block/259:%u", &minor) != 1 || minor < 30 ||
	    minor >= 30 + sizeof(nodes) / sizeof(nodes[0]) || strchr(path + 15, '/'))
		return false;
	/* Its name in sysfs is another. */
	place(strcmp(nodes[minor - 30], "mapper") ? nodes[minor - 30] : "vdk", text, size);
	return true;
}

/* Of a path "DISK/..." of sysfs: the attribute with the longest name, which ends it. */
bool fake_below_attribute(const char *path, const char **value)
{
	static const char *const names[] = {"/queue/write_cache", "/cache_type", "/loop/backing_file", "/size", "/ro"};
	const char *const(*own)[2] = fake.machine.attributes;
	size_t length = strlen(path), longest = 0;
	*value = NULL;
	if (members_attribute(path, value))
		return true;
	if (strncmp(path, "/sys/dev/block/", 15) && strncmp(path, "/sys/class/block/", 17))
		return false;
	for (size_t i = 0; i < sizeof(fake.machine.attributes) / sizeof(fake.machine.attributes[0]) && own[i][0]; i++) {
		size_t end = strlen(own[i][0]);
		if (end <= length && end > longest && !strcmp(path + length - end, own[i][0])) {
			longest = end;
			*value = own[i][1];
		}
	}
	if (longest)
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t end = strlen(names[i]);
		if (end > length || strcmp(path + length - end, names[i]))
			continue;
		*value = i == 0 ? "write back" : NULL;
		return true;
	}
	return false;
}

bool fake_below_link(const char *path, char *text, size_t size)
{
	bool is_slave = strstr(path, "/slaves/") && strncmp(last_of(path), "pmem", 4);
	if (!strcmp(path, "/sys/dev/block/259:3") && fake.machine.block)
		snprintf(text, size, "../../devices/%s", fake.machine.block);
	else if (!strcmp(path, "/sys/dev/block/259:4") && fake.machine.node_block)
		snprintf(text, size, "../../devices/%s", fake.machine.node_block);
	else if (!strcmp(path, "/sys/dev/block/259:13"))
		place("vdz", text, size);
	else if (node_link(path, text, size))
		;
	else if (is_slave || !strncmp(path, "/sys/class/block/", 17))
		place(last_of(path), text, size);
	else
		return false;
	return true;
}

static bool is_slave(const char *name)
{
	for (int i = 0; i < 3 && fake.machine.slaves[i]; i++)
		if (!strcmp(fake.machine.slaves[i], name))
			return true;
	return false;
}

bool fake_below_exists(const char *path)
{
	if (!strncmp(path, JOURNALS, strlen(JOURNALS)))
		return journal_exists(path);
	/* Another process's journal, inside its file system, is no device. */
	if (!strncmp(path, "/sys/class/block/", 17))
		return !strchr(path + 17, '-') || !strncmp(path + 17, "dm-", 3);
	return !strncmp(path, BTRFS "/5e1f/devices/", sizeof(BTRFS "/5e1f/devices/") - 1) && is_slave(last_of(path));
}

/* Below one disk of several the others lie; below those nothing. */
bool fake_below_entries(const char *directory, void (*visit)(void *arg, const char *entry), void *arg)
{
	bool lists = !strcmp(directory, "/sys/dev/block/259:3/slaves") || !strcmp(directory, BTRFS "/5e1f/devices");
	if (!strcmp(directory, BTRFS)) {
		visit(arg, "features");
		visit(arg, "5e1f");
	} else if (!strcmp(directory, JOURNALS)) {
		for (int i = 0; i < 3 && fake.machine.journals[i]; i++)
			visit(arg, fake.machine.journals[i]);
	} else if (!strcmp(last_of(directory), "scsi_disk")) {
		visit(arg, "0:0:0:0");
	} else if (!lists || !fake.machine.slaves[0]) {
		return false;
	}
	for (int i = 0; lists && i < 3 && fake.machine.slaves[i]; i++)
		visit(arg, fake.machine.slaves[i]);
	return true;
}

/* fs/ntfs3 crashes, and what was not seen to bear it may. */
void fake_check_statmount(uint32_t magic)
{
	static const uint32_t bears[] = {EXT4_SUPER_MAGIC,      XFS_SUPER_MAGIC,  TMPFS_MAGIC,
	                                 OVERLAYFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, EROFS_SUPER_MAGIC_V1};
	for (size_t i = 0; i < sizeof(bears) / sizeof(bears[0]); i++)
		if (magic == bears[i])
			return;
	fake_violation("statmount of a file system that may crash: 0x%x", magic);
}

void fake_check_cachestat(uint32_t magic)
{
	if (magic != EXT4_SUPER_MAGIC && magic != XFS_SUPER_MAGIC && magic != BTRFS_SUPER_MAGIC &&
	    magic != FUSE_SUPER_MAGIC)
		fake_violation("cachestat of a file system that may not bear it: 0x%x", magic);
}
