/* SPDX-License-Identifier: BSD-3-Clause */
/* The mount behind a file: what an earlier look found out, and its options. */
#ifndef PM_MOUNT_H
#define PM_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "facts/evidence.h"
#include "facts/subject.h"
#include "sys/sys.h"

/* What was found of the mount by an earlier look. */
struct pm_known_mount {
	unsigned place; /* in the list of file systems, from 1; 0: nothing is known */
	enum pm_state fsync_complete;
	enum pm_state flushes; /* where the mount is settled: the row PM_EV_DEVICE_FLUSH */
	bool no_outer_journal; /* of an ext4: on no other device */
	bool is_verified;      /* the table of mounts has the type that fstatfs(2) returned */
	bool is_settled;       /* what lies below is not memory, and cannot be exchanged */
};
struct pm_known_mount pm_known_mount(const struct pm_subject *);
/* Keeps nothing about a mount whose id another mount may get. */
void pm_know_mount(const struct pm_subject *, const struct pm_known_mount *);

struct pm_mount_facts {
	int fd;             /* of a file of the mount */
	const char *source; /* of all members; static text */
	const char *type, *subtype;
	const char *device; /* the mounted device, as mountinfo shows it; NULL: not shown */
	char *options;      /* of the super block */
	bool read_only;     /* if it is not among the options */
	char *table;
	struct pm_mount asked;
};
/* Returns 0, or -errno with the source set. pm_mount_free() follows in both cases. */
int pm_mount_read(int fd, const struct statx *, bool by_statmount, struct pm_mount_facts *);
void pm_mount_free(struct pm_mount_facts *);
/* The text behind the name of an option, up to the next comma; NULL: there is no such option. */
const char *pm_mount_option(const struct pm_mount_facts *, const char *name);
/* The same as a path. -ENOENT: there is no such option. */
int pm_mount_path(const struct pm_mount_facts *, const char *name, char *path, size_t size);
/* Whether the mount of the open file is in the process's table, and so below its root directory: 1 or 0, or -errno. */
int pm_mount_is_listed(int fd);
/* Fills the row from the result of pm_mount_read(), and takes the options apart. */
void pm_mount_row(pm_evidence_table, struct pm_mount_facts *, int rc);

#endif
