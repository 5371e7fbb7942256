/* SPDX-License-Identifier: BSD-3-Clause */
/* One mapping, composed of its parts. Only the files of this folder and the public entry know it; the parts do not. */
#ifndef PM_MAPPING_H
#define PM_MAPPING_H

#include "durability/direct.h"
#include "durability/page.h"
#include "facts/evidence.h"
#include "facts/subject.h"
#include "mapping/listener.h"
#include "observe/notifier.h"
#include "observe/observed.h"
#include "observe/watcher.h"

struct pm_mapping {
	/* What every durability call reads, together. */
	char *base;
	struct pm_terms terms;   /* what is in force */
	struct pm_mapped mapped; /* the range, and the request */
	struct pm_errors errors; /* failures of the file */
	struct pm_medium medium;
	unsigned flags;

	struct pm_observed observed; /* what happens to the file meanwhile */

	struct pm_file file;
	struct pm_file_user user; /* of errors.shared */
	struct pm_watched watched;   /* with PM_WATCH or PM_LEASE: a member of the watcher */
	struct pm_notified notified; /* with PM_WATCH or PM_LEASE and a handler */
	bool has_watcher, is_on_overlay;
	struct pm_listener listener; /* without: the descriptor of pm_event_fd() */
	char *name;
};

static inline enum pm_backing pm_mapping_backing(const struct pm_mapping *m)
{
	return m->mapped.ask.backing;
}

/* open.c: path, or if it is NULL fd; anonymous memory if the options say so. */
int pm_mapping_open(const char *path, int fd, const struct pm_options *, struct pm_mapping **);
int pm_mapping_close(struct pm_mapping *);
/* resize.c */
int pm_mapping_resize(struct pm_mapping *, uint64_t length);
/* probe.c: what pm_mapping_open() would get. */
int pm_mapping_probe(const char *path, int fd, const struct pm_options *, struct pm_report *);
/*
 * report.c: the live report; the descriptor of pm_event_fd(); the oldest event, before which a mapping without a
 * watcher looks.
 */
int pm_mapping_report(struct pm_mapping *, const char *call, struct pm_report *, bool all);
int pm_mapping_event_fd(struct pm_mapping *);
int pm_mapping_next_event(struct pm_mapping *, struct pm_event *);

/* shape.c: grows, prepares and syncs the file as the options ask; then gathers the facts again, and may refuse. */
int pm_mapping_shape_file(struct pm_mapping *, const struct pm_options *, pm_evidence_table, struct pm_subject *);
/* watch.c: joins the watcher, and takes the lease, as the flags ask; from then on the end must follow. */
int pm_mapping_watch_start(struct pm_mapping *, const struct pm_options *);
int pm_mapping_recheck_lease(struct pm_mapping *, const struct pm_options *);
/* The mapping is complete: the watcher may look at it. */
void pm_mapping_watch_go(struct pm_mapping *);
/* Also where the watch was never started. */
void pm_mapping_watch_end(struct pm_mapping *);
/* split.c: maps the range of pm_resize() anew if the application has split the mapping, and gives the old one up. */
int pm_mapping_map_anew(struct pm_mapping *, void **ret, size_t length);

/* repair.c: by write(2), durable on return; the range lies in a shared, writable mapping of a file. */
int pm_mapping_write(struct pm_mapping *, void *destination, const void *source, size_t length);
int pm_mapping_clear_bad_blocks(struct pm_mapping *, void *address, size_t length);

/* naming.c: remembers the file's name, and sets its row. */
void pm_mapping_name_at_first(struct pm_mapping *, pm_evidence_table, const struct pm_subject *);
/* Takes the present path of a moved file as its path from now on. */
void pm_mapping_acknowledge_name(struct pm_mapping *);
/*
 * Whether an overlay copied the file up, so that its descriptor and its path lead to another file than the mapped one.
 */
bool pm_mapping_is_of_another(struct pm_mapping *);

/* fault.c; *ret is zero, and is filled if there was a fault. */
int pm_mapping_guarded(struct pm_mapping *, pm_guarded_fn *, void *arg, struct pm_fault *ret);

#endif
