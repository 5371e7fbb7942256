/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is wrong around a database: an error of SQLite each, never a signal, and nothing lost.
 *
 *   bad EXTENSION cut DIRECTORY         the database, or its log, is cut off under a connection
 *   bad EXTENSION truncated DIRECTORY   SQLite truncates the log through another connection
 *   bad EXTENSION both DIRECTORY        both VFSes in one process, and a second process
 *   bad EXTENSION full DIRECTORY        on a small file system, in each journal mode
 *   bad EXTENSION shortened DIRECTORY   another program truncates the index of the WAL
 *   bad EXTENSION index DIRECTORY       on a full file system with blocks of 1 KiB, the index of the WAL
 *   bad EXTENSION read-only DIRECTORY   where bad EXTENSION prepare DIRECTORY was before
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common.h"

static sqlite3 *fill(const char *path, const char *vfs, const char *mode, int rows)
{
	char sql[256];
	sqlite3 *db = open_database(path, vfs);
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode=%s; CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)",
	         mode);
	must(db, sql);
	snprintf(sql, sizeof(sql),
	         "INSERT INTO t(b) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT %d) "
	         "SELECT hex(randomblob(500)) FROM n",
	         rows);
	must(db, sql);
	return db;
}

static const char *in(const char *directory, const char *name)
{
	static char path[8][512];
	static unsigned next;
	char *at = path[next++ % 8];
	snprintf(at, sizeof(path[0]), "%s/%s", directory, name);
	return at;
}

/* ---- Cut off ---- */

/* Whatever is asked for is answered, if only by an error. */
static void use(sqlite3 *db, const char *what)
{
	int rc[3] = {run(db, "SELECT total(length(b)) FROM t"), run(db, "UPDATE t SET b = 'x' WHERE a % 3 = 0"),
	             run(db, "PRAGMA integrity_check")};
	printf("%s: %d %d %d\n", what, rc[0], rc[1], rc[2]);
}

static void cut_one(const char *path, const char *file, off_t length, const char *mmap)
{
	sqlite3 *db = fill(path, "pmdirect", strstr(file, "-wal") ? "wal" : "delete", 300);
	must(db, mmap);
	must(db, "PRAGMA cache_size=5; SELECT total(length(b)) FROM t");
	REQUIRE(!truncate(file, length), "truncate %s", file);
	use(db, file);
	sqlite3_close(db);
	/* A new connection finds the damage as well; if the log alone was cut, what was checkpointed is there. */
	db = open_database(path, "pmdirect");
	use(db, "opened again");
	sqlite3_close(db);
	unlink(path);
	unlink(file);
}

static int cut(const char *directory)
{
	static const off_t lengths[] = {0, 100, 4096, 5000, 40000};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		cut_one(in(directory, "c.db"), in(directory, "c.db"), lengths[i], "PRAGMA mmap_size=0");
		cut_one(in(directory, "w.db"), in(directory, "w.db-wal"), lengths[i], "PRAGMA mmap_size=0");
	}
	return 0;
}

/* ---- Truncated by another connection, as SQLite does it ---- */

static void copy_file(const char *from, const char *to)
{
	char *command = sqlite3_mprintf("cp '%s' '%s'", from, to);
	REQUIRE(!system(command), "%s", command);
	sqlite3_free(command);
}

/*
 * The log ends within a page that this connection has mapped. A store behind the end would be in the page and not in
 * the file, and no signal would tell.
 */
