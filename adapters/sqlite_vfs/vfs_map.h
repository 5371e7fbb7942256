/* SPDX-License-Identifier: BSD-3-Clause */
/* The mapping of an open file: how it follows the file's size. */
#ifndef PMDIRECT_VFS_MAP_H
#define PMDIRECT_VFS_MAP_H

#include "vfs_file.h"

/* Whether stores become durable by cache lines, without the kernel. */
bool pmdirect_map_has_lines(const struct pmdirect_file *f);
/* Whether these bytes can be loaded from the mapping, and stored to it; makes or lengthens it if that pays. */
bool pmdirect_map_reach(struct pmdirect_file *f, uint64_t offset, uint64_t length);
/* Before a store: reads the size of the file if a lock was taken since. */
void pmdirect_map_refresh(struct pmdirect_file *f);
/* The file ends there now. */
void pmdirect_map_cut(struct pmdirect_file *f, uint64_t size);
/*
 * A DAX file: grows file and mapping so that both reach end, in steps, prepared for lines. 0; SQLITE_FULL; another code
 * of SQLite if the VFS below must append.
 */
int pmdirect_map_grow(struct pmdirect_file *f, uint64_t end);
/* Whether the mapping covers the whole file, which may have been changed by others; follows it if that pays. */
bool pmdirect_map_is_whole(struct pmdirect_file *f);
/* Copies from or to the mapping; false: a load or store could not be served. */
bool pmdirect_map_load(struct pmdirect_file *f, void *to, uint64_t offset, size_t length);
bool pmdirect_map_store(struct pmdirect_file *f, uint64_t offset, const void *from, size_t length);
/* Length of a text for a person, of both files of the connection. */
char *pmdirect_map_explain(struct pmdirect_file *f);
/* Ends the mapping. */
void pmdirect_map_end(struct pmdirect_file *f);

#endif
