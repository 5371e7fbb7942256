/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "facts/below.h"
#include "facts/evidence.h"
#include "facts/extents.h"
#include "facts/fast_commit.h"
#include "facts/filesystem.h"
#include "facts/gather.h"
#include "facts/health.h"
#include "facts/liveness.h"
#include "facts/region.h"
#include "facts/subject.h"
#include "kernel/quirks.h"
#include "kernel/sysfs.h"
#include "kernel/trusted_sync.h"
#include "providers/providers.h"
#include "sys/sys.h"

#define LEASE_SOURCE "fcntl(2) F_SETLEASE"
#define SMAPS_SOURCE "/proc/self/smaps VmFlags sf"
#define MAP_SYNC_SOURCE "mmap(MAP_SHARED_VALIDATE|MAP_SYNC)"

/* An error of this process at this moment, which says nothing about the file. */
static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN;
}

/*
 * An address near the beginning of /proc/self/smaps, so that little of it must be read: below programs, and above what
 * may never be mapped.
 */
#define LOW ((uintptr_t)64 << 10)
#define LOW_TRIES 8u /* other threads may be here as well */
#define READS_MOST 16u

/* Whether the entry of a mapping in smaps shows VM_SYNC (fs/proc/task_mmu.c show_smap_vma_flags). */
static int read_vm_sync(const void *map)
{
	/* With a line end before it every entry begins alike. */
	char text[2048] = "\n", begin[32];
	size_t used = 1;
	ssize_t got = -ENODATA;
	snprintf(begin, sizeof(begin), "\n%08" PRIxPTR "-", (uintptr_t)map);
	int fd = pm_sysfs_open("/proc/self/smaps", O_RDONLY), rc = -ENODATA;
	if (fd < 0)
		return fd;
	for (unsigned i = 0; i < READS_MOST && rc == -ENODATA; i++) {
		/* Drops text that cannot belong to the entry any more. */
		if (used > sizeof(text) / 2 && !strstr(text, begin)) {
			memmove(text, text + used - sizeof(begin), sizeof(begin));
			used = sizeof(begin);
		}
		got = PM_RETRY(pm_sys->read(fd, text + used, sizeof(text) - 1 - used));
		if (got <= 0)
			break;
		text[used += (size_t)got] = 0;
		const char *entry = strstr(text, begin), *flags = entry ? strstr(entry, "VmFlags:") : NULL;
		char *end = flags ? strchr(flags, '\n') : NULL;
		if (!end)
			continue;
		*end = 0;
		rc = strstr(flags, " sf") != NULL;
	}
	pm_sys->close(fd);
	return got < 0 ? (int)got : rc;
}

/* On success *shown says whether the mapping has the flag: 1, 0 or -errno. */
static int try_map_sync(const struct pm_subject *s, int *shown)
{
	int prot = PROT_READ | (s->writable ? PROT_WRITE : 0), rc = 0;
	uintptr_t step = s->unit > LOW ? s->unit : LOW;
	void *map = NULL;
	for (unsigned i = 1; i <= LOW_TRIES; i++) {
		void *wanted = map = (void *)(i * step);
		rc = PM_RETRY(pm_sys->mmap(&map, s->unit, prot, MAP_SHARED_VALIDATE | MAP_SYNC, s->fd, s->offset));
		if (rc || map == wanted || i == LOW_TRIES)
			break;
		PM_RETRY(pm_sys->munmap(map, s->unit));
	}
	if (rc)
		return rc;
	*shown = read_vm_sync(map);
	PM_RETRY(pm_sys->munmap(map, s->unit));
	return 0;
}

static void map_sync(pm_evidence_table e, const struct pm_subject *s, int *shown)
{
	int rc = try_map_sync(s, shown);
	pm_evidence_set(&e[PM_EV_MAP_SYNC],
	                !rc                ? PM_YES
	                : is_shortage(-rc) ? PM_UNKNOWN
	                                   : PM_NO,
	                -rc, MAP_SYNC_SOURCE, NULL);
}

