/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver: which fault is next, and what must hold after each. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/magic.h"
#include "sweeping.h"
#include "sweeping_internal.h"
#include "unit.h"

/* After the calls of the table. */
enum { ALLOCATION = FAKE_CALLS_COUNT, THREAD, KINDS };

static const char *name_of(unsigned kind)
{
	return kind == ALLOCATION ? "an allocation" : kind == THREAD ? "pthread_create" : fake_name(kind);
}

/*
 * The first on every machine, the first three where the library goes another way, all on the usual ones. Where a
 * sanitizer makes each of them five times as dear, every third, a different one at each call.
 */
static const int errors[] = {EIO, EINTR, ENOMEM, EMFILE, ENOSPC, EPERM, ENOSYS};
#ifdef SANITIZED
#define EVERY 3u
#else
#define EVERY 1u
#endif
#define FEW 1u
#define SOME 3u
#define OF_THREADS 12u /* calls of a kind: they look again and again */

/* Seen by main() after the test's process has died as well. */
static struct shared {
	struct last {
		char flow[64], machine[64];
		const char *kind;
		unsigned nth, error;
	} last[SWEEP_PROCESSES];
	atomic_uint faults, swept[KINDS];
} *shared;
static struct last *last;
static unsigned part;
static pid_t other; /* in the first process */

struct sweep_case sweep_case;
static atomic_uint made[KINDS];
static bool is_armed;

void sweep_begin(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		abort();
	/* Millions of calls on files that need no disk. */
	if (!getenv("TMPDIR") && !access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 1);
	other = fork();
	if (other < 0)
		abort();
	part = other ? 0 : 1;
	last = &shared->last[part];
}

static int result_of(pid_t pid)
{
	int status;
	return waitpid(pid, &status, 0) != pid || status;
}

static bool is_met(unsigned kind, const enum fake_call *elsewhere, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (kind == (unsigned)elsewhere[i])
			return true;
	return kind == THREAD || !fake_is_syscall(kind) || atomic_load(&shared->swept[kind]);
}

int sweep_end(int failed, const enum fake_call *elsewhere, size_t count)
{
	if (failed)
		printf("the last case: %s on %s: %s number %u fails with %d\n", last->flow, last->machine, last->kind,
		       last->nth, (int)last->error);
	if (!other)
		return failed;
	failed |= result_of(other);
	printf("%u faults\n", atomic_load(&shared->faults));
	for (unsigned kind = 0; kind < KINDS && !failed && !getenv("CK_RUN_CASE") && !unit_is_emulated(); kind++)
		if (!is_met(kind, elsewhere, count)) {
			printf("no flow meets %s: add one that does\n", name_of(kind));
			failed = 1;
		}
	return failed;
}

void sweep_abort(const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ck_abort_msg("%s on %s, %s number %u fails with %d: %s", last->flow, last->machine, last->kind, last->nth,
	             (int)last->error, text);
	abort();
}

/* At the start of each call of the table. */
static void meet(enum fake_call c)
{
	unsigned nth = atomic_fetch_add(&made[c], 1) + 1;
	if (!is_armed || (unsigned)c != sweep_case.kind || nth != sweep_case.nth)
		return;
	fake_fail(c, 1, sweep_case.error);
	atomic_store(&sweep_case.has_struck, true);
}

static void arm(void)
{
	for (unsigned kind = 0; kind < FAKE_CALLS_COUNT; kind++)
		atomic_store(&made[kind], 0);
	is_armed = true;
	atomic_store(&sweep_case.has_struck, false);
	allocations_fail(sweep_case.kind == ALLOCATION ? sweep_case.nth : 0);
	threads_fail(sweep_case.kind == THREAD ? sweep_case.nth : 0);
}

void sweep_disarm(void)
{
	if (is_armed && sweep_case.kind >= FAKE_CALLS_COUNT)
		atomic_store(&sweep_case.has_struck, allocations_have_failed());
	if (is_armed) {
		atomic_store(&made[ALLOCATION], allocations_made());
		atomic_store(&made[THREAD], threads_made());
	}
	is_armed = false;
	allocations_fail(0);
	threads_fail(0);
	for (unsigned c = 0; c < FAKE_CALLS_COUNT; c++)
		fake_fail(c, 0, 0);
}

/* ---- One case ---- */

static void make_file(const struct sweep_flow *flow)
{
	static char content[SWEEP_PAGES * 65536];
	size_t size = sweep_size();
	unlink(swept_path);
	unlink(sweep_link);
	if (flow->is_absent)
		return;
	if (!content[0])
		for (size_t i = 0; i < sizeof(content); i++)
			content[i] = unit_pattern(i);
	int fd = open(swept_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	unit_expect(fd >= 0 && write(fd, content, size) == (ssize_t)size && !close(fd));
}

static void check_directory(void)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s", swept_path);
	*strrchr(path, '/') = 0;
	DIR *directory = opendir(path);
	struct dirent *entry;
	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, "file") && strcmp(entry->d_name, "link"))
			sweep_abort("%s was left behind", entry->d_name);
	closedir(directory);
}

static void check_nothing_is_left(long allocations)
{
	if (fake_open_files())
		sweep_abort("%u descriptors left", fake_open_files());
	if (fake_mapped_bytes())
		sweep_abort("%llu bytes mapped", (unsigned long long)fake_mapped_bytes());
	if (allocations_left() != allocations)
		sweep_abort("%ld allocations left", allocations_left() - allocations);
	if (threads_left())
		sweep_abort("%ld threads left", threads_left());
	if (fake.violation[0])
		sweep_abort("%s", fake.violation);
}

