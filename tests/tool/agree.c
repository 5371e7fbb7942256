/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command says of a file, and of this process's mappings of it, what the library says of its own. Runs in the
 * guest beside test_backing, on each kind of backing: agree DIRECTORY [DEVICE].
 *
 * The start of a program takes longer than the command where the CPU is emulated. So the command's functions run in a
 * child of a process that itself has never called the library: each begins as a new program does.
 */
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../guest/check.h"
#include "command.h"

#define SIZE ((size_t)2 << 20)
#define FIELDS 9

#define WORDS 16

static int orders, answers; /* of the process that runs the command */
static int written;         /* the file that it writes to */
static char text[1 << 16];  /* what it wrote */
static char *unread;

/* A row of a table, in fields; the columns are asked for in the order in which they are compared. */
struct row {
	char text[1024];
	char *field[FIELDS];
};

/* Fields have spaces in them, columns are two spaces apart. */
static void split(struct row *row)
{
	char *at = row->text;
	for (int i = 0; i < FIELDS; i++) {
		row->field[i] = at;
		char *end = strstr(at, "  ");
		at += end ? (size_t)(end - at) : strlen(at);
		if (end)
			*at++ = 0;
		at += strspn(at, " ");
	}
}

/* In a process of its own. */
static enum status command(char *line)
{
	static char name[] = "pmdirect";
	static const struct {
		const char *name;
		enum status (*run)(int argc, char **argv);
	} commands[] = {{"probe", command_probe}, {"ps", command_ps}, {"doctor", command_doctor}};
	char *words[WORDS] = {NULL}, *rest = NULL;
	int count = 0;
	for (char *word = strtok_r(line, " ", &rest); word && count < WORDS - 1; word = strtok_r(NULL, " ", &rest))
		words[count++] = word;
	for (size_t i = 0; count && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(words[0], commands[i].name))
			continue;
		words[0] = name;
		return output_close(commands[i].run(count, words));
	}
	return STATUS_UNKNOWN;
}

/* Until the end of the test. A line is one write, and shorter than what a pipe takes at once. */
static void serve(int from, int to)
{
	char line[1024];
	ssize_t got;
	while ((got = read(from, line, sizeof(line) - 1)) > 0) {
		int rc = -1;
		line[got] = 0;
		pid_t child = fork();
		if (child == 0) {
			dup2(written, STDOUT_FILENO);
			exit((int)command(line));
		}
		if (child < 0 || waitpid(child, &rc, 0) != child || write(to, &rc, sizeof(rc)) != sizeof(rc))
			break;
	}
	_exit(0);
}

/* Before the first call of the library. */
static bool start_server(void)
{
	int order[2], answer[2];
	written = memfd_create("written", 0);
	if (written < 0 || pipe(order) || pipe(answer))
		return false;
	pid_t child = fork();
	if (child == 0) {
		close(order[1]);
		close(answer[0]);
		serve(order[0], answer[1]);
	}
	close(order[0]);
	close(answer[1]);
	orders = order[1];
	answers = answer[0];
	return child > 0;
}

