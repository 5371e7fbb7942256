/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate of every durability call: what must hold before its work, and before its 0. A failed write-back, a lost
 * guarantee, a descriptor that the program took away, and a file that ends before the range keep it closed.
 */
#ifndef PM_GATE_H
#define PM_GATE_H

#include "mapping/mapping.h"

/*
 * Before the work: 0, or the error that keeps the gate closed, with its sentence. call is the public function at work.
 */
int pm_gate_enter(struct pm_mapping *, const char *call);
/*
 * After it: passes its result on. A failure poisons every mapping of the file, unless it is the descriptor's. What the
 * calls that take an address see of both without a call is in persist.c.
 */
int pm_gate_leave(struct pm_mapping *, const char *call, int rc);

/*
 * The file was seen to end there. What lies behind is gone until pm_resize(): each call on such a range fails by
 * pm_gate_cut_off(), -ERANGE. An end at or behind the mapping's changes nothing.
 * resized: as for pm_medium_note_end().
 */
void pm_gate_note_end(struct pm_mapping *, uint64_t end, unsigned resized);
/* The same where the medium knows it already. */
void pm_gate_note_cut(struct pm_mapping *);
int pm_gate_cut_off(struct pm_mapping *, const char *call);
/* pm_gate_leave() after a drain of all that was recorded: its 0 is -ERANGE if something flushed was truncated. */
int pm_gate_leave_drain(struct pm_mapping *, const char *call, int rc);
/* pm_clear_error() */
int pm_gate_clear(struct pm_mapping *);

#endif
