/* SPDX-License-Identifier: BSD-3-Clause */
/* The same as cost_pmdirect.c by the plain system calls. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int cost_load_a_library(void);

int main(int argc, char **argv)
{
	struct stat st;
	if (argc != 2 || cost_load_a_library() || write(-1, "begin", 5) != -1)
		return 1;
	int fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return 1;
	char *map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return 1;
	map[0] = 1;
	if (msync(map, 1, MS_SYNC) || munmap(map, (size_t)st.st_size) || close(fd))
		return 1;
	return write(-1, "end", 3) != -1;
}
