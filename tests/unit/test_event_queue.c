/* SPDX-License-Identifier: BSD-3-Clause */
/* The queue of events and the notifier thread, without a mapping. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "observe/notifier.h"
#include "unit.h"

/* Adds one event of that range. */
static bool publish(struct pm_event_queue *queue, enum pm_event_kind kind, enum pm_reason reason, uint64_t from,
                    uint64_t to, bool is_deferred)
{
	struct pm_event event = {.kind = kind, .reason = reason, .offset = from, .length = to - from};
	return pm_events_add(queue, &event, 0, is_deferred);
}

static void begin(struct pm_event_queue *queue)
{
	fake_start(&fake_plain);
	pm_events_init(queue, NULL, NULL, NULL, "file");
}

static struct pm_event take(struct pm_event_queue *queue)
{
	struct pm_event event = {.kind = 0};
	int rc = pm_events_take(queue, &event);
	ck_assert(!rc || rc == -EAGAIN);
	return event;
}

static bool is_readable(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};
	return poll(&p, 1, 0) == 1;
}

static atomic_bool has_no_memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	return atomic_load(&has_no_memory) ? NULL : __real_malloc(size);
}

START_TEST(equal_events_become_one)
{
	struct pm_event_queue queue;
	begin(&queue);
	publish(&queue, PM_EVENT_HOLE, PM_REASON_HOLE, 8192, 9000, false);
	publish(&queue, PM_EVENT_NAME_LOST, PM_REASON_MOVED, 0, 1, false);
	publish(&queue, PM_EVENT_HOLE, PM_REASON_HOLE, 100, 200, false);
	publish(&queue, PM_EVENT_NAME_LOST, PM_REASON_UNLINKED, 0, 1, false);
	ck_assert_int_eq(take(&queue).reason, PM_REASON_MOVED);
	struct pm_event e = take(&queue);
	ck_assert_int_eq(e.kind, PM_EVENT_HOLE);
	ck_assert_uint_eq(e.offset, 100);
	ck_assert_uint_eq(e.length, 8900);
	ck_assert_int_eq(take(&queue).reason, PM_REASON_UNLINKED);
	ck_assert_int_eq(take(&queue).kind, 0);
	pm_events_destroy(&queue);
}
END_TEST

/* What is in force is what the later says. */
START_TEST(a_merged_event_says_what_the_later_said)
{
	struct pm_event_queue queue;
	begin(&queue);
	struct pm_event event = {.kind = PM_EVENT_FS_OFFLINE, .reason = PM_REASON_SHUT_DOWN, .error = -EIO,
	                         .sync = PM_YES, .direct = PM_YES, .new_granularity = PM_CACHE_LINE};
	pm_events_add(&queue, &event, 0, false);
	event.error = -ENODEV;
	event.sync = event.direct = PM_NO;
	event.new_granularity = PM_PAGE;
	pm_events_add(&queue, &event, 0, false);
	struct pm_event last = take(&queue);
	ck_assert_int_eq(last.error, -ENODEV);
	ck_assert_int_eq(last.sync, PM_NO);
	ck_assert_int_eq(last.direct, PM_NO);
	ck_assert_int_eq(last.new_granularity, PM_PAGE);
	ck_assert_int_eq(take(&queue).kind, 0);
	pm_events_destroy(&queue);
}
END_TEST

/* What was queued between the two stays before the later. */
START_TEST(a_merged_event_takes_the_later_place)
{
	static const struct {
		enum pm_event_kind kind;
		enum pm_granularity from, to;
	} said[] = {{PM_EVENT_LEASE_BROKEN, PM_CACHE_LINE, PM_PAGE},
	            {PM_EVENT_PROMOTED, PM_PAGE, PM_CACHE_LINE},
	            {PM_EVENT_LEASE_BROKEN, PM_CACHE_LINE, PM_PAGE}};
	struct pm_event_queue queue;
	begin(&queue);
	for (size_t i = 0; i < COUNT(said); i++) {
		struct pm_event event = {.kind = said[i].kind, .old_granularity = said[i].from,
		                         .new_granularity = said[i].to};
		pm_events_add(&queue, &event, 0, false);
	}
	ck_assert_int_eq(take(&queue).kind, PM_EVENT_PROMOTED);
	struct pm_event last = take(&queue);
	ck_assert_int_eq(last.kind, PM_EVENT_LEASE_BROKEN);
	ck_assert_int_eq(last.old_granularity, PM_CACHE_LINE);
	ck_assert_int_eq(last.new_granularity, PM_PAGE);
	ck_assert_int_eq(take(&queue).kind, 0);
	pm_events_destroy(&queue);
}
END_TEST

