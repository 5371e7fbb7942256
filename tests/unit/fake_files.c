/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The little that the library may read of sysfs and procfs, any other file of sysfs is a violation; the environment;
 * and the extents of files.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fake.h"
#include "fake_internal.h"
#include "kernel/magic.h"

#define OPEN_MOST 64
#define XFS_GEOMETRY _IOC(_IOC_READ, 'X', 124, 112)
/* Numbers of the region under the file and of its bus; those of the devices below it, if it has some, follow. */
#define REGION 7u
#define BUS 2u

static struct {
	bool used;
	unsigned type; /* of the file system */
	uint64_t entry; /* of the machine when it was opened */
	size_t at;
	char path[128], text[8192];
} files[OPEN_MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t device_size;
/* Each machine hangs at another place, as the library remembers regions by theirs. */
static unsigned generation;

void fake_virtual_start(void)
{
	for (unsigned i = 0; i < OPEN_MOST; i++)
		files[i].used = false;
	fake.machine.unique_mount = ++generation;
}

void fake_device_size(uint64_t size)
{
	atomic_store(&device_size, size);
}

/* Of the trial of MAP_SYNC, as long as it is there. */
static _Thread_local char smaps[512];

bool fake_is_virtual(const char *path)
{
	return !strncmp(path, "/sys/", 5) || !strcmp(path, "/proc/self/mountinfo") ||
	       (!strcmp(path, "/proc/self/smaps") && smaps[0] && !fake.machine.shows_real_smaps) ||
	       !strncmp(path, "/proc/self/fdinfo/", 18) || fake_is_ext4(path) || fake_tells_members(path);
}

bool fake_virtual_exists(const char *path)
{
	char text[128];
	bool gone = fake.machine.is_gone && !strcmp(path, "/sys/dev/block/259:3");
	if (fake_is_ext4(path))
		return path[1] == 's' || !fake.machine.hides_proc;
	return fake_below_exists(path) || !strcmp(path, "/sys/dev/block") ||
	       (!gone && fake_virtual_link(path, text, sizeof(text)) >= 0);
}

static bool ends_with(const char *path, const char *end)
{
	size_t a = strlen(path), b = strlen(end);
	return a >= b && !strcmp(path + a - b, end);
}

const struct fake_region *fake_region_of(unsigned number)
{
	if (number < REGION || number > REGION + 2)
		return NULL;
	return number == REGION ? fake.machine.region : fake.machine.below[number - REGION - 1];
}

/* Which region of the machine a path of sysfs is about; NULL: none, or one that is not there. */
static const struct fake_region *region_at(const char *path, const char **attribute)
{
	static const char bus[] = "/sys/bus/nd/devices/ndbus", region[] = "/sys/bus/nd/devices/region";
	static const char slave[] = "/sys/dev/block/259:3/slaves/pmem";
	unsigned number = REGION;
	char *end = strchr(path, 0);
	if (!strncmp(path, bus, sizeof(bus) - 1))
		number = (unsigned)strtoul(path + sizeof(bus) - 1, &end, 10) - BUS + REGION;
	else if (!strncmp(path, region, sizeof(region) - 1))
		number = (unsigned)strtoul(path + sizeof(region) - 1, &end, 10);
	else if (!strncmp(path, slave, sizeof(slave) - 1))
		number = (unsigned)strtoul(path + sizeof(slave) - 1, &end, 10);
	else if (ends_with(path, ":3/dax/write_cache"))
		end = strstr(path, "/dax/");
	*attribute = end;
	return fake_region_of(number);
}

/* Before and behind another one; NULL: there is none. */
void fake_show_mapping(const void *address, int64_t length, bool sync)
{
	uintptr_t start = (uintptr_t)address, end = start + (uintptr_t)length;
	smaps[0] = 0;
	if (address && length <= 2 * sysconf(_SC_PAGESIZE))
		snprintf(smaps, sizeof(smaps),
	         "00001000-00002000 r--p 00000000 00:00 0\nSize: 4 kB\nVmFlags: rd mr sf \n"
	         "%08" PRIxPTR "-%08" PRIxPTR " rw-s 00000000 103:03 12   /file\nSize: 4 kB\nRss: 0 kB\n"
	         "VmFlags: rd wr sh mr mw me ms%s hg sd \n"
	         "%08" PRIxPTR "-7ffffffff000 rw-p 00000000 00:00 0\nSize: 4 kB\nVmFlags: rd mr sf \n",
	         start, end, sync ? " sf" : "", end);
}

static const char *value_of(const struct fake_region *r, const char *attribute, const char *path)
{
	const struct {
		const char *name, *value;
	} all[] = {{"/provider", r->provider}, {"/devtype", r->devtype}, {"/persistence_domain", r->persistence_domain},
	           {"/deep_flush", r->deep_flush}, {"/dax/write_cache", r->write_cache}};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!strcmp(attribute, all[i].name))
			return all[i].value;
	if (!ends_with(path, "dax/write_cache"))
		fake_violation("%s is no evidence", path);
	return NULL;
}

