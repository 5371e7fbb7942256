/* SPDX-License-Identifier: BSD-3-Clause */
/* Durable writes through io_uring, by liburing. Each thread has a ring of its own. */
#ifndef PM_BENCH_URING_H
#define PM_BENCH_URING_H

#include <stdbool.h>
#include <stddef.h>

struct bench_ring;

/* NULL: there is no io_uring here. */
struct bench_ring *bench_ring_new(void);
/* One write with RWF_DSYNC; or a write and, linked to it, an fdatasync. Each is one system call. */
bool bench_ring_write_dsync(struct bench_ring *, int fd, const void *data, size_t length, size_t at);
bool bench_ring_write_and_sync(struct bench_ring *, int fd, const void *data, size_t length, size_t at);

#endif
