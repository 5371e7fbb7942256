/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "facts/explain.h"
#include "facts/text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define say pm_text_say

/* Name and sentence of each reason, indexed by it. */
static const struct {
	const char *name, *sentence;
} reasons[] = {
	[PM_REASON_NONE] = {"none", "every fact holds"},
	[PM_REASON_PRIVATE] = {"private", "a private copy never reaches the file"},
	[PM_REASON_ANONYMOUS] = {"anonymous", "the mapping has no file"},
	[PM_REASON_VOLATILE] = {"volatile", "the file system, or what lies below it, keeps its data in volatile "
	                                    "memory or leaves syncs out"},
	[PM_REASON_AVOIDED] = {"avoided", "the caller asked for the kernel's write-back"},
	[PM_REASON_ENV_OVERRIDE] = {"env-override", "PMDIRECT_GRANULARITY in the environment lowers the promise"},
	[PM_REASON_MAP_SYNC_IGNORED] = {"map-sync-ignored",
	                                "MAP_SYNC was accepted, and the kernel does not confirm that it is "
	                                "honoured: a sandbox or a preloaded shim may ignore it"},
	[PM_REASON_PAGE_CACHE] = {"page-cache", "the file is not DAX, so its pages go through the page cache"},
	[PM_REASON_DIRECT_UNKNOWN] = {"direct-unknown", "the kernel does not say whether the file is DAX"},
	[PM_REASON_SYNC_REFUSED] = {"sync-refused", "the kernel refuses MAP_SYNC for this file"},
	[PM_REASON_CPU] = {"cpu", "no cache write-back of this CPU is known to reach the medium"},
	[PM_REASON_EMULATED_PMEM] = {"emulated-pmem", "the region is ordinary DRAM presented as persistent memory; "
	                                              "whether anything survives is not known"},
	[PM_REASON_REGION_UNKNOWN] = {"region-unknown", "the memory region behind the file is not identified"},
	[PM_REASON_FLUSH_COMMAND] = {"flush-command",
	                             "the device needs a flush command, which only the kernel can send (virtio-pmem)"},
	[PM_REASON_EXTENTS_UNKNOWN] = {"extents-unknown", "the file system does not report the extents of the range"},
	[PM_REASON_HOLE] = {"hole", "part of the range is not allocated, so a store may need the file system"},
	[PM_REASON_UNWRITTEN] = {"unwritten", "part of the range is allocated but not written, so a store may need "
	                                      "the file system"},
	[PM_REASON_SHARED] = {"shared", "part of the range is shared with another file, so a store must copy it"},
	[PM_REASON_SHAREABLE] = {"shareable", "the file system can share extents (reflink) at any time, and the "
	                                      "mapping has no lease"},
	[PM_REASON_NO_DOMAIN] = {"no-domain", "the region does not state its persistence domain"},
	[PM_REASON_TRUSTED] = {"trusted",
	                       "the kernel's word is trusted, not proven, because the caller set PM_TRUST_KERNEL"},
	[PM_REASON_NO_WRITE_BACK] = {"no-write-back", "device-dax has no write-back in the kernel"},
	[PM_REASON_WRITE_BACK_FAILED] = {"write-back-failed", "a write-back failed"},
	[PM_REASON_NOT_PROMOTED] = {"not-promoted",
	                            "the evidence would allow a finer granularity now than when the mapping "
	                            "was made or demoted"},
	[PM_REASON_LEASE_REFUSED] = {"lease-refused",
	                             "the file system can share extents, and the lease cannot be taken now"},
	[PM_REASON_LEASE_BROKEN] = {"lease-broken", "another process opens the file, or this one opens it once more"},
	[PM_REASON_LEASE_FORCED] = {"lease-forced",
	                            "the kernel took the lease before the mapping was demoted: stores acknowledged "
	                            "in between were not safe until now"},
	[PM_REASON_TRUNCATED] = {"truncated", "the file ends inside the range"},
	[PM_REASON_DAX_FLAG] = {"dax-flag",
	                        "the inode's DAX flag was changed; it counts when the inode is next loaded"},
	[PM_REASON_MODIFIED] = {"modified", "the file was changed by other means than a mapping"},
	[PM_REASON_OPENED_WRITING] = {"opened-writing", "another process has the file open for writing"},
	[PM_REASON_OPENED_DIRECT] = {"opened-direct", "another process has the file open for writing with O_DIRECT"},
	[PM_REASON_READ_ONLY] = {"read-only", "the file system is read-only now"},
	[PM_REASON_SHUT_DOWN] = {"shut-down", "the file system was shut down"},
	[PM_REASON_DEVICE_GONE] = {"device-gone", "the device under the file system is gone"},
	[PM_REASON_BAD_BLOCKS] = {"bad-blocks", "the medium has bad blocks in the range"},
	[PM_REASON_FSYNC_INCOMPLETE] = {"fsync-incomplete", "a sync may leave the inode out (ext4 without "
	                                                    "a journal), without which the data is not found"},
	[PM_REASON_UNLINKED] = {"unlinked", "the file was unlinked, or another file replaced it"},
	[PM_REASON_MOVED] = {"moved", "the file has another path than when it was mapped"},
	[PM_REASON_UNNAMED] = {"unnamed", "the file never had a name, so a restarted program cannot find it"},
	[PM_REASON_COPIED_UP] = {"copied-up", "the overlay copied the file up, so its path leads to another file now"},
	[PM_REASON_SYNC_IGNORED] = {"sync-ignored",
	                            "a sync that must fail did not, or not as the kernel fails it: a filter or a "
	                            "preloaded shim may answer syncs itself"},
	[PM_REASON_NO_DEVICE_FLUSH] = {"no-device-flush",
	                               "the mount or the device's queue sends no flush to the volatile "
	                               "cache of the device"},
	[PM_REASON_FAST_COMMIT] = {"fast-commit",
	                           "ext4 may use fast_commit, which can lose a store when another process "
	                           "changes the file's extents, and the mapping has no lease"},
	[PM_REASON_NOT_ARMED] = {"not-armed",
	                         "an NVDIMM of the region is not armed to save its data at power-off, or does not "
	                         "report that it is, or the region is read-only"},
	[PM_REASON_DESCRIPTOR_LOST] = {"descriptor-lost",
	                               "the program closed or reused the library's descriptor of the file"},
	[PM_REASON_MOUNTED_OVER] = {"mounted-over", "a mount over the file, or over a directory of its path, hides it"},
	[PM_REASON_IMMUTABLE] = {"immutable", "the file was made immutable or append-only"},
};

