/* SPDX-License-Identifier: BSD-3-Clause */
/* What the programs that test the VFS share. A failure ends the program with status 1 and a line on stdout. */
#ifndef VFS_TEST_COMMON_H
#define VFS_TEST_COMMON_H

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition, ...)                                                                                        \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			printf(__VA_ARGS__);                                                                           \
			printf("\n");                                                                                  \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

/* Registers the VFS of the extension at that path. */
static inline void load_vfs(const char *extension)
{
	sqlite3 *db;
	char *message = NULL;
	REQUIRE(sqlite3_open(":memory:", &db) == SQLITE_OK, "no memory");
	sqlite3_enable_load_extension(db, 1);
	REQUIRE(sqlite3_load_extension(db, extension, NULL, &message) == SQLITE_OK, "%s: %s", extension, message);
	REQUIRE(sqlite3_vfs_find("pmdirect"), "the extension registered no VFS");
	/* A plain load after one as the default leaves the default. */
	sqlite3_vfs *before = sqlite3_vfs_find(NULL);
	REQUIRE(before != sqlite3_vfs_find("pmdirect"), "a plain load made it the default");
	REQUIRE(sqlite3_load_extension(db, extension, "sqlite3_pmdirectvfs_default_init", &message) == SQLITE_OK &&
	        sqlite3_load_extension(db, extension, NULL, &message) == SQLITE_OK, "again: %s", message);
	REQUIRE(sqlite3_vfs_find(NULL) == sqlite3_vfs_find("pmdirect"), "a plain load took the default away");
	sqlite3_vfs_register(before, 1);
	sqlite3_close(db);
}

static inline sqlite3 *open_database(const char *path, const char *vfs)
{
	sqlite3 *db;
	int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs);
	REQUIRE(rc == SQLITE_OK, "open %s by %s: %s", path, vfs, sqlite3_errmsg(db));
	sqlite3_busy_timeout(db, 60000);
	return db;
}

/* The code of SQLite, extended. */
static inline int run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? SQLITE_OK : sqlite3_extended_errcode(db);
}

static inline void must(sqlite3 *db, const char *sql)
{
	REQUIRE(run(db, sql) == SQLITE_OK, "%s: %s (%d)", sql, sqlite3_errmsg(db), sqlite3_extended_errcode(db));
}

/* The first column of the first row as text, to be freed by sqlite3_free(). */
static inline char *text_of(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement;
	REQUIRE(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
	int rc = sqlite3_step(statement);
	REQUIRE(rc == SQLITE_ROW, "%s: %s (%d)", sql, sqlite3_errmsg(db), rc);
	char *text = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	return text;
}

static inline long long number_of(sqlite3 *db, const char *sql)
{
	char *text = text_of(db, sql);
	long long number = text ? atoll(text) : 0;
	sqlite3_free(text);
	return number;
}

static inline void require_integrity(sqlite3 *db)
{
	char *text = text_of(db, "PRAGMA integrity_check");
	REQUIRE(text && !strcmp(text, "ok"), "integrity_check: %s", text);
	sqlite3_free(text);
}

#endif
