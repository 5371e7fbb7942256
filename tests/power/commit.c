/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pm_commit() of several ranges at once, by several threads, until the power is cut; beside them pages that are
 * recorded and that no call commits. cut.py has the lines that the host reads.
 *
 *   commit live NAME FILE KIND     commits, and promises what is committed; what is only recorded is a control on disks
 *   commit left NAME FILE KIND     the same without threads and without a promise: every range is a control
 *   commit found NAME FILE         what is there
 *
 * live goes on until the power is cut. left maps the file, and stores when the script says so (/tmp/go): until then
 * other calls may commit the file system's journal. KIND is prepared, plain, sparse, or beside: there a thread drains
 * areas of more than 1 MiB meanwhile, and commits are written between the slices of a drain. In a pair two threads
 * commit at the same moment, several times in a row: the first of them starts its write before the second comes, which
 * commit.sh checks.
 */
#include <pmdirect.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "../guest/check.h"
#include "digest.h"

#define PAGE ((size_t)4096)
#define QUARTERS 4u
#define GROUPS 256u
#define THREADS 3u
#define BEGUN 40u
#define ROW 6u
#define AREAS 2u
#define AREA (((size_t)1 << 20) + 16 * PAGE)

static const char *name, *path, *verb = "promise";
static bool on_disk, beside, pair;
static pthread_barrier_t moment; /* of a pair */
static struct pm_mapping *m;
static atomic_uint next_group;

/*
 * A group has a page in each quarter of the file. It commits a piece of one to three of them, and records one more page
 * if it commits less than three.
 */
static unsigned count_of(unsigned group)
{
	return 1 + group % (QUARTERS - 1);
}

static struct pm_range range_of(unsigned group, unsigned i)
{
	size_t page = (size_t)((group + i) % QUARTERS) * GROUPS + group, skipped = group * 13 % 3000;
	size_t length = 1 + (group * 97 + i * 31) % (PAGE - skipped);
	return (struct pm_range){(char *)pm_base(m) + page * PAGE + skipped, length};
}

static void fill(struct pm_range range, unsigned group, unsigned i)
{
	memset((char *)range.address, (int)(1 + (group * 7 + i) % 250), range.length);
}

static void tell_range(const char *what, const char *prefix, unsigned group, unsigned i)
{
	char full[128];
	struct pm_range range = range_of(group, i);
	snprintf(full, sizeof(full), "%s%s/%u.%u", prefix, name, group, i);
	if (what)
		tell(what, full, range.address, range.length);
	else
		tell_found(full, path, (size_t)((char *)range.address - (char *)pm_base(m)), range.length);
}

static bool is_recorded_only(unsigned group)
{
	return count_of(group) < QUARTERS - 1;
}

static int commit_group(unsigned group)
{
	struct pm_range ranges[QUARTERS];
	unsigned count = count_of(group);
	if (is_recorded_only(group)) {
		struct pm_range other = range_of(group, count);
		fill(other, group, count);
		if (pm_flush(m, other.address, other.length))
			return complain(path, "pm_flush");
		if (on_disk && !beside)
			tell_range("control", "recorded-", group, count);
	}
	for (unsigned i = 0; i < count; i++) {
		ranges[i] = range_of(group, i);
		fill(ranges[i], group, i);
	}
	if (pm_commit(m, ranges, count))
		return complain(path, "pm_commit");
	for (unsigned i = 0; i < count; i++)
		tell_range(verb, "", group, i);
	return 0;
}

static void touch(const char *what)
{
	char marker[64];
	snprintf(marker, sizeof(marker), "/tmp/%s-%s", what, name);
	close(open(marker, O_CREAT | O_WRONLY, 0600));
}

/* So many are committed at least before the cut; the rest takes longer than that. */
static void *commit_slowly(void *arg)
{
	unsigned group, done = 0;
	while ((group = atomic_fetch_add(&next_group, 1)) < GROUPS && !commit_group(group)) {
		if (group == BEGUN)
			touch("begun");
		if (pair && ++done % ROW)
			continue;
		usleep(group < BEGUN ? 20000 : 500000);
		if (pair)
			pthread_barrier_wait(&moment);
	}
	return arg;
}

