/* SPDX-License-Identifier: BSD-3-Clause */
/* Kyoto Cabinet's hash database (a path that ends in .kch), one hard transaction a commit. */
#include <kclangc.h>
#include <stdio.h>
#include <string.h>

#include "load.h"

static KCDB *db;

static int told(const char *call, int is_done)
{
	if (!is_done)
		fprintf(stderr, "%s: %s\n", call, kcdbemsg(db));
	return is_done ? 0 : -1;
}

static int engine_open(const char *path, bool plain)
{
	(void)plain;
	db = kcdbnew();
	return told("kcdbopen", kcdbopen(db, path, KCOWRITER | KCOCREATE));
}

static int engine_commit(int key, const char *value)
{
	if (told("kcdbbegintran", kcdbbegintran(db, 1)) ||
	    told("kcdbset", kcdbset(db, (char *)&key, sizeof(key), value, LOAD_VALUE)))
		return -1;
	return told("kcdbendtran", kcdbendtran(db, 1));
}

static int engine_get(int key, char *ret)
{
	int32_t length = kcdbgetbuf(db, (char *)&key, sizeof(key), ret, LOAD_VALUE);
	if (length < 0)
		return kcdbecode(db) == KCENOREC ? 0 : told("kcdbgetbuf", 0);
	return length == LOAD_VALUE ? 1 : -1;
}

static void engine_mistakes(void)
{
	int key = 1, absent = -1;
	KCDB *second = kcdbnew();
	printf("add: %d", kcdbadd(db, (char *)&key, sizeof(key), "", 0));
	printf(" %s\n", kcdbemsg(db));
	printf("remove of nothing: %d", kcdbremove(db, (char *)&absent, sizeof(absent)));
	printf(" %s\n", kcdbemsg(db));
	printf("end without a transaction: %d", kcdbendtran(db, 1));
	printf(" %s\n", kcdbemsg(db));
	printf("open of nothing: %d", kcdbopen(second, "/nowhere/at/all.kch", KCOREADER));
	printf(" %s\n", kcdbemsg(second));
	kcdbdel(second);
}

static int engine_close(void)
{
	int rc = told("kcdbclose", kcdbclose(db));
	kcdbdel(db);
	return rc;
}

const struct engine engine = {"kyoto", engine_open, engine_commit, engine_get, engine_mistakes, engine_close};
