/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to the file while the mapping lives. Some of it is announced (inotify(7), the table of mounts, the lease);
 * for the rest the facts are compared with those of the last look.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "kernel/identity.h"
#include "mapping/mapping.h"
#include "sys/sys.h"

#define ANNOUNCED                                                                                            \
	(IN_MODIFY | IN_ATTRIB | IN_OPEN | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)

void pm_watch_init(struct pm_watch *w)
{
	w->inotify = w->mounts = w->sources = w->timer = w->stop = -1;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->turn, NULL);
}

static void shut(int *fd)
{
	if (*fd >= 0)
		pm_sys->close(*fd);
	*fd = -1;
}

/* ---- Who has the file open ---- */

#define SEARCH_PAUSE_MS 1000 /* at least, from one search of /proc to the next */

struct search {
	const struct pm_mapping *m;
	struct statx file;
	int process;
	char directory[64]; /* /proc/N/fd */
	bool writing, direct;
};

static void visit_descriptor(void *arg, const char *entry)
{
	struct search *search = arg;
	const struct statx *ours = &search->file;
	char path[128], text[256];
	unsigned flags = 0;
	if (atomic_load(&search->m->watch.stopped))
		return;
	snprintf(path, sizeof(path), "%s/%.20s", search->directory, entry);
	/* Where it cannot be told whether it is the file, it is not. */
	if (pm_is_same_file(search->m->file.fd, ours, path) <= 0)
		return;
	/* Who was forked from this process holds the library's own description; where that cannot be told nobody is blamed. */
	if (PM_RETRY(pm_sys->kcmp_file(search->process, atoi(entry), search->m->file.fd)))
		return;
	snprintf(path, sizeof(path), "%sinfo/%.20s", search->directory, entry);
	const char *at = pm_read_text(path, text, sizeof(text)) > 0 ? strstr(text, "flags:") : NULL;
	if (!at || sscanf(at, "flags: %o", &flags) != 1 || (flags & O_ACCMODE) == O_RDONLY)
		return;
	search->writing = true;
	search->direct |= flags & O_DIRECT;
}

static void visit_process(void *arg, const char *entry)
{
	struct search *search = arg;
	char self[24];
	/* Whoever unmaps waits for the thread. */
	if (atomic_load(&search->m->watch.stopped))
		return;
	ssize_t got = PM_RETRY(pm_sys->readlinkat(AT_FDCWD, "/proc/self", self, sizeof(self) - 1));
	self[got > 0 ? got : 0] = 0;
	if (entry[0] < '1' || entry[0] > '9' || !strcmp(entry, self))
		return;
	search->process = atoi(entry);
	snprintf(search->directory, sizeof(search->directory), "/proc/%.20s/fd", entry);
	pm_sys->each_entry(search->directory, visit_descriptor, search);
}

/* With the lock held. */
static bool begin_search(struct pm_watch *w)
{
	uint64_t times;
	if (!w->opened && !w->paused)
		return false;
	/* Without a timer there is no pause. */
	if (!pm_is_kept(&w->kept_timer) || PM_RETRY(pm_sys->read(w->timer, &times, sizeof(times))) == sizeof(times))
		w->paused = false;
	/* As long as there is a lease nobody else has it open. */
	if (w->opened && atomic_load(&w->lease_held)) {
		w->opened = w->writing = w->direct = false;
		w->searched = true;
	}
	if (!w->opened || w->paused || w->searching)
		return false;
	w->opened = false;
	w->searching = true;
	return true;
}

static int set_timer(struct pm_watch *w, unsigned ms)
{
	return pm_is_kept(&w->kept_timer) ? pm_sys->timer_set(w->timer, ms) : -EBADF;
}

/* Likewise. Who had it open before anybody watched is no batch, and no reason to wait with the next search. */
static void end_search(struct pm_watch *w, const struct search *found, struct pm_event_batch *batch)
{
	bool new_direct = found->direct && !w->direct, new_writing = found->writing && !w->writing;
	if (w->searched && (new_direct || new_writing))
		pm_event_batch_add(batch, PM_EVENT_OPENED, new_direct ? PM_REASON_OPENED_DIRECT : PM_REASON_OPENED_WRITING);
	w->writing = found->writing;
	w->direct = found->direct;
	w->searching = false;
	if (w->searched)
		w->paused = !set_timer(w, SEARCH_PAUSE_MS);
	else if (w->opened)
		set_timer(w, 0);
	w->searched = true;
}

