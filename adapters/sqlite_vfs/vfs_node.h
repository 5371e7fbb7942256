/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One descriptor of each database or log for the whole process, which all mappings of that file borrow.
 *
 * The locks of SQLite are record locks of the process, and the process loses them when any descriptor of the file is
 * closed (fcntl(2)). So the descriptor of a node is closed only if the process has no other one of that file.
 */
#ifndef PMDIRECT_VFS_NODE_H
#define PMDIRECT_VFS_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pmdirect_node;

/* NULL: out of memory, or the file cannot be opened, or is not a regular file: errno tells. */
struct pmdirect_node *pmdirect_node_get(const char *path, bool read_only);
void pmdirect_node_put(struct pmdirect_node *node);
int pmdirect_node_fd(const struct pmdirect_node *node);

/* Differs in a child from what it was in its parent, whose mappings the child must not use. */
unsigned pmdirect_node_forks(void);

/*
 * How often write(2), truncate(2) or fallocate(2) of any process changed the file since the watch began; stores into
 * mappings do not count. False: no watch is possible, so that the caller must expect a change at any time.
 */
bool pmdirect_node_watch(struct pmdirect_node *node);
bool pmdirect_node_changes(struct pmdirect_node *node, uint64_t *ret_changes);

/*
 * A sync of the whole file covers all changes that were counted before it began. pmdirect_node_is_synced() says whether
 * a sync that has ended covers this count.
 */
bool pmdirect_node_is_synced(struct pmdirect_node *node, uint64_t changes);
void pmdirect_node_synced(struct pmdirect_node *node, uint64_t changes);

/*
 * A sync of the file failed: what it should have made durable may be lost, and the kernel reports that once
 * (errseq.rst). So all connections of the process are told until the last one is closed.
 */
bool pmdirect_node_has_failed(struct pmdirect_node *node);
void pmdirect_node_fail(struct pmdirect_node *node);

#endif