/* Made late it is readable for what came before; one that the program closed is not made again. */
START_TEST(the_descriptor_follows_the_queue)
{
	struct pm_event_queue queue;
	begin(&queue);
	ck_assert_uint_eq(fake_calls(FAKE_eventfd), 0);
	publish(&queue, PM_EVENT_HOLE, PM_REASON_HOLE, 0, 1, false);
	int fd = pm_events_fd(&queue);
	ck_assert(is_readable(fd));
	ck_assert_int_eq(pm_events_fd(&queue), fd);
	publish(&queue, PM_EVENT_SHARED, PM_REASON_SHARED, 0, 1, false);
	take(&queue);
	ck_assert(is_readable(fd));
	take(&queue);
	ck_assert(!is_readable(fd));
	publish(&queue, PM_EVENT_SHARED, PM_REASON_SHARED, 0, 1, false);
	ck_assert(is_readable(fd));
	close(fd);
	ck_assert_int_eq(pm_events_fd(&queue), -EBADF);
	ck_assert_int_eq(take(&queue).kind, PM_EVENT_SHARED);
	pm_events_destroy(&queue);
}
END_TEST

/* An event for which there is no memory is lost: that is said once, after what is queued. */
START_TEST(a_lost_event_is_reported)
{
	struct pm_event_queue queue;
	struct pm_event event;
	begin(&queue);
	int fd = pm_events_fd(&queue);
	if (!_i)
		publish(&queue, PM_EVENT_HOLE, PM_REASON_HOLE, 0, 1, false);
	atomic_store(&has_no_memory, true);
	publish(&queue, PM_EVENT_SHARED, PM_REASON_SHARED, 0, 1, false);
	publish(&queue, PM_EVENT_NAME_LOST, PM_REASON_MOVED, 0, 1, false);
	atomic_store(&has_no_memory, false);
	ck_assert(is_readable(fd));
	if (!_i)
		ck_assert_int_eq(take(&queue).kind, PM_EVENT_HOLE);
	ck_assert(is_readable(fd));
	ck_assert_int_eq(pm_events_take(&queue, &event), -ENOMEM);
	ck_assert(!is_readable(fd));
	ck_assert_int_eq(pm_events_take(&queue, &event), -EAGAIN);
	pm_events_destroy(&queue);
}
END_TEST

/* ---- The handler ---- */

struct listener {
	struct pm_event_queue queue;
	struct pm_notified notified;
	struct listener *leaves; /* the handler takes that one out */
	atomic_uint told;
	atomic_bool holds, is_held;
	_Atomic pthread_t thread;
};

static void hear(struct pm_mapping *mapping, const struct pm_event *event, void *arg)
{
	struct listener *l = arg;
	(void)mapping;
	(void)event;
	atomic_store(&l->thread, pthread_self());
	atomic_store(&l->is_held, true);
	while (atomic_load(&l->holds))
		usleep(1000);
	if (l->leaves)
		pm_notifier_leave(&l->leaves->notified);
	atomic_fetch_add(&l->told, 1);
}

static void join(struct listener *l)
{
	*l = (struct listener){.leaves = NULL};
	pm_events_init(&l->queue, hear, l, NULL, "file");
	ck_assert_int_eq(pm_notifier_join(&l->notified, &l->queue), 0);
}

static void defer(struct listener *l, enum pm_event_kind kind)
{
	ck_assert(publish(&l->queue, kind, PM_REASON_HOLE, 0, 1, true));
	pm_notifier_wake();
}

static void wait_for(struct listener *l, unsigned count)
{
	while (atomic_load(&l->told) < count)
		usleep(1000);
}

