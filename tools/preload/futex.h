/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUTEX_H
#define FUTEX_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex
#define SYS_futex SYS_futex_time64 /* 32 bits with a 64-bit time_t alone, as riscv32 */
#endif

/* Waits while *word is value, for at most so many milliseconds; 0: for ever. Wakes early too. Changes errno. */
static inline void futex_wait(_Atomic uint32_t *word, uint32_t value, long milliseconds, int of_process)
{
	struct timespec most = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	syscall(SYS_futex, word, FUTEX_WAIT | of_process, value, milliseconds ? &most : NULL, NULL, 0);
}

static inline void futex_wake(_Atomic uint32_t *word, int of_process)
{
	syscall(SYS_futex, word, FUTEX_WAKE | of_process, INT32_MAX, NULL, NULL, 0);
}

#endif