void pm_watch_search(struct pm_mapping *m)
{
	struct pm_watch *w = &m->watch;
	struct search search = {.m = m};
	struct pm_event_batch batch;
	pthread_mutex_lock(&w->lock);
	bool begun = begin_search(w);
	search.file = m->file.stx;
	pthread_mutex_unlock(&w->lock);
	if (!begun)
		return;
	pm_sys->each_entry("/proc", visit_process, &search);
	pthread_mutex_lock(&w->lock);
	pm_mapping_begin_batch(m, &batch);
	end_search(w, &search, &batch);
	pthread_mutex_unlock(&w->lock);
	pm_mapping_publish(m, &batch);
}

/* A look found that somebody opened it; whoever made the look need not be who searches, so it is announced further. */
static void ask_for_search(struct pm_watch *w)
{
	w->opened = true;
	if (!w->paused && !w->searching)
		set_timer(w, 0);
}

/* ---- What is announced ---- */

int pm_watch_open(struct pm_mapping *m, bool threaded)
{
	struct pm_watch *w = &m->watch;
	struct statx now;
	char path[40];
	if (w->sources >= 0)
		return pm_is_kept(&w->kept_sources) ? 0 : -EBADF;
	if (w->established && pm_kept_file_look(&m->file.identity, &now) == -EBADF)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->file.fd);
	int inotify = PM_RETRY(pm_sys->inotify(path, ANNOUNCED)), sources = PM_RETRY(pm_sys->epoll_create());
	int timer = PM_RETRY(pm_sys->timerfd());
	/* Without it remounts are only noticed later. */
	int mounts = PM_RETRY(pm_sys->openat(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY | O_CLOEXEC, 0));
	/* A thread that looks by and by is better than none; without one the descriptor would be silent. */
	int queued = threaded ? 0 : pm_events_fd(&m->events);
	int rc = inotify < 0 && !threaded ? inotify : queued < 0 ? queued : sources < 0 ? sources : 0;
	rc = rc ? rc : timer < 0 ? timer : PM_RETRY(pm_sys->epoll_add(sources, timer, EPOLLIN));
	if (!rc && inotify >= 0)
		rc = PM_RETRY(pm_sys->epoll_add(sources, inotify, EPOLLIN));
	if (!rc && !threaded)
		rc = PM_RETRY(pm_sys->epoll_add(sources, queued, EPOLLIN));
	if (!rc && mounts >= 0)
		rc = PM_RETRY(pm_sys->epoll_add(sources, mounts, EPOLLPRI));
	if (rc) {
		pm_events_close_fd(&m->events);
		shut(&inotify);
		shut(&sources);
		shut(&mounts);
		shut(&timer);
		return rc;
	}
	pthread_mutex_lock(&m->lock);
	w->inotify = inotify < 0 ? -1 : pm_keep(&w->kept_inotify, inotify);
	w->error = inotify < 0 ? -inotify : 0;
	w->mounts = pm_keep(&w->kept_mounts, mounts);
	w->sources = pm_keep(&w->kept_sources, sources);
	w->timer = pm_keep(&w->kept_timer, timer);
	pthread_mutex_unlock(&m->lock);
	/* Maybe by now. */
	w->opened = inotify >= 0;
	return 0;
}

int pm_watch_descriptor(struct pm_mapping *m)
{
	struct pm_watch *w = &m->watch;
	pthread_mutex_lock(&w->lock);
	int rc = pm_watch_open(m, w->running);
	if (!rc)
		rc = w->running ? pm_events_fd(&m->events) : w->sources;
	bool first = w->opened && !w->searched;
	pthread_mutex_unlock(&w->lock);
	if (first)
		pm_watch_search(m);
	return rc;
}

/* Closed by the program, it tells nothing any more: as if there had never been one. */
static bool has_inotify(struct pm_watch *w)
{
	if (w->inotify >= 0 && !pm_is_kept(&w->kept_inotify)) {
		w->inotify = -1;
		w->error = EBADF;
	}
	return w->inotify >= 0;
}

