/* SPDX-License-Identifier: BSD-3-Clause */
/* Very many faults from several threads at once: none lost, none taken for another, those of others passed on. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guarding.h"

#define THREADS 4u
#define FAULTS 2500u /* of each thread in its own mappings; there are more that go to others */
#define PAGES 8u

/* What a thread does, and what it then counts. */
enum kind {
	OWN,           /* a fault in its mapping */
	OUTER,         /* one of the outer mapping in the inner guard */
	FOREIGN,       /* one of memory that is no mapping of the library, in a guard */
	UNGUARDED,     /* one of its mapping, in no guard */
	OTHER_GUARDED, /* one of its second mapping, in a guard of the first alone */
	FINE,          /* none */
	KINDS
};

struct worker {
	pthread_t thread;
	uint32_t random;
	struct pm_mapping *m[2];
	char *foreign;
	unsigned done[KINDS], caught, passed, wrong;
	char *expected; /* by the handler before ours */
	sigjmp_buf back;
	enum kind kind; /* of the access under way */
	char *at;
};

static __thread struct worker *self;
static pthread_barrier_t together;
static size_t page;

static void before_ours(int number, siginfo_t *info, void *context)
{
	struct worker *w = self;
	(void)number;
	(void)context;
	w->passed++;
	if (info->si_code != BUS_ADRERR || info->si_addr != w->expected)
		w->wrong++;
	siglongjmp(w->back, 1);
}

static uint32_t next(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 17;
	return w->random ^= w->random << 5;
}

static void touch(struct worker *w)
{
	if (next(w) % 2)
		*(volatile char *)w->at = 1;
	else
		(void)*(volatile char *)w->at;
}

/* Something that only the handler before ours can end. */
static int touch_and_come_back(void *arg)
{
	struct worker *w = arg;
	w->expected = w->at;
	if (sigsetjmp(w->back, 1))
		return 1;
	touch(w);
	return 2;
}

static int in_a_guard(void *arg)
{
	struct worker *w = arg;
	if (w->kind == FOREIGN || w->kind == OTHER_GUARDED)
		return touch_and_come_back(w);
	touch(w);
	return 2;
}

static int in_two_guards(void *arg)
{
	struct worker *w = arg;
	pm_guarded(w->m[1], in_a_guard, w, NULL, 0);
	w->wrong++;
	return 3;
}

static void expect_fault(struct worker *w, pm_guarded_fn *function)
{
	struct pm_fault f;
	int rc = pm_guarded(w->m[0], function, w, &f, sizeof(f));
	uint64_t offset = (uint64_t)(w->at - (char *)pm_base(w->m[0]));
	if (rc == -EIO && f.error == -EIO && f.address == w->at && f.offset == offset && f.code == BUS_ADRERR &&
	    strstr(pm_error_detail(), "truncated"))
		w->caught++;
	else
		w->wrong++;
}

static void one(struct worker *w)
{
	uint32_t gone = (1 + next(w) % (PAGES - 1)) * (uint32_t)page + next(w) % (uint32_t)page;
	w->kind = (enum kind)(next(w) % KINDS);
	w->done[w->kind]++;
	w->at = (char *)pm_base(w->m[0]) + gone;
	switch (w->kind) {
	case OWN:
		expect_fault(w, in_a_guard);
		break;
	case OUTER:
		expect_fault(w, in_two_guards);
		break;
	case FOREIGN:
		w->at = w->foreign + gone;
		w->wrong += pm_guarded(w->m[0], in_a_guard, w, NULL, 0) != 1;
		break;
	case UNGUARDED:
		w->wrong += touch_and_come_back(w) != 1;
		break;
	case OTHER_GUARDED:
		w->at = (char *)pm_base(w->m[1]) + gone;
		w->wrong += pm_guarded(w->m[0], in_a_guard, w, NULL, 0) != 1;
		break;
	default:
		w->at = (char *)pm_base(w->m[0]) + gone % page;
		w->wrong += pm_guarded(w->m[0], in_a_guard, w, NULL, 0) != 2;
	}
}

static void *work(void *arg)
{
	struct worker *w = self = arg;
	pthread_barrier_wait(&together);
	while (w->done[OWN] + w->done[OUTER] < FAULTS)
		one(w);
	return NULL;
}

static void prepare(struct worker *w, unsigned number)
{
	char name[16];
	snprintf(name, sizeof(name), "file%u", number);
	const char *path = unit_file(name, PAGES * page);
	for (int i = 0; i < 2; i++)
		w->m[i] = unit_map(path, NULL);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	w->foreign = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ck_assert_ptr_ne(w->foreign, MAP_FAILED);
	ck_assert_int_eq(truncate(path, (off_t)page), 0);
	w->random = unit_random() | 1;
}

START_TEST(none_is_lost_and_none_is_mistaken)
{
	static struct worker workers[THREADS];
	struct sigaction a = {.sa_sigaction = before_ours, .sa_flags = SA_SIGINFO};
	page = unit_page();
	ck_assert_int_eq(sigaction(SIGBUS, &a, NULL), 0);
	unit_ok(pm_guard_install());
	pthread_barrier_init(&together, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		prepare(&workers[i], i);
	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];
		pthread_join(w->thread, NULL);
		ck_assert_uint_eq(w->wrong, 0);
		ck_assert_uint_eq(w->caught, FAULTS);
		ck_assert_uint_eq(w->caught, w->done[OWN] + w->done[OUTER]);
		ck_assert_uint_eq(w->passed, w->done[FOREIGN] + w->done[UNGUARDED] + w->done[OTHER_GUARDED]);
		ck_assert_uint_gt(w->done[FINE], 0);
		printf("thread %u: %u caught, %u passed on\n", i, w->caught, w->passed);
		for (int j = 0; j < 2; j++)
			unit_ok(pm_unmap(w->m[j]));
	}
	unit_ok(pm_guard_remove());
}
END_TEST

int main(void)
{
	if (!guarding_is_possible())
		return 77;
	TCase *c = unit_case("guard_threads");
	tcase_add_test(c, none_is_lost_and_none_is_mistaken);
	return unit_run();
}
