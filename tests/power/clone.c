/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores into a file that others clone, cut and punch meanwhile, and tells what must survive:
 *
 *   clone work leasing|trusting DIRECTORY ROUND SEED
 *   clone check DIRECTORY ROUND
 *
 * The file holds numbers that only grow, each in a page of its own. "trusting" takes the kernel's word and holds no
 * lease: it clones the file, stores into two pages and waits for the cut. It tells:
 *   "acked SLOT NUMBER"    durable from now on
 *   "cloned N", "cut N", "punched N", "promoted N", "demoted N REASON"  what was done so far
 *   "now"                  cut the power
 *   "leak TEXT", "failed TEXT"                      what must not be
 * check prints "slot SLOT NUMBER" for every slot in the file, "risk SLOT" for every slot that another process was about
 * to wipe when the power was cut, and "size BYTES" at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <pmdirect.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SLOTS 64u
#define PAGE 4096u
#define BURST 8u
#define DEEDS_MAX 100000u

struct work {
	char path[PATH_MAX], clone[PATH_MAX + 8];
	bool leasing;
	bool *risk; /* by slot */
	struct pm_mapping *m;
	uint64_t content[SLOTS]; /* of the file */
	uint64_t cloned[SLOTS];  /* of the clone, while there is one */
	bool has_clone;
	uint64_t next;
	unsigned clones, cuts, punches, promotions, demotions;
	uint32_t random;
};

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vdprintf(STDOUT_FILENO, format, args);
	va_end(args);
}

static void fail(const char *what, const char *why)
{
	tell("failed %s: %s\n", what, why);
	exit(1);
}

static uint32_t draw(struct work *w, uint32_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 17;
	w->random ^= w->random << 5;
	return w->random % below;
}

/*
 * A line to the host that takes a promise back may still be in the guest's port when the power is cut, after the deed
 * (power.py). What is at risk is in a file of its own instead: a store is in an emulated NVDIMM at once.
 */
static int open_risk(const char *path, int flags)
{
	char name[PATH_MAX + 8];
	snprintf(name, sizeof(name), "%s.risk", path);
	int fd = open(name, flags, 0600);
	if (fd < 0)
		fail(name, strerror(errno));
	return fd;
}

static bool *map_risk(const char *path)
{
	static const bool none[PAGE];
	int fd = open_risk(path, O_RDWR | O_CREAT | O_EXCL);
	if (write(fd, none, PAGE) != (ssize_t)PAGE || fsync(fd))
		fail("write of the risks", strerror(errno));
	void *risk = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
	if (risk == MAP_FAILED)
		fail("mmap of the risks", strerror(errno));
	close(fd);
	return risk;
}

static uint64_t *slot(struct work *w, unsigned number)
{
	return (uint64_t *)((char *)pm_base(w->m) + (size_t)number * PAGE);
}

/*
 * Where the library looked while cut_it() had the file short, it asks for pm_resize(), whatever was done to the file
 * since.
 */
static int persist(struct work *w, unsigned number)
{
	int rc = pm_persist(w->m, slot(w, number), sizeof(uint64_t));
	if (rc != -ERANGE || pm_resize(w->m, (uint64_t)SLOTS * PAGE))
		return rc;
	return pm_persist(w->m, slot(w, number), sizeof(uint64_t));
}

/* Back to back, since what one fault leaves behind the next one may commit. */
static void store(struct work *w, unsigned count)
{
	unsigned first = draw(w, SLOTS);
	for (unsigned i = 0; i < count; i++) {
		unsigned number = (first + i) % SLOTS;
		*slot(w, number) = w->content[number] = ++w->next;
		if (persist(w, number))
			fail("persist", pm_error_detail());
		w->risk[number] = false;
	}
	for (unsigned i = 0; i < count; i++)
		tell("acked %u %" PRIu64 "\n", (first + i) % SLOTS, w->content[(first + i) % SLOTS]);
}