/* Memory files are never synchronous: a kernel or shim that accepts the flag there does not know it (mm/shmem.c). */
static int try_map_sync_on_memory(void)
{
	void *map = NULL;
	int fd = PM_RETRY(pm_sys->memfd_create("pmdirect"));
	if (fd < 0)
		return fd == -EOPNOTSUPP ? -ENOSYS : fd;
	int rc = PM_RETRY(pm_sys->mmap(&map, 1, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0));
	if (!rc)
		PM_RETRY(pm_sys->munmap(map, 1));
	pm_sys->close(fd);
	return rc;
}

/*
 * Three facts contradict an accepted flag: a file that is known not to be DAX, acceptance for a memory file, and a
 * mapping that does not show the flag. That a mapping shows it proves nothing alone: the kernel also sets it where it
 * means nothing (mm/mmap.c do_mmap, without MAP_SHARED_VALIDATE).
 */
static void check_if_ignored(pm_evidence_table e, int shown)
{
	struct pm_evidence *row = &e[PM_EV_MAP_SYNC_IGNORED];
	if (e[PM_EV_MAP_SYNC].state != PM_YES)
		return;
	if (e[PM_EV_DAX].state == PM_NO && e[PM_EV_DEVICE_DAX].state != PM_YES) {
		pm_evidence_set(row, PM_YES, 0, "statx(STATX_ATTR_DAX) against " MAP_SYNC_SOURCE,
		                "accepted, yet not DAX");
		return;
	}
	int rc = try_map_sync_on_memory();
	if (rc != -EOPNOTSUPP) {
		pm_evidence_set(row, !rc ? PM_YES : PM_UNKNOWN, -rc, "the same mmap(2) of a memfd",
		                !rc ? "also accepted for a memory file" : NULL);
		return;
	}
	pm_evidence_set(row,
	                shown > 0 ? PM_NO
	                : shown   ? PM_UNKNOWN
	                          : PM_YES,
	                shown < 0 ? -shown : 0, SMAPS_SOURCE,
	                shown > 0 ? "set, and refused for a memory file"
	                : shown   ? "cannot be read"
	                          : "accepted, yet not set");
}

static void map_sync_and_check(pm_evidence_table e, const struct pm_subject *s)
{
	int shown = 0;
	map_sync(e, s, &shown);
	check_if_ignored(e, shown);
}

static void cpu(pm_evidence_table e)
{
	const struct pm_cpu *c = pm_cpu();
	pm_evidence_set(&e[PM_EV_CPU], c->reaches_media ? PM_YES : PM_NO, 0, "CPUID, AT_HWCAP, hwprobe", c->name);
}

static void dax_attribute(pm_evidence_table e, const struct pm_subject *s)
{
	enum pm_state state = PM_UNKNOWN;
	if (s->stx.stx_attributes_mask & STATX_ATTR_DAX)
		state = s->stx.stx_attributes & STATX_ATTR_DAX ? PM_YES : PM_NO;
	pm_evidence_set(&e[PM_EV_DAX], state, 0, "statx(STATX_ATTR_DAX)",
	                state == PM_UNKNOWN ? "not in stx_attributes_mask" : NULL);
	pm_evidence_set(&e[PM_EV_DEVICE_DAX], s->backing == PM_BACKING_DEVICE_DAX ? PM_YES : PM_NO, 0,
	                "/sys/dev/char/M:m/subsystem", NULL);
}

/* The environment may lower the promise. Any value except the two words is shown and has no effect. */
static void forced(pm_evidence_table e)
{
	struct pm_evidence *row = &e[PM_EV_ENV_OVERRIDE];
	const char *word = pm_sys->getenv("PMDIRECT_GRANULARITY");
	bool page = word && !strcmp(word, "page"), line = word && !strcmp(word, "cache_line");
	bool is_unknown = word && word[0] && !page && !line;
	pm_evidence_set(row, page || line ? PM_YES : PM_NO, is_unknown ? EINVAL : 0, "environment PMDIRECT_GRANULARITY",
	                word);
	row->value = page ? PM_PAGE : line ? PM_CACHE_LINE : 0;
}

