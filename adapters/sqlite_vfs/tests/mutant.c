/* SPDX-License-Identifier: BSD-3-Clause */
/* For the VFS without its rule about what other processes wrote: the test of the rule must fail with it. */
#include <pmdirect.h>
#include <sqlite3ext.h>
#include <stdbool.h>
#include <stdint.h>

struct pmdirect_node;

/* In place of pmdirect_node_is_synced(). */
bool mutant_is_synced(struct pmdirect_node *node, uint64_t changes);
/* The default name of the entry point is made of the file's. */
int sqlite3_pmdirectvfs_init(sqlite3 *db, char **ret_message, const sqlite3_api_routines *api);
PM_API int sqlite3_pmdirectvfsmutant_init(sqlite3 *db, char **ret_message, const sqlite3_api_routines *api);

bool mutant_is_synced(struct pmdirect_node *node, uint64_t changes)
{
	(void)node;
	(void)changes;
	return true;
}

int sqlite3_pmdirectvfsmutant_init(sqlite3 *db, char **ret_message, const sqlite3_api_routines *api)
{
	return sqlite3_pmdirectvfs_init(db, ret_message, api);
}
