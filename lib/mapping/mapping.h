/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of one mapping. */
#ifndef PM_MAPPING_H
#define PM_MAPPING_H

#include <stdatomic.h>

#include "durability/direct.h"
#include "durability/page.h"
#include "durability/writeback_calls.h"
#include "facts/evidence.h"
#include "facts/policy.h"
#include "file/file.h"
#include "observe/events.h"
#include "observe/notifier.h"
#include "shared_file.h"

/* What watches the file while the mapping lives. Everything but the thread's own is guarded by lock. */
struct pm_watch {
	pthread_mutex_t lock; /* of looks: taken before pm_mapping.lock */
	int inotify, mounts, sources; /* descriptors, -1: none. sources: epoll(7) of the others */
	int timer;                    /* timerfd_create(2): when /proc may be searched again */
	struct pm_kept kept_inotify, kept_mounts, kept_sources, kept_timer, kept_stop;
	int error;                    /* positive errno: why a file that is watched has no inotify */
	bool seen;                    /* there is something to compare with: */
	enum pm_state unshared, allocated, dax, dax_flag, writable, alive, bad;
	enum pm_reason name;          /* what became of it; PM_REASON_NONE: the file has it, as far as is known */
	bool emergency;               /* read-only for good, and not every look would see it */
	uint64_t end;                 /* of the file, as far as the mapping is concerned */
	uint64_t size;                /* of the file */
	bool writing, direct;         /* another process has it open for that */
	bool opened;                  /* by whom is to be searched for */
	bool searching, searched;     /* somebody does, without the lock; has been done once */
	bool paused;                  /* not before the timer goes off */
	uint32_t carried;             /* announced, and not looked at yet */
	bool unsettled;               /* written by another process, maybe, since the last look that made that durable */

	atomic_bool lease_held;
	int lease_error;          /* positive errno of the last attempt */
	unsigned patience, pause; /* looks between attempts to return to lines, and until the next */

	bool running; /* the thread */
	bool established; /* the mapping is there to be looked at */
	pthread_t thread;
	pthread_cond_t turn; /* of the thread's life: started, established or stopped */
	int stop;            /* eventfd(2) that ends it */
	bool started;
	atomic_bool stopped;
	int failure; /* the thread's own: what it could not get */
};

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
	bool synchronous;     /* mapped with MAP_SYNC */
	unsigned syncs;       /* the PM_CALL_... of sys.h that its life has needed until now */
	bool on_overlay;
	pthread_mutex_t lock; /* of what a look may change, held for an instant: */
	struct pm_decision decision;
	_Atomic enum pm_granularity granularity;
	struct pm_event_queue events;
	struct pm_notified notified;
	atomic_int lost;      /* PM_FAIL_ON_DEMOTION: the error of a guarantee that was lost and not acknowledged */
	struct pm_watch watch;

	struct pm_file file;
	struct pm_latch_user user;
	char *name;
};

/* path, or if it is NULL fd; anonymous memory if the options say so. */
int pm_mapping_open(const char *path, int fd, const struct pm_options *, struct pm_mapping **);
int pm_mapping_close(struct pm_mapping *);
int pm_mapping_resize(struct pm_mapping *, uint64_t length);

/* The error the mapping is poisoned with, 0 if it is whole. A lost guarantee is not looked for. */
static inline int pm_mapping_error(const struct pm_mapping *m)
{
	if (!m->latch)
		return 0;
	unsigned failures = atomic_load_explicit(&m->latch->failures, memory_order_acquire);
	if (__builtin_expect(failures == atomic_load_explicit(&m->cleared, memory_order_relaxed), 1))
		return 0;
	return atomic_load(&m->latch->error);
}
/* Whether the failure the mapping is poisoned with has not been told yet; it has then. */
bool pm_mapping_is_news(struct pm_mapping *);
/* Sends the event, once for each failure, and leaves the sentence. Returns error. */
int pm_mapping_announce(struct pm_mapping *, const char *call, int error);
/*
 * What stands between a durability call and its work: a poisoned mapping, a broken lease, a lost guarantee, a descriptor
 * that the program took away. call is the public function at work, for the sentence.
 */
int pm_mapping_poison(struct pm_mapping *, const char *call);
/* Passes rc on; a failure poisons every mapping of the file, unless it is of the descriptor. */
int pm_mapping_failed(struct pm_mapping *, const char *call, int rc);
/* Likewise a write-back that no call of the application made. */
void pm_mapping_failed_unasked(struct pm_mapping *, int rc, struct pm_event_batch *);
/*
 * A call has seen the file end there. What lies behind it is gone, until pm_resize(): each call on such a range fails
 * by pm_mapping_cut_off(), -ERANGE. An end at or behind the mapping's is no news.
 */
void pm_mapping_note_end(struct pm_mapping *, uint64_t end);
int pm_mapping_cut_off(struct pm_mapping *, const char *call);
int pm_mapping_clear(struct pm_mapping *);

/*
 * The live state; demotes the mapping if the facts no longer bear it, and makes events of what has changed since the
 * last look. Gathers all rows, or only what that takes. -errno: the facts could not be gathered.
 */
int pm_mapping_report(struct pm_mapping *, const char *call, struct pm_report *, bool all);
/* Takes the oldest event; without a thread of its own looks first if there is none. */
int pm_mapping_next_event(struct pm_mapping *, struct pm_event *);
/* What pm_mapping_open() would get. */
int pm_mapping_probe(const char *path, const struct pm_options *, struct pm_report *);