/* Text of a file: 0 or -errno. */
static int content(const char *path, int flags, char *text, size_t size)
{
	const char *attribute;
	const struct fake_region *r = region_at(path, &attribute);
	const char *value = NULL;
	bool of_char = !strncmp(path, "/sys/dev/char/259:4/", 20) && fake.machine.is_device_dax;
	if (fake_below_attribute(path, &value)) {
		snprintf(text, size, "%s\n", value ? value : "");
		return value ? 0 : -ENOENT;
	}
	if (ends_with(path, "/smaps")) {
		snprintf(text, size, "%s", smaps);
		return fake.machine.hides_smaps ? -ENOENT : 0;
	}
	if (ends_with(path, "/mountinfo")) {
		value = fake.machine.mount;
		snprintf(text, size,
		         "22 1 8:1 / / rw - ext4 /dev/sda1 rw,nodax\n"
		         "%u 22 %u:%u / /mnt rw shared:1 - %s\n"
		         "%u 22 0:99 / /under rw - %s\n",
		         FAKE_MOUNT + 100 * fake.machine.has_another_root, FAKE_MAJOR,
		         FAKE_MINOR + fake.machine.hides_device, value ? value : "fuse none rw", FAKE_MOUNT + 1,
		         fake.machine.under.mount ? fake.machine.under.mount : "fuse none rw");
		return 0;
	}
	if (!strncmp(path, "/proc/self/fdinfo/", 18)) {
		snprintf(text, size, "pos:\t0\nflags:\t0100002\nmnt_id:\t%u\nino:\t12\n",
		         FAKE_MOUNT + fake_is_below((int)strtol(path + 18, NULL, 10)));
		return fake.machine.lacks_mount_id ? -ENOENT : 0;
	}
	if (fake_is_ext4(path))
		return fake.machine.hides_proc ? -ENOENT : fake_counters(text, size);
	if (ends_with(path, "/journal_task")) {
		snprintf(text, size, "%s\n", fake.machine.lacks_journal ? "<none>" : "312");
		return fake.machine.hides_journal ? -ENOENT : 0;
	}
	if (of_char && ends_with(path, "/size")) {
		snprintf(text, size, "%llu\n", (unsigned long long)atomic_load(&device_size));
		return 0;
	}
	if (of_char && ends_with(path, "/align")) {
		snprintf(text, size, "%ld\n", 2 * sysconf(_SC_PAGESIZE));
		return 0;
	}
	if (fake_tells_dimms(path, &value)) {
		snprintf(text, size, "%s%s", value ? value : "", value && value[0] ? "\n" : "");
		return value ? 0 : -ENOENT;
	}
	if (fake_tells_health(path, &value)) {
		/* Lists are taken as they are: no line, an empty one, many. */
		snprintf(text, size, "%s%s", value ? value : "", value && !ends_with(path, "/badblocks") ? "\n" : "");
		return value ? 0 : -ENOENT;
	}
	if (r)
		value = value_of(r, attribute, path);
	else if (!ends_with(path, "dax/write_cache"))
		fake_violation("%s is no evidence", path);
	if (!value)
		return -ENOENT;
	if ((flags & O_ACCMODE) != O_RDONLY && r && r->deep_flush_denied)
		return -EACCES;
	snprintf(text, size, "%s\n", value);
	return 0;
}

unsigned fake_type_at(const char *path)
{
	bool proc = !strncmp(path, "/proc/", 6);
	unsigned over = proc ? fake.machine.over_proc : fake.machine.over_sysfs;
	return over ? over : proc ? PROC_SUPER_MAGIC : SYSFS_MAGIC;
}

unsigned fake_virtual_type(int fd)
{
	return files[fd - FAKE_VIRTUAL_FD].type;
}

