/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that closes "all" descriptors, the library's among them, and gets their numbers for what it opens next: no
 * byte, size, lease or descriptor of its own is touched, and no call promises anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mapping/mapping.h"
#include "unit.h"

#define SIZE 65536u
#define OTHER_SIZE 200000u

static struct pm_mapping *m;
static char *base;
static int number; /* of the mapping's descriptor */
static const char *other;

enum theft { CLOSED, ANOTHER_FILE, A_PIPE, THEFTS };

static void steal(enum theft theft)
{
	int ends[2];
	number = m->file.fd;
	other = unit_file("other", OTHER_SIZE);
	close(number);
	if (theft == CLOSED)
		return;
	int fd = theft == ANOTHER_FILE ? open(other, O_RDWR | O_CLOEXEC) : pipe(ends) ? -1 : ends[1];
	ck_assert_int_ge(fd, 0);
	if (fd != number) {
		ck_assert_int_eq(dup2(fd, number), number);
		close(fd);
	}
	if (theft == A_PIPE && ends[0] != number)
		fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

/* Nothing but questions went through the number. */
static void check_untouched(enum theft theft)
{
	static const enum fake_call harmful[] = {
		FAKE_write,           FAKE_pwrite, FAKE_ftruncate, FAKE_fallocate,          FAKE_fsync,
		FAKE_fdatasync,       FAKE_syncfs, FAKE_setlease,  FAKE_fcntl_setown,       FAKE_lease_signal,
		FAKE_sync_file_range, FAKE_close,  FAKE_read,      FAKE_fallocate_keep_size};
	for (size_t i = 0; i < sizeof(harmful) / sizeof(harmful[0]); i++) {
		const struct fake_record *r;
		for (unsigned n = 0; (r = fake_find(harmful[i], n)); n++)
			ck_assert_msg(r->fd != number, "call %d through the number", harmful[i]);
	}
	char bytes[OTHER_SIZE];
	int fd = open(other, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	ck_assert(unit_has_pattern(bytes, 0, sizeof(bytes)));
	ck_assert_uint_eq(unit_size_of(other), OTHER_SIZE);
	close(fd);
	ck_assert_int_eq(fcntl(number, F_GETFD) >= 0, theft != CLOSED);
}

static int persist(void)
{
	return pm_persist(m, base, 100);
}

static int flush_and_drain(void)
{
	int rc = pm_flush(m, base, 100);
	return rc ? rc : pm_drain(m);
}

/* Far apart, so that they would be written by sync_file_range(2). */
static int flush_apart_and_drain(void)
{
	int rc = pm_flush(m, base, 1);
	rc = rc ? rc : pm_flush(m, base + SIZE * 15, 1);
	return rc ? rc : pm_drain(m);
}

static int copy(void)
{
	return pm_memset(m, base, 1, 100, 0);
}

static int sync_all(void)
{
	return pm_sync(m);
}

static int deep(void)
{
	return pm_deep_persist(m, base, 100);
}

static int write_some(void)
{
	return pm_write(m, base, "some", 4);
}

static int grow(void)
{
	return pm_resize(m, 32 * SIZE);
}

static int shrink(void)
{
	return pm_resize(m, 100);
}

static int clear_bad(void)
{
	return pm_clear_bad_blocks(m, base, SIZE);
}

static int read_some(void)
{
	char some[4];
	return pm_read(m, some, base, sizeof(some));
}

static int commit_one(void)
{
	return pm_commit(m, &(struct pm_range){base, 100}, 1);
}

/* By lines it asks for no descriptor; elsewhere these would be written by sync_file_range(2). */
static int commit_apart(void)
{
	return pm_commit(m, (struct pm_range[]){{base, 1}, {base + SIZE * 15, 1}, {base + SIZE * 8, SIZE}}, 3);
}

static int publish(void)
{
	return pm_publish64(m, (uint64_t *)(void *)base, 7);
}

static int (*const calls[])(void) = {persist,
                                     flush_and_drain,
                                     flush_apart_and_drain,
                                     copy,
                                     commit_one,
                                     commit_apart,
                                     publish,
                                     sync_all,
                                     deep,
                                     write_some,
                                     grow,
                                     shrink,
                                     clear_bad,
                                     read_some};
#define BY_LINES 7u /* so many of the first */
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static const struct fake_machine *const machines[] = {&fake_plain, &fake_dax, &fake_xfs_reflink, &fake_plain,
                                                      &fake_plain};
#define MACHINES 5
#define LEASED 2
#define READ_ONLY 3
#define BORROWED 4

/* By lines the first few still reach the medium, which asks for no descriptor. */
static bool is_told(int machine, size_t call)
{
	return machine == 0 || machine >= READ_ONLY || call >= BY_LINES;
}

static struct pm_mapping *map_on(int machine, const char *path)
{
	static const unsigned flags[MACHINES] = {
		[LEASED] = PM_LEASE, [READ_ONLY] = PM_READ_ONLY, [BORROWED] = PM_BORROW_FD};
	struct pm_mapping *mapping;
	if (machine != BORROWED)
		return unit_map(path, UNIT_OPTIONS(.flags = flags[machine]));
	unit_ok(pm_map_fd(open(path, O_RDWR | O_CLOEXEC), UNIT_OPTIONS(.flags = flags[machine]), &mapping));
	return mapping;
}

START_TEST(every_call_after_a_theft)
{
	int machine = _i % MACHINES;
	enum theft theft = (enum theft)(_i / MACHINES);
	for (size_t i = 0; i < CALLS; i++) {
		const char *path = unit_file("file", 16 * SIZE);
		/* What is left is for readers, too. */
		if (machine == READ_ONLY && (i > BY_LINES + 1 || calls[i] == copy || calls[i] == publish))
			continue;
		fake_start(machines[machine]);
		atomic_store(&fake.watcher_sleeps, true);
		m = map_on(machine, path);
		base = pm_base(m);
		steal(theft);
		fake_forget();
		int rc = calls[i]();
		if (is_told(machine, i))
			ck_assert_msg(rc == -EBADF, "call %zu: %d, %s", i, rc, pm_error_detail());
		if (rc == -EBADF) {
			ck_assert_ptr_nonnull(strstr(pm_error_detail(), "descriptor"));
			ck_assert_int_eq(calls[i](), -EBADF); /* for ever */
			ck_assert_int_eq(persist(), -EBADF);
			ck_assert_int_eq(pm_clear_error(m), -EBADF);
		}
		check_untouched(theft);
		rc = pm_unmap(m);
		ck_assert(rc == -EBADF || (!rc && !is_told(machine, i)));
		check_untouched(theft);
		ck_assert_uint_eq(fake_mapped_bytes(), 0);
		close(number);
	}
}
END_TEST

static int read_and_see(const char *held)
{
	char bytes[8] = "mine...";
	int rc = pm_read(m, bytes, base, sizeof(bytes));
	ck_assert_int_eq(memcmp(bytes, held, sizeof(bytes)), 0);
	return rc;
}

/* The caller's memory keeps what it holds. */
START_TEST(no_byte_of_another_file_is_read)
{
	int machine = _i % MACHINES;
	enum theft theft = (enum theft)(_i / MACHINES);
	fake_start(machines[machine]);
	m = map_on(machine, unit_file("file", 16 * SIZE));
	base = pm_base(m);
	steal(theft);
	fake_forget();
	ck_assert_int_eq(read_and_see("mine..."), -EBADF);
	ck_assert_int_eq(read_and_see("mine..."), -EBADF);
	ck_assert_uint_eq(fake_calls(FAKE_pread), 0);
	ck_assert_int_eq(pm_unmap(m), -EBADF);
	close(number);
}
END_TEST

static void steal_before_read(enum fake_call c)
{
	if (c == FAKE_pread && m->file.fd >= 0 && !other)
		steal(ANOTHER_FILE);
}

/* Between the first look and the read: what was read is taken back. */
START_TEST(the_number_is_reused_during_a_read)
{
	fake_start(machines[_i]);
	m = map_on(_i, unit_file("file", 16 * SIZE));
	base = pm_base(m);
	other = NULL;
	counting.hook = steal_before_read;
	ck_assert_int_eq(read_and_see("\0\0\0\0\0\0\0"), -EBADF);
	counting.hook = NULL;
	ck_assert_ptr_nonnull(other);
	ck_assert_int_eq(pm_unmap(m), -EBADF);
	close(number);
}
END_TEST

/* It is no failed write-back: other mappings of the file have descriptors of their own. */
START_TEST(another_mapping_of_the_file_is_whole)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	m = unit_map(path, NULL);
	base = pm_base(m);
	struct pm_mapping *second = unit_map(path, NULL);
	steal(ANOTHER_FILE);
	ck_assert_int_eq(persist(), -EBADF);
	unit_ok(pm_persist(second, pm_base(second), 100));
	unit_ok(pm_unmap(second));
	ck_assert_int_eq(pm_unmap(m), -EBADF);
}
END_TEST

/* The library itself gets the number again, for the same file: device and inode are no difference. */
START_TEST(the_number_becomes_another_mappings)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	m = unit_map(path, NULL);
	base = pm_base(m);
	number = m->file.fd;
	close(number);
	struct pm_mapping *second = unit_map(path, NULL);
	ck_assert_int_eq(second->file.fd, number);
	ck_assert_int_eq(persist(), -EBADF);
	ck_assert_int_eq(pm_unmap(m), -EBADF);
	unit_ok(pm_persist(second, pm_base(second), 100));
	ck_assert_int_ge(fcntl(number, F_GETFD), 0);
	unit_ok(pm_unmap(second));
}
END_TEST