/* The kinds of change that inotify tells of since it was last asked. */
static uint32_t announced(struct pm_watch *w)
{
	_Alignas(struct inotify_event) char buffer[4096];
	uint32_t mask = 0;
	ssize_t got;
	while (has_inotify(w) && (got = PM_RETRY(pm_sys->read(w->inotify, buffer, sizeof(buffer)))) > 0) {
		for (char *at = buffer; at < buffer + got;) {
			struct inotify_event *event = (struct inotify_event *)at;
			mask |= event->mask;
			at += sizeof(*event) + event->len;
		}
	}
	/* Some were lost: anything may have happened. */
	return mask & IN_Q_OVERFLOW ? ANNOUNCED : mask;
}

void pm_watch_collect(struct pm_mapping *m)
{
	m->watch.carried |= announced(&m->watch);
}

bool pm_watch_is_written(struct pm_mapping *m)
{
	pm_watch_collect(m);
	bool is_written = m->watch.carried & IN_MODIFY || m->watch.unsettled;
	m->watch.unsettled = false;
	return is_written;
}

void pm_watch_discard(struct pm_mapping *m)
{
	uint32_t seen = announced(&m->watch);
	m->watch.carried |= seen & ~(uint32_t)IN_MODIFY;
	m->watch.unsettled |= seen & IN_MODIFY;
}

/* ---- What has changed ---- */