/* A trial would be visible to other processes, so the row shows only the result of the mapping's own attempt. */
static void lease_possible(pm_evidence_table e, const struct pm_subject *s)
{
	const char *source = LEASE_SOURCE;
	bool not_owner = pm_sys->euid() != s->stx.stx_uid;
	const char *text = not_owner ? "not tried; not the owner: needs CAP_LEASE" : "not tried";
	enum pm_state possible = s->lease_held ? PM_YES : s->lease_error ? PM_NO : PM_UNKNOWN;
	if (s->backing == PM_BACKING_DEVICE_DAX)
		pm_evidence_set(&e[PM_EV_LEASE_POSSIBLE], PM_NO, EINVAL, source, "not on device-dax");
	else
		pm_evidence_set(&e[PM_EV_LEASE_POSSIBLE], possible, s->lease_held ? 0 : s->lease_error, source,
		                possible == PM_UNKNOWN     ? text
		                : s->lease_error == EAGAIN ? "the file is open elsewhere"
		                                           : NULL);
}

/* Looks find the other announced changes as well, only later. */
static void watched(pm_evidence_table e, const struct pm_subject *s)
{
	if (s->watched != PM_UNKNOWN)
		pm_evidence_set(&e[PM_EV_WATCHED], s->watched, s->watch_error, "inotify(7)",
		                s->watched == PM_NO ? "no events MODIFIED, OPENED; TRUNCATED, HOLE by a look" : NULL);
}

/* A sync of memory promises nothing; a private copy and a device-dax have no sync. */
static void sync_ignored(pm_evidence_table e, const struct pm_subject *s, unsigned calls)
{
	if (s->backing != PM_BACKING_FILE || e[PM_EV_VOLATILE].state == PM_YES)
		return;
	struct pm_ignored found = pm_syncs_ignored(calls | (s->found.fsync_may_skip_inode ? PM_CALL_SYNCFS : 0));
	pm_evidence_set(&e[PM_EV_SYNC_IGNORED], found.state, found.error, "a sync that must fail", found.name);
}

/* What cache lines depend on, as far as the trial of MAP_SYNC leaves something to ask. */
static void for_lines(pm_evidence_table e, struct pm_subject *s)
{
	map_sync_and_check(e, s);
	bool direct = e[PM_EV_DAX].state == PM_YES || e[PM_EV_DEVICE_DAX].state == PM_YES;
	/* Also where a direct file was refused: the region may say why. */
	if (direct || e[PM_EV_MAP_SYNC].state == PM_YES)
		pm_evidence_region(e, s);
	if (e[PM_EV_MAP_SYNC].state != PM_YES)
		return;
	unsigned also = s->syncs_of_lines & ~s->syncs;
	if (also && e[PM_EV_SYNC_IGNORED].state == PM_NO)
		sync_ignored(e, s, also);
	cpu(e);
	pm_evidence_extents(e, s);
	pm_evidence_shareable(e, s);
	if (s->backing == PM_BACKING_FILE)
		pm_evidence_fast_commit(e, s);
}

void pm_evidence_for_decision(pm_evidence_table e, struct pm_subject *s, bool try_sync)
{
	s->found.region = PM_NO_REGION;
	forced(e);
	if (s->backing == PM_BACKING_ANONYMOUS)
		return;
	dax_attribute(e, s);
	s->found.caches_may_stay = e[PM_EV_DAX].state != PM_NO && S_ISREG(s->stx.stx_mode);
	pm_evidence_set(&e[PM_EV_LEASE_HELD], s->lease_held ? PM_YES : PM_NO, 0, LEASE_SOURCE, NULL);
	pm_evidence_file_system(e, s);
	if (s->backing == PM_BACKING_FILE)
		pm_evidence_below(e, s, s->map || s->is_anew);
	sync_ignored(e, s, s->syncs);
	if (try_sync && s->backing != PM_BACKING_PRIVATE)
		for_lines(e, s);
}

int pm_evidence_shortage(pm_evidence_table e)
{
	for (int i = 0; i < PM_EVIDENCE_ROWS; i++) {
		if (e[i].state == PM_UNKNOWN && is_shortage(e[i].error))
			return -e[i].error;
	}
	return 0;
}

