/* SPDX-License-Identifier: BSD-3-Clause */
/* Static names for the values of the enums. */
#include "pmdirect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const granularity_names[] = {
	[PM_GRANULARITY_UNKNOWN] = "unknown", [PM_NONE] = "none", [PM_PAGE] = "page",
	[PM_CACHE_LINE] = "cache line",       [PM_BYTE] = "byte",
};

static const char *const state_names[] = {[PM_UNKNOWN] = "unknown", [PM_NO] = "no", [PM_YES] = "yes"};

static const char *const evidence_names[PM_EVIDENCE_ROWS] = {
	[PM_EV_MAP_SYNC] = "MAP_SYNC accepted",
	[PM_EV_MAP_SYNC_IGNORED] = "MAP_SYNC ignored",
	[PM_EV_DAX] = "DAX file",
	[PM_EV_DEVICE_DAX] = "device-dax",
	[PM_EV_FILE_SYSTEM] = "file system known",
	[PM_EV_MOUNT] = "mount known",
	[PM_EV_VOLATILE] = "volatile backing",
	[PM_EV_ALLOCATED] = "extents allocated",
	[PM_EV_EXTENTS_WRITTEN] = "extents written",
	[PM_EV_UNSHARED] = "extents unshared",
	[PM_EV_SHAREABLE] = "extents can be shared",
	[PM_EV_REGION] = "region found",
	[PM_EV_PROVIDER] = "real persistent memory",
	[PM_EV_CPU_FLUSH_SUFFICES] = "CPU flush suffices",
	[PM_EV_DOMAIN] = "persistence domain stated",
	[PM_EV_CPU_CACHE] = "CPU caches in the domain",
	[PM_EV_DEEP_FLUSH] = "flush hints",
	[PM_EV_WRITE_CACHE] = "kernel writes caches back",
	[PM_EV_CPU] = "CPU write-back",
	[PM_EV_RESIDENT] = "in the page cache",
	[PM_EV_LEASE_POSSIBLE] = "lease possible",
	[PM_EV_LEASE_HELD] = "lease held",
	[PM_EV_KERNEL] = "kernel release",
	[PM_EV_ENV_OVERRIDE] = "environment override",
	[PM_EV_OWN_DESCRIPTION] = "own file description",
	[PM_EV_LIBPMEM] = "libpmem in use",
	[PM_EV_LIBUNWIND] = "libunwind in use",
	[PM_EV_WRITABLE] = "file system writable",
	[PM_EV_FS_ONLINE] = "file system online",
	[PM_EV_DAX_FLAG] = "inode's DAX flag",
	[PM_EV_BAD_BLOCKS] = "bad blocks",
	[PM_EV_UNSAFE_SHUTDOWNS] = "unsafe shutdowns",
	[PM_EV_DEVICE_ID] = "device identified",
	[PM_EV_NUMA_NODE] = "NUMA node known",
	[PM_EV_PAGE_SIZE] = "page size known",
	[PM_EV_WATCHED] = "changes announced",
	[PM_EV_FSYNC_COMPLETE] = "fsync complete",
	[PM_EV_NAMED] = "file has its name",
	[PM_EV_SYNC_IGNORED] = "syncs ignored",
	[PM_EV_DEVICE_FLUSH] = "device cache flushed",
	[PM_EV_FAST_COMMIT] = "fast_commit in use",
	[PM_EV_ARMED] = "NVDIMMs armed",
	[PM_EV_IN_FILE] = "range inside the file",
	[PM_EV_LARGE_FOLIOS] = "large folios possible",
};

static const char *const request_names[] = {[PM_HINT] = "hint", [PM_GUARANTEE] = "guarantee", [PM_AVOID] = "avoid"};

static const char *const access_names[] = {
	[PM_ACCESS_UNSET] = "unset",
	[PM_ACCESS_RANDOM] = "random",
	[PM_ACCESS_SEQUENTIAL] = "sequential",
};