static struct pm_range area_of(unsigned area)
{
	return (struct pm_range){(char *)pm_base(m) + QUARTERS * GROUPS * PAGE + area * AREA, AREA};
}

/* Each area is drained once and promised, but the last, which is drained again and again. */
static void *drain_areas(void *arg)
{
	for (unsigned i = 0;; i++) {
		char full[128];
		unsigned area = i < AREAS ? i : AREAS;
		struct pm_range range = area_of(area);
		memset((char *)range.address, (int)(1 + i % 250), range.length);
		if (pm_flush(m, range.address, range.length) || pm_drain(m)) {
			complain(path, "pm_drain");
			return arg;
		}
		snprintf(full, sizeof(full), "%s/area%u", name, area);
		if (area < AREAS)
			tell("promise", full, range.address, range.length);
		usleep(area < AREAS ? 5000 : 100000);
	}
}

static int map(const char *kind, bool may_create)
{
	struct pm_options o = {.size = sizeof(o),
	                       .length = QUARTERS * GROUPS * PAGE + (beside ? (AREAS + 1) * AREA : 0),
	                       .flags = !may_create                 ? PM_READ_ONLY
	                                : beside || pair || !strcmp(kind, "prepared") ? PM_CREATE | PM_PREPARE
	                                : !strcmp(kind, "sparse")   ? PM_CREATE | PM_SPARSE
	                                                            : PM_CREATE};
	if (pm_map(path, &o, &m))
		return complain(path, "pm_map");
	dprintf(STDOUT_FILENO, "note %s: %s\n", name, pm_granularity_name(pm_granularity_of(m)));
	return 0;
}

static int live(const char *kind)
{
	pthread_t threads[THREADS], drains;
	unsigned count = pair ? 2 : THREADS;
	int rc = map(kind, true);
	pthread_barrier_init(&moment, NULL, 2);
	if (!rc && beside)
		rc = pthread_create(&drains, NULL, drain_areas, NULL);
	for (unsigned i = 0; i < count && !rc; i++)
		rc = pthread_create(&threads[i], NULL, commit_slowly, NULL);
	for (unsigned i = 0; i < count && !rc; i++)
		pthread_join(threads[i], NULL);
	pause();
	return rc;
}

static int leave(const char *kind)
{
	int rc = map(kind, true);
	verb = "control";
	on_disk = false;
	touch("mapped");
	while (!rc && access("/tmp/go", F_OK))
		usleep(20000);
	for (unsigned group = 0; group < GROUPS && !rc; group++)
		rc = commit_group(group);
	touch("done");
	pause();
	return rc;
}

static bool is_zero(struct pm_range range)
{
	const char *bytes = range.address;
	return !bytes[0] && !memcmp(bytes, bytes + 1, range.length - 1);
}

/* Nothing is filled with zeros: most groups were not begun. */
static void find_range(const char *prefix, unsigned group, unsigned i)
{
	if (!is_zero(range_of(group, i)))
		tell_range(NULL, prefix, group, i);
}

static int find(void)
{
	int rc = map("", false);
	for (unsigned group = 0; group < GROUPS && !rc; group++) {
		for (unsigned i = 0; i < count_of(group); i++)
			find_range("", group, i);
		if (is_recorded_only(group))
			find_range("recorded-", group, count_of(group));
	}
	if (!rc)
		dprintf(STDOUT_FILENO, "looked %s\nlooked recorded-%s\n", name, name);
	for (unsigned area = 0; area < AREAS && beside && !rc; area++) {
		char full[128];
		snprintf(full, sizeof(full), "%s/area%u", name, area);
		tell_found(full, path, QUARTERS * GROUPS * PAGE + area * AREA, AREA);
	}
	return rc;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	name = argv[2], path = argv[3];
	on_disk = strstr(name, "disk");
	beside = strstr(name, "beside");
	pair = strstr(name, "pair");
	if (!strcmp(argv[1], "found"))
		return find();
	return argc < 5 ? 2 : !strcmp(argv[1], "left") ? leave(argv[4]) : live(argv[4]);
}
