/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x0150414e53434d50) /* "PMCSNAP" and a byte */
#define DATA_AT ((uint64_t)PMR_PAGE)
#define PUBLISHED UINT64_C(1)

struct header {
	uint64_t magic;
	uint64_t identity;
	uint64_t server;
	uint64_t index, term;
	uint64_t configuration_index;
	uint64_t servers; /* of the configuration, which takes this many bytes */
	uint64_t configuration_length;
	uint64_t length; /* of the data, which follows it */
	uint32_t version;
	uint32_t content; /* checksum of configuration and data */
	uint32_t reserved;
	uint32_t checksum; /* of all before it */
};

/* Its address follows, without a zero. */
struct server {
	uint64_t id;
	uint32_t role;
	uint32_t length;
};

#define NAME_MAX_LENGTH 64

static void name_of(struct pmr_snapshot_id id, char name[NAME_MAX_LENGTH])
{
	snprintf(name, NAME_MAX_LENGTH, "snapshot-%020" PRIu64 "-%020" PRIu64, id.index, id.term);
}

static void file_path(const struct pmr_home *home, struct pmr_snapshot_id id, char path[PATH_MAX])
{
	char name[NAME_MAX_LENGTH];
	name_of(id, name);
	pmr_path(home, name, path);
}

/* ---- Configuration ----------------------------------------------------------------------------- */

static size_t configuration_size(const struct raft_configuration *c)
{
	size_t size = 0;
	for (unsigned i = 0; i < c->n; i++)
		size += sizeof(struct server) + strlen(c->servers[i].address);
	return size;
}

static void encode(const struct raft_configuration *c, char *bytes)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct server s = {.id = c->servers[i].id, .role = (uint32_t)c->servers[i].role,
		                   .length = (uint32_t)strlen(c->servers[i].address)};
		memcpy(bytes, &s, sizeof(s));
		memcpy(bytes + sizeof(s), c->servers[i].address, s.length);
		bytes += sizeof(s) + s.length;
	}
}

static int decode(const char *bytes, size_t size, uint64_t servers, struct raft_configuration *c)
{
	char address[256];
	struct server s;
	int rc = 0;
	for (; !rc && servers; servers--) {
		if (size < sizeof(s))
			return RAFT_CORRUPT;
		memcpy(&s, bytes, sizeof(s));
		if (s.length >= sizeof(address) || s.length > size - sizeof(s))
			return RAFT_CORRUPT;
		memcpy(address, bytes + sizeof(s), s.length);
		address[s.length] = '\0';
		rc = raft_configuration_add(c, s.id, address, (int)s.role);
		bytes += sizeof(s) + s.length;
		size -= sizeof(s) + s.length;
	}
	return rc;
}

/* ---- Finding ----------------------------------------------------------------------------------- */

/* What cannot be judged counts: reading it will say why. */
static bool is_published(const char *path)
{
	uint64_t word = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	ssize_t got = pread(fd, &word, sizeof(word), PMR_WORD_AT);
	close(fd);
	return got < 0 || word;
}

/* A name with anything behind the numbers is that of a file of the operator. */
static bool is_snapshot(const char *entry, struct pmr_snapshot_id *ret)
{
	char name[NAME_MAX_LENGTH];
	if (sscanf(entry, "snapshot-%" SCNu64 "-%" SCNu64, &ret->index, &ret->term) != 2)
		return false;
	name_of(*ret, name);
	return !strcmp(entry, name);
}

/* The newest that counts. Keep: those that do not count are removed, and those that are older than it. */
static int sweep(const struct pmr_home *home, const struct pmr_snapshot_id *keep, struct pmr_snapshot_id *ret,
                 char *message)
{
	struct pmr_snapshot_id id, newest = {0};
	struct dirent *entry;
	DIR *directory = opendir(home->path);
	if (!directory)
		return pmr_fail_errno(message, -errno, "cannot list the directory", home->path);
	while ((entry = readdir(directory))) {
		char path[PATH_MAX];
		if (!is_snapshot(entry->d_name, &id))
			continue;
		file_path(home, id, path);
		bool counts = is_published(path);
		if (keep && (id.index < keep->index || !counts))
			unlink(path); /* else the next sweep does */
		else if (counts && (id.index > newest.index || (id.index == newest.index && id.term > newest.term)))
			newest = id;
	}
	closedir(directory);
	*ret = newest;
	return 0;
}

int pmr_snapshot_find(const struct pmr_home *home, struct pmr_snapshot_id *ret, char *message)
{
	return sweep(home, NULL, ret, message);
}

int pmr_snapshot_tidy(const struct pmr_home *home, struct pmr_snapshot_id newest, char *message)
{
	return sweep(home, &newest, &newest, message);
}

/* ---- Writing ----------------------------------------------------------------------------------- */

static uint64_t data_size(const struct raft_snapshot *snapshot)
{
	uint64_t size = 0;
	for (unsigned i = 0; i < snapshot->n_bufs; i++)
		size += snapshot->bufs[i].len;
	return size;
}

static int write_content(struct pm_mapping *map, const struct raft_snapshot *snapshot, const char *configuration,
                         struct header *h, char *message)
{
	uint64_t place = DATA_AT;
	int rc = pmr_store(map, place, configuration, h->configuration_length, message);
	h->content = pmr_checksum(0, configuration, h->configuration_length);
	place += h->configuration_length;
	for (unsigned i = 0; !rc && i < snapshot->n_bufs; i++) {
		const struct raft_buffer *buffer = &snapshot->bufs[i];
		h->content = pmr_checksum(h->content, buffer->base, buffer->len);
		rc = pmr_store(map, place, buffer->base, buffer->len, message);
		place += buffer->len;
	}
	h->checksum = pmr_checksum(0, h, offsetof(struct header, checksum));
	if (!rc)
		rc = pmr_store(map, 0, h, sizeof(*h), message);
	return rc ? rc : pmr_commit(map, 0, (size_t)place, message);
}

