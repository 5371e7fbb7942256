/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the fake machine: fake.c (system calls), fake_files.c (what files say) and the others. */
#ifndef FAKE_INTERNAL_H
#define FAKE_INTERNAL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define FAKE_VIRTUAL_FD 1000000
#define FAKE_MAJOR 259u /* of the device that every file lies on */
#define FAKE_MINOR 3u
#define FAKE_MOUNT 36u /* id of its mount */
#define FAKE_HUGE_PAGES 2u /* pages that make a page of hugetlbfs */

/* What each file of the fake machine answers. */
struct pm_sys;
extern const struct pm_sys fake_answers_of_files, fake_answers_of_medium, fake_answers_of_watch, fake_answers_of_guard,
	fake_answers_of_commit;

void fake_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

void fake_virtual_start(void);
bool fake_is_virtual(const char *path);
bool fake_virtual_exists(const char *path);
struct fake_region;
const struct fake_region *fake_region_of(unsigned number);
/* Whether the path is of a region's read_only, or of DIMMs of a machine that tells nothing else of its health. */
bool fake_tells_dimms(const char *path, const char **value);
/* Whether it tells of health; *value is NULL if this machine has it not. */
bool fake_tells_health(const char *path, const char **value);
unsigned fake_type_at(const char *path);
unsigned fake_virtual_type(int fd);
/* Of this thread, in smaps from now on. */
void fake_show_mapping(const void *address, int64_t length, bool sync);
int fake_virtual_open(const char *path, int flags);
int fake_virtual_close(int fd);
ssize_t fake_virtual_read(int fd, void *buffer, size_t size);
ssize_t fake_virtual_pread(int fd, void *buffer, size_t size);
ssize_t fake_virtual_link(const char *path, char *buffer, size_t size);
void fake_device_size(uint64_t size);

/* fake_medium.c */
/* Writes back what was written over bad blocks in the page cache: whether that failed. */
bool fake_write_back_bad(void);
/* The disk's list; NULL if the machine says something else. */
const char *fake_bad_list(char *text, size_t size);


/* fake_commit.c: a path of procfs or sysfs that is an ext4's own; what it counts; it commits. */
bool fake_is_ext4(const char *path);
int fake_counters(char *text, size_t size);
void fake_commits(void);
/* fake_below.c */
bool fake_is_below(int fd);
/* Whether the path is of a loop device: what statx(2) says of it, or a descriptor; or -errno. */
bool fake_is_loop(const char *path);
int fake_loop_stat(struct statx *);
int fake_loop_open(void);
struct loop_info64;
int fake_loop_ioctl(struct loop_info64 *);
/* The numbers of the file system: those that the upper layer of an overlay has, by its path or passed on. */
struct statfs;
void fake_upper_numbers(struct statfs *, bool by_path);
int fake_over(struct statx *stx); /* what its path leads to */
/* A path of procfs that tells of the devices of a file system. */
bool fake_tells_members(const char *path);
/* A node of a device that a mount option names; its number. */
bool fake_is_node(const char *path, struct statx *stx);
bool fake_below_attribute(const char *path, const char **value);
bool fake_below_link(const char *path, char *text, size_t size);
bool fake_below_exists(const char *path);
bool fake_below_entries(const char *directory, void (*visit)(void *arg, const char *entry), void *arg);
#define FAKE_BELOW 1000000u /* what is added to the mount's id for the file system below */
void fake_check_statmount(uint32_t magic);
void fake_check_cachestat(uint32_t magic);
bool fake_is_read_only(void);
struct statfs;
void fake_file_system(struct statfs *);
uint64_t fake_entry_number(void);

/* What statx(2) says of the mount, the encryption and the block size. */
struct statx;
void fake_place(struct statx *);
void fake_virtual_entries(const char *directory, void (*visit)(void *arg, const char *entry), void *arg);
/* Answers of an XFS; other requests are a violation. */
int fake_xfs(unsigned long request, void *arg);
struct fsxattr;
int fake_set_hints(const struct fsxattr *);

struct fiemap;
int fake_fiemap(struct fiemap *);


void fake_cpu_start(void);
void fake_cpu_stop(void);

#endif
