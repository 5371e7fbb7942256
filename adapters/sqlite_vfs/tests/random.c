/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same random SQL through both VFSes: each statement must have the same result, and in the end both databases the
 * same content. Two connections of the process, of which one is now and then closed and opened, see each other's work.
 *
 *   random EXTENSION DIRECTORY SECONDS [SEED]
 */
#include <time.h>
#include <unistd.h>

#include "common.h"

static const char *vfses[] = {"unix", "pmdirect"};

struct side {
	sqlite3 *db[2]; /* connections */
	char path[512];
};

static unsigned long long state;

static unsigned pick(unsigned below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(state >> 33) % below;
}

static char *payload(void)
{
	/* Deterministic, short mostly, sometimes of several pages. */
	unsigned size = pick(20) ? pick(300) : pick(30000);
	return sqlite3_mprintf("CAST(zeroblob(%u) AS TEXT) || '%x' || substr(hex(zeroblob(%u)), 1, %u)", size,
	                       pick(1u << 30), size, size);
}

static char *value_statement(void)
{
	char *value = payload();
	unsigned key = pick(2000), table = pick(3);
	switch (pick(6)) {
	case 0:
	case 1:
		return sqlite3_mprintf("INSERT OR REPLACE INTO t%u VALUES(%u, %z)", table, key, value);
	case 2:
		return sqlite3_mprintf("UPDATE t%u SET b = %z WHERE a %% 50 = %u", table, value, key % 50);
	case 3:
		return sqlite3_mprintf("INSERT OR IGNORE INTO t%u WITH RECURSIVE n(i) AS (SELECT %u UNION ALL "
		                       "SELECT i + 1 FROM n LIMIT %u) SELECT i, %z FROM n",
		                       table, key, 1 + pick(200), value);
	case 4:
		sqlite3_free(value);
		return sqlite3_mprintf("DELETE FROM t%u WHERE a BETWEEN %u AND %u", table, key, key + pick(300));
	default:
		sqlite3_free(value);
		return sqlite3_mprintf("SELECT count(*), total(length(b)), max(b) FROM t%u WHERE a > %u", table, key);
	}
}

static char *rare_statement(void)
{
	static const char *rare[] = {"VACUUM",
	                             "PRAGMA wal_checkpoint(PASSIVE)",
	                             "PRAGMA wal_checkpoint(TRUNCATE)",
	                             "PRAGMA journal_mode=WAL",
	                             "PRAGMA journal_mode=DELETE",
	                             "PRAGMA journal_mode=PERSIST",
	                             "PRAGMA journal_mode=TRUNCATE",
	                             "REINDEX",
	                             "PRAGMA wal_checkpoint(RESTART)",
	                             "PRAGMA incremental_vacuum(20)",
	                             "PRAGMA mmap_size=0",
	                             "PRAGMA mmap_size=10000000",
	                             "PRAGMA mmap_size=1000000000",
	                             "PRAGMA journal_size_limit=10000",
	                             "PRAGMA synchronous=NORMAL",
	                             "PRAGMA synchronous=FULL",
	                             "PRAGMA synchronous=EXTRA",
	                             "PRAGMA cache_size=10",
	                             "PRAGMA cache_size=-2000",
	                             "PRAGMA cache_spill=5",
	                             "PRAGMA integrity_check",
	                             "DROP INDEX IF EXISTS i0",
	                             "CREATE INDEX IF NOT EXISTS i0 ON t0(b)",
	                             "PRAGMA locking_mode=NORMAL"};
	return sqlite3_mprintf("%s", rare[pick(sizeof(rare) / sizeof(rare[0]))]);
}

static char *statement(void)
{
	switch (pick(12)) {
	case 0:
		return rare_statement();
	case 1:
	case 2:
		return sqlite3_mprintf("BEGIN IMMEDIATE");
	case 3:
		return sqlite3_mprintf("COMMIT");
	case 4:
		return pick(2) ? sqlite3_mprintf("ROLLBACK") : sqlite3_mprintf("SAVEPOINT s");
	case 5:
		return pick(2) ? sqlite3_mprintf("RELEASE s") : sqlite3_mprintf("ROLLBACK TO s");
	default:
		return value_statement();
	}
}

static int add_row(void *arg, int columns, char **values, char **names)
{
	sqlite3_str *all = arg;
	(void)names;
	for (int i = 0; i < columns; i++)
		sqlite3_str_appendf(all, "%s|", values[i] ? values[i] : "NULL");
	return 0;
}

/* Code and rows. How far a checkpoint came, and sizes of mappings, may differ. */
static char *result(sqlite3 *db, const char *sql)
{
	sqlite3_str *all = sqlite3_str_new(NULL);
	int rc = sqlite3_exec(db, sql, strstr(sql, "checkpoint") || strstr(sql, "mmap") ? NULL : add_row, all, NULL);
	sqlite3_str_appendf(all, " %d", rc);
	return sqlite3_str_finish(all);
}

static void open_side(struct side *side, unsigned vfs, unsigned connection)
{
	side->db[connection] = open_database(side->path, vfses[vfs]);
	sqlite3_busy_timeout(side->db[connection], 0);
}

static void compare(struct side *sides, unsigned connection, const char *sql, unsigned long number)
{
	char *is[2];
	for (unsigned i = 0; i < 2; i++)
		is[i] = result(sides[i].db[connection], sql);
	REQUIRE(!strcmp(is[0], is[1]), "statement %lu of connection %u: %s\nunix:     %.300s\npmdirect: %.300s", number,
	        connection, sql, is[0], is[1]);
	sqlite3_free(is[0]);
	sqlite3_free(is[1]);
}

static void compare_content(struct side *sides)
{
	static const char *all[] = {"SELECT name, sql FROM sqlite_schema ORDER BY name", "SELECT * FROM t0 ORDER BY a",
	                            "SELECT * FROM t1 ORDER BY a", "SELECT * FROM t2 ORDER BY a",
	                            "PRAGMA integrity_check"};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		compare(sides, 0, all[i], 0);
	require_integrity(sides[1].db[0]);
}

static void reopen(struct side *sides, unsigned connection)
{
	for (unsigned i = 0; i < 2; i++) {
		sqlite3_close(sides[i].db[connection]);
		open_side(&sides[i], i, connection);
	}
}

int main(int argc, char **argv)
{
	static struct side sides[2];
	unsigned long number = 0;
	REQUIRE(argc > 3, "see the comment");
	load_vfs(argv[1]);
	state = argc > 4 ? strtoull(argv[4], NULL, 0) : (unsigned long long)time(NULL);
	printf("seed %llu\n", state);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(sides[i].path, sizeof(sides[i].path), "%s/random-%s.db", argv[2], vfses[i]);
		unlink(sides[i].path);
		for (unsigned connection = 0; connection < 2; connection++)
			open_side(&sides[i], i, connection);
		must(sides[i].db[0], "PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE t0(a INTEGER PRIMARY KEY, b);"
		                     "CREATE TABLE t1(a INTEGER PRIMARY KEY, b); CREATE TABLE t2(a PRIMARY KEY, b)");
	}
	for (time_t end = time(NULL) + atoi(argv[3]); time(NULL) < end; number++) {
		char *sql = statement();
		unsigned connection = pick(4) == 0;
		compare(sides, connection, sql, number);
		sqlite3_free(sql);
		if (!pick(300))
			reopen(sides, pick(2));
	}
	reopen(sides, 0);
	reopen(sides, 1);
	compare_content(sides);
	printf("%lu statements\n", number);
	return 0;
}
