/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that `pmdirect run` shares with the processes that it covers. They count in it and ask questions; run
 * answers, and reports. So a covered process prints nothing, keeps no descriptor open, and whatever way it ends (a
 * signal, _exit(2), execve(2)) loses no count. All that is shared is atomic: no process waits for another's lock.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdatomic.h>
#include <stdint.h>

#define LEDGER_ENV "PMDIRECT_RUN" /* in the environment: a path that leads to the memory */
#define LEDGER_MAGIC 0x706d646972656374u
#define LEDGER_VERSION 1
#define LEDGER_PROCESSES 4096
#define LEDGER_ROWS 8192
#define LEDGER_SITES 8
#define LEDGER_FRAMES 8

enum process_state {
	PROCESS_FREE = 0,
	PROCESS_CLAIMED,  /* being filled */
	PROCESS_EXPECTED, /* a process calls execve(2), or was spawned, and the companion has not begun there */
	PROCESS_COVERED,
	PROCESS_ENDED /* by exit(3), or by an execve(2) after which the companion began anew */
};

/* A process from its begin, or its execve(2), to its end, or the next one. */
struct ledger_process {
	_Atomic uint32_t state;
	int32_t pid, parent;
	_Atomic uint32_t rows;
	_Atomic uint64_t begun, ended; /* write_bytes of /proc/self/io and 1 then; 0: not known */
	char program[256];             /* its executable, cut; of an expected one as it was called */
};

/* What the process asks, and whether run has answered. */
enum question { QUESTION_NONE = 0, QUESTION_ASKED, QUESTION_ANSWERED };

/* A place in the program that called msync(2), fsync(2) or the like. */
struct ledger_site {
	_Atomic uint64_t address; /* to which the call returns; 0: not used */
	_Atomic uint64_t calls;
	_Atomic uint32_t question; /* where the frames are: run looks at /proc/PID/maps while the thread waits */
	uint32_t frames;
	uint64_t frame[LEDGER_FRAMES]; /* the address first, then its callers, as far as they are known */
};

/* Why accelerate mode leaves an msync(2) with MS_SYNC to the kernel. */
enum why_kernel {
	WHY_NOT = 0, /* it does not */
	WHY_MAPPING, /* of a mapping for which the library does not promise lines, or that was moved */
	WHY_FLAGS,   /* others beside MS_SYNC */
	WHY_RANGE,   /* not whole pages of one mapping inside the file */
	WHY_LENGTH,  /* longer than is good by lines */
	WHY_CHILD,   /* in a child, of a mapping of its parent */
	WHY_COVERED, /* the program mapped, unmapped or protected pages where the companion had the file */
	WHY_BUSY,    /* a call that may make a file shorter has not ended */
	WHY_REFUSED, /* the kernel could not commit or read what is there */
	WHYS
};

/* A file that a process has mapped shared. */
struct ledger_row {
	_Atomic uint32_t state;       /* of enum row_state */
	uint32_t process, parent_row; /* numbers; the row of the parent at fork(2) and 1, or 0 */
	uint32_t major, minor;
	uint64_t inode;
	/* The mapping that run is asked to look at; is_final: its answer holds for any other. */
	_Atomic uint32_t question, questions, is_final;
	int32_t fd;
	_Atomic uint64_t address, length, offset;
	/* Mappings of the file. */
	_Atomic uint32_t is_writable, is_sync; /* one was, at a time */
	_Atomic uint32_t maps;
	_Atomic uint64_t longest;
	/* Calls, and the bytes of their ranges; fsyncs are fsync(2) and fdatasync(2). */
	_Atomic uint64_t marks, by_lines, by_kernel[WHYS]; /* accelerate mode: mappings that it made; msyncs */
	_Atomic uint64_t msyncs, msyncs_async, msync_bytes, fsyncs, fdatasyncs, range_syncs;
	_Atomic uint64_t errors, nanoseconds;          /* of these calls */
	_Atomic uint64_t writes, write_bytes, changes; /* write(2) and the like; ftruncate(2) and the like */
	struct ledger_site sites[LEDGER_SITES];
	_Atomic uint64_t other_sites; /* calls from further places */
};

enum row_state { ROW_FREE = 0, ROW_CLAIMED, ROW_USED };

struct ledger {
	uint64_t magic;
	uint32_t version, size_of_row;
	int32_t run;                                /* its pid */
	uint32_t accelerate;                        /* the mode */
	uint32_t stacks;                            /* call sites with their callers */
	_Atomic uint32_t has_no_stacks;             /* a process lacks what it needs for that */
	_Atomic uint32_t questions;                 /* asked so far: a futex on which run waits */
	_Atomic uint32_t processes, rows;           /* numbers used so far, at most those of the arrays */
	_Atomic uint32_t processes_lost, rows_lost; /* no room */
	_Atomic uint32_t maps_lost;                 /* mappings and files for which a process had no room */
	_Atomic uint32_t covered;                   /* processes in which the companion began */
	struct ledger_process process[LEDGER_PROCESSES];
	struct ledger_row row[LEDGER_ROWS];
};

#endif
