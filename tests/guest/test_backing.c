/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the library says of each kind of backing, and that it keeps its word there. Runs in the guest:
 * test_backing NAME DIRECTORY [DEVICE]. The table of backing_rows.h is the expectation; NAME chooses the row.
 * test_backing --table prints the expectations, for doc/backings.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pmdirect_libpmem.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backing_rows.h"
#include "check.h"

#define SIZE ((uint64_t)2 << 20)
#define PIECE ((uint64_t)128 << 10) /* of a file, at its beginning and at its end, that is stored to */

static void print_evidence(const struct pm_report *r)
{
	char text[1024];
	pm_explain(r, text, sizeof(text));
	printf("  %s\n", text);
	for (int i = 0; i < PM_EVIDENCE_ROWS; i++)
		printf("    %-26s %-8s %d %" PRIu64 " %s\n", pm_evidence_name((enum pm_evidence_row)i),
		       pm_state_name(r->evidence[i].state), r->evidence[i].error, r->evidence[i].value,
		       r->evidence[i].text);
}

static void check_report(const char *what, const struct pm_report *r, const struct expected *x)
{
	int before = failures;
	CHECK(r->granularity == x->granularity, "%s: %s, expected %s", what, pm_granularity_name(r->granularity),
	      pm_granularity_name(x->granularity));
	CHECK(r->sync == x->sync, "%s: %s", what, pm_state_name(r->sync));
	CHECK(r->direct == x->direct, "%s: %s", what, pm_state_name(r->direct));
	CHECK(r->grade == x->grade, "%s: %d", what, (int)r->grade);
	CHECK(r->reason == x->reason, "%s: %s, expected %s", what, pm_reason_name(r->reason),
	      pm_reason_name(x->reason));
	CHECK(r->advice == x->advice, "%s: %d", what, (int)r->advice);
	bool met = x->granularity >= PM_CACHE_LINE && x->direct == PM_YES;
	CHECK(r->verdict == (met ? PM_VERDICT_MET : PM_VERDICT_DEMOTED), "%s: %d", what, (int)r->verdict);
	if (failures > before)
		print_evidence(r);
	else
		printf("%-28s %s, sync %s, direct %s, %s\n", what, pm_granularity_name(r->granularity),
		       pm_state_name(r->sync), pm_state_name(r->direct), pm_reason_name(r->reason));
}

/* The report and its sentences name the server that makes the promise, and none where there is none. */
static void check_server(const struct pm_report *r, const char *server)
{
	char wanted[64], text[2048];
	snprintf(wanted, sizeof(wanted), "%s%s server's", server ? "the promise is the " : "", server ? server : "");
	pm_explain(r, text, sizeof(text));
	CHECK(!strstr(r->evidence[PM_EV_VOLATILE].text, wanted) == !server, "%s", r->evidence[PM_EV_VOLATILE].text);
	CHECK(!strstr(text, wanted) == !server, "%s", text);
}

static const char *server; /* of the row */

/* Stores in all the ways there are, and reads it back by read(2) where the file has it. */
static void use_piece(struct pm_mapping *m, int fd, uint64_t offset)
{
	static char buffer[PIECE], back[PIECE];
	char *base = (char *)pm_base(m) + offset;
	for (uint64_t i = 0; i < PIECE; i++)
		buffer[i] = (char)(i * 7 + i / 4096 + offset / PIECE);
	CHECK(pm_memcpy(m, base, buffer, PIECE, 0) == 0, "%s", pm_error_detail());
	memcpy(base + 100, "stored by hand", 14);
	memcpy(buffer + 100, "stored by hand", 14);
	CHECK(pm_persist(m, base + 100, 14) == 0, "%s", pm_error_detail());
	CHECK(pm_memset(m, base + 5000, 0x5a, 3000, PM_NODRAIN) == 0, "%s", pm_error_detail());
	memset(buffer + 5000, 0x5a, 3000);
	CHECK(pm_drain(m) == 0, "%s", pm_error_detail());
	CHECK(pm_sync(m) == 0, "%s", pm_error_detail());
	CHECK(!memcmp(base, buffer, PIECE), "the mapping does not show what was stored");
	ssize_t got = fd < 0 ? -1 : pread(fd, back, PIECE, (off_t)offset);
	if (got > 0) /* a device-dax cannot be read */
		CHECK(!memcmp(back, buffer, (size_t)got), "the file does not hold what was stored");
}