/* A number that is left out was an advice once. */
static const char *const advices[] = {
	[PM_ADVICE_PREPARE] = "map with PM_PREPARE",
	[PM_ADVICE_MOUNT_DAX] = "put the file on persistent memory with DAX (mount -o dax, or the inode's DAX flag)",
	[PM_ADVICE_REAL_MEDIUM] = "use an identified persistent medium",
	[PM_ADVICE_STATE_DOMAIN] =
		"install firmware that states the persistence domain, which a guarantee needs and a hint does not",
	[PM_ADVICE_UNSET_ENV] = "unset PMDIRECT_GRANULARITY",
	[PM_ADVICE_LEAVE_SANDBOX] = "run without the sandbox, filter or shim",
	[PM_ADVICE_OTHER_CPU] = "use a CPU with CLWB, CLFLUSHOPT, CLFLUSH, DC CVAP or Zicbom, or POWER8 or later",
	[PM_ADVICE_USE_FSDAX] = "use a file on a DAX file system",
	[PM_ADVICE_REWRITE] = "map with PM_PREPARE, or copy the file and map the copy",
	[PM_ADVICE_MAP_AGAIN] = "unmap and map again",
	[PM_ADVICE_LEASE] =
		("map with PM_LEASE, or use a file system without reflink (mkfs.xfs -m reflink=0) and without "
	         "fast_commit (tune2fs -O ^fast_commit)"),
	[PM_ADVICE_CLOSE_OTHER_OPENS] = "close every other descriptor of the file, and map it as its owner",
	[PM_ADVICE_JOURNAL] = "give the file system a journal (tune2fs -O has_journal)",
	[PM_ADVICE_BARRIER] = "mount with barriers, and set the queue's write_cache to \"write back\"",
	[PM_ADVICE_NAME] = "map the file that has the name now, or create it anew, and copy into it what must stay",
	[PM_ADVICE_REMOUNT] = "repair the device or the file system, mount it again, and map the file again",
	[PM_ADVICE_MUTABLE] = "take the attribute off the file (chattr -ia)",
	[PM_ADVICE_RANDOM_ACCESS] =
		"map it with PM_ACCESS_RANDOM while no other process maps it",
	[PM_ADVICE_CLEAR_ERROR] = "find out what was lost, then call pm_clear_error()",
};