static void check_clone(struct work *w)
{
	uint64_t value;
	int fd = open(w->clone, O_RDONLY);
	for (unsigned i = 0; i < SLOTS; i++) {
		if (pread(fd, &value, sizeof(value), (off_t)i * PAGE) != sizeof(value))
			fail("read of the clone", strerror(errno));
		if (value != w->cloned[i])
			tell("leak slot %u of the clone is %" PRIu64 ", was %" PRIu64 "\n", i, value, w->cloned[i]);
	}
	close(fd);
}

/*
 * What the file holds without the mapping's page tables: a page that was copied under a store differs
 * (tests/guest/test_stale.c).
 */
static void check_file(struct work *w, int fd, const char *deed)
{
	uint64_t value;
	for (unsigned i = 0; w->leasing && fd >= 0 && i < SLOTS; i++)
		if (pread(fd, &value, sizeof(value), (off_t)i * PAGE) == sizeof(value) && value != w->content[i])
			tell("leak slot %u of the file is %" PRIu64 ", was %" PRIu64 ", before it is %s\n", i, value,
			     w->content[i], deed);
}

static void clone_it(struct work *w)
{
	if (w->has_clone)
		check_clone(w);
	unlink(w->clone);
	int from = open(w->path, O_RDONLY), to = open(w->clone, O_RDWR | O_CREAT | O_EXCL, 0600);
	check_file(w, from, "cloned");
	if (from < 0 || to < 0 || ioctl(to, FICLONE, from))
		fail("FICLONE", strerror(errno));
	memcpy(w->cloned, w->content, sizeof(w->cloned));
	w->has_clone = true;
	/* Also while another process still has the file open. */
	for (unsigned i = w->leasing ? draw(w, 3) : 0; i; i--)
		store(w, 1 + draw(w, BURST));
	close(from);
	close(to);
	tell("cloned %u\n", ++w->clones);
}

static void wipe(struct work *w, unsigned from, unsigned to)
{
	memset(&w->risk[from], true, to - from);
	memset(&w->content[from], 0, (to - from) * sizeof(w->content[0]));
}

/* Cut, and given its size again: the mapping keeps its length, what was there is gone. */
static void cut_it(struct work *w)
{
	unsigned from = draw(w, SLOTS);
	int fd = open(w->path, O_RDWR);
	check_file(w, fd, "cut");
	wipe(w, from, SLOTS);
	if (fd < 0 || ftruncate(fd, (off_t)from * PAGE) || ftruncate(fd, (off_t)SLOTS * PAGE))
		fail("ftruncate", strerror(errno));
	close(fd);
	tell("cut %u\n", ++w->cuts);
}

static void punch_it(struct work *w)
{
	unsigned from = draw(w, SLOTS), to = from + 1 + draw(w, SLOTS - from);
	int fd = open(w->path, O_RDWR);
	check_file(w, fd, "punched");
	wipe(w, from, to);
	if (fd < 0 ||
	    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from * PAGE, (off_t)(to - from) * PAGE))
		fail("fallocate", strerror(errno));
	close(fd);
	tell("punched %u\n", ++w->punches);
}

/*
 * On Linux 6.1 a store into a hole of a file that was cloned shows what the blocks held before, with or without this
 * library: fs/dax.c dax_iomap_cow_copy() does not clear a block whose source is a hole. So nothing is wiped there.
 */
static bool can_wipe(void)
{
	struct utsname name;
	return !uname(&name) && strncmp(name.release, "6.1.", 4) != 0;
}

static void check_content(struct work *w, const char *deed)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (*slot(w, i) != w->content[i])
			tell("leak slot %u of the mapping is %" PRIu64 ", was %" PRIu64 ", after it was %s\n", i,
			     *slot(w, i), w->content[i], deed);
}

static void take_events(struct work *w)
{
	struct pm_event event;
	while (!pm_next_event(w->m, &event, sizeof(event))) {
		if (event.kind == PM_EVENT_PROMOTED)
			tell("promoted %u\n", ++w->promotions);
		else if (event.kind == PM_EVENT_LEASE_BROKEN)
			tell("demoted %u %s\n", ++w->demotions, pm_reason_name(event.reason));
	}
}