/* Runs the command; its exit status. read_row() has what it wrote. */
static int ask_command(const char *arguments)
{
	int rc;
	lseek(written, 0, SEEK_SET); /* the command writes there */
	if (ftruncate(written, 0) || write(orders, arguments, strlen(arguments)) < 0 ||
	    read(answers, &rc, sizeof(rc)) != sizeof(rc))
		rc = -1;
	ssize_t got = pread(written, text, sizeof(text) - 1, 0);
	text[got < 0 ? 0 : got] = 0;
	unread = text;
	return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

static bool read_row(struct row *row)
{
	char *line = strsep(&unread, "\n");
	if (!unread) /* behind the last line */
		return false;
	snprintf(row->text, sizeof(row->text), "%s", line);
	split(row);
	return true;
}

/* Runs the command; how many rows it wrote, of which as many as there is room for are kept. *status is its exit status.
 */
static int run(const char *arguments, struct row *rows, int room, int *status)
{
	struct row more;
	int count = 0;
	*status = ask_command(arguments);
	rows[0].text[0] = 0;
	split(&rows[0]);
	while (read_row(count < room ? &rows[count] : &more))
		if (count++ >= room)
			printf("  also: %s\n", more.text);
	return count;
}

static void compare(const char *what, const char *got, const char *expected)
{
	CHECK(got && !strcmp(got, expected), "%s: the command says \"%s\", the library \"%s\"", what, got, expected);
}

/* Whether what was acknowledged there survives, where the report tells it without what lies below the disk. */
static void compare_durable(const char *what, const char *got, const struct pm_report *r)
{
	if (r->granularity == PM_NONE)
		compare(what, got, "no");
	else if (r->grade >= PM_GRADE_PROMISED)
		compare(what, got, "yes");
	else if (r->evidence[PM_EV_PROVIDER].state == PM_NO || r->evidence[PM_EV_VOLATILE].state == PM_UNKNOWN)
		compare(what, got, "unknown");
}

/* What the command says of the path, and whether its exit status is that. requirement: "", or an option before it. */
static void check_probe(const char *path, const char *requirement, int expected, const struct pm_report *r)
{
	char arguments[600];
	struct row row;
	int status;
	snprintf(arguments, sizeof(arguments),
	         "probe %s -n -o granularity,sync,direct,grade,reason,advice,durable %s", requirement, path);
	CHECK(run(arguments, &row, 1, &status) == 1 && status == expected, "probe %s: status %d, not %d", requirement,
	      status, expected);
	compare("probe, granularity", row.field[0], pm_granularity_name(r->granularity));
	compare("probe, sync", row.field[1], pm_state_name(r->sync));
	compare("probe, direct", row.field[2], pm_state_name(r->direct));
	compare("probe, grade", row.field[3], pm_grade_name(r->grade));
	compare("probe, reason", row.field[4], pm_reason_name(r->reason));
	compare("probe, advice", row.field[5], pm_advice_name(r->advice));
	compare_durable("probe, durable", row.field[6], r);
}

/* That --require foretells what pm_map() does with a guarantee. */
static void check_require(const char *path, const struct pm_options *options, bool sync, const struct pm_report *r)
{
	struct pm_options o = *options;
	struct pm_mapping *m;
	*(sync ? &o.sync : &o.direct) = PM_GUARANTEE;
	int rc = pm_map(path, &o, &m);
	check_probe(path, sync ? "--require=sync" : "--require=direct", rc ? 1 : 0, r);
	if (!rc)
		CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
}

/* The row of the mapping that begins at base; the first where there is none. */
static struct row *row_of(struct row *rows, int count, const void *base)
{
	for (int i = 0; i < count; i++)
		if (strtoull(rows[i].field[8], NULL, 16) == (uintptr_t)base)
			return &rows[i];
	CHECK(false, "ps: no mapping at %p", base);
	return rows;
}

/* What the library mapped itself. Where it serves pages it maps without MAP_SYNC, and does not ask whether it had it.
 */
static void check_mapped(const struct row *row, const struct pm_report *r)
{
	compare("ps, granularity", row->field[0], pm_granularity_name(r->granularity));
	compare("ps, could", row->field[1], pm_granularity_name(r->granularity));
	compare("ps, direct", row->field[3], pm_state_name(r->direct));
	compare("ps, could_reason", row->field[5], pm_reason_name(r->reason));
	bool is_plain = !strcmp(row->field[4], "no-map-sync");
	CHECK(!is_plain || (r->granularity <= PM_PAGE && r->evidence[PM_EV_MAP_SYNC].state == PM_YES), "%s",
	      pm_reason_name(r->reason));
	if (!is_plain)
		compare("ps, reason", row->field[4], pm_reason_name(r->reason));
	compare("ps, sync", row->field[2], is_plain || r->sync == PM_NO ? "no" : pm_state_name(r->sync));
	compare("ps, grade", row->field[6], pm_grade_name(r->grade));
	compare_durable("ps, durable", row->field[7], r);
	printf("  %s\n", row->field[4]);
}

/* What any program maps. */
static void check_plain(const struct row *row, bool has_map_sync, const struct pm_report *r)
{
	bool accepted = r->evidence[PM_EV_MAP_SYNC].state == PM_YES && r->reason != PM_REASON_MAP_SYNC_IGNORED;
	bool is_device = r->evidence[PM_EV_DEVICE_DAX].state == PM_YES;
	bool is_lowered = !is_device && !has_map_sync && r->granularity > PM_PAGE;
	compare("plain, granularity", row->field[0], is_lowered ? "page" : pm_granularity_name(r->granularity));
	compare("plain, could", row->field[1], pm_granularity_name(r->granularity));
	compare("plain, direct", row->field[3], pm_state_name(r->direct));
	compare("plain, could_reason", row->field[5], pm_reason_name(r->reason));
	compare_durable("plain, durable", row->field[7], r);
	if (has_map_sync) {
		CHECK(strcmp(row->field[2], "yes") || r->sync == PM_YES, "\"sf\" was taken for a proof");
	} else {
		compare("plain, sync", row->field[2], is_device ? pm_state_name(r->sync) : "no");
		compare("plain, reason", row->field[4],
		        !is_device && accepted ? "no-map-sync" : pm_reason_name(r->reason));
	}
}

/* As any program maps it. flags may have MAP_SYNC, which the kernel ignores without MAP_SHARED_VALIDATE. */
static void *map_plain(const char *path, bool is_read_only, int flags, uint64_t length)
{
	int fd = open(path, is_read_only ? O_RDONLY : O_RDWR);
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, length, PROT_READ | (is_read_only ? 0 : PROT_WRITE), flags, fd, 0);
	if (fd >= 0)
		close(fd);
	CHECK(at != MAP_FAILED || flags & MAP_SYNC, "%s: %s", path, strerror(errno));
	return at;
}