const char *pm_reason_name(enum pm_reason reason)
{
	return (size_t)reason < COUNT(reasons) ? reasons[reason].name : "unknown";
}

void pm_explain_reason(enum pm_reason reason, enum pm_advice advice, char *text, size_t size)
{
	const char *sentence = (size_t)reason < COUNT(reasons) ? reasons[reason].sentence : "unknown reason";
	const char *what = (size_t)advice < COUNT(advices) ? advices[advice] : NULL;
	snprintf(text, size, "%s%s%s", sentence, what ? "; " : "", what ? what : "");
}

static bool says(const struct pm_report *r, enum pm_evidence_row row, enum pm_state state)
{
	return r->evidence[row].state == state;
}

/* ---- What is lost, the worst first ---- */

/*
 * How much of the rest of the report a loss leaves; NOT_DURABLE: nothing is durable, or nothing can be found again. The
 * errors of the rows are those that pmdirect.h lists.
 */
enum gravity { SOUND, IN_PART, NOT_DURABLE };

static void worsen(enum gravity *g, enum gravity to)
{
	*g = *g > to ? *g : to;
}

static void say_dead(struct pm_text *t, const struct pm_report *r, enum gravity *g)
{
	if (!says(r, PM_EV_FS_ONLINE, PM_NO))
		return;
	say(t, "%s: what is stored now does not become durable; %s. ",
	    r->evidence[PM_EV_FS_ONLINE].error == ENODEV ? "The device under the file system is gone"
	                                                 : "The file system was shut down",
	    advices[PM_ADVICE_REMOUNT]);
	worsen(g, NOT_DURABLE);
}

static void say_error(struct pm_text *t, const struct pm_report *r, enum gravity *g)
{
	bool is_loss = r->error == -PM_ENOTSYNC || r->error == -PM_ENOTDIRECT || r->error == -PM_EVOLATILE;
	if (!r->error)
		return;
	if (is_loss)
		say(t, "The guarantee was lost, and every durability call fails with error %d until pm_clear_error(). ",
		    r->error);
	else if (r->reason == PM_REASON_DESCRIPTOR_LOST)
		say(t, "The program closed the library's descriptor of the file, or another file has its number: every "
		       "durability call fails; %s. ", advices[PM_ADVICE_MAP_AGAIN]);
	else
		say(t, "The mapping is poisoned by a failed write-back (error %d, %s): %s. ", r->error,
		    pm_strerror(r->error), advices[PM_ADVICE_CLEAR_ERROR]);
	worsen(g, NOT_DURABLE);
}

static void say_read_only(struct pm_text *t, const struct pm_report *r, enum gravity *g)
{
	bool is_read_only = says(r, PM_EV_WRITABLE, PM_NO) && r->evidence[PM_EV_WRITABLE].error != EPERM;
	/* A read-only mapping may lie on such a file system. */
	if (r->reason != PM_REASON_READ_ONLY && !(is_read_only && r->error))
		return;
	say(t, "The file system is read-only: what is stored now does not become durable; %s. ",
	    advices[PM_ADVICE_REMOUNT]);
	worsen(g, NOT_DURABLE);
}