static int write_file(const struct pmr_home *home, const struct raft_snapshot *snapshot, const char *configuration,
                      struct header *h, char *message)
{
	char path[PATH_MAX];
	struct pm_mapping *map;
	file_path(home, (struct pmr_snapshot_id){snapshot->index, snapshot->term}, path);
	unlink(path); /* of an attempt that failed */
	int rc = pmr_file_make(path, DATA_AT + h->configuration_length + h->length, 0, &map, message);
	if (rc)
		return rc;
	rc = write_content(map, snapshot, configuration, h, message);
	if (!rc)
		rc = pmr_publish(map, PUBLISHED, message);
	pm_unmap(map);
	if (rc)
		unlink(path);
	return rc;
}

int pmr_snapshot_put(const struct pmr_home *home, const struct raft_snapshot *snapshot, char *message)
{
	struct header h = {.magic = MAGIC, .identity = home->identity, .server = home->server, .version = PMR_VERSION,
	                   .index = snapshot->index, .term = snapshot->term,
	                   .configuration_index = snapshot->configuration_index,
	                   .servers = snapshot->configuration.n, .length = data_size(snapshot)};
	h.configuration_length = configuration_size(&snapshot->configuration);
	char *configuration = malloc(h.configuration_length + 1);
	if (!configuration)
		return pmr_fail(message, RAFT_NOMEM, "out of memory for the configuration");
	encode(&snapshot->configuration, configuration);
	int rc = write_file(home, snapshot, configuration, &h, message);
	free(configuration);
	return rc ? rc : pmr_snapshot_tidy(home, (struct pmr_snapshot_id){snapshot->index, snapshot->term}, message);
}

/* ---- Reading ----------------------------------------------------------------------------------- */

static int check(const struct pmr_home *home, struct pm_mapping *map, const struct header *h, const char *path,
                 char *message)
{
	if (h->magic != MAGIC || h->checksum != pmr_checksum(0, h, offsetof(struct header, checksum)))
		return pmr_fail(message, RAFT_CORRUPT, "%s: the header is damaged", path);
	if (h->version != PMR_VERSION)
		return pmr_fail(message, RAFT_MALFORMED, "%s has version %u of the format, not %u", path, h->version,
		                PMR_VERSION);
	if (h->server != home->server || h->identity != home->identity)
		return pmr_fail(message, RAFT_BADID, "%s is of another directory, of server %" PRIu64, path, h->server);
	if (h->length > pm_length(map) || pm_length(map) - h->length != DATA_AT + h->configuration_length)
		return pmr_fail(message, RAFT_CORRUPT, "%s has %" PRIu64 " bytes: it was truncated", path,
		                pm_length(map));
	return 0;
}

static int read_content(struct pm_mapping *map, const struct header *h, struct raft_snapshot *s, const char *path,
                        char *message)
{
	char *configuration = malloc(h->configuration_length + 1);
	s->bufs = raft_calloc(1, sizeof(*s->bufs));
	s->n_bufs = s->bufs ? 1 : 0;
	if (s->bufs)
		s->bufs->base = raft_malloc(h->length ? h->length : 1);
	int rc = 0;
	if (!configuration || !s->bufs || !s->bufs->base)
		rc = pmr_fail(message, RAFT_NOMEM, "%s: out of memory", path);
	if (!rc)
		rc = pmr_read(map, DATA_AT, configuration, h->configuration_length, message);
	if (!rc)
		rc = pmr_read(map, DATA_AT + h->configuration_length, s->bufs->base, h->length, message);
	if (!rc) {
		uint32_t content = pmr_checksum(0, configuration, h->configuration_length);
		s->bufs->len = h->length;
		if (pmr_checksum(content, s->bufs->base, h->length) != h->content ||
		    decode(configuration, h->configuration_length, h->servers, &s->configuration))
			rc = pmr_fail(message, RAFT_CORRUPT, "%s: the content is damaged", path);
	}
	free(configuration);
	return rc;
}

void pmr_snapshot_free(struct raft_snapshot *s)
{
	if (s->bufs)
		raft_free(s->bufs->base);
	raft_free(s->bufs);
	raft_configuration_close(&s->configuration);
	raft_free(s);
}

int pmr_snapshot_get(const struct pmr_home *home, struct pmr_snapshot_id id, struct raft_snapshot **ret, char *message)
{
	char path[PATH_MAX];
	struct header h;
	struct pm_mapping *map;
	file_path(home, id, path);
	int rc = pmr_file_map(path, PM_READ_ONLY, &map, message);
	if (rc)
		return rc;
	struct raft_snapshot *s = raft_calloc(1, sizeof(*s));
	rc = s ? 0 : pmr_fail(message, RAFT_NOMEM, "%s: out of memory", path);
	if (!rc)
		rc = pmr_read(map, 0, &h, sizeof(h), message);
	if (!rc)
		rc = check(home, map, &h, path, message);
	if (!rc) {
		raft_configuration_init(&s->configuration);
		s->index = h.index;
		s->term = h.term;
		s->configuration_index = h.configuration_index;
		rc = read_content(map, &h, s, path, message);
	}
	pm_unmap(map);
	if (!rc)
		*ret = s;
	else if (s)
		pmr_snapshot_free(s);
	return rc;
}