/* A look says that nothing is known, and reads nothing of another file. */
START_TEST(a_query_knows_nothing)
{
	const char *path = unit_file("file", SIZE);
	fake_start(_i ? &fake_dax : &fake_plain);
	m = unit_map(path, NULL);
	base = pm_base(m);
	steal(ANOTHER_FILE);
	fake_forget();
	const struct pm_report *r = unit_query(m);
	ck_assert_int_le((int)r->granularity, PM_PAGE);
	ck_assert_int_eq(r->reason, PM_REASON_DESCRIPTOR_LOST);
	ck_assert_int_eq(r->advice, PM_ADVICE_MAP_AGAIN);
	ck_assert_int_eq(r->verdict, PM_VERDICT_DEMOTED);
	ck_assert_int_eq(r->grade, PM_GRADE_NONE);
	ck_assert_int_eq(r->error, -EBADF);
	ck_assert_int_eq(r->evidence[PM_EV_OWN_DESCRIPTION].state, PM_NO);
	ck_assert_int_eq(r->evidence[PM_EV_OWN_DESCRIPTION].error, EBADF);
	ck_assert_int_eq(r->evidence[PM_EV_FILE_SYSTEM].state, PM_UNKNOWN);
	for (unsigned n = 0; fake_find(FAKE_ioctl, n); n++)
		ck_assert_int_ne(fake_find(FAKE_ioctl, n)->fd, number);
	ck_assert_int_eq(persist(), -EBADF);
	ck_assert_int_eq(pm_unmap(m), -EBADF);
	close(number);
}
END_TEST