/* As the error of the calls says it (mapping/gate.c). */
#define RESIZE "pm_resize() to what is left, or map again"

static void say_end(struct pm_text *t, const struct pm_report *r, enum gravity *g)
{
	if (!says(r, PM_EV_IN_FILE, PM_NO))
		return;
	if (r->evidence[PM_EV_IN_FILE].text[0])
		say(t,
		    "The file was truncated to %" PRIu64
		    ", inside the range, and has grown since: what was stored behind that is lost, and durability "
		    "calls there fail; " RESIZE ". ",
		    r->evidence[PM_EV_IN_FILE].value);
	else
		say(t,
		    "The file ends at %" PRIu64
		    ", inside the range: what was stored behind it is lost, and an access there raises SIGBUS; "
		    RESIZE ". ",
		    r->evidence[PM_EV_IN_FILE].value);
	worsen(g, NOT_DURABLE);
}

/*
 * linkat(2) names a file of O_TMPFILE. It refuses a memfd, and a file whose last link was removed (fs/namei.c
 * vfs_link).
 */
static const char *advice_for_name(const struct pm_evidence *named)
{
	if (named->error != ENOLINK)
		return advices[PM_ADVICE_NAME];
	return strstr(named->text, "memfd")
	               ? "map a file of a file system"
	               : "give it a name with linkat(2), which fails with ENOENT if it had one that was removed";
}

static void say_name(struct pm_text *t, const struct pm_report *r, enum gravity *g)
{
	const struct pm_evidence *named = &r->evidence[PM_EV_NAMED];
	if (!says(r, PM_EV_NAMED, PM_NO))
		return;
	if (named->error == ESTALE)
		say(t,
		    "The overlay copied the file up: the path leads to the copy, the mapping shows the original; %s. ",
		    advices[PM_ADVICE_MAP_AGAIN]);
	else if (named->error == EREMCHG)
		say(t,
		    "The file was %.55s: a program that looks for it by its old path does not find it; move it back, "
		    "map it "
		    "again by the new path, or call pm_clear_error() if the new path is meant. ",
		    named->text);
	else if (named->value && named->error != EBUSY)
		say(t,
		    "The path does not lead to the file any more (%.55s, at a path that the kernel does not tell): a "
		    "program that looks for it by its old path does not find it; map it again by another link. ",
		    named->text);
	else
		say(t, "No path leads to the file (%.55s): a restarted program cannot find what is stored; %s. ",
		    named->text, advice_for_name(named));
	/* Where another path leads to it, what is stored is found again. */
	bool has_path = named->error == EREMCHG || (named->value && named->error != EBUSY && named->error != ESTALE);
	worsen(g, has_path ? IN_PART : NOT_DURABLE);
}

static void say_bad_blocks(struct pm_text *t, const struct pm_report *r, enum gravity *g)
{
	const struct pm_evidence *bad = &r->evidence[PM_EV_BAD_BLOCKS];
	if (!says(r, PM_EV_BAD_BLOCKS, PM_YES))
		return;
	say(t,
	    "The medium has bad blocks in the range (%.55s, the first at file offset %" PRIu64
	    "): a load there may raise SIGBUS; restore the file from a copy. ",
	    bad->text, bad->value);
	worsen(g, IN_PART);
}

static void say_immutable(struct pm_text *t, const struct pm_report *r, enum gravity *g)
{
	if (!says(r, PM_EV_WRITABLE, PM_NO) || r->evidence[PM_EV_WRITABLE].error != EPERM)
		return;
	say(t, "The file is %.55s: a store to a page that must be faulted in may raise SIGBUS; %s. ",
	    r->evidence[PM_EV_WRITABLE].text, advices[PM_ADVICE_MUTABLE]);
	worsen(g, IN_PART);
}

