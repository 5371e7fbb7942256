/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmdirect_raft.h - a struct raft_io for libraft whose term, vote, log and snapshots live on mappings of libpmdirect
 *
 * It replaces raft_uv_init() one to one: the messages go through the same raft_uv_transport, and a server with this
 * storage talks to servers with libraft's own. README.md has the format of the directory.
 *
 * Functions return 0 or a RAFT_ code; io->errmsg has the words.
 */
#ifndef PMDIRECT_RAFT_H
#define PMDIRECT_RAFT_H

#include <raft.h>
#include <raft/uv.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PMDIRECT_RAFT_API __attribute__((visibility("default")))

/* Sets up io to keep everything in dir, which exists. dir is copied. raft_init() installs a SIGBUS
 * handler (pm_guard_install(3)), so that a failing medium is RAFT_IOERR and a full disk RAFT_NOSPACE. */
PMDIRECT_RAFT_API int pmdirect_raft_init(struct raft_io *io, struct uv_loop_s *loop, const char *dir,
                                         struct raft_uv_transport *transport);

/* Frees what pmdirect_raft_init() made. Call it after the callback of raft_close(). */
PMDIRECT_RAFT_API void pmdirect_raft_close(struct raft_io *io);

/* Bytes that a segment of the log has, if no entry needs more; 8 MiB unless set, at least 64 KiB. Call it before
 * raft_init(). */
PMDIRECT_RAFT_API void pmdirect_raft_set_segment_size(struct raft_io *io, size_t size);

/* Milliseconds between attempts to connect to another server; see raft_uv_set_connect_retry_delay(). */
PMDIRECT_RAFT_API void pmdirect_raft_set_connect_retry_delay(struct raft_io *io, unsigned milliseconds);

/* What the active segment of the log is: "page" or "cache line", as of pm_granularity_name(3); "" before
 * raft_start(). */
PMDIRECT_RAFT_API const char *pmdirect_raft_granularity(struct raft_io *io);

#ifdef __cplusplus
}
#endif

#endif
