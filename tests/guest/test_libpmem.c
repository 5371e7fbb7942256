/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs as they are written for libpmem, on include/pmdirect_libpmem.h: a copy in one piece, a copy of a file block
 * by block, a log, a file without a name, and what cannot be made durable. test_libpmem DIRECTORY...
 */
#include <stdbool.h>

static int told;
static const char *sentence_told;
static void tell(const char *sentence)
{
	told++;
	sentence_told = sentence;
}
#define PM_LIBPMEM_FAILED(sentence) tell(sentence)
#include <pmdirect_libpmem.h>

#include <sys/stat.h>

#include "check.h"
#include "libpmem_other.h"

#define BLOCK 4096
#define BLOCKS 40

static char path[300], other_path[310];

static off_t size_of(const char *file)
{
	struct stat st;
	return stat(file, &st) ? -1 : st.st_size;
}

static bool holds(const char *file, const char *bytes, size_t length, off_t at)
{
	char found[BLOCK];
	int fd = open(file, O_RDONLY);
	bool same = fd >= 0 && pread(fd, found, length, at) == (ssize_t)length && !memcmp(found, bytes, length);
	close(fd);
	return same;
}

/* The flow of the first page of any introduction: map, copy, persist or msync, unmap. */
static void copy_in_one_piece(void)
{
	size_t length = 0;
	int is_pmem = -1;
	char *to = pmem_map_file(path, BLOCK, PMEM_FILE_CREATE | PMEM_FILE_EXCL, 0640, &length, &is_pmem);
	CHECK(to && length == BLOCK && is_pmem >= 0, "%s", pmem_errormsg());
	if (!to)
		return;
	CHECK(is_pmem == pmem_is_pmem(to, length), "two answers");
	strcpy(to, "hello, persistent memory");
	if (is_pmem)
		pmem_persist(to, length);
	else
		CHECK(!pmem_msync(to, length));
	/* Right without the question, too. */
	strcpy(to + 100, "once more");
	pmem_persist(to + 100, 10);
	CHECK(holds(path, "hello", 5, 0) && holds(path, "once more", 10, 100), "not in the file");
	CHECK(!pmem_unmap(to, length), "%s", pmem_errormsg());
	CHECK(!pmem_map_file(path, BLOCK, PMEM_FILE_CREATE | PMEM_FILE_EXCL, 0640, NULL, NULL), "a second file");
	CHECK(errno == EEXIST, "%m");
	struct stat st;
	CHECK(!stat(path, &st) && (st.st_mode & 0777) == 0640, "the mode is %o", st.st_mode);
}

/* Block by block without a drain, and one at the end. */
static void copy_a_file(void)
{
	static char block[BLOCK];
	size_t length;
	char *to = pmem_map_file(other_path, BLOCKS * BLOCK, PMEM_FILE_CREATE, 0600, &length, NULL);
	CHECK(to && length == BLOCKS * BLOCK, "%s", pmem_errormsg());
	if (!to)
		return;
	for (int i = 0; i < BLOCKS; i++) {
		memset(block, 'a' + i % 26, sizeof(block));
		if (i % 2)
			CHECK(pmem_memcpy_nodrain(to + i * BLOCK, block, BLOCK) == to + i * BLOCK, "destination");
		else
			flush_elsewhere(to + i * BLOCK, block, BLOCK);
	}
	CHECK(pm_libpmem_pending.count == 1, "%u mappings wait", pm_libpmem_pending.count);
	pmem_drain();
	CHECK(!pm_libpmem_pending.count, "%u mappings still wait", pm_libpmem_pending.count);
	for (int i = 0; i < BLOCKS; i++) {
		memset(block, 'a' + i % 26, sizeof(block));
		CHECK(holds(other_path, block, BLOCK, (off_t)i * BLOCK), "block %d", i);
	}
	CHECK(!pmem_unmap(to, length), "%s", pmem_errormsg());
}

