/* SPDX-License-Identifier: BSD-3-Clause */
/* GNU dbm: a store and gdbm_sync(3) a commit. plain: GDBM_NOMMAP. */
#include <gdbm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static GDBM_FILE file;

static int told(const char *call, int rc)
{
	if (rc)
		fprintf(stderr, "%s: %s\n", call, gdbm_db_strerror(file));
	return rc ? -1 : 0;
}

static int engine_open(const char *path, bool plain)
{
	file = gdbm_open(path, 4096, GDBM_WRCREAT | (plain ? GDBM_NOMMAP : 0), 0600, NULL);
	return file ? 0 : (fprintf(stderr, "%s: %s\n", path, gdbm_strerror(gdbm_errno)), -1);
}

static int engine_commit(int key, const char *value)
{
	datum k = {(char *)&key, sizeof(key)}, v = {(char *)(size_t)value, LOAD_VALUE};
	return told("gdbm_store", gdbm_store(file, k, v, GDBM_REPLACE)) ? -1 : told("gdbm_sync", gdbm_sync(file));
}

static int engine_get(int key, char *ret)
{
	datum k = {(char *)&key, sizeof(key)}, v = gdbm_fetch(file, k);
	if (!v.dptr)
		return gdbm_errno == GDBM_ITEM_NOT_FOUND ? 0 : told("gdbm_fetch", -1);
	bool is_whole = v.dsize == LOAD_VALUE;
	memcpy(ret, v.dptr, is_whole ? LOAD_VALUE : 0);
	free(v.dptr);
	return is_whole ? 1 : -1;
}

static void engine_mistakes(void)
{
	int key = 1, absent = -1;
	datum k = {(char *)&key, sizeof(key)}, none = {(char *)&absent, sizeof(absent)};
	printf("store with GDBM_INSERT: %d\n", gdbm_store(file, k, k, GDBM_INSERT));
	printf("delete of nothing: %d", gdbm_delete(file, none));
	printf(" %s\n", gdbm_db_strerror(file));
	printf("open of nothing: %d", gdbm_open("/nowhere/at/all", 0, GDBM_READER, 0600, NULL) != NULL);
	printf(" %s\n", gdbm_strerror(gdbm_errno));
}

static int engine_close(void)
{
	return told("gdbm_close", gdbm_close(file));
}

const struct engine engine = {"gdbm", engine_open, engine_commit, engine_get, engine_mistakes, engine_close};