/* Often as soon as can be, to meet the mapping while it is demoted; at times only when it is promoted again. */
static void wait_for_promotion(struct work *w)
{
	struct pollfd p = {pm_event_fd(w->m), POLLIN, 0};
	if (draw(w, 2))
		return;
	while (pm_granularity_of(w->m) < PM_CACHE_LINE) {
		if (poll(&p, 1, 30000) != 1)
			fail("promotion", "did not come");
		take_events(w);
	}
}

/* After a clone every other fault leaves its new block to the log (fs/xfs/xfs_iomap.c xfs_dax_write_iomap_end). */
static void trust(struct work *w)
{
	clone_it(w);
	store(w, 2);
	tell("now\n");
	pause();
}

static void interfere(struct work *w)
{
	bool wipes = can_wipe();
	for (unsigned deeds = 0; deeds < DEEDS_MAX; deeds++) {
		unsigned what = draw(w, 16);
		const char *deed = what == 0 ? "cut" : what == 1 ? "punched" : what < 6 ? "cloned" : "stored into";
		if (what == 0 && wipes)
			cut_it(w);
		else if (what == 1 && wipes)
			punch_it(w);
		else if (what < 6)
			clone_it(w);
		else
			store(w, 1 + draw(w, BURST));
		check_content(w, deed);
		take_events(w);
		wait_for_promotion(w);
	}
}

static void work(struct work *w)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_PREPARE, .length = (uint64_t)SLOTS * PAGE};
	o.flags |= w->leasing ? PM_LEASE : PM_TRUST_KERNEL;
	o.sync = w->leasing ? PM_GUARANTEE : PM_HINT;
	w->risk = map_risk(w->path);
	if (pm_map(w->path, &o, &w->m))
		fail("map", pm_error_detail());
	if (pm_granularity_of(w->m) < PM_CACHE_LINE)
		fail("granularity", pm_granularity_name(pm_granularity_of(w->m)));
	for (unsigned i = 0; i < SLOTS / BURST; i++)
		store(w, BURST);
	if (w->leasing)
		interfere(w);
	else
		trust(w);
}

static int check(const char *path)
{
	uint64_t value;
	bool risk[SLOTS];
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		fail(path, strerror(errno));
	for (unsigned i = 0; i < SLOTS; i++) {
		ssize_t got = pread(fd, &value, sizeof(value), (off_t)i * PAGE);
		if (got == sizeof(value))
			tell("slot %u %" PRIu64 "\n", i, value);
		else if (got)
			fail("read of the file", got < 0 ? strerror(errno) : "short");
	}
	if (pread(open_risk(path, O_RDONLY), risk, sizeof(risk), 0) != sizeof(risk))
		fail("read of the risks", strerror(errno));
	for (unsigned i = 0; i < SLOTS; i++)
		if (risk[i])
			tell("risk %u\n", i);
	tell("size %lld\n", (long long)lseek(fd, 0, SEEK_END));
	return 0;
}

int main(int argc, char **argv)
{
	static struct work w;
	if (argc == 4 && !strcmp(argv[1], "check")) {
		snprintf(w.path, sizeof(w.path), "%s/file.%s", argv[2], argv[3]);
		return check(w.path);
	}
	if (argc != 6 || strcmp(argv[1], "work"))
		return fprintf(stderr, "usage: %s work leasing|trusting DIRECTORY ROUND SEED | check DIRECTORY ROUND\n",
		               argv[0]),
		       2;
	w.leasing = !strcmp(argv[2], "leasing");
	w.random = (uint32_t)strtoul(argv[5], NULL, 0) | 1;
	snprintf(w.path, sizeof(w.path), "%s/file.%s", argv[3], argv[4]);
	snprintf(w.clone, sizeof(w.clone), "%s.clone", w.path);
	work(&w);
	return 0;
}
