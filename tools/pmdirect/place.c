/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "locks.h"
#include "look.h"
#include "place.h"
#include "text.h"

#define NEW_LENGTH ((uint64_t)2 << 20) /* of the file that is asked for where there is none: one huge page */

const char *place_kind_name(enum place_kind kind)
{
	static const char *const names[] = {[PLACE_MISSING] = "unknown",       [PLACE_FILE] = "file",
	                                    [PLACE_DIRECTORY] = "directory",   [PLACE_BLOCK_DEVICE] = "block device",
	                                    [PLACE_DEVICE_DAX] = "device-dax", [PLACE_OTHER] = "other"};
	return names[kind];
}

/* By sysfs: to open a character device may start what it drives, a watchdog for instance. */
static bool is_device_dax(uint32_t major, uint32_t minor)
{
	char link[64], target[256];
	snprintf(link, sizeof(link), "/sys/dev/char/%u:%u/subsystem", major, minor);
	ssize_t length = readlink(link, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = 0;
	const char *name = strrchr(target, '/');
	return name && !strcmp(name, "/dax");
}

static enum place_kind kind_of(const struct statx *stx)
{
	switch (stx->stx_mode & S_IFMT) {
	case S_IFREG:
		return PLACE_FILE;
	case S_IFDIR:
		return PLACE_DIRECTORY;
	case S_IFBLK:
		return PLACE_BLOCK_DEVICE;
	case S_IFCHR:
		return is_device_dax(stx->stx_rdev_major, stx->stx_rdev_minor) ? PLACE_DEVICE_DAX : PLACE_OTHER;
	default:
		return PLACE_OTHER;
	}
}

void place_look(const char *path, struct place *place)
{
	struct statx stx;
	*place = (struct place){.kind = PLACE_MISSING};
	place->error = look_at(path, 0, &stx);
	if (place->error)
		return;
	place->kind = kind_of(&stx);
	place->size = stx.stx_size;
	if (place->kind == PLACE_DEVICE_DAX)
		place->direct = PM_YES;
	else if (place->kind == PLACE_FILE && stx.stx_attributes_mask & STATX_ATTR_DAX)
		place->direct = stx.stx_attributes & STATX_ATTR_DAX ? PM_YES : PM_NO;
	if (place->kind == PLACE_FILE)
		place->lease_holder = locks_lease_holder(path, &stx);
}

static void ask(const char *path, const struct pm_options *options, struct answer *answer)
{
	answer->error = pm_probe(path, options, &answer->report, sizeof(answer->report));
	free(answer->sentence);
	answer->sentence = answer->error ? text_copy(pm_error_detail()) : NULL;
}

/* The sentence is about the directory that was asked for. */
static void name_directory(struct answer *answer, const char *name, const char *path)
{
	char *at = answer->sentence ? strstr(answer->sentence, name) : NULL;
	if (!at)
		return;
	int before = (int)(at - answer->sentence);
	char *sentence = text_format("%.*s%s%s", before, answer->sentence, path, at + strlen(name));
	free(answer->sentence);
	answer->sentence = sentence;
}

/* A file that is not there: pm_probe() makes an unnamed one in the directory. */
static void ask_directory(const char *path, struct pm_options *options, struct answer *answer)
{
	struct statx stx;
	char *name = NULL;
	unsigned number = (unsigned)getpid();
	do {
		free(name);
		name = text_format("%s/.pmdirect-probe-%u", path, number++);
	} while (!look_at(name, AT_SYMLINK_NOFOLLOW, &stx));
	options->flags = (options->flags & ~(unsigned)PM_READ_ONLY) | PM_CREATE;
	options->length = NEW_LENGTH;
	answer->is_new = true;
	ask(name, options, answer);
	name_directory(answer, name, path);
	if (answer->error || answer->report.verdict != PM_VERDICT_UNKNOWN)
		goto end;
	answer->sentence = text_format("%s: the file system has no unnamed files, so nothing is known without "
	                               "creating one: ask for a file that exists",
	                               path);
end:
	free(name);
}

static bool is_on_procfs(const char *path)
{
	struct statfs fs;
	return !statfs(path, &fs) && fs.f_type == PROC_SUPER_MAGIC;
}

static void ask_file(const char *path, const struct place *place, struct pm_options *options, struct answer *answer)
{
	if (place->kind == PLACE_FILE && !place->size && !(options->flags & PM_READ_ONLY)) {
		options->flags |= PM_CREATE;
		options->length = NEW_LENGTH;
	}
	/* The close of a block device that was open for writing makes udev(7) look at it anew. */
	if (place->kind == PLACE_BLOCK_DEVICE)
		options->flags |= PM_READ_ONLY;
	ask(path, options, answer);
	if ((answer->error == -EACCES || answer->error == -EPERM || answer->error == -EROFS) &&
	    !(options->flags & PM_READ_ONLY)) {
		char *sentence = text_copy(answer->sentence);
		options->flags = PM_READ_ONLY;
		options->length = 0;
		ask(path, options, answer);
		/* What was asked first stands in the way, unless no mapping is possible at all. */
		if (answer->error && is_unmappable(answer->error)) {
			free(sentence);
		} else {
			free(answer->sentence);
			answer->sentence = sentence;
		}
	}
	/* What procfs says of a file that it cannot map (fs/proc/inode.c pde_mmap). */
	if (answer->error == -EIO && !place->size && is_on_procfs(path)) {
		free(answer->sentence);
		answer->error = -ENODEV;
		answer->sentence = text_format("%s: procfs has no memory for this file that could be mapped", path);
	}
	answer->is_read_only |= options->flags & PM_READ_ONLY && place->kind != PLACE_BLOCK_DEVICE;
}

char *place_obstacle(const char *path, const struct place *place, int *error)
{
	if (place->kind == PLACE_MISSING) {
		*error = place->error;
		return text_format("%s: %s", text_path(path), strerror(-place->error));
	}
	if (place->kind != PLACE_OTHER)
		return NULL;
	*error = -ENODEV;
	return text_format(
		"%s: neither a file nor a directory, a block device or a device-dax: pm_map() does not map it", path);
}

void place_ask(const char *path, const struct place *place, const struct pm_options *options, struct answer *answer)
{
	struct pm_options o = {
		.size = sizeof(o), .sync = options->sync, .direct = options->direct, .flags = options->flags};
	*answer = (struct answer){.error = 0};
	answer->sentence = place_obstacle(path, place, &answer->error);
	if (answer->sentence)
		return;
	if (place->lease_holder) {
		answer->is_held_back = true;
		answer->report.direct = place->direct;
		answer->sentence =
			text_format("%s: process %d has a lease on the file, which an open would break: only "
		                    "whether it is direct is known",
		                    path, (int)place->lease_holder);
	} else if (place->kind == PLACE_DIRECTORY) {
		ask_directory(path, &o, answer);
	} else {
		ask_file(path, place, &o, answer);
	}
}

void answer_free(struct answer *answer)
{
	free(answer->sentence);
	answer->sentence = NULL;
}

bool is_unmappable(int error)
{
	switch (error) {
	case -ENODEV:
	case -ETXTBSY:
	case -EOPNOTSUPP:
	case -EINVAL:
	case -EISDIR:
	case -ENXIO:
	case -PM_ENOTSYNC:
	case -PM_ENOTDIRECT:
	case -PM_EVOLATILE:
		return true;
	default:
		return false;
	}
}
