/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the fake machine: fake.c (system calls), fake_files.c (what files say), fake_cpu.c. */
#ifndef FAKE_INTERNAL_H
#define FAKE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FAKE_VIRTUAL_FD 1000000
#define FAKE_MAJOR 259u /* of the device that every file lies on */
#define FAKE_MINOR 3u
#define FAKE_CACHED_PAGES 3u /* the answer of cachestat */

void fake_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

void fake_virtual_start(void);
bool fake_is_virtual(const char *path);
int fake_virtual_open(const char *path, int flags);
int fake_virtual_close(int fd);
ssize_t fake_virtual_read(int fd, void *buffer, size_t size);
ssize_t fake_virtual_link(const char *path, char *buffer, size_t size);
void fake_device_size(uint64_t size);

struct fiemap;
int fake_fiemap(struct fiemap *);
int fake_attributes(void *);
int fake_geometry(void *);

void fake_cpu_start(void);
void fake_cpu_stop(void);

#endif