/* ---- What holds ---- */

/* What the mapping is, where nothing can make it durable. */
static void say_nature(struct pm_text *t, const struct pm_report *r)
{
	if (r->reason == PM_REASON_PRIVATE)
		say(t, "The mapping is a private copy: no store in it reaches the file. ");
	else if (r->reason == PM_REASON_ANONYMOUS)
		say(t, "The mapping is memory without a file, which ends with the process. ");
	else if (r->reason == PM_REASON_VOLATILE && says(r, PM_EV_VOLATILE, PM_YES))
		say(t, "No store in the file is safe from a power failure (%.55s). ",
		    r->evidence[PM_EV_VOLATILE].text);
}

static void say_granularity(struct pm_text *t, const struct pm_report *r)
{
	static const char *const durable[] = {
		[PM_GRANULARITY_UNKNOWN] = "What makes a store durable is not known.",
		[PM_NONE] = "Nothing is known to make a store durable here.",
		[PM_PAGE] = "Stores become durable by the kernel's write-back of whole pages (msync).",
		[PM_CACHE_LINE] = "Stores become durable by cache-line write-back and a fence, without a system call.",
		[PM_BYTE] = "Stores become durable by a fence: the CPU caches survive a power failure.",
	};
	size_t g = (size_t)r->granularity < COUNT(durable) ? (size_t)r->granularity : 0;
	say(t, "%s ", durable[g]);
	if (g >= PM_CACHE_LINE)
		say(t, "Only pm_sync() covers what another process does to the file by write(2) or fallocate(2). ");
}

static void say_properties(struct pm_text *t, const struct pm_report *r, enum gravity g)
{
	static const char *const syncs[] = {
		[PM_UNKNOWN] = "Sync is unknown: a store may need the file system to commit.",
		[PM_NO] = "Not sync: user space cannot commit alone.",
		[PM_YES] = "Sync: user space commits alone.",
	};
	static const char *const directs[] = {
		[PM_UNKNOWN] = "Direct is unknown: the page cache may lie between the CPU and the medium.",
		[PM_NO] = "Not direct: the page cache lies between the CPU and the medium.",
		[PM_YES] = "Direct: no page cache lies between the CPU and the medium.",
	};
	if (g != NOT_DURABLE)
		say(t, "%s ", syncs[(size_t)r->sync < COUNT(syncs) ? (size_t)r->sync : 0]);
	if (r->reason != PM_REASON_PRIVATE && r->reason != PM_REASON_ANONYMOUS)
		say(t, "%s ", directs[(size_t)r->direct < COUNT(directs) ? (size_t)r->direct : 0]);
}

/* Whether the reason was said above, in more words. */
static bool is_said(enum pm_reason reason)
{
	switch (reason) {
	case PM_REASON_WRITE_BACK_FAILED:
	case PM_REASON_DEVICE_GONE:
	case PM_REASON_SHUT_DOWN:
	case PM_REASON_READ_ONLY:
	case PM_REASON_TRUNCATED:
	case PM_REASON_UNLINKED:
	case PM_REASON_MOVED:
	case PM_REASON_UNNAMED:
	case PM_REASON_COPIED_UP:
	case PM_REASON_MOUNTED_OVER:
	case PM_REASON_IMMUTABLE:
	case PM_REASON_DESCRIPTOR_LOST:
		return true;
	default:
		return false;
	}
}

/* Whether a row has told of the reason, and left the rest of the report its worth. */
static bool is_told_in_part(const struct pm_report *r)
{
	if (r->reason == PM_REASON_IMMUTABLE)
		return says(r, PM_EV_WRITABLE, PM_NO);
	return (r->reason == PM_REASON_MOVED || r->reason == PM_REASON_UNLINKED) && says(r, PM_EV_NAMED, PM_NO);
}

