/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the page cache has large folios where a mapping has it. */
#ifndef FOLIOS_H
#define FOLIOS_H

#include <pmdirect.h>

#include "area.h"

/*
 * By the pages in its page table, with the privilege to see their flags (CAP_SYS_ADMIN). Yes: one is part of a large
 * folio; no: all of the range is there, and none is; else unknown.
 */
enum pm_state folios_of(const struct area *area);

#endif