/* Without flags a file is mapped whole; with a length it becomes that long. */
static void lengths_of_a_file(void)
{
	size_t length;
	char *whole = pmem_map_file(other_path, 0, 0, 0, &length, NULL);
	CHECK(whole && length == BLOCKS * BLOCK && whole[BLOCK] == 'b', "%s", pmem_errormsg());
	CHECK(whole && !pmem_unmap(whole, length), "%s", pmem_errormsg());
	CHECK(!pmem_map_file(other_path, BLOCK, 0, 0, NULL, NULL) && errno == EINVAL, "a length for no file");
	CHECK(!pmem_map_file(other_path, 0, PMEM_FILE_CREATE, 0600, NULL, NULL) && errno == EINVAL, "no length");
	CHECK(!pmem_map_file(other_path, 0, 1 << 9, 0, NULL, NULL) && errno == EINVAL, "a flag that is none");
	CHECK(!pmem_map_file("/nowhere/at/all", 0, 0, 0, NULL, NULL) && errno == ENOENT, "%m");
	CHECK(strstr(pmem_errormsg(), "/nowhere/at/all"), "%s", pmem_errormsg());
	char *shorter = pmem_map_file(other_path, 3 * BLOCK, PMEM_FILE_CREATE, 0600, &length, NULL);
	CHECK(shorter && length == 3 * BLOCK && size_of(other_path) == 3 * BLOCK, "%s", pmem_errormsg());
	CHECK(shorter && !pmem_unmap(shorter, length), "%s", pmem_errormsg());
	char *longer = pmem_map_file(other_path, 5 * BLOCK, PMEM_FILE_CREATE | PMEM_FILE_SPARSE, 0600, &length, NULL);
	CHECK(longer && length == 5 * BLOCK && longer[2 * BLOCK] == 'c' && !longer[4 * BLOCK], "%s", pmem_errormsg());
	CHECK(longer && !pmem_unmap(longer, length), "%s", pmem_errormsg());
}

static bool is_mapped(void *at)
{
	unsigned char cached;
	return !mincore(at, 1, &cached);
}

/* The highest descriptor: a mapping that has ended has none. */
static int next_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY);
	close(fd);
	return fd;
}

/* From the middle, so that parts before and behind stay; the last part ends the mapping. */
static void parts_are_unmapped(void)
{
	static const int order[] = {2, 0, 4, 1, 3};
	int before = next_descriptor();
	char *five = pmem_map_file(path, 5 * BLOCK, PMEM_FILE_CREATE, 0600, NULL, NULL);
	CHECK(five, "%s", pmem_errormsg());
	for (int i = 0; five && i < 5; i++) {
		char *part = five + order[i] * BLOCK;
		CHECK(pmem_unmap(part + 1, BLOCK) == -1 && errno == EINVAL, "not at a page");
		CHECK(pmem_unmap(part, 6 * BLOCK) == -1 && errno == ERANGE, "longer than the mapping");
		*part = (char)('a' + i);
		pmem_persist(part, 1);
		CHECK(!pmem_unmap(part, i % 2 ? BLOCK : 100), "%s", pmem_errormsg());
		CHECK(holds(path, (char[]){(char)('a' + i)}, 1, (off_t)order[i] * BLOCK), "part %d", i);
		CHECK(!is_mapped(part) && pmem_unmap(part, BLOCK) == -1 && errno == EINVAL, "part %d is there", i);
		for (int k = i + 1; k < 5; k++) {
			CHECK(is_mapped(five + order[k] * BLOCK), "part %d", k);
			CHECK(!pmem_msync(five + order[k] * BLOCK, BLOCK), "%s", pmem_errormsg());
		}
	}
	CHECK(next_descriptor() == before, "a descriptor is left");
	CHECK(!told, "%s", sentence_told);
}

static bool says(const char *words)
{
	return strstr(pmem_errormsg(), words);
}

