/* SPDX-License-Identifier: BSD-3-Clause */
/* LMDB, with MDB_WRITEMAP: pages are stored to the mapping, and msync(2) makes them durable. plain: by pwrite(2). */
#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "load.h"

#define MAP_SIZE (4u << 20)

static MDB_env *env;
static MDB_dbi table;

static int told(const char *call, int rc)
{
	if (rc)
		fprintf(stderr, "%s: %s\n", call, mdb_strerror(rc));
	return rc ? -1 : 0;
}

static int open_table(void)
{
	MDB_txn *txn;
	if (told("mdb_txn_begin", mdb_txn_begin(env, NULL, 0, &txn)))
		return -1;
	if (told("mdb_dbi_open", mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &table)))
		return mdb_txn_abort(txn), -1;
	return told("mdb_txn_commit", mdb_txn_commit(txn));
}

static int lmdb_open(const char *path, bool plain)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return perror(path), -1;
	if (told("mdb_env_create", mdb_env_create(&env)) ||
	    told("mdb_env_set_mapsize", mdb_env_set_mapsize(env, MAP_SIZE)) ||
	    told("mdb_env_open", mdb_env_open(env, path, plain ? 0 : MDB_WRITEMAP, 0600)))
		return -1;
	return open_table();
}

static int lmdb_commit(int key, const char *value)
{
	MDB_txn *txn;
	MDB_val k = {sizeof(key), &key}, v = {LOAD_VALUE, (void *)(size_t)value};
	if (told("mdb_txn_begin", mdb_txn_begin(env, NULL, 0, &txn)))
		return -1;
	if (told("mdb_put", mdb_put(txn, table, &k, &v, 0)))
		return mdb_txn_abort(txn), -1;
	return told("mdb_txn_commit", mdb_txn_commit(txn));
}

static int lmdb_get(int key, char *ret)
{
	MDB_txn *txn;
	MDB_val k = {sizeof(key), &key}, v;
	if (told("mdb_txn_begin", mdb_txn_begin(env, NULL, MDB_RDONLY, &txn)))
		return -1;
	int rc = mdb_get(txn, table, &k, &v);
	if (!rc)
		memcpy(ret, v.mv_data, LOAD_VALUE);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc ? told("mdb_get", rc) : 1;
}

static void lmdb_mistakes(void)
{
	MDB_txn *txn;
	MDB_env *second;
	int key = 1;
	MDB_val k = {sizeof(key), &key}, v = {LOAD_VALUE, (void *)"1"}, large = {MAP_SIZE, NULL};
	mdb_txn_begin(env, NULL, 0, &txn);
	printf("put with MDB_NOOVERWRITE: %s\n", mdb_strerror(mdb_put(txn, table, &k, &v, MDB_NOOVERWRITE)));
	printf("put of all of the map: %s\n", mdb_strerror(mdb_put(txn, table, &k, &large, MDB_RESERVE)));
	mdb_txn_abort(txn);
	mdb_env_create(&second);
	printf("open of nothing: %s\n", mdb_strerror(mdb_env_open(second, "/nowhere/at/all", 0, 0600)));
	mdb_env_close(second);
}

static int lmdb_close(void)
{
	mdb_env_close(env);
	return 0;
}

const struct engine engine = {"lmdb", lmdb_open, lmdb_commit, lmdb_get, lmdb_mistakes, lmdb_close};
