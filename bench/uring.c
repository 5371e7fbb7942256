/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdlib.h>

#include "uring.h"

struct bench_ring {
	struct io_uring ring;
};

struct bench_ring *bench_ring_new(void)
{
	struct bench_ring *r = calloc(1, sizeof(*r));
	if (r && io_uring_queue_init(4, &r->ring, 0)) {
		free(r);
		r = NULL;
	}
	return r;
}

/* Submits what is prepared, and waits for it. The first of them must have moved so many bytes. */
static bool finish(struct bench_ring *r, unsigned count, size_t length)
{
	struct io_uring_cqe *done;
	bool good = io_uring_submit_and_wait(&r->ring, count) == (int)count;
	for (unsigned i = 0; good && i < count; i++) {
		good = !io_uring_wait_cqe(&r->ring, &done) && done->res == (done->user_data ? 0 : (int)length);
		if (good)
			io_uring_cqe_seen(&r->ring, done);
	}
	return good;
}

static struct io_uring_sqe *prepare_write(struct bench_ring *r, int fd, const void *data, size_t length, size_t at)
{
	struct io_uring_sqe *e = io_uring_get_sqe(&r->ring);
	io_uring_prep_write(e, fd, data, (unsigned)length, at);
	e->user_data = 0;
	return e;
}

bool bench_ring_write_dsync(struct bench_ring *r, int fd, const void *data, size_t length, size_t at)
{
	prepare_write(r, fd, data, length, at)->rw_flags = RWF_DSYNC;
	return finish(r, 1, length);
}

bool bench_ring_write_and_sync(struct bench_ring *r, int fd, const void *data, size_t length, size_t at)
{
	prepare_write(r, fd, data, length, at)->flags |= IOSQE_IO_LINK;
	struct io_uring_sqe *e = io_uring_get_sqe(&r->ring);
	io_uring_prep_fsync(e, fd, IORING_FSYNC_DATASYNC);
	e->user_data = 1;
	return finish(r, 2, length);
}
