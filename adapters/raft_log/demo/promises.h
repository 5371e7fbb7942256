/* SPDX-License-Identifier: BSD-3-Clause */
/* Says what a raft_io promises to libraft, so that a test can tell what the storage lost from what libraft lost. */
#ifndef PROMISES_H
#define PROMISES_H

#include <raft.h>

/*
 * From raft_init() to raft_start(): lines on standard output, before the call that may drop something, and after the
 * one that made something durable.
 *
 *   loaded TERM VOTE INDEX TERM HASH   what a start found, with the snapshot (0 0 0: none)
 *   held INDEX TERM HASH               an entry of it
 *   whole                              and that is all
 *   stored INDEX TERM HASH             an append that returned 0
 *   drops INDEX                        a truncation begins: entries from there on
 *   puts INDEX TERM HASH TRAILING      a snapshot begins; TRAILING 0: all entries are void then
 *   put INDEX                          it returned 0
 *   sets TERM VOTE                     a new term or vote begins
 *   set TERM VOTE                      it returned 0
 */
void say_promises(struct raft_io *io);

#endif
