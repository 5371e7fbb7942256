/* SPDX-License-Identifier: BSD-3-Clause */
/* The end of a server: when nothing of it runs any more, and what goes with it. */
#include "server.h"

#include <unistd.h>

void pmr_close_store(struct pmr_server *s)
{
	pmr_log_close(&s->log);
	pmr_metadata_close(&s->metadata);
	if (s->home.fd >= 0)
		close(s->home.fd);
	s->home.fd = -1;
	pm_guard_remove();
}

void pmr_closed_maybe(struct pmr_server *s)
{
	char ignored[RAFT_ERRMSG_BUF_SIZE]; /* the word only says sooner what the log shows */
	if (!s->closing || s->working || s->putting || s->making_spare || s->gets || s->network_open || s->idle_open ||
	    s->home.fd < 0)
		return;
	if (s->loaded && !s->failed)
		pmr_log_rest(&s->log, ignored);
	raft_uv_close(&s->network);
	pmr_close_store(s);
	if (s->on_close)
		s->on_close(s->io);
}
