/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What does one commit cost in an engine, as its users run it? A key and 100 bytes in LMDB, with a record of 100 bytes
 * in a log of our own beside it; and one INSERT a transaction in SQLite, by its own VFS and by ours.
 *
 * Usage: engines [--quick] [--json FILE] [DIRECTORY]
 */
#include <lmdb.h>
#include <pmdirect.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define RECORD ((size_t)100)
#define SIZE ((size_t)16 << 20)
#define LMDB_SIZE ((size_t)256 << 20)

static const char record[RECORD] = "record";

static void must(bool is_good, const char *what, const char *why)
{
	if (is_good)
		return;
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

/* ---- A log on a mapping ---- */

struct log {
	struct pm_mapping *mapping;
	size_t tail; /* records */
};

static void append(void *arg, size_t operations)
{
	struct log *l = arg;
	for (size_t i = 0; i < operations; i++, l->tail++) {
		char *to = (char *)pm_base(l->mapping) + l->tail % (SIZE / RECORD) * RECORD;
		must(!pm_memcpy(l->mapping, to, record, RECORD, 0), "pm_memcpy", pm_error_detail());
	}
}

static void open_log(struct log *l, const char *directory)
{
	char path[4096];
	struct pm_options options = {.size = sizeof(options), .length = SIZE, .mode = 0600,
	                             .flags = PM_CREATE | PM_EXCLUSIVE | PM_PREPARE};
	snprintf(path, sizeof(path), "%s/engines.log", directory);
	must(!pm_map(path, &options, &l->mapping), path, pm_error_detail());
}

/* ---- LMDB ---- */

struct lmdb {
	MDB_env *env;
	MDB_dbi dbi;
	uint64_t key;
};

static void must_lmdb(int rc)
{
	must(!rc, "LMDB", mdb_strerror(rc));
}

static void put(void *arg, size_t operations)
{
	struct lmdb *l = arg;
	for (size_t i = 0; i < operations; i++, l->key++) {
		MDB_txn *txn;
		MDB_val key = {sizeof(l->key), &l->key}, value = {RECORD, (void *)(uintptr_t)record};
		must_lmdb(mdb_txn_begin(l->env, NULL, 0, &txn));
		must_lmdb(mdb_put(txn, l->dbi, &key, &value, 0));
		must_lmdb(mdb_txn_commit(txn));
	}
}

static void open_lmdb(struct lmdb *l, const char *directory, unsigned flags)
{
	char path[4096];
	MDB_txn *txn;
	snprintf(path, sizeof(path), "%s/engines-%u.mdb", directory, flags);
	must_lmdb(mdb_env_create(&l->env));
	must_lmdb(mdb_env_set_mapsize(l->env, LMDB_SIZE));
	must_lmdb(mdb_env_open(l->env, path, flags | MDB_NOSUBDIR, 0600));
	must_lmdb(mdb_txn_begin(l->env, NULL, 0, &txn));
	must_lmdb(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &l->dbi));
	must_lmdb(mdb_txn_commit(txn));
}

/* ---- SQLite ---- */

struct sqlite {
	sqlite3 *db;
	sqlite3_stmt *insert;
};

static void must_sqlite(const struct sqlite *s, bool is_good)
{
	must(is_good, "SQLite", sqlite3_errmsg(s->db));
}

static void insert(void *arg, size_t operations)
{
	struct sqlite *s = arg;
	for (size_t i = 0; i < operations; i++) {
		must_sqlite(s, sqlite3_step(s->insert) == SQLITE_DONE);
		must_sqlite(s, sqlite3_reset(s->insert) == SQLITE_OK);
	}
}

static void load_vfs(const char *extension)
{
	struct sqlite s;
	char *why = NULL;
	must(sqlite3_open(":memory:", &s.db) == SQLITE_OK, "SQLite", "no memory");
	sqlite3_enable_load_extension(s.db, 1);
	must(sqlite3_load_extension(s.db, extension, NULL, &why) == SQLITE_OK, extension, why ? why : "?");
	sqlite3_close(s.db);
}

static void open_sqlite(struct sqlite *s, const char *directory, const char *vfs)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/engines-%s.db", directory, vfs);
	must_sqlite(s, sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs) == SQLITE_OK);
	must_sqlite(s, sqlite3_exec(s->db,
	                            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
	                            "CREATE TABLE t(id INTEGER PRIMARY KEY, value BLOB);",
	                            NULL, NULL, NULL) == SQLITE_OK);
	must_sqlite(s, sqlite3_prepare_v2(s->db, "INSERT INTO t(value) VALUES(?)", -1, &s->insert, NULL) == SQLITE_OK);
	must_sqlite(s, sqlite3_bind_blob(s->insert, 1, record, RECORD, SQLITE_STATIC) == SQLITE_OK);
}

static void close_sqlite(struct sqlite *s)
{
	sqlite3_finalize(s->insert);
	must_sqlite(s, sqlite3_close(s->db) == SQLITE_OK);
}

/* ---- ---- */

/* A directory of this run, which is left empty. */
static char *begin(const char *directory)
{
	static char path[2048];
	snprintf(path, sizeof(path), "%s/engines.XXXXXX", directory);
	must(mkdtemp(path) != NULL, path, "cannot be made");
	return path;
}

static void remove_in(const char *directory, const char *name)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	unlink(path);
}

static void end(const char *directory)
{
	static const char *const names[] = {"engines.log",          "engines-0.mdb",
	                                    "engines-0.mdb-lock",   "engines-524288.mdb",
	                                    "engines-524288.mdb-lock", "engines-unix.db",
	                                    "engines-pmdirect.db"};
	_Static_assert(MDB_WRITEMAP == 524288, "of the name");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		remove_in(directory, names[i]);
	rmdir(directory);
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "What does one commit cost in an engine, as its users run it?");
	if (access(SQLITE_VFS, R_OK))
		return puts("skipped: the VFS for SQLite was not built"), 77;
	const char *directory = begin(argc > 1 ? argv[1] : ".");
	struct log ours = {0};
	struct lmdb written = {0}, mapped = {0};
	struct sqlite unix_vfs = {0}, our_vfs = {0};
	bench_machine(directory);
	load_vfs(SQLITE_VFS);
	open_log(&ours, directory);
	open_lmdb(&written, directory, 0);
	open_lmdb(&mapped, directory, MDB_WRITEMAP);
	open_sqlite(&unix_vfs, directory, "unix");
	open_sqlite(&our_vfs, directory, "pmdirect");
	const struct competitor puts_of[] = {{"pm_memcpy into a log", append, &ours},
	                                     {"LMDB", put, &written},
	                                     {"LMDB, MDB_WRITEMAP", put, &mapped}};
	const struct competitor inserts_of[] = {{"pmdirect_vfs", insert, &our_vfs},
	                                        {"SQLite's unix VFS", insert, &unix_vfs}};
	bench_compare("one commit of 100 bytes", puts_of, 3, 8, 31);
	bench_compare("one INSERT a transaction, WAL, synchronous=FULL", inserts_of, 2, 16, 41);
	close_sqlite(&our_vfs);
	close_sqlite(&unix_vfs);
	mdb_env_close(mapped.env);
	mdb_env_close(written.env);
	must(!pm_unmap(ours.mapping), "pm_unmap", pm_error_detail());
	end(directory);
	return 0;
}