START_TEST(a_call_runs_the_handler_itself)
{
	struct listener l;
	fake_start(&fake_plain);
	join(&l);
	ck_assert(!publish(&l.queue, PM_EVENT_HOLE, PM_REASON_HOLE, 0, 1, false));
	ck_assert_uint_eq(l.told, 1);
	ck_assert(pthread_equal(l.thread, pthread_self()));
	defer(&l, PM_EVENT_SHARED);
	wait_for(&l, 2);
	ck_assert(!pthread_equal(l.thread, pthread_self()));
	/* pm_next_event() has both as well. */
	ck_assert_int_eq(take(&l.queue).kind, PM_EVENT_HOLE);
	ck_assert_int_eq(take(&l.queue).kind, PM_EVENT_SHARED);
	pm_notifier_leave(&l.notified);
	pm_events_destroy(&l.queue);
}
END_TEST

static void *leave(void *listener)
{
	pm_notifier_leave(&((struct listener *)listener)->notified);
	return NULL;
}

/*
 * A handler that takes long holds up its own mapping only: another leaves at once, and hears the rest from its own
 * thread.
 */
START_TEST(a_queue_waits_for_its_own_handler_only)
{
	struct listener slow, other, last;
	fake_start(&fake_plain);
	join(&last); /* so that the thread goes on */
	join(&slow);
	join(&other);
	atomic_store(&slow.holds, true);
	defer(&slow, PM_EVENT_HOLE);
	while (!atomic_load(&slow.is_held))
		usleep(1000);
	defer(&other, PM_EVENT_HOLE);
	defer(&other, PM_EVENT_SHARED);
	pm_notifier_leave(&other.notified);
	ck_assert_uint_eq(other.told, 2);
	ck_assert(pthread_equal(other.thread, pthread_self()));
	ck_assert_uint_eq(slow.told, 0);
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, leave, &slow), 0);
	usleep(50000);
	ck_assert_int_eq(pthread_tryjoin_np(thread, NULL), EBUSY);
	atomic_store(&slow.holds, false);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(slow.told, 1);
	pm_notifier_leave(&last.notified);
	pm_events_destroy(&last.queue);
	pm_events_destroy(&slow.queue);
	pm_events_destroy(&other.queue);
}
END_TEST

/* As pm_unmap() of another mapping, called by a handler. */
START_TEST(a_handler_may_take_another_queue_out)
{
	struct listener first, other;
	fake_start(&fake_plain);
	join(&first);
	join(&other);
	first.leaves = &other;
	publish(&other.queue, PM_EVENT_HOLE, PM_REASON_HOLE, 0, 1, true);
	defer(&first, PM_EVENT_HOLE);
	wait_for(&first, 1);
	ck_assert_uint_eq(other.told, 1);
	ck_assert_ptr_null(other.notified.queue);
	pm_notifier_leave(&first.notified);
	pm_events_destroy(&first.queue);
	pm_events_destroy(&other.queue);
}
END_TEST

static void *come_and_go(void *arg)
{
	struct listener l;
	(void)arg;
	for (int i = 0; i < 200; i++) {
		join(&l);
		publish(&l.queue, PM_EVENT_HOLE, PM_REASON_HOLE, 0, 1, true);
		pm_notifier_wake();
		pm_notifier_leave(&l.notified);
		unit_expect(l.told == 1);
		pm_events_destroy(&l.queue);
	}
	return NULL;
}

/* The thread starts and ends again and again; no event is lost. */
START_TEST(queues_come_and_go)
{
	pthread_t threads[4];
	fake_start(&fake_plain);
	counting.recording = false;
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("event_queue");
	tcase_add_test(c, equal_events_become_one);
	tcase_add_test(c, a_merged_event_says_what_the_later_said);
	tcase_add_test(c, a_merged_event_takes_the_later_place);
	tcase_add_test(c, the_descriptor_follows_the_queue);
	tcase_add_loop_test(c, a_lost_event_is_reported, 0, 2);
	tcase_add_test(c, a_call_runs_the_handler_itself);
	tcase_add_test(c, a_queue_waits_for_its_own_handler_only);
	tcase_add_test(c, a_handler_may_take_another_queue_out);
	tcase_add_test(c, queues_come_and_go);
	return unit_run();
}
