/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks with volatile caches: what msync(2) and the library acknowledge where flushes reach the cache, and where the
 * mount or the queue leaves them out. There the library says so before the first store, and refuses guarantees.
 *
 *   flushes make PATH...                     PATH is a directory, or a block device; flushes are still on
 *   flushes store PLACE PATH flushed|silent|believed
 *   flushes found PLACE PATH
 *
 * Of what is silent each group of records is a control. So it is where the library was made to believe in flushes
 * (mutate.c): it has promised what is lost.
 */
#include <pmdirect.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../guest/check.h"
#include "digest.h"

#define PAGE ((size_t)4096)
#define RECORDS ((size_t)8)
#define SIZE (RECORDS * PAGE)

/* The parts of a file: records by msync(2), by pm_persist(), by pm_flush() and pm_drain(), and by pm_sync(). */
enum part { RAW, PERSISTED, DRAINED, SYNCED, PARTS };
static const char *const parts[] = {"raw", "persisted", "drained", "synced"};

static const char *place, *verb;

static bool is_node(const char *path)
{
	struct stat st;
	return !stat(path, &st) && S_ISBLK(st.st_mode);
}

static void name_file(char file[static 256], const char *path, const char *name)
{
	snprintf(file, 256, is_node(path) ? "%s" : "%s/%s", path, name);
}

static void name_record(char name[static 128], const char *part, size_t i)
{
	snprintf(name, 128, "%s-%s/%zu", place, part, i);
}

/* Blocks, size and name are durable, so that only content is at stake. */
static int make(const char *path)
{
	static char bytes[PARTS * SIZE];
	char file[256];
	name_file(file, path, "records");
	memset(bytes, 'o', sizeof(bytes));
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || pwrite(fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes) || fsync(fd) || close(fd))
		return complain(file, "setting up");
	return 0;
}

static void acknowledge(enum part part, size_t i, const char *base)
{
	char name[128];
	name_record(name, parts[part], i);
	tell(verb, name, base + i * PAGE, PAGE);
}

static int store_raw(const char *file)
{
	int fd = open(file, O_RDWR | O_CLOEXEC);
	char *base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || base == MAP_FAILED)
		return complain(file, "mmap");
	for (size_t i = 0; i < RECORDS; i++) {
		memset(base + i * PAGE, 'A' + (int)i, PAGE);
		if (msync(base + i * PAGE, PAGE, MS_SYNC))
			return complain(file, "msync");
		/*
		 * Before Linux 6.6 an msync of an ext4 without a journal flushes nothing where it finds the inode
		 * clean.
		 */
		if (strcmp(place, "no-journal"))
			acknowledge(RAW, i, base);
	}
	return 0;
}

static int make_durable(struct pm_mapping *m, enum part part, char *record)
{
	if (part == PERSISTED)
		return pm_persist(m, record, PAGE);
	if (part == SYNCED)
		return pm_sync(m);
	int rc = pm_flush(m, record, PAGE);
	return rc ? rc : pm_drain(m);
}

static int store_part(struct pm_mapping *m, enum part part)
{
	char *base = (char *)pm_base(m) + (size_t)part * SIZE;
	for (size_t i = 0; i < RECORDS; i++) {
		memset(base + i * PAGE, 'A' + (int)i, PAGE);
		if (make_durable(m, part, base + i * PAGE))
			return complain(place, parts[part]);
		acknowledge(part, i, base);
	}
	return 0;
}

/* Before the first store. */
static int check_words(const char *file, struct pm_mapping *m, bool silent)
{
	struct pm_options guarantee = {.size = sizeof(guarantee), .sync = PM_GUARANTEE};
	struct pm_mapping *refused;
	struct pm_report r;
	if (pm_query(m, &r, sizeof(r)))
		return complain(place, "pm_query");
	const struct pm_evidence *row = &r.evidence[PM_EV_DEVICE_FLUSH];
	bool said = silent ? r.granularity == PM_NONE && r.reason == PM_REASON_NO_DEVICE_FLUSH && row->state == PM_NO
	                   : r.granularity == PM_PAGE && r.reason == PM_REASON_PAGE_CACHE && row->state == PM_YES;
	dprintf(STDOUT_FILENO, "note %s: %s, %s, flushed: %s (%s)\n", place, pm_granularity_name(pm_granularity_of(m)),
	        pm_reason_name(r.reason), pm_state_name(row->state), row->text);
	if (!said || pm_granularity_of(m) != r.granularity)
		return complain(place, "the report is not as it must be");
	int rc = pm_map(file, &guarantee, &refused);
	if (rc != (silent ? -PM_EVOLATILE : -PM_ENOTSYNC))
		return complain(place, "a guarantee is not refused as it must be");
	return 0;
}

/* A new file: its name, its blocks and its size as well. One record is too little for a control. */
static int store_new(const char *path)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_EXCLUSIVE, .length = SIZE};
	struct pm_mapping *m;
	char file[256], name[128];
	name_file(file, path, "new");
	if (is_node(path) || strcmp(verb, "promise"))
		return 0;
	if (pm_map(file, &o, &m) || pm_resize(m, 2 * SIZE))
		return complain(file, "pm_map");
	char *record = (char *)pm_base(m) + SIZE;
	memset(record, 'n', PAGE);
	if (pm_persist(m, record, PAGE))
		return complain(file, "pm_persist");
	name_record(name, "new", 0);
	tell(verb, name, record, PAGE);
	return 0;
}

static int store(const char *path, bool silent)
{
	struct pm_options o = {.size = sizeof(o), .length = PARTS * SIZE};
	struct pm_mapping *m;
	char file[256];
	name_file(file, path, "records");
	if (pm_map(file, &o, &m))
		return complain(file, "pm_map");
	int rc = check_words(file, m, silent);
	for (int part = PERSISTED; part < PARTS && !rc; part++)
		rc = store_part(m, (enum part)part);
	return rc ? rc : store_raw(file) || store_new(path);
}

static int find(const char *path)
{
	char file[256], name[128];
	name_file(file, path, "records");
	for (size_t i = 0; i < PARTS * RECORDS; i++) {
		name_record(name, parts[i / RECORDS], i % RECORDS);
		tell_found(name, file, i * PAGE, PAGE);
	}
	if (is_node(path))
		return 0;
	name_record(name, "new", 0);
	name_file(file, path, "new");
	tell_found(name, file, SIZE, PAGE);
	return 0;
}

int main(int argc, char **argv)
{
	int rc = 0;
	if (argc > 2 && !strcmp(argv[1], "make")) {
		for (int i = 2; i < argc && !rc; i++)
			rc = make(argv[i]);
		return rc;
	}
	if (argc < 4)
		return 2;
	place = argv[2];
	if (!strcmp(argv[1], "found"))
		return find(argv[3]);
	if (argc < 5)
		return 2;
	verb = strcmp(argv[4], "flushed") ? "control" : "promise";
	return store(argv[3], !strcmp(argv[4], "silent"));
}
