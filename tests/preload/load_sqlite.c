/* SPDX-License-Identifier: BSD-3-Clause */
/* SQLite, with a mapping for reading. In WAL mode the index of the log is mapped for writing. plain: a rollback
 * journal. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static sqlite3 *db;
static sqlite3_stmt *put, *look_up;

static int told(const char *call, bool is_done)
{
	if (!is_done)
		fprintf(stderr, "%s: %s\n", call, sqlite3_errmsg(db));
	return is_done ? 0 : -1;
}

static int engine_open(const char *path, bool plain)
{
	const char *const mode = plain ? "PRAGMA journal_mode=DELETE" : "PRAGMA journal_mode=WAL";
	if (told("sqlite3_open", !sqlite3_open(path, &db)) || told("mode", !sqlite3_exec(db, mode, NULL, NULL, NULL)))
		return -1;
	if (told("pragmas", !sqlite3_exec(db,
	                                  "PRAGMA synchronous=FULL; PRAGMA mmap_size=67108864;"
	                                  "CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v BLOB)",
	                                  NULL, NULL, NULL)))
		return -1;
	if (told("put", !sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO t VALUES (?, ?)", -1, &put, NULL)))
		return -1;
	return told("get", !sqlite3_prepare_v2(db, "SELECT v FROM t WHERE k = ?", -1, &look_up, NULL));
}

static int engine_commit(int key, const char *value)
{
	sqlite3_bind_int(put, 1, key);
	sqlite3_bind_blob(put, 2, value, LOAD_VALUE, SQLITE_STATIC);
	int rc = told("commit", sqlite3_step(put) == SQLITE_DONE);
	sqlite3_reset(put);
	return rc;
}

static int engine_get(int key, char *ret)
{
	sqlite3_bind_int(look_up, 1, key);
	int rc = sqlite3_step(look_up);
	bool is_whole = rc == SQLITE_ROW && sqlite3_column_bytes(look_up, 0) == LOAD_VALUE;
	if (is_whole)
		memcpy(ret, sqlite3_column_blob(look_up, 0), LOAD_VALUE);
	sqlite3_reset(look_up);
	return is_whole ? 1 : rc == SQLITE_DONE ? 0 : told("get", false);
}

static void engine_mistakes(void)
{
	char *error = NULL;
	sqlite3 *second;
	sqlite3_exec(db, "INSERT INTO t VALUES (1, ''); INSERT INTO t VALUES (1, '')", NULL, NULL, &error);
	printf("a key twice: %s\n", error);
	sqlite3_free(error);
	printf("open of nothing: %d\n", sqlite3_open_v2("/nowhere/at/all", &second, SQLITE_OPEN_READWRITE, NULL));
	sqlite3_close(second);
}

static int engine_close(void)
{
	sqlite3_finalize(put);
	sqlite3_finalize(look_up);
	return told("sqlite3_close", !sqlite3_close(db));
}

const struct engine engine = {"sqlite", engine_open, engine_commit, engine_get, engine_mistakes, engine_close};