static int truncated(const char *directory)
{
	const char *path = in(directory, "t.db"), *copy = in(directory, "copy.db");
	const char *log = in(directory, "t.db-wal"), *copy_of_log = in(directory, "copy.db-wal");
	for (int rows = 1; rows < 12; rows++) {
		sqlite3 *one = fill(path, "pmdirect", "wal", 100), *two = open_database(path, "unix");
		/* The log is read, and so mapped. */
		must(one, "PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=2; SELECT total(length(b)) FROM t");
		must(one, "UPDATE t SET b = 'short'; SELECT total(length(b)) FROM t");
		must(two, "PRAGMA journal_size_limit=0; PRAGMA wal_checkpoint(RESTART)");
		for (int i = 0; i < rows; i++)
			must(two, "INSERT INTO t(b) VALUES('two')");
		must(one, "INSERT INTO t(b) VALUES('one')");
		long long expected = number_of(two, "SELECT count(*) FROM t");
		copy_file(path, copy);
		copy_file(log, copy_of_log);
		sqlite3 *third = open_database(copy, "unix");
		REQUIRE(number_of(third, "SELECT count(*) FROM t") == expected, "rows of the log are not in the file");
		require_integrity(third);
		sqlite3_close(one);
		sqlite3_close(two);
		sqlite3_close(third);
		unlink(path);
		unlink(copy);
	}
	return 0;
}

/* A connection finds the index that the process has mapped already, and that has no page any more. */
static int shortened(const char *directory)
{
	const char *path = in(directory, "s.db");
	sqlite3 *one = fill(path, "pmdirect", "wal", 10), *two = open_database(path, "pmdirect");
	REQUIRE(!truncate(in(directory, "s.db-shm"), 0), "truncate the index");
	int rc = run(two, "SELECT count(*) FROM t");
	REQUIRE(rc == SQLITE_IOERR_SHMMAP, "an index without pages: %d %s", rc, sqlite3_errmsg(two));
	sqlite3_close(two);
	/* With its pages the connection that had them goes on. */
	REQUIRE(!truncate(in(directory, "s.db-shm"), 65536), "extend the index");
	REQUIRE(run(one, "SELECT count(*) FROM t") == SQLITE_OK, "%s", sqlite3_errmsg(one));
	sqlite3_close(one);
	return 0;
}

/* ---- Both VFSes ---- */

static int try_once(const char *path, const char *vfs)
{
	sqlite3 *db = open_database(path, vfs);
	sqlite3_busy_timeout(db, 0);
	int rc = run(db, "INSERT INTO t(b) VALUES('elsewhere')");
	sqlite3_close(db);
	return rc == SQLITE_OK ? 0 : (rc & 0xff) == SQLITE_BUSY ? 3 : 1;
}

/* A second process, which is there before this one has a database open, and tries what it is asked to. */
static int asked[2], answered[2];

struct attempt {
	char path[512], vfs[16];
};

static void answer(void)
{
	struct attempt a;
	close(asked[1]);
	while (read(asked[0], &a, sizeof(a)) == sizeof(a)) {
		unsigned char result = (unsigned char)try_once(a.path, a.vfs);
		REQUIRE(write(answered[1], &result, 1) == 1, "no answer");
	}
	exit(0);
}

static void start_second_process(void)
{
	REQUIRE(!pipe2(asked, O_CLOEXEC) && !pipe2(answered, O_CLOEXEC), "no pipes");
	pid_t pid = fork();
	REQUIRE(pid >= 0, "no second process");
	if (!pid)
		answer();
	close(asked[0]);
	close(answered[1]);
}

/* Whether a write succeeds there: 0; 3 if the database is locked. */
static int try_elsewhere(const char *path, const char *vfs)
{
	struct attempt a;
	unsigned char result;
	snprintf(a.path, sizeof(a.path), "%s", path);
	snprintf(a.vfs, sizeof(a.vfs), "%s", vfs);
	REQUIRE(write(asked[1], &a, sizeof(a)) == sizeof(a) && read(answered[0], &result, 1) == 1, "no second process");
	return result;
}