/* Lists the library's mapping and two of any program's, all at once: the command is slow where the CPU is emulated. */
static void check_mappings(struct pm_mapping *m, const char *path, bool is_read_only, const struct pm_report *r)
{
	char arguments[200];
	struct row rows[3];
	int status;
	void *plain = map_plain(path, is_read_only, MAP_SHARED, r->length);
	void *synced = map_plain(path, is_read_only, MAP_SHARED | MAP_SYNC, r->length);
	int wanted = 1 + (plain != MAP_FAILED) + (synced != MAP_FAILED);
	snprintf(arguments, sizeof(arguments),
	         "ps -n -p %d -o granularity,could,sync,direct,reason,could_reason,grade,durable,start", (int)getpid());
	int count = run(arguments, rows, wanted, &status);
	CHECK(status == 0, "ps: status %d", status);
	CHECK(count == wanted, "ps: %d rows, not %d", count, wanted);
	if (count == wanted) {
		check_mapped(row_of(rows, count, pm_base(m)), r);
		if (plain != MAP_FAILED)
			check_plain(row_of(rows, count, plain), false, r);
		if (synced != MAP_FAILED)
			check_plain(row_of(rows, count, synced), true, r);
	}
	CHECK(plain == MAP_FAILED || munmap(plain, r->length) == 0, "%s", strerror(errno));
	CHECK(synced == MAP_FAILED || munmap(synced, r->length) == 0, "%s", strerror(errno));
}

/* Whether pm_probe() can make an unnamed file there. */
static bool can_be_asked(const char *directory)
{
	int fd = open(directory, O_TMPFILE | O_RDWR, 0600);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Whether nothing stored in a new file there is durable, by the library. */
static bool is_volatile(const char *directory)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE, .length = SIZE};
	struct pm_report r;
	char path[320];
	snprintf(path, sizeof(path), "%s/agree-new", directory);
	CHECK(pm_probe(path, &o, &r, sizeof(r)) == 0, "%s", pm_error_detail());
	return r.granularity == PM_NONE;
}

/* Of the first finding on the mount: bad if nothing is durable there, and not otherwise. */
static void check_doctor(const char *directory, const struct pm_report *r)
{
	struct statvfs fs;
	char where[300];
	struct row row;
	int rows = 0;
	snprintf(where, sizeof(where), "%s", directory);
	*strrchr(where, '/') = 0;
	char level[32] = "";
	int status = ask_command("doctor -n -o area,subject,level,evidence");
	while (read_row(&row)) {
		if (strcmp(row.field[0], "mount") || strcmp(row.field[1], where))
			continue;
		if (!rows++)
			snprintf(level, sizeof(level), "%.31s", row.field[2]);
		printf("  doctor: %s: %s\n", row.field[2], row.field[3]);
	}
	CHECK(status >= 0 && status <= 2, "doctor: status %d", status);
	if (!rows)
		CHECK(r->granularity == PM_NONE, "doctor: nothing of %s", where); /* a tmpfs or hugetlbfs has no row */
	else if (!statvfs(where, &fs) && fs.f_flag & ST_RDONLY)
		compare("doctor", level, "note");
	else if (!can_be_asked(where))
		compare("doctor", level, "unknown");
	else
		/* The finding is of the root of the mount: not of an encrypted directory, for instance. */
		CHECK(is_volatile(where) == !strcmp(level, "bad"), "%s, the library: %s", level,
		      pm_granularity_name(r->granularity));
}

