/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a follower answers, and what it takes for committed. libraft 0.15 goes beyond what the leader's message has
 * checked (recvAppendEntries(), replicationAppend()), and answers for what was stored although the server has another
 * role or another term by then (appendFollowerCb(), installSnapshotCb()). The leader then counts entries that are not
 * its own, and an acknowledged entry is lost; or the address of the answer is none, and the process ends by SIGSEGV.
 * Later versions check this themselves (0.17.1, 0.20.0 of its successor), and here nothing is left to change.
 */
#include "server.h"

void pmr_receive(struct pmr_server *s, struct raft_message *message)
{
	struct raft_append_entries *args = &message->append_entries;
	s->matched = UINT64_MAX;
	if (message->type == RAFT_IO_APPEND_ENTRIES) {
		s->matched = args->prev_log_index + args->n_entries;
		if (args->leader_commit > s->matched)
			args->leader_commit = s->matched;
	}
	s->recv(s->io, message);
	s->matched = UINT64_MAX;
}

/* raft_init() makes itself the data of its raft_io. A server that leads has a term of its own by then. */
static bool has_leader(const struct pmr_server *s)
{
	const char *address;
	raft_id id;
	raft_leader(s->io->data, &id, &address);
	return id && address;
}

bool pmr_correct_answer(const struct pmr_server *s, struct raft_message *answer)
{
	struct raft_append_entries_result *result = &answer->append_entries_result;
	if (s->delivered)
		return s->delivered->term == s->metadata.term && has_leader(s);
	if (!result->rejected && result->last_log_index > s->matched)
		result->last_log_index = s->matched;
	return true;
}
