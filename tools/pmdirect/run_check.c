/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether the dynamic loader will load the companion into a program: by its file, before it runs. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "run.h"
#include "text.h"

#define SCRIPTS 4 /* the kernel follows as many (fs/exec.c exec_binprm) */

char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	int error = ENOENT;
	if (strchr(name, '/'))
		return access(name, F_OK) ? NULL : text_copy(name);
	for (const char *at = path ? path : "/bin:/usr/bin"; *name; at++) {
		size_t length = strcspn(at, ":");
		char *file = text_format("%.*s%s%s", (int)length, at, length ? "/" : "./", name);
		struct stat st;
		bool is_there = !stat(file, &st);
		if (is_there && S_ISREG(st.st_mode) && !access(file, X_OK))
			return file;
		/* As execvp(3): what is there and cannot be run is another error than what is nowhere. */
		if (is_there || errno == EACCES)
			error = EACCES;
		free(file);
		at += length;
		if (!*at)
			break;
	}
	errno = error;
	return NULL;
}

/* Privileges that execve(2) gives: then the dynamic loader takes no library of the caller's (ld.so(8)). */
static char *privileged(const char *path, int fd)
{
	struct stat st;
	struct statvfs fs;
	bool is_ignored = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 || (!fstatvfs(fd, &fs) && fs.f_flag & ST_NOSUID);
	if (is_ignored || fstat(fd, &st))
		return NULL;
	bool by_user = st.st_mode & S_ISUID && st.st_uid != getuid();
	bool by_group = (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getgid();
	if (by_user || by_group)
		return text_format("%s is set-%s-ID: the dynamic loader takes no library of the caller's", path,
		                   by_user ? "user" : "group");
	if (getuid() && fgetxattr(fd, "security.capability", NULL, 0) > 0)
		return text_format("%s has file capabilities: the dynamic loader takes no library of the caller's",
		                   path);
	return NULL;
}

/* The path of the dynamic loader that a file asks for; NULL: none. error: negative, if it is not known. */
static char *loader_of(int fd, const ElfW(Ehdr) * head)
{
	for (unsigned i = 0; i < head->e_phnum; i++) {
		ElfW(Phdr) part;
		char name[PATH_MAX];
		off_t at = (off_t)(head->e_phoff + (size_t)i * head->e_phentsize);
		if (pread(fd, &part, sizeof(part), at) != sizeof(part))
			return NULL;
		if (part.p_type != PT_INTERP || part.p_filesz >= sizeof(name))
			continue;
		ssize_t n = pread(fd, name, part.p_filesz, (off_t)part.p_offset);
		name[n > 0 ? n : 0] = 0;
		return text_copy(name);
	}
	return NULL;
}

static int read_head(int fd, ElfW(Ehdr) * head)
{
	*head = (ElfW(Ehdr)){.e_ident = {0}};
	return pread(fd, head, sizeof(*head), 0) == sizeof(*head) && !memcmp(head->e_ident, ELFMAG, SELFMAG) ? 0 : -1;
}

/* Of this command, which has the same companion. */
static void read_own(ElfW(Ehdr) * head, char **ret_loader)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	*ret_loader = fd >= 0 && !read_head(fd, head) ? loader_of(fd, head) : NULL;
	if (fd >= 0)
		close(fd);
}

/* Whether a section has that name. The section headers may be stripped: then it has not. */
static bool has_section(int fd, const ElfW(Ehdr) * head, const char *wanted)
{
	ElfW(Shdr) names, section;
	off_t table = (off_t)head->e_shoff;
	if (!table ||
	    pread(fd, &names, sizeof(names), table + (off_t)head->e_shstrndx * head->e_shentsize) != sizeof(names))
		return false;
	for (unsigned i = 0; i < head->e_shnum; i++) {
		char name[32] = "";
		if (pread(fd, &section, sizeof(section), table + (off_t)i * head->e_shentsize) != sizeof(section))
			return false;
		if (pread(fd, name, sizeof(name) - 1, (off_t)(names.sh_offset + section.sh_name)) > 0 &&
		    !strcmp(name, wanted))
			return true;
	}
	return false;
}

static char *check_elf(const char *path, int fd, const ElfW(Ehdr) * head, char **ret_note)
{
	ElfW(Ehdr) own = {.e_ident = {0}};
	char *own_loader, *loader = NULL, *obstacle = NULL;
	read_own(&own, &own_loader);
	bool is_alike = head->e_ident[EI_CLASS] == own.e_ident[EI_CLASS] && head->e_machine == own.e_machine;
	if (own_loader && !is_alike)
		obstacle = text_format("%s is a program of another kind (%d bits, machine %u) than this command", path,
		                       head->e_ident[EI_CLASS] == ELFCLASS64 ? 64 : 32, head->e_machine);
	else if (!(loader = loader_of(fd, head)))
		obstacle = text_format("%s is linked statically: no dynamic loader loads a library into it", path);
	else if (own_loader && strcmp(loader, own_loader))
		obstacle = text_format("%s has the dynamic loader %s, of another C library than this command", path,
		                       loader);
	if (!obstacle && has_section(fd, head, ".go.buildinfo"))
		*ret_note = text_format(
			"it is a Go program, whose own system calls are not seen; those of C libraries are");
	free(own_loader);
	free(loader);
	return obstacle;
}

/* The interpreter that the first line names, which the caller frees; NULL: it is no script. */
static char *interpreter_of(int fd)
{
	char line[257] = "";
	if (pread(fd, line, sizeof(line) - 1, 0) < 3 || line[0] != '#' || line[1] != '!')
		return NULL;
	char *at = line + 2 + strspn(line + 2, " \t");
	at[strcspn(at, " \t\n")] = 0;
	return text_copy(at);
}

static char *check_file(const char *path, unsigned depth, char **ret_note)
{
	ElfW(Ehdr) head;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	/* It may be executed without: then it is not known, and the companion says whether it begins. */
	if (fd < 0)
		return NULL;
	char *obstacle = privileged(path, fd), *interpreter = NULL;
	if (!obstacle && !read_head(fd, &head))
		obstacle = check_elf(path, fd, &head, ret_note);
	else if (!obstacle && depth < SCRIPTS && (interpreter = interpreter_of(fd)))
		obstacle = check_file(interpreter, depth + 1, ret_note);
	free(interpreter);
	close(fd);
	return obstacle;
}

char *check_coverable(const char *path, char **ret_note)
{
	return check_file(path, 0, ret_note);
}