/* One process may use one VFS for a database: the record locks of two are its own, and closing one ends the other's. */
static void exclude(const char *path, const char *holder)
{
	sqlite3 *db = open_database(path, holder);
	must(db, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('held')");
	REQUIRE(try_elsewhere(path, "unix") == 3 && try_elsewhere(path, "pmdirect") == 3, "%s does not exclude",
	        holder);
	/* Connections that come and go take no lock of the first one with them. */
	for (int i = 0; i < 3; i++) {
		sqlite3 *other = open_database(path, holder);
		must(other, "SELECT count(*) FROM t");
		sqlite3_close(other);
		REQUIRE(try_elsewhere(path, "unix") == 3, "a lock of %s ended with another connection", holder);
	}
	must(db, "COMMIT");
	REQUIRE(!try_elsewhere(path, "unix") && !try_elsewhere(path, "pmdirect"), "%s still excludes", holder);
	require_integrity(db);
	sqlite3_close(db);
}

/* Beside each other in one process, as far as SQLite's inode table serves both. */
static void beside(const char *path)
{
	sqlite3 *one = open_database(path, "pmdirect"), *two = open_database(path, "unix");
	sqlite3_busy_timeout(two, 0);
	must(one, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('one')");
	REQUIRE((run(two, "INSERT INTO t(b) VALUES('two')") & 0xff) == SQLITE_BUSY, "unix writes beside pmdirect");
	sqlite3_close(two);
	REQUIRE(try_elsewhere(path, "unix") == 3, "the lock ended when the other VFS closed");
	must(one, "COMMIT");
	two = open_database(path, "unix");
	must(two, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('two')");
	sqlite3_busy_timeout(one, 0);
	REQUIRE((run(one, "INSERT INTO t(b) VALUES('one')") & 0xff) == SQLITE_BUSY, "pmdirect writes beside unix");
	sqlite3_close(one);
	REQUIRE(try_elsewhere(path, "unix") == 3, "the lock of the unix VFS ended when pmdirect closed");
	must(two, "COMMIT");
	require_integrity(two);
	sqlite3_close(two);
}

static int both(const char *directory)
{
	static const char *modes[] = {"delete", "wal"};
	start_second_process();
	for (int i = 0; i < 2; i++) {
		const char *path = in(directory, modes[i]);
		sqlite3_close(fill(path, "pmdirect", modes[i], 100));
		exclude(path, "pmdirect");
		exclude(path, "unix");
		beside(path);
	}
	return 0;
}

/* ---- Full, read-only ---- */

static long long until_full(sqlite3 *db)
{
	long long committed = 0;
	int rc;
	for (;;) {
		rc = run(db, "INSERT INTO t(b) VALUES(randomblob(30000))");
		if (rc != SQLITE_OK)
			break;
		committed++;
	}
	REQUIRE((rc & 0xff) == SQLITE_FULL, "a full file system: %d %s", rc, sqlite3_errmsg(db));
	return committed;
}

static void require_rows(sqlite3 *db, long long expected)
{
	long long found = number_of(db, "SELECT count(*) FROM t");
	REQUIRE(found == expected, "%lld rows, %lld were committed", found, expected);
}

static void full_in_mode(const char *directory, const char *mode, const char *vfs)
{
	struct statvfs space;
	char name[32];
	snprintf(name, sizeof(name), "full-%s", mode);
	const char *path = in(directory, name), *filler = in(directory, "filler");
	int fd = open(filler, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	/* Space comes back when the filler goes. */
	REQUIRE(!posix_fallocate(fd, 0, 1 << 20), "no room for the filler");
	close(fd);
	sqlite3 *db = fill(path, vfs, mode, 10);
	must(db, "PRAGMA wal_autocheckpoint=20");
	long long committed = until_full(db);
	REQUIRE(!statvfs(directory, &space), "statvfs");
	printf("%s %s: full after %lld commits, %llu blocks left\n", vfs, mode, committed,
	       (unsigned long long)space.f_bavail);
	REQUIRE(committed > 10, "%s: only %lld commits fitted", mode, committed);
	require_rows(db, committed + 10);
	require_integrity(db);
	unlink(filler);
	must(db, "INSERT INTO t(b) VALUES('room again')");
	require_integrity(db);
	sqlite3_close(db);
	db = open_database(path, "unix");
	require_rows(db, committed + 11);
	require_integrity(db);
	sqlite3_close(db);
	unlink(path);
}

static int full(const char *directory)
{
	static const char *modes[] = {"delete", "wal", "persist"};
	for (int i = 0; i < 3; i++)
		full_in_mode(directory, modes[i], getenv("VFS") ? getenv("VFS") : "pmdirect");
	return 0;
}

/* All but that many KiB. */
static void fill_up(const char *filler, int left)
{
	int fd = open(filler, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	off_t end = 0;
	REQUIRE(fd >= 0, "%s", filler);
	for (off_t step = 1 << 20; step >= 1024; step /= 2)
		while (!posix_fallocate(fd, end, step))
			end += step;
	REQUIRE(!ftruncate(fd, end - left * 1024), "truncate %s", filler);
	close(fd);
}

/*
 * The index of the WAL is shared memory in a file of its own. SQLite's own VFS writes the last byte of each 4 KiB of
 * it, so where the blocks of the file system are smaller a store into it may find no room.
 */
static int index_of_wal(const char *directory)
{
	const char *path = in(directory, "index.db"), *filler = in(directory, "filler");
	const char *vfs = getenv("VFS") ? getenv("VFS") : "pmdirect";
	int full = 0, fitted = 0;
	sqlite3_close(fill(path, vfs, "wal", 10));
	for (int left = 0; left < 96; left++) {
		fill_up(filler, left);
		sqlite3 *db = open_database(path, vfs);
		int read = run(db, "SELECT total(length(b)) FROM t"), rc = run(db, "DELETE FROM t WHERE a = 0");
		full += (rc & 0xff) == SQLITE_FULL;
		fitted += rc == SQLITE_OK && read == SQLITE_OK;
		REQUIRE(rc == SQLITE_OK || (rc & 0xff) == SQLITE_FULL || rc == SQLITE_IOERR_SHMSIZE,
		        "%d KiB left: %d, %d", left, read, rc);
		sqlite3_close(db);
		unlink(filler);
	}
	printf("%s: index of the WAL: %d full, %d fitted\n", vfs, full, fitted);
	REQUIRE(full && fitted, "it is always, or never full");
	sqlite3 *db = open_database(path, "unix");
	require_rows(db, 10);
	require_integrity(db);
	sqlite3_close(db);
	unlink(path);
	return 0;
}

static int prepare(const char *directory)
{
	sqlite3_close(fill(in(directory, "delete.db"), "pmdirect", "delete", 100));
	sqlite3_close(fill(in(directory, "wal.db"), "pmdirect", "wal", 100));
	return 0;
}

/* As SQLite's own VFS has it. */
static int read_only(const char *directory)
{
	static const char *names[] = {"delete.db", "wal.db"};
	static const char *statements[] = {"SELECT total(length(b)) FROM t", "INSERT INTO t(b) VALUES('x')",
	                                   "PRAGMA journal_mode=wal"};
	for (int i = 0; i < 2; i++) {
		sqlite3 *db[2] = {open_database(in(directory, names[i]), "unix"),
		                  open_database(in(directory, names[i]), "pmdirect")};
		for (int k = 0; k < 3; k++) {
			int rc[2] = {run(db[0], statements[k]), run(db[1], statements[k])};
			printf("%s: %s: %d %d\n", names[i], statements[k], rc[0], rc[1]);
			REQUIRE(rc[0] == rc[1] && (k != 1 || rc[1] != SQLITE_OK), "differs from unix, or wrote");
		}
		sqlite3_close(db[0]);
		sqlite3_close(db[1]);
	}
	return 0;
}

int main(int argc, char **argv)
{
	REQUIRE(argc > 3, "see the comment");
	load_vfs(argv[1]);
	if (!strcmp(argv[2], "cut"))
		return cut(argv[3]);
	if (!strcmp(argv[2], "truncated"))
		return truncated(argv[3]);
	if (!strcmp(argv[2], "shortened"))
		return shortened(argv[3]);
	if (!strcmp(argv[2], "both"))
		return both(argv[3]);
	if (!strcmp(argv[2], "index"))
		return index_of_wal(argv[3]);
	if (!strcmp(argv[2], "full"))
		return full(argv[3]);
	if (!strcmp(argv[2], "prepare"))
		return prepare(argv[3]);
	if (!strcmp(argv[2], "read-only"))
		return read_only(argv[3]);
	return 2;
}
