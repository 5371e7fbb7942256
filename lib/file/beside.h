/* SPDX-License-Identifier: BSD-3-Clause */
/* Names in the file's directory: its own, and one beside it that no program asks for. */
#ifndef PM_FILE_BESIDE_H
#define PM_FILE_BESIDE_H

#include <stdbool.h>

#include "file/file.h"

#define PM_BESIDE_MAX 1000
/* Writes the nth such name into f->beside. */
void pm_file_name_beside(struct pm_file *, unsigned n);
/* Removes what has the name in f->beside. */
void pm_file_drop_beside(struct pm_file *);
/* Whether the directory has that entry, with the file's numbers. A server may give them to another file as well. */
bool pm_file_is_called(const struct pm_file *, const char *entry);

#endif