static bool lost(enum pm_state *seen, enum pm_state now)
{
	bool is_lost = *seen == PM_YES && now == PM_NO;
	*seen = now == PM_UNKNOWN ? *seen : now;
	return is_lost;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* To what lies in the range of a part of the file. */
static void place(struct pm_event *event, uint64_t from, uint64_t to)
{
	uint64_t end = event->offset + event->length;
	event->offset = from < event->offset ? event->offset : least(from, end);
	event->length = to < event->offset ? 0 : least(to, end) - event->offset;
}

/* Where the file ends, as far as the range is concerned. */
static uint64_t end_of(const struct pm_mapping *m, const struct statx *stx)
{
	uint64_t range_end = m->offset + m->length;
	return S_ISREG(stx->stx_mode) && stx->stx_size < range_end ? stx->stx_size : range_end;
}

/* Blocks that went: one event for each cause, and whoever took them has written to the file. */
static bool compare_extents(struct pm_mapping *m, const struct pm_evidence *e, const struct pm_subject *s,
                            struct pm_event_batch *batch)
{
	struct pm_watch *w = &m->watch;
	struct statx now;
	uint64_t end = end_of(m, &s->stx);
	bool hole = lost(&w->allocated, e[PM_EV_ALLOCATED].state) && w->seen;
	/* Cut off between the questions for the size and for the extents, it looked like a hole. */
	if (hole && !PM_RETRY(pm_sys->statx(m->file.fd, "", AT_EMPTY_PATH, &now)))
		end = end_of(m, &now);
	bool truncated = w->seen && end < w->end && end < m->offset + m->length;
	w->end = end;
	if (truncated)
		place(pm_event_batch_add(batch, PM_EVENT_TRUNCATED, PM_REASON_TRUNCATED), end, UINT64_MAX);
	if (hole && !truncated)
		place(pm_event_batch_add(batch, PM_EVENT_HOLE, PM_REASON_HOLE), e[PM_EV_ALLOCATED].value, s->hole_end);
	if (lost(&w->unshared, e[PM_EV_UNSHARED].state) && w->seen)
		place(pm_event_batch_add(batch, PM_EVENT_SHARED, PM_REASON_SHARED), e[PM_EV_UNSHARED].value, s->shared_end);
	return truncated || hole;
}

/* A name that is lost, or lost in another way than before. */
static void compare_name(struct pm_watch *w, const struct pm_evidence *named, struct pm_event_batch *batch)
{
	enum pm_reason now = pm_reason_of_name(named);
	if (now != PM_REASON_NONE && now != w->name)
		pm_event_batch_add(batch, PM_EVENT_NAME_LOST, now);
	w->name = named->state == PM_UNKNOWN ? w->name : now;
}

static void compare_life(struct pm_watch *w, const struct pm_evidence *e, struct pm_event_batch *batch)
{
	if (lost(&w->dax, e[PM_EV_DAX].state))
		pm_event_batch_add(batch, PM_EVENT_PAGE_CACHE, PM_REASON_PAGE_CACHE);
	bool is_immutable = e[PM_EV_WRITABLE].error == PM_IMMUTABLE;
	if (lost(&w->writable, e[PM_EV_WRITABLE].state))
		pm_event_batch_add(batch, PM_EVENT_READ_ONLY, is_immutable ? PM_REASON_IMMUTABLE : PM_REASON_READ_ONLY);
	if (lost(&w->alive, e[PM_EV_FS_ONLINE].state)) {
		bool gone = e[PM_EV_FS_ONLINE].error == ENODEV;
		pm_event_batch_add(batch, PM_EVENT_FS_OFFLINE, gone ? PM_REASON_DEVICE_GONE : PM_REASON_SHUT_DOWN)->error =
			-e[PM_EV_FS_ONLINE].error;
	}
	if (w->bad != PM_YES && e[PM_EV_BAD_BLOCKS].state == PM_YES)
		place(pm_event_batch_add(batch, PM_EVENT_BAD_BLOCKS, PM_REASON_BAD_BLOCKS), e[PM_EV_BAD_BLOCKS].value, UINT64_MAX);
	w->bad = e[PM_EV_BAD_BLOCKS].state == PM_UNKNOWN ? w->bad : e[PM_EV_BAD_BLOCKS].state;
	enum pm_state flag = e[PM_EV_DAX_FLAG].state;
	if (w->dax_flag != PM_UNKNOWN && flag != PM_UNKNOWN && flag != w->dax_flag)
		pm_event_batch_add(batch, PM_EVENT_DAX_FLAG, PM_REASON_DAX_FLAG);
	w->dax_flag = flag == PM_UNKNOWN ? w->dax_flag : flag;
}

/* Of what was announced until now only what others did. */
void pm_watch_seed(struct pm_mapping *m, const struct pm_evidence *e, const struct pm_subject *s)
{
	struct pm_event_batch none;
	pm_event_batch_begin(&none, &(struct pm_event_state){.length = 0});
	pm_watch_discard(m);
	compare_extents(m, e, s, &none);
	compare_name(&m->watch, &e[PM_EV_NAMED], &none);
	compare_life(&m->watch, e, &none);
	m->watch.size = s->stx.stx_size;
	m->watch.seen = true;
}

/*
 * What is announced has no place. Of a file that grew or shrank behind the range meanwhile, that is what it tells of:
 * the log that another process appends to is not this range's.
 */
static void tell_written(struct pm_mapping *m, const struct pm_subject *s, struct pm_event_batch *batch)
{
	uint64_t size = s->stx.stx_size, before = m->watch.size, end = m->offset + m->length;
	struct pm_event *event = pm_event_batch_add(batch, PM_EVENT_MODIFIED, PM_REASON_MODIFIED);
	if (size == before || size < end || before < end)
		return;
	event->offset = least(size, before);
	event->length = size > before ? size - before : before - size;
}

void pm_watch_compare(struct pm_mapping *m, const struct pm_evidence *e, const struct pm_subject *s,
                      struct pm_event_batch *batch)
{
	struct pm_watch *w = &m->watch;
	uint32_t fresh = announced(w), changes = fresh | w->carried;
	w->unsettled |= fresh & IN_MODIFY;
	w->carried = 0;
	/* After a copy-up what is said of the file is not of what is mapped. */
	bool is_other = pm_reason_of_name(&e[PM_EV_NAMED]) == PM_REASON_COPIED_UP;
	bool explained = is_other || compare_extents(m, e, s, batch);
	compare_name(w, &e[PM_EV_NAMED], batch);
	compare_life(w, e, batch);
	if (w->seen && changes & IN_MODIFY && !explained)
		tell_written(m, s, batch);
	if (!s->file_error)
		w->size = s->stx.stx_size;
	if (changes & (IN_OPEN | IN_CLOSE_WRITE))
		ask_for_search(w);
	w->seen = true;
}

void pm_watch_end(struct pm_mapping *m)
{
	struct pm_watch *w = &m->watch;
	pm_watch_thread_end(m);
	pm_lease_end(m);
	pm_kept_close(&w->kept_inotify);
	pm_kept_close(&w->kept_mounts);
	pm_kept_close(&w->kept_sources);
	pm_kept_close(&w->kept_timer);
	w->inotify = w->mounts = w->sources = w->timer = -1;
}