static void kernel(pm_evidence_table e)
{
	struct utsname name;
	int rc = PM_RETRY(pm_sys->uname(&name));
	pm_evidence_set(&e[PM_EV_KERNEL], rc ? PM_UNKNOWN : PM_YES, -rc, "uname(2)", rc ? NULL : name.release);
}

static void providers(pm_evidence_table e, const struct pm_subject *s)
{
	const char *text;
	bool used = pm_libpmem_loaded(&text) && s->uses_libpmem;
	pm_evidence_set(&e[PM_EV_LIBPMEM], used ? PM_YES : PM_NO, 0, "dlopen(3)", text);
	used = pm_libunwind_loaded(&text);
	pm_evidence_set(&e[PM_EV_LIBUNWIND], used ? PM_YES : PM_NO, 0, "dlopen(3)", text);
}

void pm_evidence_for_observation(pm_evidence_table e, struct pm_subject *s)
{
	if (s->backing == PM_BACKING_ANONYMOUS)
		return;
	if (e[PM_EV_ALLOCATED].state == PM_UNKNOWN)
		pm_evidence_extents(e, s);
	/* This also shows that an ext4 was shut down. */
	if (e[PM_EV_MAP_SYNC].state == PM_UNKNOWN && s->backing != PM_BACKING_PRIVATE) {
		map_sync_and_check(e, s);
	}
	pm_evidence_life(e, s);
	/* For files in the page cache the kernel reports a bad block as an error. */
	if (e[PM_EV_DAX].state == PM_YES || e[PM_EV_DEVICE_DAX].state == PM_YES)
		pm_evidence_bad_blocks(e, s);
}

/* Linux 6.15 and later: an error, which fstatfs(2) does not show. */
static void emergency(pm_evidence_table e, struct pm_subject *s)
{
	s->found.emergency |= strstr(e[PM_EV_MOUNT].text, "emergency_ro") != NULL;
	if (s->found.emergency)
		pm_evidence_set(&e[PM_EV_WRITABLE], PM_NO, 0, e[PM_EV_MOUNT].source, "emergency_ro");
}

static void large_folios(pm_evidence_table e, const struct pm_subject *s)
{
	bool is_cached = S_ISREG(s->stx.stx_mode) && e[PM_EV_DAX].state == PM_NO;
	bool is_known = is_cached && e[PM_EV_FILE_SYSTEM].state == PM_YES;
	bool possible = is_known && pm_has_quirk(s->found.file_system, PM_FS_LARGE_FOLIOS);
	if (is_known || e[PM_EV_DAX].state == PM_YES)
		pm_evidence_set(&e[PM_EV_LARGE_FOLIOS], possible ? PM_YES : PM_NO, 0, "file system and release",
		                pm_access_name(s->access));
	e[PM_EV_LARGE_FOLIOS].value = s->bytes_beyond;
}

void pm_evidence_for_report(pm_evidence_table e, struct pm_subject *s)
{
	kernel(e);
	providers(e, s);
	cpu(e);
	bool has_file = s->backing != PM_BACKING_ANONYMOUS;
	pm_evidence_set(&e[PM_EV_OWN_DESCRIPTION], has_file && !s->is_borrowed ? PM_YES : PM_NO, 0, "this library",
	                s->is_borrowed ? "the caller's (PM_BORROW_FD)" : NULL);
	if (!has_file)
		return;
	if (e[PM_EV_REGION].state == PM_UNKNOWN)
		pm_evidence_region(e, s);
	if (e[PM_EV_SHAREABLE].state == PM_UNKNOWN)
		pm_evidence_shareable(e, s);
	if (e[PM_EV_MOUNT].state == PM_UNKNOWN)
		pm_evidence_below(e, s, true);
	emergency(e, s);
	pm_evidence_residency(e, s);
	if (e[PM_EV_BAD_BLOCKS].state == PM_UNKNOWN)
		pm_evidence_bad_blocks(e, s);
	pm_evidence_health(e, s);
	large_folios(e, s);
	lease_possible(e, s);
	watched(e, s);
}
