/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands between a durability call and its 0: a write-back that failed, a guarantee that was lost, a descriptor that
 * the program took away, a file that ends before the range.
 */
#include <errno.h>

#include "error.h"
#include "mapping/mapping.h"
#include "sys/sys.h"

bool pm_mapping_is_news(struct pm_mapping *m)
{
	unsigned failures = atomic_load(&m->latch->failures);
	return atomic_exchange(&m->announced, failures) != failures;
}

int pm_mapping_announce(struct pm_mapping *m, const char *call, int error)
{
	if (pm_mapping_is_news(m)) {
		struct pm_event_batch batch;
		pm_mapping_begin_batch(m, &batch);
		pm_event_batch_add(&batch, PM_EVENT_WRITE_BACK_FAILED, PM_REASON_WRITE_BACK_FAILED)->error = error;
		pm_mapping_publish(m, &batch);
	}
	return pm_fail(error, call, m->name, "a write-back failed: %s; the mapping is poisoned until pm_clear_error()",
	               pm_strerror(error));
}

/* Nothing that is asked through the descriptor can be believed, so no call promises anything by itself any more. */
static int announce_lost_descriptor(struct pm_mapping *m, const char *call)
{
	atomic_store(&m->persist_lines, NULL);
	return pm_fail(-EBADF, call, m->name,
	               "descriptor %d of this mapping is closed or another file's: the program closed it behind the library's "
	               "back; unmap and map again", m->medium.fd);
}

int pm_mapping_poison(struct pm_mapping *m, const char *call)
{
	if (m->flags & PM_NO_THREAD)
		pm_lease_poll(m);
	int error = pm_mapping_error(m);
	if (__builtin_expect(error, 0))
		return pm_mapping_announce(m, call, error);
	if (atomic_load_explicit(&m->file.identity.lost, memory_order_relaxed))
		return announce_lost_descriptor(m, call);
	error = atomic_load_explicit(&m->lost, memory_order_relaxed);
	return error ? pm_fail(error, call, m->name, "the guarantee was lost; call pm_clear_error() to acknowledge it") : 0;
}

int pm_mapping_failed(struct pm_mapping *m, const char *call, int rc)
{
	if (rc == -EBADF && atomic_load(&m->file.identity.lost))
		return announce_lost_descriptor(m, call);
	if (rc && m->latch)
		pm_latch_fail(m->latch, atomic_load(&m->cleared), rc);
	/* Cleared by another thread meanwhile, it still was this call's failure. */
	int poison = rc ? pm_mapping_poison(m, call) : 0;
	return poison ? poison : rc;
}

/* ---- Where the file ends ---- */

void pm_mapping_note_end(struct pm_mapping *m, uint64_t end)
{
	pm_medium_note_end(&m->medium, end);
	if (pm_medium_is_cut(&m->medium))
		atomic_store(&m->persist_lines, NULL);
}

int pm_mapping_cut_off(struct pm_mapping *m, const char *call)
{
	return pm_fail(-ERANGE, call, m->name,
	               "the file ends at %llu, inside the range: it was cut off, and the bytes behind that are gone; pm_resize() to "
	               "what is left, or map again", (unsigned long long)atomic_load(&m->medium.end));
}

int pm_mapping_clear(struct pm_mapping *m)
{
	pm_mapping_acknowledge_name(m);
	pthread_mutex_lock(&m->lock);
	if (atomic_exchange(&m->lost, 0))
		pm_mapping_set_strategy(m, atomic_load(&m->strategy));
	pthread_mutex_unlock(&m->lock);
	int rc = pm_mapping_poison(m, "pm_clear_error");
	if (!rc || !pm_mapping_error(m))
		return rc;
	unsigned failures = atomic_load(&m->latch->failures);
	rc = pm_page_recover(&m->medium);
	if (rc == -EBADF)
		return pm_mapping_failed(m, "pm_clear_error", rc);
	if (rc) {
		/* A failed write-back like any other, unless there was none. */
		if (rc != -EACCES)
			pm_latch_fail(m->latch, failures, rc);
		return pm_fail(rc, "pm_clear_error", m->name, "writing everything back failed again: %s", pm_strerror(rc));
	}
	atomic_store(&m->cleared, failures);
	return 0;
}
