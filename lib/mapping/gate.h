/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate of every durability call: what must hold before its work, and before its 0. A failed write-back, a lost
 * guarantee, a descriptor that the program took away, and a file that ends before the range keep it closed.
 */
#ifndef PM_GATE_H
#define PM_GATE_H

#include "mapping/mapping.h"

/* The error that keeps the gate closed, with its sentence; 0 if it is open by now. */
int pm_gate_refuse(struct pm_mapping *, const char *call);
/* 0, or the error with the sentence. call is the public function at work. */
static inline int pm_gate_enter(struct pm_mapping *m, const char *call)
{
	bool closed = pm_errors_current(&m->errors) ||
	              atomic_load_explicit(&m->file.identity.lost, memory_order_relaxed) ||
	              atomic_load_explicit(&m->terms.lost_guarantee, memory_order_relaxed);
	return __builtin_expect(closed, 0) ? pm_gate_refuse(m, call) : 0;
}

/* The work failed: poisons every mapping of the file, unless the failure is the descriptor's. */
int pm_gate_fail(struct pm_mapping *, const char *call, int rc);
/* Passes the result of the work on. */
static inline int pm_gate_leave(struct pm_mapping *m, const char *call, int rc)
{
	return __builtin_expect(rc, 0) ? pm_gate_fail(m, call, rc) : 0;
}

/*
 * The file was seen to end there. What lies behind is gone until pm_resize(): each call on such a range fails by
 * pm_gate_cut_off(), -ERANGE. An end at or behind the mapping's changes nothing.
 * resized: as for pm_medium_note_end().
 */
void pm_gate_note_end(struct pm_mapping *, uint64_t end, unsigned resized);
/* The same where the medium knows it already. */
void pm_gate_note_cut(struct pm_mapping *);
int pm_gate_cut_off(struct pm_mapping *, const char *call);
/* pm_clear_error() */
int pm_gate_clear(struct pm_mapping *);

#endif