/* An error that the header finds has a sentence of its own, and the library's next error has the library's again. */
static void errors_have_sentences(const char *directory)
{
	size_t length;
	char missing[400];
	snprintf(missing, sizeof(missing), "%s/no-directory", directory);
	CHECK(!pmem_map_file("/nowhere", 0, 0, 0, NULL, NULL) && says("/nowhere"), "%s", pmem_errormsg());
	CHECK(!pmem_map_file(path, 1, 1 << 9, 0, NULL, NULL) && says("flags") && says(path), "%s", pmem_errormsg());
	CHECK(!pmem_map_file(path, 0, PMEM_FILE_CREATE, 0, NULL, NULL) && says("need a length"), "%s", pmem_errormsg());
	CHECK(!pmem_map_file(path, 1, 0, 0, NULL, NULL) && says("whole file"), "%s", pmem_errormsg());
	CHECK(!pmem_map_file(path, 0, PMEM_FILE_EXCL, 0, NULL, NULL) && says("PMEM_FILE_EXCL and"), "%s",
	      pmem_errormsg());
	CHECK(!pmem_map_file(path, 0, PMEM_FILE_SPARSE, 0, NULL, NULL) && errno == EINVAL, "%m");
	CHECK(!pmem_map_file(missing, 1, PMEM_FILE_TMPFILE, 0600, NULL, NULL) && errno == ENOENT && says(missing),
	      "%s", pmem_errormsg());
	CHECK(!pmem_map_file("/nowhere", 0, 0, 0, NULL, NULL) && says("/nowhere") && !says(missing), "%s",
	      pmem_errormsg());
	char *whole = pmem_map_file(path, 0, 0, 0, &length, NULL);
	CHECK(whole, "%s", pmem_errormsg());
	if (!whole)
		return;
	CHECK(pmem_unmap(whole + 1, length) == -1 && says("not a multiple"), "%s", pmem_errormsg());
	CHECK(pmem_unmap(whole + length, length) == -1 && says("no mapping"), "%s", pmem_errormsg());
	CHECK(pmem_msync((void *)(uintptr_t)BLOCK, 1) == -1 && errno == ENOMEM && says("msync(2)"), "%s",
	      pmem_errormsg());
	CHECK(pmem_deep_persist(&length, 1) == -1 && says("pmem_deep_persist") && says("no mapping"), "%s",
	      pmem_errormsg());
	CHECK(!pmem_map_file(path, BLOCK / 2, PMEM_FILE_CREATE, 0, NULL, NULL) && errno == EBUSY && says(path), "%s",
	      pmem_errormsg());
	CHECK(!pmem_unmap(whole, length), "%s", pmem_errormsg());
}

static void a_file_without_a_name(const char *directory)
{
	size_t length;
	char *log = pmem_map_file(directory, 10 * BLOCK, PMEM_FILE_TMPFILE, 0600, &length, NULL);
	if (!log && errno == EOPNOTSUPP)
		return;
	CHECK(log && length == 10 * BLOCK, "%s", pmem_errormsg());
	if (!log)
		return;
	pmem_memset_persist(log, 7, length);
	CHECK(pmem_memmove_persist(log + 10, log, 5000) == log + 10 && log[5009] == 7, "moved");
	CHECK(pmem_memset(log, 1, 100, PMEM_F_MEM_NODRAIN | PMEM_F_MEM_NONTEMPORAL) == log, "destination");
	CHECK(pmem_memcpy(log + 200, log, 100, PMEM_F_MEM_NOFLUSH) == log + 200, "destination");
	CHECK(pmem_memmove(log, log + 1, 64, PMEM_F_MEM_WC | PMEM_F_MEM_WB) == log, "destination");
	pmem_drain();
	pmem_deep_flush(log, 4096);
	CHECK(!pmem_deep_drain(log, 4096), "%s", pmem_errormsg());
	CHECK(!pmem_deep_persist(log, length), "%s", pmem_errormsg());
	pmem_flush(log, 1);
	CHECK(!pmem_unmap(log, length), "%s", pmem_errormsg());
	/* The mapping is gone, drained. */
	pmem_drain();
	CHECK(!told, "%s", sentence_told);
}

