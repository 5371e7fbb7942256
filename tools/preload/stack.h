/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The callers of a call, by libunwind. Only where `pmdirect run --stacks` asks for them: libunwind opens a pipe in the
 * program and keeps it, and takes the dynamic loader's lock.
 */
#ifndef STACK_H
#define STACK_H

#include <stdbool.h>
#include <stdint.h>

/* In the constructor. false: libunwind is not there, or its pipe would be stdin, stdout or stderr of the program. */
bool stack_begin(void);
/* Return addresses, from caller on outwards; 0: caller is not found on the stack, or stacks are not wanted. */
unsigned stack_take(const void *caller, uint64_t *ret_frames, unsigned most);

#endif
