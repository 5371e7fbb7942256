/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Probes for bpftrace(8), perf(1) and SystemTap (USDT), if the library was built with -Dusdt=true: a no-op instruction
 * and a note each. Without that they are nothing. pm_events(7), Probes, has their arguments.
 */
#ifndef PM_TRACE_H
#define PM_TRACE_H

#include <stdint.h>

#ifdef PM_USDT
#include <sys/sdt.h>
#define PM_TRACE(count, ...) DTRACE_PROBE##count(pmdirect, __VA_ARGS__)
#else
#define PM_TRACE(count, ...) ((void)0)
#endif

/* A mapping was made. */
static inline void pm_trace_map(const char *name, const void *base, uint64_t length, unsigned granularity,
                                unsigned reason)
{
	(void)name, (void)base, (void)length, (void)granularity, (void)reason;
	PM_TRACE(5, map, name, base, length, granularity, reason);
}

/* A mapping promises less from now on. */
static inline void pm_trace_demote(const void *base, unsigned before, unsigned after, unsigned reason)
{
	(void)base, (void)before, (void)after, (void)reason;
	PM_TRACE(4, demote, base, before, after, reason);
}

/* A thread wrote pages back, for all that waited. */
static inline void pm_trace_drain(const void *base, uint64_t nanoseconds, int result)
{
	(void)base, (void)nanoseconds, (void)result;
	PM_TRACE(3, drain, base, nanoseconds, result);
}

/* A call left a sentence for pm_error_detail(3). */
static inline void pm_trace_error(int code, const char *sentence)
{
	(void)code, (void)sentence;
	PM_TRACE(2, error, code, sentence);
}

/* An event of a mapping. */
static inline void pm_trace_event(const char *name, unsigned kind, unsigned reason, uint64_t offset, uint64_t length)
{
	(void)name, (void)kind, (void)reason, (void)offset, (void)length;
	PM_TRACE(5, event, name, kind, reason, offset, length);
}

#endif