/* More mappings than are remembered. */
static void many_mappings_wait(void)
{
	char *part[PM_LIBPMEM_PENDING + 4], name[400];
	for (unsigned i = 0; i < PM_LIBPMEM_PENDING + 4; i++) {
		snprintf(name, sizeof(name), "%s-%u", path, i);
		part[i] = pmem_map_file(name, BLOCK, PMEM_FILE_CREATE, 0600, NULL, NULL);
		unlink(name);
		CHECK(part[i], "%s", pmem_errormsg());
		if (!part[i])
			return;
		pmem_memset_nodrain(part[i], 1, 100);
	}
	CHECK(pm_libpmem_pending.count == PM_LIBPMEM_PENDING, "%u", pm_libpmem_pending.count);
	pmem_drain();
	for (unsigned i = 0; i < PM_LIBPMEM_PENDING + 4; i++)
		CHECK(!pmem_unmap(part[i], BLOCK), "%s", pmem_errormsg());
	CHECK(!told, "%s", sentence_told);
}

/* What cannot be durable is told, each time. */
static void what_lies_in_no_mapping(void)
{
	static char memory[BLOCK], bytes[10] = "bytes";
	int before = told;
	pmem_persist(memory, 1);
	pmem_flush(memory, 1);
	pmem_memcpy_persist(memory, bytes, sizeof(bytes));
	CHECK(told == before + 3 && !strcmp(memory, "bytes"), "%d are told", told - before);
	CHECK(!pmem_is_pmem(memory, 1), "static memory");
	CHECK(pmem_deep_persist(memory, 1) == -1 && errno == EINVAL, "%m");
	pmem_memset(memory, 0, 5, PMEM_F_MEM_NOFLUSH);
	pmem_persist(memory, 0);
	CHECK(told == before + 3 && !memory[0], "%d are told", told - before);
	size_t length;
	char *whole = pmem_map_file(path, 0, 0, 0, &length, NULL);
	CHECK(whole, "%s", pmem_errormsg());
	if (!whole)
		return;
	pmem_persist(whole + length - 1, 2);
	CHECK(told == before + 4 && strstr(sentence_told, path), "%s", sentence_told);
	CHECK(!pmem_is_pmem(whole + length - 1, 2), "beyond the end");
	CHECK(!pmem_unmap(whole, length), "%s", pmem_errormsg());
	/* Another mapping of the program's own: msync(2) is right there. */
	int fd = open(path, O_RDWR);
	char *own = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(own != MAP_FAILED && !pmem_msync(own + 5, 10), "%m");
	munmap(own, BLOCK);
	close(fd);
	told = 0;
}

int main(int argc, char **argv)
{
	CHECK(!pmem_check_version(PMEM_MAJOR_VERSION, PMEM_MINOR_VERSION), "the version of the header");
	CHECK(pmem_check_version(PMEM_MAJOR_VERSION, PMEM_MINOR_VERSION + 1), "a later version");
	CHECK(pmem_check_version(PMEM_MAJOR_VERSION + 1, 0), "another version");
	CHECK(pmem_has_auto_flush() == 0 && pmem_has_hw_drain() == 0, "unknown is no");
	for (int i = 1; i < argc; i++) {
		place_checked = argv[i];
		snprintf(path, sizeof(path), "%s/copied", argv[i]);
		snprintf(other_path, sizeof(other_path), "%s-too", path);
		unlink(path);
		unlink(other_path);
		copy_in_one_piece();
		copy_a_file();
		lengths_of_a_file();
		parts_are_unmapped();
		errors_have_sentences(argv[i]);
		a_file_without_a_name(argv[i]);
		many_mappings_wait();
		what_lies_in_no_mapping();
		unlink(path);
		unlink(other_path);
	}
	return failures != 0;
}