/* For the files of this layer. */
void pm_mapping_set_strategy(struct pm_mapping *, const struct pm_strategy *);
void pm_mapping_subject(const struct pm_file *, const struct pm_ask *, uint64_t offset, uint64_t length,
                        bool writable, struct pm_subject *);
/* The mmap(2) of a mapping and of a probe; leaves the sentence. */
int pm_mapping_mmap(const struct pm_file *, const struct pm_ask *, const struct pm_subject *, bool synchronous, void **map);
struct pm_ask pm_mapping_ask(const struct pm_options *, const struct pm_file *);
/* What a mapping of the file will call to make things durable: PM_CALL_... of sys.h. */
unsigned pm_mapping_syncs(const struct pm_file *, const struct pm_options *);
bool pm_mapping_will_prepare(const struct pm_options *, bool created, pm_evidence_table);
/* Sets the rows of the extents to what growing and preparing will make of them. */
void pm_mapping_assume(pm_evidence_table, const struct pm_options *, bool grown, bool prepared);
/* Leaves the sentence of a decision that refuses. */
int pm_mapping_refuse(const struct pm_file *, const struct pm_decision *);
/* Grows, prepares and syncs the file as the options ask; then looks at the facts again, and may refuse. */
int pm_mapping_shape_file(struct pm_mapping *, const struct pm_options *, pm_evidence_table, struct pm_subject *);
int pm_mapping_range(const struct pm_file *, const struct pm_options *, uint64_t *length);

/* A batch that starts from the state in force; and its end, with no lock held. */
void pm_mapping_begin_batch(struct pm_mapping *, struct pm_event_batch *);
void pm_mapping_publish(struct pm_mapping *, struct pm_event_batch *);

/* Takes a fresh decision; never lifts what is in force unless promote. Adds the event, if it is one. */
void pm_mapping_adopt(struct pm_mapping *, const struct pm_decision *, bool promote, struct pm_event_batch *);
/* Gathers, decides, adopts the decision, and compares with what was seen last; with the watch's lock held. */
int pm_mapping_look(struct pm_mapping *, struct pm_report *, bool all, struct pm_event_batch *);
/*
 * Gathers what the decision needs, and what may have changed, and decides, with the watch's lock held: on the mapping as it is, or as long as it is
 * to be. Sets *ret only on success.
 */
int pm_mapping_judge(struct pm_mapping *, uint64_t length, pm_evidence_table, struct pm_subject *,
                     struct pm_decision *ret);

void pm_watch_init(struct pm_watch *);
int pm_watch_open(struct pm_mapping *, bool threaded);
/* Takes the lease and starts the threads, as m->flags ask. 0, or what went wrong; a lease that is not to be had is not. */
int pm_watch_start(struct pm_mapping *);
/* The mapping is made: the thread may look at it. */
void pm_watch_go(struct pm_mapping *);
/* Ends the threads and gives the lease back; also what was never started. */
void pm_watch_end(struct pm_mapping *);
void pm_watch_thread_end(struct pm_mapping *);
int pm_watch_descriptor(struct pm_mapping *);
/* What the first look compares with. */
void pm_watch_seed(struct pm_mapping *, const struct pm_evidence *, const struct pm_subject *);
/* Searches /proc for who has opened the file, if that is to be done; with no lock held, since it may take long. */
void pm_watch_search(struct pm_mapping *);
/* Compares with what was seen last, with the watch's lock held. */
void pm_watch_compare(struct pm_mapping *, const struct pm_evidence *, const struct pm_subject *, struct pm_event_batch *);
/* Before this library writes to the file itself: what was announced until now was others. */
void pm_watch_collect(struct pm_mapping *);
/* Whether it is announced that another process wrote to the file or changed its size or blocks; it stays to be told. */
bool pm_watch_is_written(struct pm_mapping *);
/* What was done to the file by this library itself is no news: changes announced since, and any. */
void pm_watch_discard(struct pm_mapping *);

/* In the thread that a break is to signal. */
void pm_lease_take(struct pm_mapping *);
void pm_lease_end(struct pm_mapping *);
/* Asks for the lease, without a thread: what must be done on a break is done on return. */
void pm_lease_poll(struct pm_mapping *);
/* With the watch's lock held: gives a broken lease back, or tries for one that was given back. */
void pm_lease_turn(struct pm_mapping *, struct pm_event_batch *);

/* split.c: maps the range of pm_resize() anew where the application has split the mapping, and gives the old one up. */
int pm_mapping_map_anew(struct pm_mapping *, void **ret, size_t length);
/* A call that makes a mapping failed: names the limit that was met. Returns rc. */
int pm_mapping_no_room(const char *name, const char *call, const char *what, size_t length, int rc);

/* repair.c: by write(2), durable on return; the range lies in a shared, writable mapping of a file. */
int pm_mapping_write(struct pm_mapping *, void *destination, const void *source, size_t length);
int pm_mapping_clear_bad_blocks(struct pm_mapping *, void *address, size_t length);

/* naming.c: remembers the name, and sets its row; once the file is created it is to be remembered again. */
void pm_mapping_name_at_first(struct pm_mapping *, pm_evidence_table, const struct pm_subject *);
/* A file that was moved has the path from now on that leads to it now. */
void pm_mapping_acknowledge_name(struct pm_mapping *);
/* Whether an overlay copied the file up, so that its descriptor and its path lead to another file than is mapped. */
bool pm_mapping_is_of_another(struct pm_mapping *);

/* fault.c; *ret is zero, and is filled where a fault was met. */
int pm_mapping_guarded(struct pm_mapping *, pm_guarded_fn *, void *arg, struct pm_fault *ret);

#endif