static void check_unmappable(const char *path, int rc)
{
	char arguments[600];
	struct row row;
	int status;
	snprintf(arguments, sizeof(arguments), "probe -n -o reason,granularity %s", path);
	run(arguments, &row, 1, &status);
	CHECK(status == 1, "pm_map: %d, probe: status %d", rc, status);
	compare("probe", row.field[0], "cannot-be-mapped");
}

static void check_path(const char *path, const char *directory)
{
	static bool asked_without;
	struct pm_options o = {.size = sizeof(o)};
	struct pm_mapping *m;
	struct pm_report r;
	int rc = pm_map(path, &o, &m);
	if (rc == -EACCES || rc == -EPERM || rc == -EROFS) {
		o.flags = PM_READ_ONLY;
		rc = pm_map(path, &o, &m);
	}
	if (rc == -ENODEV || rc == -EINVAL) {
		check_unmappable(path, rc);
		return;
	}
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	CHECK(pm_query(m, &r, sizeof(r)) == 0, "%s", pm_error_detail());
	printf("%s: %s, %s\n", path, pm_granularity_name(r.granularity), pm_reason_name(r.reason));
	check_mappings(m, path, o.flags, &r);
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
	if (directory)
		check_doctor(directory, &r);
	if (!asked_without)
		check_probe(path, "", 0, &r);
	asked_without = true;
	check_require(path, &o, true, &r);
	check_require(path, &o, false, &r);
}

/* What the command says of the directory is what a new file there gets. */
static void check_new(const char *directory)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE | PM_EXCLUSIVE, .length = SIZE};
	struct pm_mapping *m;
	struct pm_report r;
	char path[300];
	snprintf(path, sizeof(path), "%s/agree-new", directory);
	if (!can_be_asked(directory))
		return;
	int rc = pm_map(path, &o, &m);
	if (rc == -EACCES || rc == -EROFS || rc == -EPERM || rc == -ENODEV || rc == -EINVAL)
		return;
	CHECK(rc == 0, "%s", pm_error_detail());
	if (rc)
		return;
	CHECK(pm_query(m, &r, sizeof(r)) == 0, "%s", pm_error_detail());
	check_probe(directory, "", 0, &r);
	CHECK(pm_unmap(m) == 0, "%s", pm_error_detail());
	CHECK(unlink(path) == 0, "%s", strerror(errno));
	printf("%s: a new file: %s\n", directory, pm_granularity_name(r.granularity));
}

static void check_directory(const char *directory)
{
	static const char *const names[] = {"prepared", "sparse", "file"};
	char path[300];
	int seen = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		if (access(path, F_OK))
			continue;
		seen++;
		check_path(path, seen == 1 ? directory : NULL);
		/* Each store of test_backing filled a hole. */
		if (!strcmp(names[i], "sparse") && !truncate(path, 0) && !truncate(path, (off_t)SIZE))
			check_path(path, NULL);
	}
	check_new(directory);
	CHECK(seen > 0, "%s: nothing to look at", directory);
}

int main(int argc, char **argv)
{
	char path[40];
	if (argc < 2)
		return fprintf(stderr, "usage: %s DIRECTORY [DEVICE]\n", argv[0]), 2;
	if (!start_server())
		return perror("the process that runs the command"), 2;
	if (argc > 2 && argv[2][0]) {
		check_path(argv[2], NULL);
	} else if (!strcmp(argv[1], "memfd")) {
		int fd = memfd_create("agree", 0);
		CHECK(ftruncate(fd, (off_t)SIZE) == 0, "%s", strerror(errno));
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
		check_path(path, NULL);
	} else {
		check_directory(argv[1]);
	}
	printf("%d failures\n", failures);
	return failures != 0;
}