int fake_virtual_open(const char *path, int flags)
{
	char text[sizeof(files[0].text)] = "";
	int rc = flags & O_PATH ? 0 : content(path, flags, text, sizeof(text));
	if (rc)
		return rc;
	rc = -EMFILE;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < OPEN_MOST && rc < 0; i++) {
		if (files[i].used)
			continue;
		files[i].used = true;
		files[i].at = 0;
		files[i].type = fake_type_at(path);
		files[i].entry = fake_entry_number();
		snprintf(files[i].path, sizeof(files[i].path), "%s", path);
		memcpy(files[i].text, text, sizeof(text));
		rc = FAKE_VIRTUAL_FD + i;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

int fake_virtual_close(int fd)
{
	pthread_mutex_lock(&lock);
	bool used = files[fd - FAKE_VIRTUAL_FD].used;
	files[fd - FAKE_VIRTUAL_FD].used = false;
	pthread_mutex_unlock(&lock);
	return used ? 0 : -EBADF;
}

ssize_t fake_virtual_read(int fd, void *buffer, size_t size)
{
	pthread_mutex_lock(&lock);
	const char *text = files[fd - FAKE_VIRTUAL_FD].text + files[fd - FAKE_VIRTUAL_FD].at;
	size_t length = strlen(text) < size ? strlen(text) : size;
	memcpy(buffer, text, length);
	files[fd - FAKE_VIRTUAL_FD].at += length;
	pthread_mutex_unlock(&lock);
	return (ssize_t)length;
}

/* Made anew, by a device that is there still: as the disk of a partition is when its number goes to another one. */
ssize_t fake_virtual_pread(int fd, void *buffer, size_t size)
{
	char text[sizeof(files[0].text)] = "";
	pthread_mutex_lock(&lock);
	__typeof__(files[0]) *file = &files[fd - FAKE_VIRTUAL_FD];
	bool is_same = file->entry == fake_entry_number(), is_disk = strstr(file->path, "/../");
	bool is_there = (is_same || is_disk) && !fake.machine.is_gone;
	int rc = !file->used ? -EBADF : is_there ? content(file->path, O_RDONLY, text, sizeof(text)) : -ENODEV;
	if (!rc && !is_same)
		memcpy(text, file->text, sizeof(text));
	pthread_mutex_unlock(&lock);
	size_t length = strlen(text) < size ? strlen(text) : size;
	memcpy(buffer, text, length);
	return rc ? rc == -ENOENT ? -ENODEV : rc : (ssize_t)length;
}

/* The names of the devices below. */
void fake_virtual_entries(const char *directory, void (*visit)(void *arg, const char *entry), void *arg)
{
	if (fake_below_entries(directory, visit, arg))
		return;
	static const char *const names[] = {"pmem8", "pmem9"};
	for (unsigned i = 0; i < 2 && fake.machine.below[i]; i++)
		visit(arg, names[i]);
}

/* /sys/dev/block/M:m of the file system's device, /sys/dev/{block,char}/M:m of a node, and its subsystem. */
ssize_t fake_virtual_link(const char *path, char *buffer, size_t size)
{
	char text[128];
	bool of_block = !strcmp(path, "/sys/dev/block/259:3") || !strcmp(path, "/sys/dev/block/259:4");
	bool of_char = !strcmp(path, "/sys/dev/char/259:4");
	const char *slave = strstr(path, "/slaves/pmem");
	if (fake_below_link(path, text, sizeof(text)))
		; /* told by what lies below */
	else if (slave) {
		unsigned number = (unsigned)strtoul(slave + 12, NULL, 10);
		snprintf(text, sizeof(text), "../../../fake%u/ndbus%u/region%u/namespace/block/pmem%u", generation,
		         number - REGION + BUS, number, number);
	} else if (fake.machine.below[0] && of_block) {
		snprintf(text, sizeof(text), "../../devices/virtual/block/dm-%u", generation);
	} else if (ends_with(path, "/subsystem"))
		snprintf(text, sizeof(text), "../../../../%s", fake.machine.is_device_dax ? "../bus/dax" : "class/mem");
	else if (!of_block && !of_char)
		return -ENOENT;
	else if (!fake.machine.region)
		snprintf(text, sizeof(text), "../../devices/fake%u/virtio0/block/vda", generation);
	else
		snprintf(text, sizeof(text), "../../devices/fake%u/ndbus2/region7/%s", generation,
		         of_char ? "dax7.0/dax7.0" : "namespace7.0/block/pmem7");
	size_t length = strlen(text) < size ? strlen(text) : size;
	memcpy(buffer, text, length);
	return (ssize_t)length;
}

/* ---- No system calls, but inputs ---- */

static const char *fake_getenv(const char *name)
{
	return strcmp(name, "PMDIRECT_GRANULARITY") ? NULL : fake.machine.granularity_word;
}

static void *fake_dlopen(const char *path)
{
	return fake.loads_providers ? pm_sys_linux.dlopen(path) : NULL;
}

/* ---- The file system ---- */

/* Of a node it would be the file system that holds the node. */
bool fake_is_read_only(void)
{
	return fake.machine.is_read_only || fake.machine.is_device_dax || fake.machine.is_block_device;
}

void fake_file_system(struct statfs *stfs)
{
	stfs->f_type = (__typeof__(stfs->f_type))fake.machine.magic;
	if (fake.machine.has_no_space)
		stfs->f_bavail = 0;
	stfs->f_flags = fake_is_read_only() ? ST_RDONLY : 0;
}

uint64_t fake_entry_number(void)
{
	return 1000 * generation + fake.machine.replaced;
}

/* "type source options" of the machine's mount. */
static int fake_statmount(uint64_t id, struct pm_mount *mount)
{
	const char *told = id > FAKE_BELOW ? fake.machine.under.mount : fake.machine.mount;
	fake_check_statmount(id > FAKE_BELOW ? fake.machine.under.magic : fake.machine.magic);
	if (!told)
		return -ENOENT;
	char *rest = NULL;
	snprintf(mount->room, sizeof(mount->room), "%s", told);
	char *type = strtok_r(mount->room, " .", &rest);
	char *subtype = strstr(told, "fuse.") == told ? strtok_r(NULL, " ", &rest) : NULL;
	strtok_r(NULL, " ", &rest);
	mount->read_only = !strncmp(rest, "ro", 2); /* not among the options */
	mount->is_mounted_read_only = fake_is_read_only();
	mount->type = type;
	mount->subtype = subtype ? subtype : "";
	mount->options = rest + (rest[2] == ',' ? 3 : 2);
	return 0;
}

void fake_place(struct statx *stx)
{
	/* Not every file system has the bit in its mask. */
	stx->stx_attributes_mask |= STATX_ATTR_ENCRYPTED;
	stx->stx_attributes &= ~(uint64_t)STATX_ATTR_ENCRYPTED;
	if (fake.machine.is_encrypted)
		stx->stx_attributes |= STATX_ATTR_ENCRYPTED;
	stx->stx_mask = STATX_BASIC_STATS | STATX_BTIME | (fake.machine.unique_mount ? STATX_MNT_ID_UNIQUE : 0);
	stx->stx_btime.tv_sec += fake.machine.born_later;
	stx->stx_nlink = fake.machine.counts_no_links ? 0 : stx->stx_nlink;
	stx->stx_attributes_mask |= STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND;
	stx->stx_attributes |= (fake.machine.is_immutable ? STATX_ATTR_IMMUTABLE : 0) |
	                       (fake.machine.is_append_only ? STATX_ATTR_APPEND : 0);
	stx->stx_mnt_id = fake.machine.unique_mount;
	if (fake.machine.is_others)
		stx->stx_uid = 4711;
	if (fake.machine.invents_inodes)
		stx->stx_ino = 7;
	if (fake.machine.magic == HUGETLBFS_MAGIC)
		stx->stx_blksize = FAKE_HUGE_PAGES * (unsigned)sysconf(_SC_PAGESIZE);
}

/* What the machine makes of a file's attributes. */
static int answer_statx(struct statx *stx)
{
	stx->stx_attributes_mask &= ~(uint64_t)STATX_ATTR_DAX;
	stx->stx_attributes &= ~(uint64_t)STATX_ATTR_DAX;
	if (fake.machine.dax != PM_UNKNOWN)
		stx->stx_attributes_mask |= STATX_ATTR_DAX;
	/* Set without its bit in the mask it means nothing. */
	if (fake.machine.dax != PM_NO)
		stx->stx_attributes |= STATX_ATTR_DAX;
	stx->stx_dev_major = fake.machine.has_no_device ? 0 : FAKE_MAJOR;
	stx->stx_dev_minor = FAKE_MINOR;
	fake_place(stx);
	if (!S_ISREG(stx->stx_mode) || !(fake.machine.is_device_dax || fake.machine.is_block_device))
		return 0;
	stx->stx_mode = fake.machine.is_device_dax ? S_IFCHR | 0600 : S_IFBLK | 0600;
	stx->stx_rdev_major = FAKE_MAJOR;
	stx->stx_rdev_minor = FAKE_MINOR + 1;
	fake_device_size(stx->stx_size);
	stx->stx_size = 0;
	return 0;
}

static int fake_statx(int dir_fd, const char *path, int flags, struct statx *stx)
{
	if (fake_is_virtual(path)) {
		bool proc = !strncmp(path, "/proc/", 6);
		unsigned over = proc ? fake.machine.over_proc : fake.machine.over_sysfs;
		char link[128];
		uint16_t mode = fake_virtual_link(path, link, sizeof(link)) >= 0 ? S_IFLNK : S_IFDIR;
		*stx = (struct statx){
			.stx_ino = fake_entry_number(), .stx_mode = mode, .stx_dev_minor = (over ? 98u : 21u) + proc};
		return fake_virtual_exists(path) ? 0 : -ENOENT;
	}
	if (fake_is_loop(path) || fake_is_node(path, stx))
		return fake_is_loop(path) ? fake_loop_stat(stx) : 0;
	int rc = path[0] ? 0 : -fake.machine.statx_errno;
	if (rc || (rc = pm_sys_linux.statx(dir_fd, path, flags, stx)))
		return rc;
	rc = answer_statx(stx);
	if (path[0] && fake.machine.over)
		return fake_over(stx);
	if (!path[0] && fake_is_below(dir_fd)) {
		stx->stx_mnt_id += FAKE_BELOW;
		stx->stx_dev_major = fake.machine.under.has_no_device ? 0 : FAKE_MAJOR;
		stx->stx_dev_minor = FAKE_MINOR + 10;
	}
	return rc;
}

static int fake_statx_now(int fd, struct statx *stx)
{
	int rc = -fake.machine.statx_errno;
	return rc || (rc = pm_sys_linux.statx_now(fd, stx)) ? rc : answer_statx(stx);
}

int fake_xfs(unsigned long request, void *arg)
{
	if (request == FS_IOC_FSGETXATTR) {
		uint32_t flags = fake.machine.xflags | (fake.machine.has_dax_flag ? FS_XFLAG_DAX : 0);
		flags |= fake.machine.is_realtime ? FS_XFLAG_REALTIME : 0;
		*(struct fsxattr *)arg = (struct fsxattr){.fsx_xflags = flags,
		                                          .fsx_extsize = fake.machine.extent_size,
		                                          .fsx_cowextsize = fake.machine.cow_size};
		return -fake.machine.xfs_errno;
	}
	if (request == FS_IOC_FSSETXATTR)
		return fake_set_hints(arg);
	if (request != XFS_GEOMETRY)
		fake_violation("ioctl 0x%lx is no evidence", request);
	if (request != XFS_GEOMETRY || fake.machine.reflink == PM_UNKNOWN)
		return -ENOTTY;
	memset(arg, 0, 112);
	uint32_t reflink = fake.machine.reflink == PM_YES ? 1u << 20 : 0;
	memcpy((char *)arg + 92, &reflink, sizeof(reflink));
	return 0;
}

/* ---- Extents ---- */

static const struct fake_extent *extents_now(const struct fiemap *q, struct fake_extent *whole, unsigned *count)
{
	*count = fake.machine.extents ? fake.machine.extent_count : 1;
	if (fake.machine.extents && !atomic_load(&fake.populated))
		return fake.machine.extents;
	*whole = (struct fake_extent){.logical = 0, .length = q->fm_start + q->fm_length};
	*count = 1;
	return whole;
}

int fake_fiemap(struct fiemap *q)
{
	struct fake_extent whole;
	unsigned count, room = q->fm_extent_count;
	const struct fake_health *h = fake.machine.health;
	const struct fake_extent *x = extents_now(q, &whole, &count);
	q->fm_mapped_extents = 0;
	for (unsigned i = 0; i < count && q->fm_mapped_extents < room; i++) {
		if (x[i].logical + x[i].length <= q->fm_start || x[i].logical >= q->fm_start + q->fm_length)
			continue;
		q->fm_extents[q->fm_mapped_extents++] = (struct fiemap_extent){
			.fe_logical = x[i].logical, .fe_length = x[i].length,
			.fe_physical = h && h->physical ? h->physical[i] : 0,
			.fe_flags = x[i].flags | (i == count - 1 ? FIEMAP_EXTENT_LAST : 0)};
	}
	return fake.machine.fiemap_errno ? -fake.machine.fiemap_errno : 0;
}

const struct pm_sys fake_answers_of_files = {
	.statmount = fake_statmount,
	.statx = fake_statx,
	.statx_now = fake_statx_now,
	.getenv = fake_getenv,
	.dlopen = fake_dlopen,
};
