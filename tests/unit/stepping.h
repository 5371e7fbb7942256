/* SPDX-License-Identifier: BSD-3-Clause */
/* The CPU stops after every single instruction of this thread, by a SIGTRAP. x86-64. */
#ifndef STEPPING_H
#define STEPPING_H

#include <stdbool.h>

/* Bit 8 of EFLAGS is TF: a trap, here SIGTRAP, after each instruction. Below the stack pointer may lie locals. */
static inline void step(bool on)
{
	__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq %1, (%%rsp)\n\torq %0, (%%rsp)\n\tpopfq\n\t"
	                 "lea 128(%%rsp), %%rsp"
	                 :
	                 : "r"(on ? 0x100ull : 0ull), "r"(~0x100ull)
	                 : "memory", "cc");
}

#endif
