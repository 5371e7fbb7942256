/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes transactions into a database, or says what is in one.
 *
 *   work EXTENSION write VFS PATH MODE SYNCHRONOUS COUNT [NAME]   COUNT transactions (0: without end) in journal MODE;
 *                                                                 with a NAME a line "NAME NUMBER" when one is durable
 *   work EXTENSION check VFS PATH                                 "found LAST" of each writer, if the database is sound
 *   work EXTENSION rate VFS PATH MODE COUNT                       transactions a second, after as many to warm up
 */
#include <time.h>
#include <unistd.h>

#include "common.h"

/* A transaction appends, and changes two pages that all share. */
static const char *schema = "CREATE TABLE IF NOT EXISTS entry(id INTEGER PRIMARY KEY, writer, number, payload);"
			    "CREATE INDEX IF NOT EXISTS by_writer ON entry(writer, number);"
			    "CREATE TABLE IF NOT EXISTS total(one INTEGER PRIMARY KEY, entries);"
			    "INSERT OR IGNORE INTO total VALUES(1, 0);";

#define MOST_TRIES 60000

/* The change to a log needs the database for one alone, and SQLite waits for no other there: it would be a deadlock. */
static void choose_journal(sqlite3 *db, const char *mode)
{
	char pragma[96];
	snprintf(pragma, sizeof(pragma), "PRAGMA journal_mode=%s", mode);
	for (unsigned i = 0; i < MOST_TRIES && (run(db, pragma) & 0xff) == SQLITE_BUSY; i++)
		sqlite3_sleep(1);
	must(db, pragma);
}

static sqlite3 *open_for_writing(char **argv)
{
	char pragma[96];
	sqlite3 *db = open_database(argv[1], argv[0]);
	choose_journal(db, argv[2]);
	snprintf(pragma, sizeof(pragma), "PRAGMA synchronous=%s", argv[3]);
	must(db, pragma);
	/* Checkpoints, and a log that begins anew, belong to what is tested. */
	must(db, "PRAGMA wal_autocheckpoint=50; PRAGMA temp_store=memory");
	/* BEGIN: of several writers one makes the tables. */
	must(db, "BEGIN IMMEDIATE");
	must(db, schema);
	must(db, "COMMIT");
	return db;
}

static void write_one(sqlite3 *db, const char *writer, long long number)
{
	char *sql = sqlite3_mprintf("BEGIN IMMEDIATE;"
	                            "INSERT INTO entry(writer, number, payload) VALUES(%Q, %lld, randomblob(%d));"
	                            "UPDATE total SET entries = entries + 1;"
	                            "DELETE FROM entry WHERE %lld %% 7 = 0 AND writer = %Q AND number = %lld - 40;"
	                            "UPDATE total SET entries = entries - changes() WHERE %lld %% 7 = 0;"
	                            "COMMIT",
	                            writer, number, (int)(number * 37 % 900), number, writer, number, number);
	must(db, sql);
	sqlite3_free(sql);
}

static int write_all(int argc, char **argv)
{
	sqlite3 *db = open_for_writing(argv);
	long long count = atoll(argv[4]);
	char name[64];
	snprintf(name, sizeof(name), "%s", argc > 5 ? argv[5] : "");
	if (!*name)
		snprintf(name, sizeof(name), "%d", (int)getpid());
	char *last = sqlite3_mprintf("SELECT ifnull(max(number), 0) FROM entry WHERE writer = %Q", name);
	long long number = number_of(db, last);
	for (long long i = 0; !count || i < count; i++) {
		write_one(db, name, ++number);
		if (argc > 5) {
			printf("%s %lld\n", name, number);
			fflush(stdout);
		}
	}
	sqlite3_free(last);
	REQUIRE(sqlite3_close(db) == SQLITE_OK, "close");
	return 0;
}

static int print_row(void *arg, int columns, char **values, char **names)
{
	(void)arg;
	(void)columns;
	(void)names;
	printf("found %s %s\n", values[0], values[1]);
	return 0;
}

static int check(char **argv)
{
	sqlite3 *db = open_database(argv[1], argv[0]);
	require_integrity(db);
	if (!number_of(db, "SELECT count(*) FROM sqlite_schema"))
		return 0;
	long long entries = number_of(db, "SELECT count(*) FROM entry");
	long long total = number_of(db, "SELECT ifnull(max(entries), 0) FROM total");
	REQUIRE(entries == total, "%lld entries, counted %lld", entries, total);
	REQUIRE(!sqlite3_exec(db, "SELECT writer, max(number) FROM entry GROUP BY writer", print_row, NULL, NULL), "%s",
	        sqlite3_errmsg(db));
	sqlite3_close(db);
	return 0;
}

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int rate(char **argv)
{
	sqlite3 *db = open_database(argv[1], argv[0]);
	char *sql = sqlite3_mprintf("PRAGMA journal_mode=%s; PRAGMA synchronous=FULL;"
	                            "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)",
	                            argv[2]);
	must(db, sql);
	sqlite3_free(sql);
	long count = atol(argv[3]);
	double start = 0;
	for (long i = 0; i < 2 * count; i++) {
		start = i == count ? seconds() : start;
		must(db, "INSERT INTO t(b) VALUES(zeroblob(100))");
	}
	printf("%.0f\n", (double)count / (seconds() - start));
	sqlite3_close(db);
	return 0;
}

int main(int argc, char **argv)
{
	REQUIRE(argc > 4, "see the comment");
	load_vfs(argv[1]);
	const char *what = argv[2];
	argc -= 3;
	argv += 3;
	if (!strcmp(what, "write") && argc > 4)
		return write_all(argc, argv);
	if (!strcmp(what, "check"))
		return check(argv);
	if (!strcmp(what, "rate") && argc > 3)
		return rate(argv);
	return 2;
}