/* At both ends; the first piece reaches over the hole of try_demotion(). */
static void use(struct pm_mapping *m, const char *path)
{
	uint64_t length = pm_length(m) < SIZE ? pm_length(m) : SIZE;
	int fd = open(path, O_RDONLY);
	CHECK(length >= 2 * PIECE, "%" PRIu64, length);
	use_piece(m, fd, 0);
	use_piece(m, fd, (length - PIECE) / PIECE * PIECE);
	if (fd >= 0)
		close(fd);
}

static void check_deep(struct pm_mapping *m, bool device_dax)
{
	int rc = pm_deep_persist(m, pm_base(m), 64);
	/* The emulated region has no flush hints; a file system has msync. */
	CHECK(rc == (device_dax ? -EOPNOTSUPP : 0), "deep persist: %d %s", rc, rc ? pm_error_detail() : "");
}

/* Where the file system has no unnamed files, nothing can be known of a file that is yet to be made. */
static bool cannot_probe(const char *path, unsigned flags)
{
	char directory[256];
	snprintf(directory, sizeof(directory), "%s", path);
	char *slash = strrchr(directory, '/');
	if (slash)
		*slash = 0;
	int fd = flags & PM_CREATE && access(path, F_OK) ? open(directory, O_TMPFILE | O_RDWR, 0600) : 0;
	if (fd > 0)
		close(fd);
	return fd < 0 && errno == EOPNOTSUPP;
}

static void try_hint(const char *what, const char *path, unsigned flags, const struct expected *x)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags, .length = SIZE};
	struct pm_mapping *m;
	struct pm_report r, probed;
	bool node = !strncmp(path, "/dev/", 5);
	bool blind = cannot_probe(path, flags);
	int probe_rc = pm_probe(path, &o, &probed, sizeof(probed));
	CHECK(probe_rc == 0, "%s", pm_error_detail());
	CHECK(node || (flags & PM_CREATE) == 0 || access(path, F_OK) != 0, "the probe left %s behind", path);
	int rc = pm_map(path, &o, &m);
	CHECK(rc == 0, "%s: %s", what, pm_error_detail());
	if (rc)
		return;
	CHECK(pm_query(m, &r, sizeof(r)) == 0, "%s", pm_error_detail());
	check_report(what, &r, x);
	check_server(&r, server);
	if (blind)
		CHECK(probed.granularity == PM_GRANULARITY_UNKNOWN && probed.verdict == PM_VERDICT_UNKNOWN, "%s", what);
	else
		check_report("  as the probe foretold", &probed, x);
	CHECK(pm_granularity_of(m) == r.granularity, "%s", what);
	bool fast = x->granularity >= PM_CACHE_LINE;
	CHECK((r.evidence[PM_EV_LIBPMEM].state == PM_YES) == fast, "libpmem: %s", r.evidence[PM_EV_LIBPMEM].text);
	bool device_dax = !strncmp(path, "/dev/dax", 8);
	uint64_t page = r.evidence[PM_EV_PAGE_SIZE].value;
	bool told = page == 4096 || page == 2097152;
	CHECK(device_dax ? page == 2097152 : !page || (told && r.evidence[PM_EV_DAX].state == PM_YES), "page size");
	CHECK(!device_dax || r.evidence[PM_EV_BAD_BLOCKS].state == PM_NO, "%s", r.evidence[PM_EV_BAD_BLOCKS].text);
	if (flags & PM_READ_ONLY)
		CHECK(pm_persist(m, pm_base(m), 64) == 0 && pm_sync(m) == 0, "%s", pm_error_detail());
	else
		use(m, path);
	if (x->granularity != PM_NONE)
		check_deep(m, device_dax);
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
}

/* A refusal leaves neither file nor size behind and says why. */
static void try_guarantee(const char *what, const char *path, bool sync, int expected, unsigned flags)
{
	struct pm_options o = {.size = sizeof(o), .flags = flags, .length = SIZE};
	struct pm_mapping *m = NULL;
	bool existed = access(path, F_OK) == 0;
	*(sync ? &o.sync : &o.direct) = PM_GUARANTEE;
	int rc = pm_map(path, &o, &m);
	CHECK(rc == expected, "%s: %d, expected %d: %s", what, rc, expected, pm_error_detail());
	if (!rc)
		CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
	else
		printf("%-28s refused: %s\n", what, pm_error_detail());
	if (rc && !existed)
		CHECK(access(path, F_OK) != 0, "%s was left behind", path);
}

/* Extents that a clone shares: the reason must change, and preparing must take them apart. */
static void try_clone(const char *path, const char *clone)
{
	static const struct expected shared = SHARED;
	static const struct expected unshared = SHAREABLE;
	int from = open(path, O_RDONLY), to = open(clone, O_RDWR | O_CREAT, 0600);
	CHECK(ioctl(to, FICLONE, from) == 0, "FICLONE: %s", strerror(errno));
	close(from);
	close(to);
	try_hint("cloned", path, 0, &shared);
	try_hint("cloned, then prepared", path, PM_PREPARE, &unshared);
}

