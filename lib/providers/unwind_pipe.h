/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pipe of libunwind. libunwind writes a byte of the stack into a pipe to learn whether an address can be read, and
 * keeps the two numbers for the life of the process (src/x86_64/Ginit.c; from 1.8 src/mi/Gaddress_validator.c). A
 * program that closes the numbers and opens files would have that byte written into one of them, and a byte read from
 * the other.
 */
#ifndef PM_UNWIND_PIPE_H
#define PM_UNWIND_PIPE_H

#include <stdbool.h>

/*
 * Whether libunwind can be called now: it has no pipe yet, or its two numbers still lead to its pipe. Once false, false
 * for ever. After each call of libunwind pm_unwind_pipe_find() finds the pipe that libunwind opened in it; if that is
 * not certain, libunwind cannot be called again. One thread at a time.
 */
bool pm_unwind_pipe_is_safe(void);
void pm_unwind_pipe_find(void);

#endif
