/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "error.h"
#include "facts/explain.h"
#include "facts/text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define say pm_text_say

/* What happened; the reason follows where it says more. */
static const struct {
	const char *sentence;
	bool has_reason;
} happened[] = {
	[PM_EVENT_DEMOTED] = {"A request is not met, and the mapping was demoted", true},
	[PM_EVENT_WRITE_BACK_FAILED] = {"A write-back failed, so data may be lost; the mapping is poisoned until "
                                        "pm_clear_error()",
                                        false},
	[PM_EVENT_PROMOTED] = {"The mapping was promoted: user space commits alone again", false},
	[PM_EVENT_LEASE_BROKEN] = {"The mapping lost its lease", true},
	[PM_EVENT_SHARED] = {"Extents are shared with another file now", false},
	[PM_EVENT_TRUNCATED] = {"The file was truncated inside the mapping", false},
	[PM_EVENT_HOLE] = {"Blocks were taken from the file: punched, or truncated and grown again", false},
	[PM_EVENT_PAGE_CACHE] = {"The file is not DAX any more", false},
	[PM_EVENT_DAX_FLAG] = {"The inode's DAX flag was changed; it counts when the inode is next loaded", false},
	[PM_EVENT_OPENED] = {"The file was opened", true},
	[PM_EVENT_MODIFIED] = {"The file was changed by other means than a mapping", false},
	[PM_EVENT_READ_ONLY] = {"The file takes no writes any more", true},
	[PM_EVENT_FS_OFFLINE] = {"The file cannot be reached any more", true},
	[PM_EVENT_BAD_BLOCKS] = {"The medium has bad blocks under the file", false},
	[PM_EVENT_NAME_LOST] = {"The path does not lead to the file any more", true},
};

/* Kinds whose range is a part of the mapping that a person looks for. */
static bool has_place(enum pm_event_kind kind)
{
	return kind == PM_EVENT_WRITE_BACK_FAILED || kind == PM_EVENT_SHARED || kind == PM_EVENT_TRUNCATED ||
	       kind == PM_EVENT_HOLE || kind == PM_EVENT_BAD_BLOCKS || kind == PM_EVENT_MODIFIED;
}

static void say_change(struct pm_text *t, const struct pm_event *e)
{
	if (e->old_granularity != e->new_granularity)
		say(t, "Granularity was %s, and is %s. ", pm_granularity_name(e->old_granularity),
		    pm_granularity_name(e->new_granularity));
	if (e->old_sync != e->sync)
		say(t, "Sync was %s, and is %s. ", pm_state_name(e->old_sync), pm_state_name(e->sync));
	if (e->old_direct != e->direct)
		say(t, "Direct was %s, and is %s. ", pm_state_name(e->old_direct), pm_state_name(e->direct));
}

int pm_explain_event(const struct pm_event *given, char *buffer, size_t buffer_size)
{
	struct pm_text t = {.at = buffer, .room = buffer_size};
	struct pm_event whole = {0}, *e = &whole;
	char why[256];
	if (!given || given->size < offsetof(struct pm_event, error))
		return pm_fail(-EINVAL, "pm_explain_event", NULL,
		               "the event is NULL, or leaves no room for the reason");
	if (!buffer && buffer_size)
		return pm_fail(-EINVAL, "pm_explain_event", NULL, "the buffer is NULL, and buffer_size is not 0");
	/* What a smaller event lacks is 0: no range, no change, no call site. */
	memcpy(&whole, given, given->size < sizeof(whole) ? given->size : sizeof(whole));
	size_t kind = (size_t)e->kind < COUNT(happened) ? (size_t)e->kind : 0;
	say(&t, "%s", happened[kind].sentence ? happened[kind].sentence : "An event of an unknown kind");
	if (has_place(e->kind) && e->length)
		say(&t, " (bytes %" PRIu64 " to %" PRIu64 " of the file)", e->offset, e->offset + e->length - 1);
	if (happened[kind].has_reason && e->reason != PM_REASON_NONE) {
		pm_explain_reason(e->reason, PM_ADVICE_NONE, why, sizeof(why));
		say(&t, ": %s", why);
	}
	say(&t, ". ");
	if (e->error)
		say(&t, "Error %d: %s. ", e->error, pm_strerror(e->error));
	say_change(&t, e);
	if (e->frames)
		say(&t, "The call came from %s. ", e->where);
	return pm_text_end(&t);
}
