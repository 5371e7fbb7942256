/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts the calls that make commits durable: this program's functions come before the C library's.
 *
 *   calls EXTENSION VFS PATH MODE COMMITS [DEVICE]
 *       prints how many fsync, fdatasync and msync succeeded in so many commits, checkpoints included, after as many to
 *       warm up. Of a DEVICE, such as vda, also how many flushes and writes it served meanwhile, and how many bytes.
 *       With SYNC_TWICE in the environment each call is made twice and counted once.
 *   calls EXTENSION foreign PATH     lines: a commit after one of another process by SQLite's own VFS makes a call
 *   calls EXTENSION unwatched PATH   lines, where there can be no watch: each commit makes a call
 *   calls EXTENSION once PATH VFS    one commit under synchronous=NORMAL
 *   calls EXTENSION fails PATH       one call fails; each commit fails until all connections are closed
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

static int calls, failing; /* how many succeeded, and how many are to fail */

static int counted(long number, long a, long b, long c)
{
	if (failing) {
		failing--;
		errno = EIO;
		return -1;
	}
	long result = syscall(number, a, b, c);
	calls += result == 0;
	if (!result && getenv("SYNC_TWICE"))
		result = syscall(number, a, b, c);
	return (int)result;
}

int fsync(int fd)
{
	return counted(SYS_fsync, fd, 0, 0);
}

int fdatasync(int fd)
{
	return counted(SYS_fdatasync, fd, 0, 0);
}

int msync(void *address, size_t length, int flags)
{
	return counted(SYS_msync, (long)address, (long)length, flags);
}

/* ---- What another process wrote ---- */

static int commit_calls(sqlite3 *db)
{
	int before = calls;
	must(db, "INSERT OR REPLACE INTO t VALUES(1, zeroblob(200))");
	return calls - before;
}

/* The log begins anew, and its file is long enough, so that no commit makes it longer. */
static sqlite3 *open_prepared(const char *path)
{
	sqlite3 *db = open_database(path, "pmdirect");
	must(db, "PRAGMA journal_mode=wal; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
	         "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)");
	for (int i = 0; i < 40; i++)
		commit_calls(db);
	must(db, "PRAGMA wal_checkpoint(RESTART)");
	commit_calls(db);
	return db;
}

static void commit_elsewhere(const char *program, const char *extension, const char *path)
{
	int status = -1;
	pid_t pid = fork();
	if (!pid) {
		execl(program, program, extension, "once", path, "unix", (char *)NULL);
		_exit(9);
	}
	REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && !status, "the other process: %d", status);
}

/*
 * The other process commits without a sync. A commit here that makes none either would leave the frames before its own
 * to chance.
 */
static int foreign(char **argv)
{
	sqlite3 *db = open_prepared(argv[3]);
	for (int i = 0; i < 3; i++) {
		int own = commit_calls(db);
		REQUIRE(!own, "a commit of this VFS alone makes %d calls", own);
		commit_elsewhere(argv[0], argv[1], argv[3]);
		int after = commit_calls(db);
		REQUIRE(after > 0, "a commit after one of another process makes no call");
	}
	sqlite3_close(db);
	return 0;
}

static int unwatched(char **argv)
{
	sqlite3 *db = open_prepared(argv[3]);
	for (int i = 0; i < 3; i++)
		REQUIRE(commit_calls(db) > 0, "a commit without a watch makes no call");
	sqlite3_close(db);
	return 0;
}

static int once(char **argv)
{
	sqlite3 *db = open_database(argv[3], argv[4]);
	must(db, "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; INSERT INTO t(b) VALUES('elsewhere')");
	sqlite3_close(db);
	return 0;
}

/* ---- Failures ---- */

static void require_failure(sqlite3 *db, const char *sql, const char *when)
{
	int rc = run(db, sql);
	REQUIRE(rc == SQLITE_IOERR_FSYNC, "%s: %d %s", when, rc, sqlite3_errmsg(db));
}

