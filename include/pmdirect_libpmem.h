/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pmdirect_libpmem.h - for programs that were written for libpmem
 *
 * Include this instead of <libpmem.h>, and link with -lpmdirect alone. The functions have libpmem's names and
 * arguments. What they do is right on every file: where libpmem asks the program to choose between pmem_persist() and
 * pmem_msync(), both make the range durable here. See pmdirect_libpmem(7).
 *
 *   Errors   pmem_map_file() returns NULL, functions returning int return -1, and errno tells why; pmem_errormsg() has
 *            the sentence. A function returning nothing, or its destination, cannot tell that the range is not durable.
 *            It calls PM_LIBPMEM_FAILED(sentence), which writes the sentence to stderr and aborts. Define the macro
 *            before the include for another treatment; without one that stops the program it may go on with data lost.
 *   Ranges   An address that lies in no mapping of pmem_map_file() or pm_map() is such an error, but for pmem_msync(),
 *            which is msync(2) there, and for copies with PMEM_F_MEM_NOFLUSH.
 *   Threads  As libpmem's. pmem_drain() completes what this thread flushed, in any mapping.
 */
#ifndef PMDIRECT_LIBPMEM_H
#define PMDIRECT_LIBPMEM_H
#ifdef LIBPMEM_H
#error "pmdirect_libpmem.h takes the place of libpmem.h"
#endif
#include <errno.h>
#include <fcntl.h>
#include <pmdirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#ifdef __cplusplus
extern "C" {
#endif

#define PMEM_MAJOR_VERSION 1
#define PMEM_MINOR_VERSION 1

#define PMEM_FILE_CREATE (1 << 0)
#define PMEM_FILE_EXCL (1 << 1)
#define PMEM_FILE_SPARSE (1 << 2)
#define PMEM_FILE_TMPFILE (1 << 3)

#define PMEM_F_MEM_NODRAIN (1U << 0)
#define PMEM_F_MEM_NONTEMPORAL (1U << 1)
#define PMEM_F_MEM_TEMPORAL (1U << 2)
#define PMEM_F_MEM_WC (1U << 3)
#define PMEM_F_MEM_WB (1U << 4)
#define PMEM_F_MEM_NOFLUSH (1U << 5)

/* Without _GNU_SOURCE the C library has the flag under a name of its own. */
#ifdef O_TMPFILE
#define PM_LIBPMEM_TMPFILE O_TMPFILE
#else
#define PM_LIBPMEM_TMPFILE __O_TMPFILE
#endif
/* A strict -std= leaves out this one. */
#ifdef O_CLOEXEC
#define PM_LIBPMEM_CLOEXEC O_CLOEXEC
#else
#define PM_LIBPMEM_CLOEXEC __O_CLOEXEC
#endif

#ifndef PM_LIBPMEM_FAILED
#define PM_LIBPMEM_FAILED(sentence) (fprintf(stderr, "%s\n", (sentence)), abort())
#endif

#define PM_LIBPMEM_API static inline __attribute__((unused))
#define PM_LIBPMEM_NOWHERE "the address lies in no mapping, so nothing there can be made durable"

/* ---- Errors that the library has no sentence for, and what became of the last error of this thread ---- */

struct pm_libpmem_error {
	char sentence[512]; /* empty: the library has the sentence */
};
__attribute__((weak)) __thread struct pm_libpmem_error pm_libpmem_error;

PM_LIBPMEM_API int pm_libpmem_fail(int rc)
{
	pm_libpmem_error.sentence[0] = 0;
	errno = -rc;
	return -1;
}

/* An error that this header found. */
PM_LIBPMEM_API int pm_libpmem_refuse(int rc, const char *function, const char *about, const char *reason)
{
	snprintf(pm_libpmem_error.sentence, sizeof(pm_libpmem_error.sentence), "%s: %.300s%s%s", function, about,
	         *about ? ": " : "", reason);
	errno = -rc;
	return -1;
}

/* ---- What this thread flushed and has not drained, one list for all files of a program ---- */

#define PM_LIBPMEM_PENDING 16u /* mappings; beyond them the eldest is drained at once */

struct pm_libpmem_pending {
	const void *address[PM_LIBPMEM_PENDING]; /* in the mapping: pm_unmap() has drained one that is gone */
	unsigned count;
};
__attribute__((weak)) __thread struct pm_libpmem_pending pm_libpmem_pending;

PM_LIBPMEM_API void pm_libpmem_check(int rc)
{
	if (!rc)
		return;
	pm_libpmem_fail(rc);
	PM_LIBPMEM_FAILED(pm_error_detail());
}

PM_LIBPMEM_API struct pm_mapping *pm_libpmem_find(const void *address, const char *function)
{
	struct pm_mapping *mapping = pm_find(address);
	if (mapping)
		return mapping;
	pm_libpmem_refuse(-EINVAL, function, "", PM_LIBPMEM_NOWHERE);
	PM_LIBPMEM_FAILED(pm_libpmem_error.sentence);
	return NULL;
}

PM_LIBPMEM_API void pm_libpmem_drain(const void *address)
{
	struct pm_mapping *mapping = pm_find(address);
	if (mapping)
		pm_libpmem_check(pm_drain(mapping));
}

PM_LIBPMEM_API void pm_libpmem_add(const struct pm_mapping *mapping, const void *address)
{
	struct pm_libpmem_pending *p = &pm_libpmem_pending;
	for (unsigned i = 0; i < p->count; i++)
		if (pm_find(p->address[i]) == mapping)
			return;
	if (p->count == PM_LIBPMEM_PENDING) {
		pm_libpmem_drain(p->address[0]);
		memmove(p->address, p->address + 1, --p->count * sizeof(p->address[0]));
	}
	p->address[p->count++] = address;
}

/* ---- Mapping ---- */

/* 0, or -1 with errno and the sentence. */
PM_LIBPMEM_API int pm_libpmem_map_nameless(const char *path, const struct pm_options *o, int flags,
                                           struct pm_mapping **mapping)
{
	int exclusive = flags & PMEM_FILE_EXCL ? O_EXCL : 0;
	int fd = open(path, PM_LIBPMEM_TMPFILE | O_RDWR | PM_LIBPMEM_CLOEXEC | exclusive, (mode_t)o->mode);
	if (fd < 0)
		return pm_libpmem_refuse(-errno, "pmem_map_file", path, pm_strerror(-errno));
	int rc = pm_map_fd(fd, o, mapping);
	close(fd);
	return rc ? pm_libpmem_fail(rc) : 0;
}

PM_LIBPMEM_API int pm_libpmem_map(const char *path, size_t length, int flags, mode_t mode, struct pm_mapping **mapping)
{
	struct pm_options o;
	memset(&o, 0, sizeof(o));
	o.size = sizeof(o);
	o.length = length;
	o.mode = mode;
	o.flags = (flags & PMEM_FILE_SPARSE ? PM_SPARSE : 0u) | PM_CREATE;
	int rc;
	if (flags & PMEM_FILE_TMPFILE)
		return pm_libpmem_map_nameless(path, &o, flags, mapping);
	if (flags & PMEM_FILE_CREATE)
		o.flags |= PM_AT_LEAST | (flags & PMEM_FILE_EXCL ? PM_EXCLUSIVE : 0u);
	else
		o.flags = 0;
	rc = pm_map(path, &o, mapping);
	/* A longer file becomes that short. */
	if (!rc && flags & PMEM_FILE_CREATE && pm_length(*mapping) > length &&
	    (rc = pm_resize(*mapping, length)))
		pm_unmap(*mapping);
	return rc ? pm_libpmem_fail(rc) : 0;
}

/* 1 only where no kernel call is needed: a promise of cache lines or better. */
PM_LIBPMEM_API int pmem_is_pmem(const void *addr, size_t len)
{
	struct pm_mapping *mapping = pm_find(addr);
	if (!mapping || pm_granularity_of(mapping) < PM_CACHE_LINE)
		return 0;
	return len <= pm_length(mapping) - (uint64_t)((const char *)addr - (const char *)pm_base(mapping));
}

/* What the flags and the length lack; NULL: nothing. */
PM_LIBPMEM_API const char *pm_libpmem_refusal(size_t len, int flags)
{
	const int known = PMEM_FILE_CREATE | PMEM_FILE_EXCL | PMEM_FILE_SPARSE | PMEM_FILE_TMPFILE;
	int makes = flags & (PMEM_FILE_CREATE | PMEM_FILE_TMPFILE);
	if (flags & ~known)
		return "the flags have a bit that is none of PMEM_FILE_CREATE, _EXCL, _SPARSE and _TMPFILE";
	if (makes && !len)
		return "PMEM_FILE_CREATE and PMEM_FILE_TMPFILE need a length";
	/* len is the file's: without a file to make there is none to give. */
	if (!makes && len)
		return "a length needs PMEM_FILE_CREATE or PMEM_FILE_TMPFILE; 0 maps the whole file";
	return !makes && flags ? "PMEM_FILE_EXCL and PMEM_FILE_SPARSE need PMEM_FILE_CREATE or PMEM_FILE_TMPFILE"
	                       : NULL;
}

/* Neither is made: libpmem takes these flags for a device-dax, and a length that is 0 or the device's. */
PM_LIBPMEM_API int pm_libpmem_is_device(const char *path, int flags)
{
	struct stat st;
	return !(flags & ~(PMEM_FILE_CREATE | PMEM_FILE_SPARSE)) && path && !stat(path, &st) && S_ISCHR(st.st_mode);
}

PM_LIBPMEM_API int pm_libpmem_map_device(const char *path, size_t length, struct pm_mapping **mapping)
{
	if (pm_libpmem_map(path, 0, 0, 0, mapping))
		return -1;
	if (!length || length == pm_length(*mapping))
		return 0;
	pm_unmap(*mapping);
	return pm_libpmem_refuse(-EINVAL, "pmem_map_file", path, "the length of a device must be 0 or its whole size");
}

PM_LIBPMEM_API int pm_libpmem_map_any(const char *path, size_t length, int flags, mode_t mode,
                                      struct pm_mapping **mapping)
{
	const char *refusal;
	if (pm_libpmem_is_device(path, flags))
		return pm_libpmem_map_device(path, length, mapping);
	refusal = pm_libpmem_refusal(length, flags);
	return refusal ? pm_libpmem_refuse(-EINVAL, "pmem_map_file", path ? path : "", refusal)
	               : pm_libpmem_map(path, length, flags, mode, mapping);
}

PM_LIBPMEM_API void *pmem_map_file(const char *path, size_t len, int flags, mode_t mode, size_t *mapped_lenp,
                                   int *is_pmemp)
{
	struct pm_mapping *mapping;
	if (pm_libpmem_map_any(path, len, flags, mode, &mapping))
		return NULL;
	if (mapped_lenp)
		*mapped_lenp = (size_t)pm_length(mapping);
	if (is_pmemp)
		*is_pmemp = pmem_is_pmem(pm_base(mapping), (size_t)pm_length(mapping));
	return pm_base(mapping);
}

PM_LIBPMEM_API int pm_libpmem_has_left(const struct pm_mapping *mapping)
{
	const char *at = (const char *)pm_base(mapping), *end = at + pm_length(mapping);
	for (; at < end; at += sysconf(_SC_PAGESIZE))
		if (pm_find(at) == mapping)
			return 1;
	return 0;
}

/* The mapping ends with its last part. */
PM_LIBPMEM_API int pm_libpmem_unmap_part(struct pm_mapping *mapping, void *addr, size_t len)
{
	int rc = pm_give_up(mapping, addr, len), end;
	/* An error of the drain: what it concerned is given up. */
	if (pm_find(addr) == mapping)
		return rc ? pm_libpmem_fail(rc) : 0;
	if (munmap(addr, len))
		return pm_libpmem_refuse(-errno, "pmem_unmap", "munmap(2)", pm_strerror(-errno));
	end = pm_libpmem_has_left(mapping) ? 0 : pm_unmap(mapping);
	rc = rc ? rc : end;
	return rc ? pm_libpmem_fail(rc) : 0;
}

PM_LIBPMEM_API int pmem_unmap(void *addr, size_t len)
{
	struct pm_mapping *mapping = pm_find(addr);
	if (!mapping)
		return pm_libpmem_refuse(-EINVAL, "pmem_unmap", "", "the address lies in no mapping");
	if (pm_base(mapping) != addr || pm_length(mapping) != len)
		return pm_libpmem_unmap_part(mapping, addr, len);
	int rc = pm_unmap(mapping);
	return rc ? pm_libpmem_fail(rc) : 0;
}

/* ---- Durability ---- */

PM_LIBPMEM_API void pmem_persist(const void *addr, size_t len)
{
	struct pm_mapping *mapping = len ? pm_libpmem_find(addr, "pmem_persist") : NULL;
	if (mapping)
		pm_libpmem_check(pm_persist(mapping, addr, len));
}

PM_LIBPMEM_API int pmem_msync(const void *addr, size_t len)
{
	struct pm_mapping *mapping = pm_find(addr);
	uintptr_t rest = (uintptr_t)addr & ((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
	if (!mapping)
		return !msync((char *)(uintptr_t)addr - rest, len + rest, MS_SYNC)
		               ? 0
		               : pm_libpmem_refuse(-errno, "pmem_msync", "msync(2)", pm_strerror(-errno));
	int rc = pm_persist(mapping, addr, len);
	return rc ? pm_libpmem_fail(rc) : 0;
}

PM_LIBPMEM_API void pmem_flush(const void *addr, size_t len)
{
	struct pm_mapping *mapping = len ? pm_libpmem_find(addr, "pmem_flush") : NULL;
	if (!mapping)
		return;
	pm_libpmem_check(pm_flush(mapping, addr, len));
	pm_libpmem_add(mapping, addr);
}

PM_LIBPMEM_API void pmem_drain(void)
{
	struct pm_libpmem_pending *p = &pm_libpmem_pending;
	while (p->count)
		pm_libpmem_drain(p->address[--p->count]);
}

PM_LIBPMEM_API int pmem_deep_persist(const void *addr, size_t len)
{
	struct pm_mapping *mapping = pm_find(addr);
	if (len && !mapping)
		return pm_libpmem_refuse(-EINVAL, "pmem_deep_persist", "", PM_LIBPMEM_NOWHERE);
	int rc = len ? pm_deep_persist(mapping, addr, len) : 0;
	return rc ? pm_libpmem_fail(rc) : 0;
}

PM_LIBPMEM_API void pmem_deep_flush(const void *addr, size_t len)
{
	pmem_flush(addr, len);
}

PM_LIBPMEM_API int pmem_deep_drain(const void *addr, size_t len)
{
	return pmem_deep_persist(addr, len);
}

/* ---- Copies ---- */

PM_LIBPMEM_API unsigned pm_libpmem_flags(unsigned flags)
{
	unsigned temporal = flags & (PMEM_F_MEM_TEMPORAL | PMEM_F_MEM_WB) ? PM_TEMPORAL : 0u;
	unsigned streams = flags & (PMEM_F_MEM_NONTEMPORAL | PMEM_F_MEM_WC) ? PM_NONTEMPORAL : 0u;
	return (flags & PMEM_F_MEM_NODRAIN ? PM_NODRAIN : 0u) | (flags & PMEM_F_MEM_NOFLUSH ? PM_NOFLUSH : 0u) |
	       (temporal && streams ? 0u : temporal | streams);
}

/* The mapping to copy into; NULL: a plain copy is all. */
PM_LIBPMEM_API struct pm_mapping *pm_libpmem_target(const void *dest, size_t len, unsigned flags, const char *function)
{
	struct pm_mapping *mapping = !len                           ? NULL
	                             : flags & PMEM_F_MEM_NOFLUSH ? pm_find(dest)
	                                                          : pm_libpmem_find(dest, function);
	if (mapping && flags & PMEM_F_MEM_NODRAIN && !(flags & PMEM_F_MEM_NOFLUSH))
		pm_libpmem_add(mapping, dest);
	return mapping;
}

PM_LIBPMEM_API void *pmem_memmove(void *dest, const void *src, size_t len, unsigned flags)
{
	struct pm_mapping *mapping = pm_libpmem_target(dest, len, flags, "pmem_memmove");
	if (!mapping)
		return memmove(dest, src, len);
	pm_libpmem_check(pm_memmove(mapping, dest, src, len, pm_libpmem_flags(flags)));
	return dest;
}

PM_LIBPMEM_API void *pmem_memcpy(void *dest, const void *src, size_t len, unsigned flags)
{
	return pmem_memmove(dest, src, len, flags);
}

PM_LIBPMEM_API void *pmem_memset(void *dest, int c, size_t len, unsigned flags)
{
	struct pm_mapping *mapping = pm_libpmem_target(dest, len, flags, "pmem_memset");
	if (!mapping)
		return memset(dest, c, len);
	pm_libpmem_check(pm_memset(mapping, dest, c, len, pm_libpmem_flags(flags)));
	return dest;
}

PM_LIBPMEM_API void *pmem_memmove_persist(void *dest, const void *src, size_t len)
{
	return pmem_memmove(dest, src, len, 0);
}

PM_LIBPMEM_API void *pmem_memcpy_persist(void *dest, const void *src, size_t len)
{
	return pmem_memmove(dest, src, len, 0);
}

PM_LIBPMEM_API void *pmem_memset_persist(void *dest, int c, size_t len)
{
	return pmem_memset(dest, c, len, 0);
}

PM_LIBPMEM_API void *pmem_memmove_nodrain(void *dest, const void *src, size_t len)
{
	return pmem_memmove(dest, src, len, PMEM_F_MEM_NODRAIN);
}

PM_LIBPMEM_API void *pmem_memcpy_nodrain(void *dest, const void *src, size_t len)
{
	return pmem_memmove(dest, src, len, PMEM_F_MEM_NODRAIN);
}

PM_LIBPMEM_API void *pmem_memset_nodrain(void *dest, int c, size_t len)
{
	return pmem_memset(dest, c, len, PMEM_F_MEM_NODRAIN);
}

/* ---- About the platform ---- */

/* Each mapping may lie on another medium: none is known for all, and unknown is no. */
PM_LIBPMEM_API int pmem_has_auto_flush(void)
{
	return 0;
}

PM_LIBPMEM_API int pmem_has_hw_drain(void)
{
	return 0;
}

PM_LIBPMEM_API const char *pmem_check_version(unsigned major_required, unsigned minor_required)
{
	return major_required == PMEM_MAJOR_VERSION && minor_required <= PMEM_MINOR_VERSION
	               ? NULL
	               : "pmdirect has the functions of libpmem 1.1, and no others";
}

PM_LIBPMEM_API const char *pmem_errormsg(void)
{
	return *pm_libpmem_error.sentence ? pm_libpmem_error.sentence : pm_error_detail();
}

#ifdef __cplusplus
}
#endif

#endif
