/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the loading program's SQLite is, for all files of the module. */
#include <sqlite3ext.h>

SQLITE_EXTENSION_INIT1