static void run(const struct sweep_flow *flow, const struct fake_machine *machine)
{
	long allocations = allocations_left();
	last->kind = name_of(sweep_case.kind);
	last->nth = sweep_case.nth;
	last->error = (unsigned)sweep_case.error;
	make_file(flow);
	fake_start(machine);
	counting.recording = false;
	fake.guards = fake.recovers = true;
	fake.processes = 1;
	counting.hook = meet;
	kernel_start(swept_path);
	sweep_account_start();
	arm();
	flow->run();
	sweep_disarm();
	sweep_finish();
	kernel_unmap_rest();
	check_nothing_is_left(allocations);
	kernel_stop();
	fake_stop();
}

/* ---- All of them ---- */

static bool is_on(const struct sweep_flow *flow, const struct fake_machine *m)
{
	for (size_t i = 0; flow->only[0] && i < COUNT(flow->only); i++)
		if (m == flow->only[i])
			return true;
	if (flow->only[0])
		return false;
	if (m->is_device_dax || m->is_block_device)
		return flow->on_device;
	return m->dax == PM_NO ? flow->on_plain : flow->on_direct;
}

static void break_one(const struct sweep_flow *flow, const struct fake_machine *machine, unsigned kind, unsigned nth,
                      int error)
{
	sweep_case = (struct sweep_case){.has_threads = flow->threads, .kind = kind, .nth = nth, .error = error};
	run(flow, machine);
	unsigned has_struck = atomic_load(&sweep_case.has_struck);
	atomic_fetch_add(&shared->faults, has_struck);
	atomic_fetch_add(&shared->swept[kind], has_struck);
}

static void break_each(const struct sweep_flow *flow, const struct fake_machine *machine, unsigned kind, unsigned nth,
                       size_t number_of_errors)
{
	for (size_t e = number_of_errors < EVERY ? 0 : nth % EVERY; e < number_of_errors; e += EVERY)
		break_one(flow, machine, kind, nth, errors[e]);
}

static void sweep_on(const struct sweep_flow *flow, const struct fake_machine *machine, size_t number_of_errors)
{
	unsigned times[KINDS];
	if (!is_on(flow, machine))
		return;
	/* Where a call takes twenty times as long. */
	if (unit_is_emulated())
		number_of_errors = FEW;
	snprintf(last->machine, sizeof(last->machine), "%s", machine->name);
	sweep_case = (struct sweep_case){.is_first = true};
	run(flow, machine);
	sweep_case.is_first = false;
	for (unsigned kind = 0; kind < KINDS; kind++) {
		times[kind] = fake_is_syscall(kind) ? atomic_load(&made[kind]) : 0;
		if (flow->threads && times[kind] > OF_THREADS)
			times[kind] = OF_THREADS;
	}
	for (unsigned kind = 0; kind < KINDS; kind++)
		for (unsigned nth = 1; nth <= times[kind]; nth++)
			break_each(flow, machine, kind, nth, kind < FAKE_CALLS_COUNT ? number_of_errors : 1);
	check_directory();
}

/* Machines that only this needs. */
static const struct fake_extent holes[] = {{0, 8192, 0}, {12288, 1 << 20, 0x800 /* unwritten */}};
static const struct fake_health ill = {.keeps_list = true, .dimm = {"nmem4,0,4096,0"}, .set_cookie = "0x1"};

static struct fake_machine variant(unsigned number)
{
	struct fake_machine m = number == 1 ? fake_xfs_reflink : number == 3 ? fake_dax : fake_plain;
	if (number == 0) {
		m.name = "ext4 without a journal";
		m.lacks_journal = true;
	} else if (number == 1) {
		m.name = "old XFS with holes";
		m.release = "5.10.0";
		m.unique_mount = 0;
		m.extents = holes;
		m.extent_count = COUNT(holes);
	} else if (number == 2) {
		m.name = "XFS with a page cache";
		m.magic = XFS_SUPER_MAGIC;
		m.mount = "xfs /dev/vda1 rw,attr2";
	} else {
		m.name = "ext4 on an NVDIMM with a list of bad blocks";
		m.health = &ill;
	}
	return m;
}
#define VARIANTS 4u

static size_t number_of_errors_on(const struct fake_machine *m)
{
	if (m == &fake_plain || m == &fake_dax || m == &fake_xfs_reflink)
		return COUNT(errors);
	return m == &fake_eadr || m == &fake_device_dax || m == &fake_tmpfs ? SOME : FEW;
}

void sweep(const struct sweep_flow *flows, int number)
{
	const struct sweep_flow *flow = &flows[number];
	if ((unsigned)number % SWEEP_PROCESSES != part)
		return;
	for (unsigned c = 0; c < FAKE_CALLS_COUNT; c++)
		unit_expect(((void (*const *)(void))(const void *)&pm_sys_linux)[c]);
	swept_path = unit_path("file");
	sweep_link = unit_path("link");
	snprintf(last->flow, sizeof(last->flow), "%s", flow->name);
	for (unsigned i = 0; i < fake_machines_count; i++)
		sweep_on(flow, fake_machines[i], number_of_errors_on(fake_machines[i]));
	/* Those that no other flow needs. */
	const struct fake_machine *const counted[] = {&fake_counted, &fake_counted_by_commits};
	for (size_t i = 0; i < COUNT(counted) && flow->only[0]; i++)
		sweep_on(flow, counted[i], COUNT(errors));
	for (unsigned i = 0; i < VARIANTS; i++) {
		struct fake_machine machine = variant(i);
		sweep_on(flow, &machine, SOME);
	}
}
