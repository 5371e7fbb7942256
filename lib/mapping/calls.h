/* SPDX-License-Identifier: BSD-3-Clause */
/* What the public entry calls on a mapping; each function is in the file that is named. */
#ifndef PM_CALLS_H
#define PM_CALLS_H

#include "mapping/mapping.h"

/* open.c: path, or if it is NULL fd; anonymous memory if the options say so. */
int pm_mapping_open(const char *path, int fd, const struct pm_options *, struct pm_mapping **);
int pm_mapping_close(struct pm_mapping *);
/* give_up.c: pages from address on, which is aligned to one. */
int pm_mapping_give_up(struct pm_mapping *, void *address, size_t length);
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
/* repair.c: by write(2), durable on return; the range lies in a shared, writable mapping of a file. */
int pm_mapping_write(struct pm_mapping *, void *destination, const void *source, size_t length);
int pm_mapping_clear_bad_blocks(struct pm_mapping *, void *address, size_t length);
/* fault.c; *ret is zero, and is filled if there was a fault. */
int pm_mapping_guarded(struct pm_mapping *, pm_guarded_fn *, void *arg, struct pm_fault *ret);

#endif