/* The kernel keeps a lease with the mapping: that the number leads elsewhere is no news of it. */
START_TEST(a_lease_is_not_said_to_be_broken)
{
	struct pm_event event;
	fake_start(machines[LEASED]);
	atomic_store(&fake.watcher_sleeps, true);
	m = map_on(LEASED, unit_file("file", 16 * SIZE));
	base = pm_base(m);
	ck_assert(atomic_load(&m->observed.lease.is_held));
	steal((enum theft)_i);
	fake_forget();
	ck_assert_int_eq(unit_query(m)->reason, PM_REASON_DESCRIPTOR_LOST);
	while (!pm_next_event(m, &event, sizeof(event))) {
		ck_assert_int_ne(event.kind, PM_EVENT_LEASE_BROKEN);
		ck_assert_int_ne(event.reason, PM_REASON_LEASE_FORCED);
	}
	ck_assert_int_eq(persist(), -EBADF);
	check_untouched((enum theft)_i);
	ck_assert_int_eq(pm_unmap(m), -EBADF);
	close(number);
}
END_TEST

/* ---- The descriptors of a watched mapping ---- */

#define MOST 64
static int numbers[MOST];
static unsigned count;

/* What the library keeps, and not what its thread has open for an instant. */
static void note_kept(void)
{
	static const char *const kinds[] = {"[signalfd]",  "inotify",   "[eventfd]",
	                                    "[eventpoll]", "[timerfd]", "/mountinfo"};
	char path[40], text[64];
	count = 0;
	numbers[count++] = m->file.fd;
	for (int fd = 3; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t length = readlink(path, text, sizeof(text) - 1);
		text[length > 0 ? length : 0] = 0;
		for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
			if (strstr(text, kinds[i]))
				numbers[count++] = fd;
	}
}

