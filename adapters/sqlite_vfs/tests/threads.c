/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads of one process, each with connections of its own to one database: some write, some read, some open and close.
 * No commit is lost, and no lock of one connection ends with another.
 *
 *   threads EXTENSION PATH MODE SECONDS
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "common.h"

#define THREADS 6

static const char *path;
static time_t end;
static atomic_llong committed;

static sqlite3 *open_connection(void)
{
	sqlite3 *db = open_database(path, "pmdirect");
	must(db, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=20;"
	         "PRAGMA mmap_size=1000000; PRAGMA cache_size=10");
	return db;
}

static void *write_rows(void *arg)
{
	sqlite3 *db = open_connection();
	(void)arg;
	while (time(NULL) < end) {
		must(db, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES(randomblob(700)); COMMIT");
		atomic_fetch_add(&committed, 1);
	}
	sqlite3_close(db);
	return NULL;
}

static void *read_rows(void *arg)
{
	sqlite3 *db = open_connection();
	(void)arg;
	while (time(NULL) < end) {
		long long before = atomic_load(&committed), found = number_of(db, "SELECT count(*) FROM t");
		REQUIRE(found >= before, "%lld rows, %lld were committed", found, before);
	}
	sqlite3_close(db);
	return NULL;
}

static void *come_and_go(void *arg)
{
	(void)arg;
	while (time(NULL) < end) {
		sqlite3 *db = open_connection();
		must(db, "SELECT total(length(b)) FROM t");
		sqlite3_free(text_of(db, "PRAGMA pmdirect"));
		must(db, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('short'); COMMIT");
		atomic_fetch_add(&committed, 1);
		sqlite3_close(db);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static void *(*const body[])(void *) = {write_rows, read_rows, come_and_go};
	pthread_t thread[THREADS];
	REQUIRE(argc > 4, "see the comment");
	load_vfs(argv[1]);
	path = argv[2];
	sqlite3 *db = open_database(path, "pmdirect");
	char *sql = sqlite3_mprintf("PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, b)", argv[3]);
	must(db, sql);
	sqlite3_free(sql);
	end = time(NULL) + atoi(argv[4]);
	for (int i = 0; i < THREADS; i++)
		REQUIRE(!pthread_create(&thread[i], NULL, body[i % 3], NULL), "no thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	require_integrity(db);
	long long found = number_of(db, "SELECT count(*) FROM t"), expected = atomic_load(&committed);
	REQUIRE(found == expected, "%lld rows, %lld were committed", found, expected);
	sqlite3_close(db);
	printf("%s: %lld commits\n", argv[3], found);
	return 0;
}