static int fell_back;

static void count_event(struct pm_mapping *m, const struct pm_event *event, void *arg)
{
	(void)m;
	(void)arg;
	fell_back += event->kind == PM_EVENT_DEMOTED;
}

/* A hole that another process punches takes the promise away; a query notices, says so once, and persist goes on. */
static void try_demotion(const char *path)
{
	static const struct expected demoted = SPARSE;
	struct pm_options o = {.size = sizeof(o), .flags = PM_PREPARE, .length = SIZE, .on_event = count_event};
	struct pm_mapping *m;
	struct pm_report r;
	CHECK(pm_map(path, &o, &m) == 0, "%s", pm_error_detail());
	int fd = open(path, O_RDWR);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 65536) == 0, "%s", strerror(errno));
	close(fd);
	CHECK(fell_back == 0, "%d events before the query", fell_back);
	CHECK(pm_query(m, &r, sizeof(r)) == 0 && pm_query(m, &r, sizeof(r)) == 0, "%s", pm_error_detail());
	check_report("hole punched, queried", &r, &demoted);
	CHECK(r.evidence[PM_EV_ALLOCATED].value == 65536, "hole at %" PRIu64, r.evidence[PM_EV_ALLOCATED].value);
	CHECK(fell_back == 1, "%d events", fell_back);
	use(m, path);
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
}

/* Neither begins nor ends with a page, of whatever size. */
static void try_odd_range(const char *path)
{
	struct pm_options o = {.size = sizeof(o), .offset = 5000, .length = 12345};
	struct pm_mapping *m;
	int rc = pm_map(path, &o, &m);
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	CHECK(pm_memset(m, pm_base(m), 7, 12345, 0) == 0 && pm_sync(m) == 0, "%s", pm_error_detail());
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
}

/*
 * pm_file(7): the server asks by the name under which the file was made, which is gone, as long as the file is open by
 * it. stat(2) asks no server.
 */
static void check_9p_name(struct pm_mapping *m, const char *path)
{
	CHECK(access(path, F_OK) == 0, "%s", strerror(errno));
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0, "%s", strerror(errno));
	printf("%-28s cannot be opened by its name while it is mapped\n", "removed");
	close(fd);
	unlink(path);
}

/*
 * A path leads to no removed file: no report says so, and where the file system itself keeps the file the report says
 * that it was removed. An NFS client keeps it by another name, so it has links.
 */
static void try_removed(const char *directory)
{
	char path[256];
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE, .length = SIZE};
	struct pm_mapping *m;
	struct pm_report r;
	struct stat st;
	bool is_nfs = server && !strcmp(server, "NFS"), is_local = !server || is_nfs;
	snprintf(path, sizeof(path), "%s/removed", directory);
	int rc = pm_map(path, &o, &m);
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	int fd = open(path, O_RDONLY);
	if (fd < 0 && server && !strcmp(server, "9p") && errno == ENOENT) {
		check_9p_name(m, path);
		return;
	}
	CHECK(fd >= 0 && unlink(path) == 0, "%s", strerror(errno));
	CHECK(fstat(fd, &st) == 0 && (!is_local || !st.st_nlink == !is_nfs), "%u links", (unsigned)st.st_nlink);
	close(fd);
	CHECK(pm_query(m, &r, sizeof(r)) == 0, "%s", pm_error_detail());
	const struct pm_evidence *name = &r.evidence[PM_EV_NAMED];
	CHECK(name->state != PM_YES && (!is_local || name->state == PM_NO), "%s", name->text);
	CHECK(!is_nfs || strstr(name->text, "kept as .nfs"), "%s", name->text);
	printf("%-28s %s %s\n", "removed", pm_state_name(name->state), name->text);
	pm_unmap(m);
}

static bool says_full(int rc, const char *call)
{
	const char *text = pm_error_detail();
	return rc == -ENOSPC && !strncmp(text, call, strlen(call)) && strstr(text, strerror(ENOSPC)) &&
	       !strstr(text, "medium");
}

