/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of one mapping. */
#ifndef PM_MAPPING_H
#define PM_MAPPING_H

#include <stdatomic.h>

#include "evidence.h"
#include "file.h"
#include "latch.h"
#include "policy.h"
#include "strategy.h"

struct pm_mapping {
	/* What every durability call reads, together. */
	int (*_Atomic persist_lines)(const void *, size_t); /* the CPU's, while lines are the strategy; else NULL */
	const struct pm_strategy *_Atomic strategy;
	char *base;
	uint64_t length;
	struct pm_latch *latch;   /* NULL: no file that could fail */
	atomic_uint cleared;      /* latch->failures up to which the mapping is whole */
	atomic_uint announced;    /* latch->failures up to which an event was sent */
	struct pm_medium medium;

	uint64_t offset;
	unsigned flags;
	bool prepared;
	struct pm_ask ask;
	pthread_mutex_t lock; /* of what a query may change: */
	struct pm_decision decision;
	_Atomic enum pm_granularity granularity;

	struct pm_file file;
	struct pm_latch_user user;
	char *name;
	pm_event_fn *on_event;
	void *event_arg;
};

/* path, or if it is NULL fd; anonymous memory if the options say so. */
int pm_mapping_open(const char *path, int fd, const struct pm_options *, struct pm_mapping **);
int pm_mapping_close(struct pm_mapping *);
int pm_mapping_resize(struct pm_mapping *, uint64_t length);

/* The error the mapping is poisoned with, 0 if it is whole. */
static inline int pm_mapping_error(const struct pm_mapping *m)
{
	if (!m->latch)
		return 0;
	unsigned failures = atomic_load_explicit(&m->latch->failures, memory_order_acquire);
	if (__builtin_expect(failures == atomic_load_explicit(&m->cleared, memory_order_relaxed), 1))
		return 0;
	return atomic_load(&m->latch->error);
}
/* Sends the event, once for each failure, and leaves the sentence. Returns error. */
int pm_mapping_announce(struct pm_mapping *, int error);
/* The first thing in every durability call. */
static inline int pm_mapping_poison(struct pm_mapping *m)
{
	int error = pm_mapping_error(m);
	return __builtin_expect(error, 0) ? pm_mapping_announce(m, error) : 0;
}
/* Passes rc on; a failure poisons every mapping of the file. */
int pm_mapping_failed(struct pm_mapping *, int rc);
int pm_mapping_clear(struct pm_mapping *);

/* The live state; demotes the mapping if the facts no longer bear it. -errno: they could not be gathered. */
int pm_mapping_report(struct pm_mapping *, struct pm_report *);
/* What pm_mapping_open() would get. */
int pm_mapping_probe(const char *path, const struct pm_options *, struct pm_report *);

/* For the files of this layer. */
void pm_mapping_set_strategy(struct pm_mapping *, const struct pm_strategy *);
void pm_mapping_subject(const struct pm_file *, const struct pm_ask *, uint64_t offset, uint64_t length,
                        bool writable, struct pm_subject *);
struct pm_ask pm_mapping_ask(const struct pm_options *, const struct pm_file *);
bool pm_mapping_will_prepare(const struct pm_options *, bool created, pm_evidence_table);
/* Sets the rows of the extents to what growing and preparing will make of them. */
void pm_mapping_assume(pm_evidence_table, const struct pm_options *, bool grown, bool prepared);
/* Takes a fresh decision; never lifts what is in force. */
void pm_mapping_adopt(struct pm_mapping *, const struct pm_decision *);
int pm_mapping_range(const struct pm_file *, const struct pm_options *, uint64_t *length);
/* Completes the event with the state in force and the call site, and sends it. */
void pm_mapping_event(struct pm_mapping *, struct pm_event *);

/* guard.c; *ret is zero, and is filled where a fault was met. */
int pm_mapping_guarded(struct pm_mapping *, pm_guarded_fn *, void *arg, struct pm_fault *ret);

#endif
