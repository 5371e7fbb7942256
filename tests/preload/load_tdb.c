/* SPDX-License-Identifier: BSD-3-Clause */
/* tdb, one transaction a commit: msync(2) of ranges and fdatasync(2), in turn. It relies on record locks. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <tdb.h>

#include "load.h"

static TDB_CONTEXT *tdb;

static int told(const char *call, int rc)
{
	if (rc)
		fprintf(stderr, "%s: %s\n", call, tdb_errorstr(tdb));
	return rc ? -1 : 0;
}

static int engine_open(const char *path, bool plain)
{
	(void)plain;
	tdb = tdb_open(path, 1024, TDB_DEFAULT, O_RDWR | O_CREAT, 0600);
	return tdb ? 0 : (perror(path), -1);
}

static int engine_commit(int key, const char *value)
{
	TDB_DATA k = {(unsigned char *)&key, sizeof(key)}, v = {(unsigned char *)(size_t)value, LOAD_VALUE};
	if (told("tdb_transaction_start", tdb_transaction_start(tdb)) ||
	    told("tdb_store", tdb_store(tdb, k, v, TDB_REPLACE)))
		return -1;
	return told("tdb_transaction_commit", tdb_transaction_commit(tdb));
}

static int engine_get(int key, char *ret)
{
	TDB_DATA k = {(unsigned char *)&key, sizeof(key)}, v = tdb_fetch(tdb, k);
	if (!v.dptr)
		return 0;
	bool is_whole = v.dsize == LOAD_VALUE;
	memcpy(ret, v.dptr, is_whole ? LOAD_VALUE : 0);
	free(v.dptr);
	return is_whole ? 1 : -1;
}

static void engine_mistakes(void)
{
	int key = 1, absent = -1;
	TDB_DATA k = {(unsigned char *)&key, sizeof(key)}, none = {(unsigned char *)&absent, sizeof(absent)};
	printf("store with TDB_INSERT: %d", tdb_store(tdb, k, k, TDB_INSERT));
	printf(" %s\n", tdb_errorstr(tdb));
	printf("delete of nothing: %d", tdb_delete(tdb, none));
	printf(" %s\n", tdb_errorstr(tdb));
	printf("commit without a transaction: %d", tdb_transaction_commit(tdb));
	printf(" %s\n", tdb_errorstr(tdb));
	printf("open of nothing: %s", tdb_open("/nowhere/at/all", 0, TDB_DEFAULT, O_RDWR, 0600) ? "" : strerror(errno));
	printf("\ncheck: %d\n", tdb_check(tdb, NULL, NULL));
}

static int engine_close(void)
{
	return told("tdb_close", tdb_close(tdb));
}

const struct engine engine = {"tdb", engine_open, engine_commit, engine_get, engine_mistakes, engine_close};
