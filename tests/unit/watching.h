/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of events share: a mapping that is watched, and its events. */
#ifndef WATCHING_H
#define WATCHING_H

#include "unit.h"

#define SIZE 65536u /* of the file */
#define WAIT_MS 20000

extern const char *watched_path;
/* A mapping that nothing has happened to: its event of map time is taken. */
struct pm_mapping *watched(const struct fake_machine *);
/* The one event there is; another of kind 0 if there is none. */
struct pm_event only(struct pm_mapping *);
/* Whether the mapping's descriptor becomes readable. */
bool is_readable(struct pm_mapping *, int timeout_ms);

#endif
