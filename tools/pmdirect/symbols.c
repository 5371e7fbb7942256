/* SPDX-License-Identifier: BSD-3-Clause */
/* The function at a place in an object, by its table of symbols. */
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"
#include "text.h"

/* An object, as its file has it. Each access is checked: the file may have been replaced, or be anything. */
struct object {
	const char *bytes;
	size_t size;
};

static const void *at(const struct object *o, uint64_t offset, size_t length)
{
	return offset <= o->size && length <= o->size - offset ? o->bytes + offset : NULL;
}

/* From an offset in the file to the address that the symbols have. */
static bool address_of(const struct object *o, const ElfW(Ehdr) * head, uint64_t offset, uint64_t *ret)
{
	for (unsigned i = 0; i < head->e_phnum; i++) {
		const ElfW(Phdr) *part = at(o, head->e_phoff + (uint64_t)i * sizeof(*part), sizeof(*part));
		if (!part || part->p_type != PT_LOAD || offset < part->p_offset ||
		    offset - part->p_offset >= part->p_filesz)
			continue;
		*ret = offset - part->p_offset + part->p_vaddr;
		return true;
	}
	return false;
}

/* The name of a symbol that ends inside its section. */
static const char *name_in(const struct object *o, const ElfW(Shdr) * names, uint64_t offset)
{
	const char *start = offset < names->sh_size ? at(o, names->sh_offset + offset, 1) : NULL;
	size_t room = start ? o->size - (size_t)(start - o->bytes) : 0;
	return start && memchr(start, 0, room) ? start : NULL;
}

/* Looks in one section, which may be anything. */
static const char *search(const struct object *o, const ElfW(Ehdr) * head, const ElfW(Shdr) * section, uint64_t address,
                          uint64_t *ret_start)
{
	const ElfW(Shdr) *names = at(o, head->e_shoff + (uint64_t)section->sh_link * sizeof(*names), sizeof(*names));
	const ElfW(Sym) *symbols = at(o, section->sh_offset, section->sh_size);
	if ((section->sh_type != SHT_SYMTAB && section->sh_type != SHT_DYNSYM) || !names || !symbols)
		return NULL;
	for (size_t i = 0; i < section->sh_size / sizeof(*symbols); i++) {
		const ElfW(Sym) *s = &symbols[i];
		if ((s->st_info & 0xf) != STT_FUNC || !s->st_shndx || address < s->st_value ||
		    address - s->st_value >= s->st_size)
			continue;
		*ret_start = s->st_value;
		return name_in(o, names, s->st_name);
	}
	return NULL;
}

/* The call is the instruction before the address that it returns to. */
static char *function_at(const struct object *o, uint64_t offset)
{
	const ElfW(Ehdr) *head = at(o, 0, sizeof(*head));
	uint64_t address, start = 0;
	const char *name = NULL;
	if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) || !offset || !address_of(o, head, offset - 1, &address))
		return NULL;
	for (unsigned i = 0; !name && i < head->e_shnum; i++) {
		const ElfW(Shdr) *section = at(o, head->e_shoff + (uint64_t)i * sizeof(*section), sizeof(*section));
		name = section ? search(o, head, section, address, &start) : NULL;
	}
	return name && *name ? text_format("%s+0x%" PRIx64, name, address + 1 - start) : NULL;
}

static char *function_in(const char *path, uint64_t offset)
{
	struct object o;
	struct stat st;
	char *name = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	o.size = (size_t)st.st_size;
	o.bytes = mmap(NULL, o.size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (o.bytes == MAP_FAILED)
		return NULL;
	name = function_at(&o, offset);
	munmap((void *)(uintptr_t)o.bytes, o.size);
	return name;
}

char *symbol_of(const struct place_in_object *place)
{
	if (!place->object)
		return text_format("0x%" PRIx64, place->address);
	const char *slash = strrchr(place->object, '/');
	char *function = function_in(place->object, place->offset), *text;
	text = function ? text_format("%s (%s)", function, slash ? slash + 1 : place->object)
	                : text_format("%s+0x%" PRIx64, slash ? slash + 1 : place->object, place->offset);
	free(function);
	return text;
}
