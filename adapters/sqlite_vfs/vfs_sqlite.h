/* SPDX-License-Identifier: BSD-3-Clause */
/* SQLite's functions, as a loadable extension reaches them: through the table that the loading program passes. */
#ifndef PMDIRECT_VFS_SQLITE_H
#define PMDIRECT_VFS_SQLITE_H

#include <sqlite3ext.h>

extern const sqlite3_api_routines *sqlite3_api;

#endif
