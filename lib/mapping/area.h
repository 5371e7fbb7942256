/* SPDX-License-Identifier: BSD-3-Clause */
/* The mmap(2) of a mapping and of a probe, and why the kernel refuses it. */
#ifndef PM_AREA_H
#define PM_AREA_H

#include "facts/policy.h"
#include "facts/subject.h"
#include "file/file.h"

/* Where a mapping is to be, and what mmap(2) is told besides. All zero: where the kernel puts it. */
struct pm_area_wish {
	void *address; /* a hint; the place itself with is_fixed */
	bool is_fixed, replaces; /* what is mapped there */
	int flags;
};

/* What the options wish. Leaves the sentence if a mapping cannot be there, or (-EEXIST) if something else is. */
int pm_area_take_wish(const struct pm_file *, const struct pm_options *, const struct pm_subject *s,
                      struct pm_area_wish *ret);
/*
 * *map is the result. reserve: bytes that are mapped, of which the first s->length are accessible; 0: those alone. A
 * call that fails leaves what is mapped at the wished place. Leaves the sentence.
 */
int pm_area_map(const struct pm_file *, const struct pm_requested *, const struct pm_subject *s, bool is_synchronous,
                size_t reserve, const struct pm_area_wish *, void **map);
/* The protection of [from, to) of a mapping; an empty range is no call. */
int pm_area_set_access(char *map, size_t from, size_t to, int prot);
/*
 * Whether the process has room for a reserve, which is tried, before the file is touched. *ret: what it takes in whole
 * units; 0: no reserve was asked for. Leaves the sentence.
 */
int pm_area_try_reserve(const struct pm_file *, uint64_t reserve, uint64_t offset, uint64_t length, size_t *ret);
/*
 * Tells the kernel how the pages of the mapping are accessed, before any of them is. True: the page cache could hold
 * them in large folios, and is to hold single pages.
 */
bool pm_area_advise(const struct pm_requested *, const struct pm_subject *, void *map, size_t length);
/*
 * Makes single pages of the large folios that hold the file already: all with PM_ACCESS_RANDOM, without it those of a
 * range of which little is cached. With PM_ACCESS_RANDOM a kernel that does not tell how much drops what is clean.
 */
void pm_area_split_folios(const struct pm_file *, const struct pm_requested *, const struct pm_subject *, void *map);
/*
 * Maps, and unmaps, what there is of the range in a file of that size: to map a hugetlbfs for writing grows the file
 * (fs/hugetlbfs/inode.c hugetlbfs_file_mmap).
 */
int pm_area_try(const struct pm_file *, const struct pm_requested *, struct pm_subject, bool is_synchronous,
                uint64_t size);
/*
 * Whether the process has room for so many bytes more, before a file grows for them: that may not be taken back. Leaves
 * the sentence of the call that would fail, of length bytes.
 */
int pm_area_try_room(const char *name, const char *call, const char *what, size_t length, size_t added);
/* An address at which huge pages are possible; NULL: none. Nothing is ever mapped over anything. */
void *pm_area_huge_page_hint(uint64_t offset, size_t length);
/* Leaves the sentence for a failed call that makes a mapping: it names the limit that was met. Returns rc. */
int pm_area_no_room(const char *name, const char *call, const char *what, size_t length, size_t added, int rc);

#endif
