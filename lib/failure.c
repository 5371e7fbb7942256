/* SPDX-License-Identifier: BSD-3-Clause */
/* What a failed write-back, or a lost guarantee, does to a mapping, and how that is lifted. */
#include <errno.h>

#include "error.h"
#include "mapping.h"

bool pm_mapping_is_news(struct pm_mapping *m)
{
	unsigned failures = atomic_load(&m->latch->failures);
	return atomic_exchange(&m->announced, failures) != failures;
}

int pm_mapping_announce(struct pm_mapping *m, int error)
{
	if (pm_mapping_is_news(m)) {
		struct pm_news news;
		pm_news_begin(&news, m);
		pm_news_add(&news, PM_EVENT_WRITE_BACK_FAILED, PM_REASON_WRITE_BACK_FAILED)->error = error;
		pm_news_tell(m, &news);
	}
	return pm_fail(error, "write-back", m->name, "%s: the mapping is poisoned until pm_clear_error()",
	               pm_strerror(error));
}

int pm_mapping_poison(struct pm_mapping *m)
{
	if (m->flags & PM_NO_THREAD)
		pm_lease_poll(m);
	int error = pm_mapping_error(m);
	if (__builtin_expect(error, 0))
		return pm_mapping_announce(m, error);
	error = atomic_load_explicit(&m->lost, memory_order_relaxed);
	return error ? pm_fail(error, "durability", m->name, "the guarantee was lost; pm_clear_error() acknowledges it") : 0;
}

int pm_mapping_failed(struct pm_mapping *m, int rc)
{
	if (rc && m->latch)
		pm_latch_fail(m->latch, atomic_load(&m->cleared), rc);
	/* Cleared by another thread meanwhile, it still was this call's failure. */
	int poison = rc ? pm_mapping_poison(m) : 0;
	return poison ? poison : rc;
}

int pm_mapping_clear(struct pm_mapping *m)
{
	pm_mapping_acknowledge_name(m);
	pthread_mutex_lock(&m->lock);
	if (atomic_exchange(&m->lost, 0))
		pm_mapping_set_strategy(m, atomic_load(&m->strategy));
	pthread_mutex_unlock(&m->lock);
	int rc = pm_mapping_poison(m);
	if (!rc)
		return 0;
	unsigned failures = atomic_load(&m->latch->failures);
	rc = pm_writeback_recover(&m->medium);
	if (rc) {
		/* A failed write-back like any other, unless there was none. */
		if (rc != -EACCES)
			pm_latch_fail(m->latch, failures, rc);
		return pm_fail(rc, "pm_clear_error", m->name, "writing everything back failed again: %s", pm_strerror(rc));
	}
	atomic_store(&m->cleared, failures);
	return 0;
}
