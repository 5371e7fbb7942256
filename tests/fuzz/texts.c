/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever the kernel's texts say, the library neither crashes nor says more than it saw. An input is a digit that
 * chooses a machine of the unit tests, a letter that chooses which texts of /proc and /sys it replaces, and the text:
 * "1a36 29 0:32 / /srv ...". replay.c runs the corpus; scripts/fuzz makes new inputs with libFuzzer.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "fuzz.h"
#include "kernel/magic.h"
#include "machine/machine.h"
#include "unit/fake.h"

/* By letter: a part of the path of the files, "" for all of them. Then links, and the release of the kernel. */
static const char *const kinds[] = {
	"mountinfo", "smaps",     "fdinfo",    "journal_task", "jbd2",        "fc_info",    "disk_map",
	"badblocks", "flags",     "provider",  "domain",       "mapping",     "devtype",    "size",
	"align",     "start",     "cache",     "deep_flush",   "numa_node",   "set_cookie", "dirty_shutdown",
	"/id",       "read_only", "/comm",     "",
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
enum { KIND_LINKS = COUNT(kinds), KIND_RELEASE, KINDS };

/* Beside those of fake_machines: what has more to tell. */
static const struct fake_health health = {.bad_blocks = "8 8\n",
                                          .start = "2048\n",
                                          .dimm = {"nmem4,0,1073741824,0\n", "nmem5,0,1073741824,1\n"},
                                          .dirty_shutdown = {"3\n", "0x4\n"},
                                          .id = {"8680-57341200\n", "8680-57341201\n"},
                                          .set_cookie = "0x1234\n",
                                          .numa_node = "1\n"};

static void start_machine(unsigned number)
{
	if (number < fake_machines_count) {
		fake_start(fake_machines[number]);
		return;
	}
	number -= fake_machines_count;
	fake_start(number == 0 ? &fake_counted : number == 1 ? &fake_dax : &fake_plain);
	if (number == 1)
		fake.machine.health = &health;
	if (number < 2)
		return;
	fake.machine.block = "pci0000:00/ata1/host0/block/sda";
	if (number == 2) {
		fake.machine.magic = F2FS_SUPER_MAGIC;
		fake.machine.mount = "f2fs /dev/sda rw";
		fake.machine.disk_map = "";
	} else if (number == 3) {
		fake.machine.magic = BTRFS_SUPER_MAGIC; /* whose mount mountinfo tells */
		fake.machine.mount = "btrfs /dev/sda rw,subvolid=5";
	} else {
		fake.machine.magic = EXT4_SUPER_MAGIC;
		fake.machine.mount = "ext4 /dev/sda rw,relatime";
		fake.machine.journals[0] = "vdj";
		fake.machine.journals[1] = "ram1";
		fake.machine.journal_thread = "jbd2/vdj";
	}
}

static struct machine texts;
static const char *text;
static size_t text_length;
static unsigned kind;
bool fuzz_text_was_read;

/* Descriptors that give the text, and how much of it each has given. */
static struct {
	int fd; /* -1: none */
	size_t at;
} open_texts[64];

static bool is_replaced(const char *path)
{
	return kind < COUNT(kinds) && (!strncmp(path, "/proc/", 6) || !strncmp(path, "/sys/", 5)) &&
	       strstr(path, kinds[kind]);
}

static int text_openat(int directory, const char *path, int flags, unsigned mode)
{
	int fd = texts.below->openat(directory, path, flags, mode);
	if (fd < 0 || flags & (O_DIRECTORY | O_PATH) || !is_replaced(path))
		return fd;
	for (size_t i = 0; i < COUNT(open_texts); i++) {
		if (open_texts[i].fd < 0) {
			open_texts[i].fd = fd;
			open_texts[i].at = 0;
			break;
		}
	}
	return fd;
}

static int text_close(int fd)
{
	for (size_t i = 0; i < COUNT(open_texts); i++)
		if (open_texts[i].fd == fd)
			open_texts[i].fd = -1;
	return texts.below->close(fd);
}

static ssize_t text_read(int fd, void *buffer, size_t size)
{
	for (size_t i = 0; i < COUNT(open_texts); i++) {
		if (open_texts[i].fd != fd)
			continue;
		fuzz_text_was_read = true;
		size_t rest = text_length - open_texts[i].at, some = size < rest ? size : rest;
		memcpy(buffer, text + open_texts[i].at, some);
		open_texts[i].at += some;
		return (ssize_t)some;
	}
	return texts.below->read(fd, buffer, size);
}

static ssize_t text_readlinkat(int directory, const char *path, char *buffer, size_t size)
{
	ssize_t length = texts.below->readlinkat(directory, path, buffer, size);
	if (length < 0 || kind != KIND_LINKS || strncmp(path, "/sys/", 5))
		return length;
	fuzz_text_was_read = true;
	size_t some = size < text_length ? size : text_length;
	memcpy(buffer, text, some);
	return (ssize_t)some;
}

static int text_uname(struct utsname *name)
{
	int rc = texts.below->uname(name);
	if (kind == KIND_RELEASE) {
		fuzz_text_was_read = true;
		size_t some = text_length < sizeof(name->release) - 1 ? text_length : sizeof(name->release) - 1;
		memcpy(name->release, text, some);
		name->release[some] = 0;
	}
	return rc;
}

static const struct pm_sys *const entries =
	MACHINE(.openat = text_openat, .close = text_close, .read = text_read, .readlinkat = text_readlinkat,
                .uname = text_uname);

static void expect(bool condition, const char *words)
{
	if (condition)
		return;
	fprintf(stderr, "not so: %s\n", words);
	abort();
}

static void check_report(const struct pm_report *report)
{
	char sentences[4096];
	expect(report->granularity <= PM_BYTE && report->grade <= PM_GRADE_PROVEN, "values of the report are known");
	expect(strcmp(pm_reason_name(report->reason), "unknown"), "the reason has a name");
	for (unsigned row = 0; row < PM_EVIDENCE_ROWS; row++) {
		const struct pm_evidence *e = &report->evidence[row];
		expect(e->state <= PM_YES && e->source, "each row has a state and a source");
		expect(memchr(e->text, 0, sizeof(e->text)), "the text of a row ends");
	}
	bool by_lines = report->granularity >= PM_CACHE_LINE;
	expect(!by_lines || report->evidence[PM_EV_MAP_SYNC].state == PM_YES, "lines need MAP_SYNC");
	expect(!by_lines || report->evidence[PM_EV_VOLATILE].state != PM_YES, "lines need a medium");
	expect(!by_lines || report->evidence[PM_EV_CPU].state == PM_YES, "lines need the CPU");
	int length = pm_explain(report, sentences, sizeof(sentences));
	expect(length > 0 && memchr(sentences, 0, sizeof(sentences)), "the sentences end");
}

static const char *file(void)
{
	static char path[64];
	if (!path[0]) {
		char zeros[16384] = "";
		snprintf(path, sizeof(path), "/dev/shm/pmdirect-fuzz-XXXXXX");
		int fd = mkstemp(path);
		expect(fd >= 0 && write(fd, zeros, sizeof(zeros)) == (ssize_t)sizeof(zeros), "there is a file");
		close(fd);
	}
	return path;
}

void fuzz_end(void)
{
	unlink(file());
}

static void map_and_look(void)
{
	struct pm_options options = {.size = sizeof(options), .flags = PM_PREPARE};
	struct pm_report report;
	struct pm_event event;
	struct pm_mapping *mapping;
	if (!pm_probe(file(), NULL, &report, sizeof(report)))
		check_report(&report);
	if (pm_map(file(), &options, &mapping))
		return;
	if (!pm_query(mapping, &report, sizeof(report)))
		check_report(&report);
	for (unsigned i = 0; i < 20 && !pm_next_event(mapping, &event, sizeof(event)); i++)
		expect(strcmp(pm_event_name(event.kind), "unknown"), "the event has a name");
	memset(pm_base(mapping), 1, 8);
	pm_persist(mapping, pm_base(mapping), 8);
	pm_unmap(mapping);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || data[0] < '0' || data[1] < 'a' || data[1] >= 'a' + KINDS)
		return -1; /* not kept */
	/* A copy that ends with the text, so that a sanitizer sees a read behind it. */
	char *copy = malloc(size - 2 ? size - 2 : 1);
	memcpy(copy, data + 2, size - 2);
	text = copy;
	text_length = size - 2;
	kind = data[1] - 'a';
	fuzz_text_was_read = false;
	for (size_t i = 0; i < COUNT(open_texts); i++)
		open_texts[i].fd = -1;
	start_machine((unsigned)(data[0] - '0') % (fake_machines_count + 5));
	machine_put(&texts, entries);
	map_and_look();
	fake_stop();
	/* What the fake machine complains of is what the texts made it believe. */
	fake.violation[0] = 0;
	free(copy);
	return 0;
}