static const char *const grade_names[] = {
	[PM_GRADE_NONE] = "none",         [PM_GRADE_ACCEPTED] = "accepted", [PM_GRADE_TRUSTED] = "trusted",
	[PM_GRADE_PROMISED] = "promised", [PM_GRADE_PROVEN] = "proven",
};

static const char *const verdict_names[] = {
	[PM_VERDICT_UNKNOWN] = "unknown",
	[PM_VERDICT_MET] = "met",
	[PM_VERDICT_DEMOTED] = "demoted",
	[PM_VERDICT_REFUSED] = "refused",
};

static const char *const advice_names[] = {
	[PM_ADVICE_NONE] = "none",
	[PM_ADVICE_PREPARE] = "prepare",
	[PM_ADVICE_MOUNT_DAX] = "mount-dax",
	[PM_ADVICE_LEASE] = "lease",
	[PM_ADVICE_REAL_MEDIUM] = "real-medium",
	[PM_ADVICE_STATE_DOMAIN] = "state-domain",
	[PM_ADVICE_UNSET_ENV] = "unset-env",
	[PM_ADVICE_LEAVE_SANDBOX] = "leave-sandbox",
	[PM_ADVICE_OTHER_CPU] = "other-cpu",
	[PM_ADVICE_USE_FSDAX] = "use-fsdax",
	[PM_ADVICE_REWRITE] = "rewrite",
	[PM_ADVICE_CLEAR_ERROR] = "clear-error",
	[PM_ADVICE_MAP_AGAIN] = "map-again",
	[PM_ADVICE_CLOSE_OTHER_OPENS] = "close-other-opens",
	[PM_ADVICE_JOURNAL] = "journal",
	[PM_ADVICE_BARRIER] = "barrier",
	[PM_ADVICE_NAME] = "name",
	[PM_ADVICE_REMOUNT] = "remount",
	[PM_ADVICE_MUTABLE] = "mutable",
	[PM_ADVICE_RANDOM_ACCESS] = "random-access",
};

static const char *const event_names[] = {
	[PM_EVENT_DEMOTED] = "demoted",
	[PM_EVENT_WRITE_BACK_FAILED] = "write-back-failed",
	[PM_EVENT_PROMOTED] = "promoted",
	[PM_EVENT_LEASE_BROKEN] = "lease-broken",
	[PM_EVENT_SHARED] = "shared",
	[PM_EVENT_TRUNCATED] = "truncated",
	[PM_EVENT_HOLE] = "hole",
	[PM_EVENT_PAGE_CACHE] = "page-cache",
	[PM_EVENT_DAX_FLAG] = "dax-flag",
	[PM_EVENT_OPENED] = "opened",
	[PM_EVENT_MODIFIED] = "modified",
	[PM_EVENT_READ_ONLY] = "read-only",
	[PM_EVENT_FS_OFFLINE] = "fs-offline",
	[PM_EVENT_BAD_BLOCKS] = "bad-blocks",
	[PM_EVENT_NAME_LOST] = "name-lost",
};

static const char *name_of(const char *const *names, size_t count, unsigned value)
{
	return value < count && names[value] ? names[value] : "unknown";
}

#define NAME(table, value) name_of(table##_names, COUNT(table##_names), (unsigned)(value))

const char *pm_granularity_name(enum pm_granularity granularity)
{
	return NAME(granularity, granularity);
}

const char *pm_state_name(enum pm_state state)
{
	return NAME(state, state);
}

const char *pm_evidence_name(enum pm_evidence_row row)
{
	return NAME(evidence, row);
}

const char *pm_request_name(enum pm_request request)
{
	return NAME(request, request);
}

const char *pm_access_name(enum pm_access access)
{
	return NAME(access, access);
}

const char *pm_grade_name(enum pm_grade grade)
{
	return NAME(grade, grade);
}

const char *pm_verdict_name(enum pm_verdict verdict)
{
	return NAME(verdict, verdict);
}

const char *pm_advice_name(enum pm_advice advice)
{
	return NAME(advice, advice);
}

const char *pm_event_name(enum pm_event_kind kind)
{
	return NAME(event, kind);
}