/* Of a report that ends before the row of a loss, its reason may tell of the loss, and without one nothing does. */
static void say_missing_rows(struct pm_text *t, const struct pm_report *r, enum gravity *g)
{
	bool lacks_name = r->size < offsetof(struct pm_report, evidence[PM_EV_NAMED + 1]);
	bool lacks_end = r->size < offsetof(struct pm_report, evidence[PM_EV_IN_FILE + 1]);
	if (*g == NOT_DURABLE)
		return;
	if (is_said(r->reason) && !is_told_in_part(r)) {
		say(t, "What is stored may be lost: %s. ", reasons[r->reason].sentence);
		worsen(g, NOT_DURABLE);
	} else if (lacks_end) {
		say(t, "The report ends before the row%s. ",
		    lacks_name ? "s that tell whether the file is whole and has its name"
		               : " that tells whether the file is whole");
	}
}

/* What write-backs wrote beyond what they were asked for, in bytes. */
static uint64_t beyond(const struct pm_report *r)
{
	return r->granularity == PM_PAGE && says(r, PM_EV_LARGE_FOLIOS, PM_YES) ? r->evidence[PM_EV_LARGE_FOLIOS].value
	                                                                        : 0;
}

static void say_advice(struct pm_text *t, const struct pm_report *r)
{
	/* say_environment() says it with its reason. */
	bool is_said_later = r->advice == PM_ADVICE_RANDOM_ACCESS && beyond(r);
	if (!is_said_later && (size_t)r->advice < COUNT(advices) && advices[r->advice])
		say(t, "Advice: %s. ", advices[r->advice]);
	/* PM_PREPARE makes drains cheap here, and meets no request. */
	bool is_unwritten = says(r, PM_EV_ALLOCATED, PM_NO) || says(r, PM_EV_EXTENTS_WRITTEN, PM_NO);
	if (r->granularity == PM_PAGE && says(r, PM_EV_FSYNC_COMPLETE, PM_NO) && is_unwritten)
		say(t, "On an ext4 without a journal every drain syncs the whole file system until all blocks of the "
		       "range are written%s. ", r->advice == PM_ADVICE_PREPARE ? "" : "; PM_PREPARE writes them");
}

static void say_verdict(struct pm_text *t, const struct pm_report *r, enum gravity g)
{
	static const char *const verdicts[] = {
		[PM_VERDICT_UNKNOWN] = "There is no verdict",
		[PM_VERDICT_MET] = "Every request is met",
		[PM_VERDICT_DEMOTED] = "A hint is not met",
		[PM_VERDICT_REFUSED] = "A guarantee cannot be met",
	};
	char why[256];
	size_t v = (size_t)r->verdict < COUNT(verdicts) ? (size_t)r->verdict : 0;
	if (g != SOUND && is_said(r->reason))
		return;
	if (g != SOUND && v == PM_VERDICT_MET) {
		say(t, "Every request is met otherwise. ");
		return;
	}
	pm_explain_reason(r->reason, PM_ADVICE_NONE, why, sizeof(why));
	bool is_limited = v == PM_VERDICT_MET && (r->grade == PM_GRADE_PROMISED || r->grade == PM_GRADE_TRUSTED);
	say(t, "%s%s %s. ", verdicts[v], is_limited ? ", but" : ":",
	    v ? why : "the file cannot be looked at without creating it");
	if (g == SOUND && r->grade == PM_GRADE_PROVEN)
		say(t, "This is proven by the evidence. ");
	else if (g == SOUND && r->grade == PM_GRADE_PROMISED)
		say(t, "This is promised by the kernel, not proven. ");
	say_advice(t, r);
}

/*
 * Whether the evidence would allow more. Where a loss is the reason, it is not known whether lines would be promised:
 * then what lines need first counts.
 */