/* Full is not broken: more than the file system has left cannot be had, and what there is stays as it was. */
static void try_full(const char *file, const char *directory)
{
	char path[256];
	struct statfs fs;
	struct pm_mapping *m = NULL;
	CHECK(statfs(directory, &fs) == 0, "%s", strerror(errno));
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE};
	/* Less than there is in all, which is the most that exfat lets a file have. */
	o.length = (uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize + SIZE + SIZE / 2;
	snprintf(path, sizeof(path), "%s/full", directory);
	int rc = pm_map(path, &o, &m);
	CHECK(says_full(rc, "pm_map "), "%d: %s", rc, pm_error_detail());
	CHECK(access(path, F_OK) != 0, "%s was left behind", path);
	printf("%-28s %s\n", "full", rc ? pm_error_detail() : "");
	rc = pm_map(file, NULL, &m);
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	uint64_t length = pm_length(m);
	rc = pm_resize(m, o.length);
	CHECK(says_full(rc, "pm_resize "), "%d: %s", rc, pm_error_detail());
	CHECK(pm_length(m) == length, "%" PRIu64, pm_length(m));
	use(m, file);
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
}

static void try_files(const struct row *row, const char *directory)
{
	char prepared[256], sparse[256], guarantee[256];
	snprintf(prepared, sizeof(prepared), "%s/prepared", directory);
	snprintf(sparse, sizeof(sparse), "%s/sparse", directory);
	snprintf(guarantee, sizeof(guarantee), "%s/guarantee", directory);
	try_hint("created", prepared, PM_CREATE, &row->prepared);
	try_hint("created sparse", sparse, PM_CREATE | PM_SPARSE, &row->sparse);
	try_guarantee("sync guarantee, new", guarantee, true, row->sync_guarantee, PM_CREATE);
	unlink(guarantee);
	try_guarantee("direct guarantee, new", guarantee, false, row->direct_guarantee, PM_CREATE);
	unlink(guarantee);
	int sparse_sync = row->sync_guarantee ? row->sync_guarantee : -PM_ENOTSYNC;
	try_guarantee("sync guarantee, new sparse", guarantee, true, sparse_sync, PM_CREATE | PM_SPARSE);
	try_guarantee("sync guarantee, prepared", prepared, true, row->sync_guarantee, 0);
	/* All of the sparse file has been stored to by now; a fresh one is prepared as it is mapped. */
	CHECK(truncate(sparse, 0) == 0 && truncate(sparse, SIZE) == 0, "truncate: %s", strerror(errno));
	try_hint("existing sparse", sparse, 0, &row->sparse);
	CHECK(truncate(sparse, 0) == 0 && truncate(sparse, SIZE) == 0, "truncate: %s", strerror(errno));
	if (row->sparse.granularity != PM_NONE)
		try_hint("existing sparse, prepared", sparse, PM_PREPARE, &row->prepared);
	try_odd_range(prepared);
	try_removed(directory);
	if (row->is_filled)
		try_full(prepared, directory);
	if (row->prepared.granularity >= PM_CACHE_LINE)
		try_demotion(prepared);
	if (!strcmp(row->name, "xfs-dax-reflink")) {
		char clone[256];
		snprintf(clone, sizeof(clone), "%s/clone", directory);
		try_clone(prepared, clone);
	}
}

/* A file that exists, as another program left it. */
static void try_file(const struct row *row, const char *path, unsigned flags)
{
	try_hint("existing", path, flags, &row->prepared);
	try_guarantee("sync guarantee", path, true, row->sync_guarantee, flags);
	try_guarantee("direct guarantee", path, false, row->direct_guarantee, flags);
}

/* As libpmem takes a device-dax: flags that make a file make nothing, and its length is 0 or the whole. */
static void try_libpmem(const char *device)
{
	const int create = PMEM_FILE_CREATE | PMEM_FILE_SPARSE;
	size_t length = 0, again = 0;
	void *whole = pmem_map_file(device, 0, create, 0600, &length, NULL);
	CHECK(whole && length, "%s", pmem_errormsg());
	CHECK(whole && !pmem_unmap(whole, length), "%s", pmem_errormsg());
	whole = pmem_map_file(device, length, create, 0600, &again, NULL);
	CHECK(whole && again == length && !pmem_unmap(whole, again), "%s", pmem_errormsg());
	CHECK(!pmem_map_file(device, length / 2, create, 0600, NULL, NULL) && errno == EINVAL, "half a device");
	whole = pmem_map_file(device, 0, create | PMEM_FILE_EXCL, 0600, NULL, NULL);
	CHECK(!whole && errno == EINVAL, "PMEM_FILE_EXCL");
}

static void try_device(const struct row *row, const char *device)
{
	struct stat st;
	try_file(row, device, 0);
	if (!stat(device, &st) && S_ISCHR(st.st_mode))
		try_libpmem(device);
}

