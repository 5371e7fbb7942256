/* SPDX-License-Identifier: BSD-3-Clause */
/* Without liburing. */
#include "uring.h"

struct bench_ring *bench_ring_new(void)
{
	return NULL;
}

bool bench_ring_write_dsync(struct bench_ring *r, int fd, const void *data, size_t length, size_t at)
{
	(void)r, (void)fd, (void)data, (void)length, (void)at;
	return false;
}

bool bench_ring_write_and_sync(struct bench_ring *r, int fd, const void *data, size_t length, size_t at)
{
	return bench_ring_write_dsync(r, fd, data, length, at);
}
