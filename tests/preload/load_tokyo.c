/* SPDX-License-Identifier: BSD-3-Clause */
/* Tokyo Cabinet's hash database, one durable transaction (HDBOTSYNC) a commit. */
#include <stdio.h>
#include <tchdb.h>

#include "load.h"

static TCHDB *db;

static int told(const char *call, bool is_done)
{
	if (!is_done)
		fprintf(stderr, "%s: %s\n", call, tchdberrmsg(tchdbecode(db)));
	return is_done ? 0 : -1;
}

static int engine_open(const char *path, bool plain)
{
	(void)plain;
	db = tchdbnew();
	return told("tchdbopen", tchdbopen(db, path, HDBOWRITER | HDBOCREAT | HDBOTSYNC));
}

static int engine_commit(int key, const char *value)
{
	if (told("tchdbtranbegin", tchdbtranbegin(db)) ||
	    told("tchdbput", tchdbput(db, &key, sizeof(key), value, LOAD_VALUE)))
		return -1;
	return told("tchdbtrancommit", tchdbtrancommit(db));
}

static int engine_get(int key, char *ret)
{
	int length = tchdbget3(db, &key, sizeof(key), ret, LOAD_VALUE);
	if (length < 0)
		return tchdbecode(db) == TCENOREC ? 0 : told("tchdbget3", false);
	return length == LOAD_VALUE ? 1 : -1;
}

static void engine_mistakes(void)
{
	int key = 1, absent = -1;
	TCHDB *second = tchdbnew();
	printf("putkeep: %d %s\n", tchdbputkeep(db, &key, sizeof(key), "", 0), tchdberrmsg(tchdbecode(db)));
	printf("delete of nothing: %d", tchdbout(db, &absent, sizeof(absent)));
	printf(" %s\n", tchdberrmsg(tchdbecode(db)));
	printf("commit without a transaction: %d", tchdbtrancommit(db));
	printf(" %s\n", tchdberrmsg(tchdbecode(db)));
	printf("open of nothing: %d", tchdbopen(second, "/nowhere/at/all", HDBOREADER));
	printf(" %s\n", tchdberrmsg(tchdbecode(second)));
	tchdbdel(second);
}

static int engine_close(void)
{
	int rc = told("tchdbclose", tchdbclose(db));
	tchdbdel(db);
	return rc;
}

const struct engine engine = {"tokyo", engine_open, engine_commit, engine_get, engine_mistakes, engine_close};