/* Eventfds of the program take the place of all, on the real system calls; one is always readable. */
START_TEST(what_watches_is_never_anothers)
{
	uint64_t value;
	const char *path = unit_file("file", SIZE);
	fake_stop();
	m = unit_map(path, UNIT_OPTIONS(.flags = _i == 0 ? PM_WATCH : _i == 1 ? PM_LEASE : 0));
	base = pm_base(m);
	ck_assert_int_ge(pm_event_fd(m), 3);
	/* At once: a program closes what it did not open when pm_map() has returned. */
	note_kept();
	ck_assert_uint_ge(count, 5);
	for (unsigned i = 0; i < count; i++) {
		int mine = eventfd(7, EFD_CLOEXEC | EFD_NONBLOCK);
		ck_assert_int_eq(dup3(mine, numbers[i], O_CLOEXEC), numbers[i]);
		close(mine);
	}
	struct pm_report report;
	struct pm_event event;
	pm_query(m, &report, sizeof(report));
	pm_next_event(m, &event, sizeof(event));
	ck_assert_int_eq(persist(), -EBADF);
	usleep(_i < 2 ? 1200000 : 0);
	ck_assert_int_eq(pm_unmap(m), -EBADF);
	for (unsigned i = 0; i < count; i++) {
		ck_assert_msg(read(numbers[i], &value, sizeof(value)) == sizeof(value) && value == 7, "number %d",
		              numbers[i]);
		close(numbers[i]);
	}
}
END_TEST

/* All closed and none opened again: the thread neither spins nor hangs, and ends. */
START_TEST(all_are_closed)
{
	const char *path = unit_file("file", SIZE);
	fake_start(&fake_plain);
	m = unit_map(path, UNIT_OPTIONS(.flags = PM_WATCH));
	base = pm_base(m);
	note_kept();
	/* The bare call: to close below a thread that polls is a race by intent, which the thread sanitizer reports. */
	for (unsigned i = 0; i < count; i++)
		syscall(SYS_close, numbers[i]);
	usleep(100000);
	fake_forget();
	usleep(500000);
	ck_assert_uint_lt(fake_calls(FAKE_poll), 20);
	ck_assert_int_eq(persist(), -EBADF);
	ck_assert_int_eq(pm_unmap(m), -EBADF);
}
END_TEST

/* A descriptor that was taken away is made anew: others whose numbers lie in the same list stay in it. */
START_TEST(a_number_that_is_kept_anew)
{
	enum { NUMBER = 100000, LISTS = 4096 };
	struct pm_kept first = {.place = 0}, anew = {.place = 0};
	pm_keep(&first, NUMBER);
	pm_keep(&anew, NUMBER + LISTS);
	pm_keep(&anew, NUMBER + 1);
	ck_assert_int_eq(pm_kept_fd(&first), NUMBER);
	pm_kept_close(&first);
	ck_assert_int_lt(pm_kept_fd(&first), 0);
	pm_kept_close(&anew);
}
END_TEST

int main(void)
{
	TCase *c = unit_case("closed");
	tcase_add_loop_test(c, every_call_after_a_theft, 0, MACHINES * THEFTS);
	tcase_add_loop_test(c, no_byte_of_another_file_is_read, 0, MACHINES * THEFTS);
	tcase_add_loop_test(c, the_number_is_reused_during_a_read, 0, MACHINES);
	tcase_add_test(c, another_mapping_of_the_file_is_whole);
	tcase_add_test(c, the_number_becomes_another_mappings);
	tcase_add_loop_test(c, a_query_knows_nothing, 0, 2);
	tcase_add_loop_test(c, a_lease_is_not_said_to_be_broken, 0, 3);
	tcase_add_loop_test(c, what_watches_is_never_anothers, 0, 3);
	tcase_add_test(c, all_are_closed);
	tcase_add_test(c, a_number_that_is_kept_anew);
	return unit_run();
}