static bool is_limited_by_environment(const struct pm_report *r)
{
	const struct pm_evidence *forced = &r->evidence[PM_EV_ENV_OVERRIDE];
	if (!says(r, PM_EV_ENV_OVERRIDE, PM_YES))
		return false;
	if (forced->value > PM_PAGE)
		return r->granularity == PM_CACHE_LINE && says(r, PM_EV_CPU_CACHE, PM_YES) &&
		       (r->grade >= PM_GRADE_PROMISED || is_said(r->reason));
	return r->reason == PM_REASON_ENV_OVERRIDE ||
	       (r->granularity == PM_PAGE && is_said(r->reason) && says(r, PM_EV_MAP_SYNC, PM_YES));
}

static void say_watch(struct pm_text *t, const struct pm_report *r)
{
	int error = r->evidence[PM_EV_WATCHED].error;
	/* Nothing of a file without a descriptor is noticed, and that was said. */
	if (!says(r, PM_EV_WATCHED, PM_NO) || r->reason == PM_REASON_DESCRIPTOR_LOST)
		return;
	say(t,
	    "The file cannot be watched (inotify, error %d): a write or an open by another process is not noticed, a "
	    "truncation or a hole up to a second later%s. ",
	    error, error == EMFILE || error == ENOSPC ? "; see /proc/sys/fs/inotify" : "");
}

static void say_environment(struct pm_text *t, const struct pm_report *r)
{
	const struct pm_evidence *forced = &r->evidence[PM_EV_ENV_OVERRIDE];
	if (is_limited_by_environment(r))
		say(t, "PMDIRECT_GRANULARITY=%.55s lowers the promise. ", forced->text);
	if (says(r, PM_EV_ENV_OVERRIDE, PM_NO) && forced->text[0])
		say(t, "PMDIRECT_GRANULARITY=%.55s changes nothing: it is neither page nor cache_line. ", forced->text);
	/* Names the server that makes the promise, or where the way down ended. */
	if (r->granularity == PM_PAGE && says(r, PM_EV_VOLATILE, PM_UNKNOWN) && r->evidence[PM_EV_VOLATILE].text[0])
		say(t, "Whether the medium keeps the data is not known (%.55s). ", r->evidence[PM_EV_VOLATILE].text);
	if (beyond(r))
		say(t,
		    "Write-backs wrote %ju KiB more than they were asked for, since the page cache holds the file in "
		    "large folios: %s. ",
		    (uintmax_t)beyond(r) >> 10, advices[PM_ADVICE_RANDOM_ACCESS]);
	say_watch(t, r);
}

int pm_explain(const struct pm_report *given, char *buffer, size_t buffer_size)
{
	static void (*const losses[])(struct pm_text *, const struct pm_report *, enum gravity *) = {
		say_dead, say_error, say_read_only, say_end, say_name, say_bad_blocks, say_immutable};
	struct pm_text t = {.at = buffer, .room = buffer_size};
	enum gravity g = SOUND;
	struct pm_report whole = {0}, *r = &whole;
	if (!given || given->size < offsetof(struct pm_report, evidence))
		return pm_fail(-EINVAL, "pm_explain", NULL, "the report is NULL, or does not reach its evidence");
	if (!buffer && buffer_size)
		return pm_fail(-EINVAL, "pm_explain", NULL, "the buffer is NULL, and buffer_size is not 0");
	/* The rows that a smaller report lacks are unknown. */
	memcpy(&whole, given, given->size < sizeof(whole) ? given->size : sizeof(whole));
	for (size_t i = 0; i < PM_EVIDENCE_ROWS; i++)
		pm_text_one_line(whole.evidence[i].text, sizeof(whole.evidence[i].text));
	say_nature(&t, r);
	for (size_t i = 0; i < COUNT(losses); i++)
		losses[i](&t, r, &g);
	say_missing_rows(&t, r, &g);
	if (g != SOUND && is_said(r->reason))
		say(&t, "So a %s is not met. ", r->verdict == PM_VERDICT_REFUSED ? "guarantee" : "request");
	if (g != NOT_DURABLE)
		say_granularity(&t, r);
	say_properties(&t, r, g);
	say_verdict(&t, r, g);
	say_environment(&t, r);
	return pm_text_end(&t);
}
