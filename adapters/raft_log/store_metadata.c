/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_metadata.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x014154454d434d50) /* "PMCMETA" and a byte */
#define SLOTS 2u

/* Each in a page of its own, so that what tears one leaves the other. */
struct slot {
	uint64_t magic;
	uint64_t identity;
	uint64_t server;
	uint64_t sequence;
	uint64_t term;
	uint64_t vote;
	uint32_t version;
	uint32_t checksum; /* of all before it */
};

static uint32_t slot_checksum(const struct slot *s)
{
	return pmr_checksum(0, s, offsetof(struct slot, checksum));
}

/* A slot that is not valid was being written when the power failed: the other one holds. */
static int take(struct pmr_home *home, struct pmr_metadata *m, const struct slot *s, char *message)
{
	if (s->magic != MAGIC || s->checksum != slot_checksum(s) || s->sequence <= m->sequence)
		return 0;
	if (s->version != PMR_VERSION)
		return pmr_fail(message, RAFT_MALFORMED, "%s has version %u of the format, not %u", home->path,
		                s->version,
		                PMR_VERSION);
	if (s->server != home->server)
		return pmr_fail(message, RAFT_BADID, "%s is the directory of server %" PRIu64 ", not of %" PRIu64,
		                home->path, s->server, home->server);
	home->identity = s->identity;
	m->sequence = s->sequence;
	m->term = s->term;
	m->vote = s->vote;
	return 0;
}

static int load(struct pmr_home *home, struct pmr_metadata *m, bool *ret_made, char *message)
{
	static const struct slot none;
	struct slot slots[SLOTS];
	int rc = 0;
	for (unsigned i = 0; !rc && i < SLOTS; i++) {
		rc = pmr_read(m->map, i * PMR_PAGE, &slots[i], sizeof(slots[i]), message);
		if (!rc)
			rc = take(home, m, &slots[i], message);
	}
	if (rc)
		return rc;
	*ret_made = !m->sequence;
	/* Only the first slot is written when the directory is made, and by then nothing is acknowledged. */
	if (*ret_made && memcmp(&slots[0], &none, sizeof(none)))
		return pmr_fail(message, RAFT_CORRUPT, "%s: both slots of the metadata are damaged", home->path);
	/* What was read may be in the page cache alone, if the server before was killed. */
	rc = pm_sync(m->map);
	return rc ? pmr_fail_pm(message, rc, "cannot make the metadata durable") : 0;
}

int pmr_metadata_open(struct pmr_home *home, struct pmr_metadata *ret, bool *ret_made, char *message)
{
	char path[PATH_MAX];
	struct pmr_metadata m = {0};
	pmr_path(home, "metadata", path);
	if (pmr_file_is_empty(path))
		return pmr_fail(message, RAFT_CORRUPT, "%s has 0 bytes: it was truncated", path);
	m.new_file = access(path, F_OK);
	int rc = m.new_file ? pmr_file_make(path, SLOTS * PMR_PAGE, PM_PREPARE, &m.map, message)
	                    : pmr_file_map(path, 0, &m.map, message);
	if (rc)
		return rc;
	if (pm_length(m.map) < SLOTS * PMR_PAGE)
		rc = pmr_fail(message, RAFT_CORRUPT, "%s has %" PRIu64 " bytes: it was truncated", path,
		              pm_length(m.map));
	else
		rc = load(home, &m, ret_made, message);
	if (rc)
		pmr_metadata_discard(home, &m);
	else
		*ret = m;
	return rc;
}

int pmr_metadata_set(const struct pmr_home *home, struct pmr_metadata *m, uint64_t term, uint64_t vote, char *message)
{
	struct slot s = {.magic = MAGIC, .identity = home->identity, .server = home->server,
	                 .sequence = m->sequence + 1,
	                 .term = term, .vote = vote, .version = PMR_VERSION};
	/* The first is slot 0; then the one that is not the newest. */
	uint64_t place = m->sequence % SLOTS * PMR_PAGE;
	s.checksum = slot_checksum(&s);
	int rc = pmr_store(m->map, place, &s, sizeof(s), message);
	if (!rc)
		rc = pmr_commit(m->map, place, sizeof(s), message);
	if (rc)
		return rc;
	m->sequence++;
	m->term = term;
	m->vote = vote;
	return 0;
}

void pmr_metadata_discard(const struct pmr_home *home, struct pmr_metadata *m)
{
	char path[PATH_MAX];
	pmr_metadata_close(m);
	pmr_path(home, "metadata", path);
	if (m->new_file)
		unlink(path);
	m->new_file = false;
}

void pmr_metadata_close(struct pmr_metadata *m)
{
	if (m->map)
		pm_unmap(m->map);
	m->map = NULL;
}
