/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PM_LIMITS_H
#define PM_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The number behind a word of a small text, such as a limit in /proc; UINT64_MAX: there is none. */
uint64_t pm_number_after(const char *path, const char *word);
/* What a call wanted when it failed: the same errno is for another limit. */
enum pm_resource {
	PM_RESOURCE_MEMORY,     /* a mapping */
	PM_RESOURCE_DESCRIPTOR, /* an open file */
	PM_RESOURCE_THREAD,     /* a thread, and its descriptors */
	PM_RESOURCE_INOTIFY     /* an inotify instance, a watch of it, and descriptors */
};
/* Whether the limit was met that the error is for, which text then names. added: bytes that were to be mapped. */
bool pm_limit_name(char *text, size_t size, enum pm_resource, size_t added, int rc);
/* Leaves the sentence where a shortage keeps the evidence from being gathered: it names that limit. Returns rc. */
int pm_limit_no_evidence(const char *name, const char *call, int rc);

#endif
