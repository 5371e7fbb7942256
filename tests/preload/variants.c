/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each name that the C library has for a call, called by that name: variants FILE OTHER GROUP. Groups: writes and
 * changes make one call of each name on the mapped file. opens and closes give the number of a descriptor of the
 * mapped file to the other one, by each name, with the rest done past the C library, and write to it. exchanges does
 * so by functions that open and close descriptors by themselves, and gives the number back. lookups: fdatasync as
 * dlsym(3) finds it. many: the last arguments are files; each is mapped, and then each gets one call. exec NAME: the
 * last argument is a program, which is begun by that name.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH 65536

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "variants: line %d: %s: %s\n", __LINE__, #condition, strerror(errno));         \
			_exit(99);                                                                                     \
		}                                                                                                      \
	} while (0)

/* What the headers declare for checked calls alone. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int directory, const char *path, int flags);
int __openat64_2(int directory, const char *path, int flags);

static char *path, *other;
static int fd, source; /* of the mapped file, and of the other for reading */

static void map_it(void)
{
	fd = open64(path, O_RDWR | O_CREAT, 0600);
	MUST(fd >= 0 && !ftruncate64(fd, LENGTH));
	MUST(mmap64(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
	int made = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600);
	MUST(made >= 0 && write(made, "abcdefgh", 8) == 8 && !close(made));
	source = open(other, O_RDONLY);
	MUST(source >= 0);
}

static void make_writes(void)
{
	struct iovec part = {path, 1};
	loff_t at = 0;
	int ends[2];
	MUST(write(fd, "a", 1) == 1);
	MUST(pwrite(fd, "a", 1, 0) == 1);
	MUST(pwrite64(fd, "a", 1, 0) == 1);
	MUST(writev(fd, &part, 1) == 1);
	MUST(pwritev(fd, &part, 1, 0) == 1);
	MUST(pwritev64(fd, &part, 1, 0) == 1);
	MUST(pwritev2(fd, &part, 1, 0, 0) == 1);
	MUST(pwritev64v2(fd, &part, 1, 0, 0) == 1);
	MUST(sendfile(fd, source, NULL, 1) == 1);
	MUST(sendfile64(fd, source, NULL, 1) == 1);
	MUST(copy_file_range(source, &at, fd, NULL, 1, 0) == 1);
	MUST(!pipe(ends) && write(ends[1], "a", 1) == 1);
	MUST(splice(ends[0], NULL, fd, NULL, 1, 0) == 1);
}

static void make_changes(void)
{
	MUST(!ftruncate(fd, LENGTH));
	MUST(!ftruncate64(fd, LENGTH));
	MUST(!truncate(path, LENGTH));
	MUST(!truncate64(path, LENGTH));
	MUST(!posix_fallocate(fd, 0, 1));
	MUST(!posix_fallocate64(fd, 0, 1));
	/* Not on each file system; the call counts. */
	(void)!fallocate(fd, 0, 0, 1);
	(void)!fallocate64(fd, 0, 0, 1);
	(void)ioctl(fd, 0x40049409 /* FICLONE */, source);
	int truncated = open(path, O_RDWR | O_TRUNC);
	MUST(truncated >= 0 && !ftruncate(truncated, LENGTH));
}

/* ---- Numbers ---- */

/* The number is known to lead to the mapped file, and the kernel alone is told that it is closed. */
static void close_unseen(void)
{
	if (fd < 0 || fcntl(fd, F_GETFD) < 0)
		fd = open(path, O_RDWR);
	MUST(fd >= 0 && !fdatasync(fd));
	MUST(!syscall(SYS_close, fd));
}

static void write_to(int opened)
{
	MUST(opened == fd && write(opened, "b", 1) == 1);
	MUST(!syscall(SYS_close, opened));
	fd = -1;
}

static void make_opens(void)
{
	close_unseen(), write_to(open(other, O_RDWR));
	close_unseen(), write_to(open64(other, O_RDWR));
	close_unseen(), write_to(openat(AT_FDCWD, other, O_RDWR));
	close_unseen(), write_to(openat64(AT_FDCWD, other, O_RDWR));
	close_unseen(), write_to(creat(other, 0600));
	close_unseen(), write_to(creat64(other, 0600));
	close_unseen(), write_to(__open_2(other, O_RDWR));
	close_unseen(), write_to(__open64_2(other, O_RDWR));
	close_unseen(), write_to(__openat_2(AT_FDCWD, other, O_RDWR));
	close_unseen(), write_to(__openat64_2(AT_FDCWD, other, O_RDWR));
	int spare = open(other, O_RDWR);
	close_unseen(), write_to(dup2(spare, fd));
	close_unseen(), write_to(dup3(spare, fd, 0));
}

static void open_known(void)
{
	fd = open(path, O_RDWR);
	MUST(fd >= 0 && !fdatasync(fd));
}

static int open_unseen(void)
{
	return (int)syscall(SYS_openat, AT_FDCWD, other, O_RDWR, 0);
}

static void make_closes(void)
{
	MUST(!fdatasync(fd) && !close(fd));
	write_to(open_unseen());
	open_known();
	MUST(!close_range((unsigned)fd, (unsigned)fd, 0));
	write_to(open_unseen());
	open_known();
	closefrom(fd);
	write_to(open_unseen());
	open_known();
	MUST(!fclose(fdopen(fd, "r+")));
	write_to(open_unseen());
}

/* ---- Numbers that the C library gives and takes ---- */

static FILE *stream;
static DIR *directory;
static char template[4096];

static int by_fopen(void)
{
	return fileno(stream = fopen(other, "r+"));
}

static int by_fopen64(void)
{
	return fileno(stream = fopen64(other, "r+"));
}

/* The number leads to the mapped file until then. */
static int by_freopen(void)
{
	stream = fopen(path, "r");
	MUST(stream && !fdatasync(fileno(stream)));
	return fileno(stream = freopen(other, "r+", stream));
}

static int by_tmpfile(void)
{
	return fileno(stream = tmpfile());
}

static int by_opendir(void)
{
	directory = opendir("/");
	return dirfd(directory);
}

static int by_mkstemp(void)
{
	strcat(strcpy(template, other), "-XXXXXX");
	return mkstemp(template);
}

static int by_mkostemp(void)
{
	strcat(strcpy(template, other), "-XXXXXX");
	return mkostemp(template, O_CLOEXEC);
}

static int by_shm_open(void)
{
	snprintf(template, sizeof(template), "/variants-%d", (int)getpid());
	int made = shm_open(template, O_RDWR | O_CREAT, 0600);
	MUST(!shm_unlink(template));
	*template = 0;
	return made;
}

static int by_memfd(void)
{
	return memfd_create("variants", 0);
}

static int by_socket(void)
{
	return socket(AF_UNIX, SOCK_DGRAM, 0);
}

static int by_eventfd(void)
{
	return eventfd(0, 0);
}

static int by_dup(void)
{
	return dup(source);
}

static int by_fcntl(void)
{
	return fcntl(source, F_DUPFD_CLOEXEC, 0);
}

static int (*const exchanges[])(void) = {
	by_fopen,    by_fopen64, by_freopen, by_tmpfile, by_opendir, by_mkstemp, by_mkostemp,
	by_shm_open, by_memfd,   by_socket,  by_eventfd, by_dup,     by_fcntl,
};

static void end_exchange(int number)
{
	MUST(!(stream ? fclose(stream) : directory ? closedir(directory) : (int)syscall(SYS_close, number)));
	stream = NULL, directory = NULL;
	MUST(!*template || !unlink(template));
	*template = 0;
}

/* One fdatasync of the mapped file, calls of another one, and then one fsync and one write of the mapped one. */
static void make_exchanges(void)
{
	for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
		if (exchanges[i] != by_freopen)
			MUST(!fdatasync(fd));
		MUST(!syscall(SYS_close, fd));
		int number = exchanges[i]();
		MUST(number == fd);
		(void)!write(number, "12345678", 8);
		(void)!fsync(number);
		(void)!fdatasync(number);
		end_exchange(number);
		FILE *again = fopen(path, "r+");
		MUST(again && fileno(again) == fd && !fsync(fd) && write(fd, "c", 1) == 1);
		MUST(!fclose(again) && (fd = open(path, O_RDWR)) == number);
	}
}