static void try_memfd(const struct row *row)
{
	char path[40];
	int fd = memfd_create("test", 0);
	CHECK(fd >= 0 && ftruncate(fd, (off_t)SIZE) == 0, "%s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	try_file(row, path, 0);
	close(fd);
}

/* Foretold by the probe, with the same error and words, and nothing is left behind. -EINVAL: 9p before Linux 6.4. */
static void try_unmappable(const char *directory)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE, .length = SIZE};
	struct pm_mapping *m;
	struct pm_report r;
	char path[256];
	snprintf(path, sizeof(path), "%s/file", directory);
	for (int time = 0; time < 2; time++) {
		int rc = pm_map(path, &o, &m);
		CHECK(rc == -ENODEV || rc == -EINVAL, "%d: %s", rc, pm_error_detail());
		CHECK(strstr(pm_error_detail(), "no shared mappings") != NULL);
		CHECK(time || access(path, F_OK) != 0, "the file was left behind");
		int probe_rc = pm_probe(path, &o, &r, sizeof(r));
		bool is_foretold = probe_rc == rc && strstr(pm_error_detail(), "no shared mappings");
		CHECK(is_foretold || (!time && cannot_probe(path, o.flags)), "%d, pm_map: %d", probe_rc, rc);
		printf("refused: %s\n", pm_error_detail());
		/* Once more with a file that exists. */
		int fd = open(path, O_RDWR | O_CREAT, 0600);
		CHECK(fd >= 0 && ftruncate(fd, (off_t)SIZE) == 0, "%s", strerror(errno));
		close(fd);
	}
}

static const struct row *find_row(const char *name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

/* Which of the two rows of encryption it is, the kernel decides. */
static bool is_encrypted_dax(const char *directory)
{
	char path[256];
	struct statx stx = {0};
	snprintf(path, sizeof(path), "%s/trial", directory);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return false;
	CHECK(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx) == 0, "%s", strerror(errno));
	close(fd);
	unlink(path);
	return stx.stx_attributes & STATX_ATTR_ENCRYPTED && stx.stx_attributes & STATX_ATTR_DAX;
}

static void try_row(const struct row *row, const char *directory, const char *device)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/prepared", directory);
	if (is_encrypted_dax(directory))
		row = find_row("ext4-encrypted-dax");
	server = row->server;
	if (device && device[0])
		try_device(row, device);
	else if (row->kind == NEW_FILES)
		try_files(row, directory);
	else if (row->kind == MEMFD)
		try_memfd(row);
	else if (row->kind == UNMAPPABLE)
		try_unmappable(directory);
	else
		try_file(row, path, row->kind == READ_ONLY ? PM_READ_ONLY : 0);
}

/* Tabs between: name, granularity, sync, direct, grade, reason, advice, both guarantees, reason if sparse, note. */
static void print_table(void)
{
	static const char *const grades[] = {"none", "accepted", "trusted", "promised", "proven"};
	static const char *const advices[] = {
		[PM_ADVICE_NONE] = "", [PM_ADVICE_PREPARE] = "prepare", [PM_ADVICE_MOUNT_DAX] = "mount with DAX",
		[PM_ADVICE_LEASE] = "lease", [PM_ADVICE_JOURNAL] = "journal", [PM_ADVICE_REAL_MEDIUM] = "real medium",
		[PM_ADVICE_STATE_DOMAIN] = "state the domain", [PM_ADVICE_LEAVE_SANDBOX] = "leave the sandbox",
		[PM_ADVICE_REWRITE] = "rewrite", [PM_ADVICE_BARRIER] = "barriers"};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		const struct expected *x = &r->prepared;
		char promise[64] = "";
		if (r->server)
			snprintf(promise, sizeof(promise), "the promise is the %s server's%s", r->server,
			         r->note ? "; " : "");
		printf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s%s\n", r->name, pm_granularity_name(x->granularity),
		       pm_state_name(x->sync), pm_state_name(x->direct), grades[x->grade], pm_reason_name(x->reason),
		       advices[x->advice], r->sync_guarantee ? "refused" : "met",
		       r->direct_guarantee ? "refused" : "met",
		       pm_reason_name(r->kind == NEW_FILES ? r->sparse.reason : x->reason), promise,
		       r->note ? r->note : "");
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--table"))
		return print_table(), 0;
	const struct row *row = argc >= 3 ? find_row(argv[1]) : NULL;
	if (!row)
		return fprintf(stderr, "usage: %s BACKING DIRECTORY [DEVICE] | --table\n", argv[0]), 2;
	try_row(row, argv[2], argc == 4 ? argv[3] : NULL);
	printf("%s: %d failures\n", row->name, failures);
	return failures != 0;
}