/* Of a journal in memory the database alone is synced. */
static void fail_in_mode(const char *path, const char *mode)
{
	sqlite3 *db = open_database(path, "pmdirect"), *other = open_database(path, "pmdirect");
	char *pragma = sqlite3_mprintf("PRAGMA journal_mode=%s", mode);
	must(db, pragma);
	must(db, "PRAGMA synchronous=FULL; CREATE TABLE t(a INTEGER PRIMARY KEY, b); PRAGMA cache_size=2");
	for (int i = 0; i < 20; i++)
		must(db, "INSERT INTO t(b) VALUES(randomblob(3000)); SELECT total(length(b)) FROM t");
	failing = 1;
	require_failure(db, "INSERT INTO t(b) VALUES('x')", "a sync fails");
	REQUIRE(!failing, "%s: no sync was made", mode);
	require_failure(db, "INSERT INTO t(b) VALUES('x')", "the next commit");
	require_failure(db, "INSERT INTO t(b) VALUES(zeroblob(300000))", "a commit that makes the file longer");
	require_failure(other, "PRAGMA synchronous=FULL; INSERT INTO t(b) VALUES('x')", "another connection");
	/* A journal in memory is lost with the error. */
	REQUIRE(strcmp(mode, "wal") || number_of(db, "SELECT count(*) FROM t") == 20, "a commit that failed is seen");
	sqlite3_close(db);
	sqlite3_close(other);
	db = open_database(path, "pmdirect");
	must(db, "INSERT INTO t(b) VALUES('after')");
	REQUIRE(number_of(db, "SELECT count(*) FROM t WHERE length(b) = 3000") == 20, "a row is lost");
	require_integrity(db);
	sqlite3_close(db);
	sqlite3_free(pragma);
}

static int fails(const char *path)
{
	char name[512];
	static const char *modes[] = {"wal", "memory"};
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s-%s", path, modes[i]);
		fail_in_mode(name, modes[i]);
	}
	return 0;
}

/* ---- Counts ---- */

struct device {
	unsigned long long flushes, writes, bytes;
};

/* The kernel's Documentation/block/stat.rst. */
static struct device read_device(const char *name)
{
	char path[128];
	unsigned long long n[17] = {0};
	int found = 0;
	snprintf(path, sizeof(path), "/sys/block/%s/stat", name);
	FILE *stream = fopen(path, "r");
	while (stream && found < 17 && fscanf(stream, "%llu", &n[found]) == 1)
		found++;
	REQUIRE(found == 17, "%s does not count flushes", path);
	fclose(stream);
	return (struct device){n[15], n[4], n[6] * 512};
}

static void print_difference(struct device before, struct device after)
{
	printf(" %llu %llu %llu", after.flushes - before.flushes, after.writes - before.writes,
	       after.bytes - before.bytes);
}

/* Of each file it is said how a commit becomes durable, or why it is not mapped: here nothing was read of the log. */
static void explains_itself(const char *path)
{
	char *name = sqlite3_mprintf("%s-explained", path);
	unlink(name);
	sqlite3 *db = open_database(name, "pmdirect");
	must(db, "PRAGMA journal_mode=wal; CREATE TABLE t(a)");
	char *text = text_of(db, "PRAGMA pmdirect");
	REQUIRE(text && strstr(text, "database: ") && strstr(text, "log: "), "%s", text);
	REQUIRE(strstr(text, "log: granularity ") || strstr(text, "log: not mapped: nothing was read"), "%s", text);
	sqlite3_free(text);
	sqlite3_free(name);
	sqlite3_close(db);
}

static int count(char **argv, const char *device)
{
	struct device before = {0};
	if (!strcmp(argv[2], "pmdirect"))
		explains_itself(argv[3]);
	sqlite3 *db = open_database(argv[3], argv[2]);
	char *mode = sqlite3_mprintf("PRAGMA journal_mode=%s", argv[4]);
	must(db, mode);
	/* Rows are replaced, so that the database is as long as it will be, and checkpoints fall into what is counted.
	 */
	must(db, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=100;"
	         "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b);"
	         "INSERT OR IGNORE INTO t WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT 1000) "
	         "SELECT i, zeroblob(3000) FROM n");
	int commits = atoi(argv[5]);
	for (int i = 0; i < 2 * commits; i++) {
		if (i == commits) {
			calls = 0;
			before = device ? read_device(device) : before;
		}
		/* Each in a page of its own, far from the last. */
		char *sql = sqlite3_mprintf("INSERT OR REPLACE INTO t VALUES(%d, randomblob(3000))", i * 377 % 1000);
		must(db, sql);
		sqlite3_free(sql);
	}
	printf("%d", calls);
	if (device)
		print_difference(before, read_device(device));
	printf("\n");
	if (getenv("PRAGMA"))
		printf("%s\n", text_of(db, "PRAGMA pmdirect"));
	sqlite3_free(mode);
	sqlite3_close(db);
	return 0;
}

int main(int argc, char **argv)
{
	REQUIRE(argc > 3, "see the comment");
	load_vfs(argv[1]);
	if (!strcmp(argv[2], "foreign"))
		return foreign(argv);
	if (!strcmp(argv[2], "unwatched"))
		return unwatched(argv);
	if (!strcmp(argv[2], "fails"))
		return fails(argv[3]);
	REQUIRE(argc > 4, "see the comment");
	if (!strcmp(argv[2], "once"))
		return once(argv);
	REQUIRE(argc > 5, "see the comment");
	return count(argv, argc > 6 ? argv[6] : NULL);
}