static void make_lookups(void)
{
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	MUST(libc);
	void *found[] = {dlsym(RTLD_DEFAULT, "fdatasync"), dlsym(RTLD_NEXT, "fdatasync"), dlsym(libc, "fdatasync")};
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
		MUST(found[i] && !((__typeof__(&fdatasync))(uintptr_t)found[i])(fd));
}

static void make_many(char **files)
{
	static const char bytes[1000];
	int fds[1000], count = 0;
	for (; files[count]; count++) {
		fds[count] = open(files[count], O_RDWR);
		MUST(fds[count] >= 0 && !ftruncate(fds[count], 4096));
		MUST(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fds[count], 0) != MAP_FAILED);
	}
	for (int i = 0; i < count; i++)
		MUST(write(fds[i], bytes, (size_t)i + 1) == i + 1);
}

/* ---- Programs ---- */

static char *program;

static void execute(const char *name)
{
	char *const argv[] = {program, path, "open", "map", "sync-page", NULL};
	pid_t child;
	int status;
	if (!strcmp(name, "execl"))
		execl(program, program, path, argv[2], argv[3], argv[4], NULL);
	if (!strcmp(name, "execlp"))
		execlp(program, program, path, argv[2], argv[3], argv[4], NULL);
	if (!strcmp(name, "execle"))
		execle(program, program, path, argv[2], argv[3], argv[4], NULL, environ);
	if (!strcmp(name, "execv"))
		execv(program, argv);
	if (!strcmp(name, "execvp"))
		execvp(program, argv);
	if (!strcmp(name, "execvpe"))
		execvpe(program, argv, environ);
	if (!strcmp(name, "execve"))
		execve(program, argv, environ);
	if (!strcmp(name, "fexecve"))
		fexecve(open(program, O_RDONLY | O_CLOEXEC), argv, environ);
	if (!strcmp(name, "execveat"))
		execveat(AT_FDCWD, program, argv, environ, 0);
	if (!strcmp(name, "posix_spawn"))
		MUST(!posix_spawn(&child, program, NULL, NULL, argv, environ));
	else if (!strcmp(name, "posix_spawnp"))
		MUST(!posix_spawnp(&child, program, NULL, NULL, argv, environ));
	else
		MUST(0);
	MUST(wait(&status) == child && !status);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 99;
	path = argv[1];
	other = argv[2];
	map_it();
	if (!strcmp(argv[3], "writes"))
		make_writes();
	else if (!strcmp(argv[3], "changes"))
		make_changes();
	else if (!strcmp(argv[3], "opens"))
		make_opens();
	else if (!strcmp(argv[3], "closes"))
		make_closes();
	else if (!strcmp(argv[3], "exchanges"))
		make_exchanges();
	else if (!strcmp(argv[3], "lookups"))
		make_lookups();
	else if (!strcmp(argv[3], "many"))
		make_many(argv + 4);
	else if (!strcmp(argv[3], "exec") && argc == 6)
		program = argv[5], execute(argv[4]);
	else
		return 99;
	return 0;
}
