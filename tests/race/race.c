/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes that create, grow and resize one file at once. In each round some of them meet a failure at a random call:
 * no space, no memory, a limit, a guarantee that cannot be met, an error of the medium. Afterwards every byte that a
 * process got 0 for must be in the file, no process may have met a SIGBUS, and where none succeeded there is no
 * file.
 *
 *   race DIRECTORY PROCESSES ROUNDS [SEED]    0: nothing was lost; "-": TMPDIR, or /var/tmp
 *   race --quota DIRECTORY ...                the same, and until some have failed for a quota that is set there, at
 *                                             most TRIES times as long
 *   race --mutate WHICH DIRECTORY ...         0: something was lost, as it must be with the rule switched off:
 *        lease   every lease is granted, and is none: what another process has is undone
 *        name    the same, and files are created by their name, and unlinked
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pmdirect.h"
#include "machine/count.h"

#define PROCESSES_MOST 64
#define STEPS 4
#define TRIES 10
#define SLOT 4096u
#define LATE 50000 /* microseconds before a failure: others come in between */

/* What each process got 0 for. */
static struct shared {
	atomic_uint quota; /* calls and stores that failed for one */
	struct told {
		unsigned value; /* 0: nothing */
		bool mapped;    /* pm_map() succeeded, be it without a store */
		uint64_t end;   /* that the file must have */
	} told[PROCESSES_MOST];
} *shared;

static const char *mutation = "";
static bool has_quota;
static uint32_t seed;
static unsigned slots;

static uint32_t chance(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % below;
}

/* ---- The kernel between ---- */

static unsigned until_failure; /* 0: none */
static bool is_struck;

/* What the calls that may fail fail with; of fallocate(2) and openat(2) see below. */
static const int errors[FAKE_CALLS_COUNT] = {
	[FAKE_fallocate] = ENOSPC, [FAKE_fallocate_keep_size] = ENOSPC, [FAKE_linkat] = ENOSPC, [FAKE_mmap] = ENOMEM,
	[FAKE_mremap] = ENOMEM, [FAKE_fsync] = EIO, [FAKE_statx] = EIO, [FAKE_openat] = -1};

static void strike(enum fake_call call)
{
	if (!errors[call])
		return;
	if (!chance(3))
		usleep(chance(200));
	is_struck = until_failure && !--until_failure;
	if (is_struck)
		usleep(chance(LATE));
	if (is_struck && call != FAKE_fallocate && call != FAKE_openat)
		fake_fail(call, 1, errors[call]);
}

/* Want of space comes in the midst of it. */
static int do_fallocate(int fd, uint64_t offset, uint64_t length)
{
	int rc = pm_sys_linux.fallocate(fd, offset, is_struck ? length / 2 + 1 : length);
	return is_struck ? -ENOSPC : rc;
}

static int do_linkat(const char *path, int directory, const char *entry)
{
	return !strcmp(mutation, "name") ? -EOPNOTSUPP : pm_sys_linux.linkat(path, directory, entry);
}

static int do_openat(int directory, const char *path, int flags, unsigned mode)
{
	if ((flags & O_TMPFILE) == O_TMPFILE && !strcmp(mutation, "name"))
		return -EOPNOTSUPP;
	return pm_sys_linux.openat(directory, path, flags, mode);
}

static int lie_setlease(int fd, int type)
{
	(void)fd;
	(void)type;
	return 0;
}

static int lie_getlease(int fd)
{
	(void)fd;
	return F_WRLCK;
}

static void stand_between(void)
{
	static struct machine between, liar;
	machine_put(&between, MACHINE(.fallocate = do_fallocate, .linkat = do_linkat, .openat = do_openat));
	if (mutation[0])
		machine_put(&liar, MACHINE(.setlease = lie_setlease, .getlease = lie_getlease));
	fake_count_start();
	counting.recording = false;
	counting.hook = strike;
}

/* ---- One process ---- */

struct copy {
	struct pm_mapping *m;
	char *to;
	const char *text;
};

static int copy(void *arg)
{
	struct copy *c = arg;
	return pm_memcpy(c->m, c->to, c->text, strlen(c->text) + 1, 0);
}

static void note_quota(int rc)
{
	if (rc == -EDQUOT)
		atomic_fetch_add(&shared->quota, 1);
}

static void store(struct pm_mapping *m, unsigned self, uint64_t length)
{
	struct pm_fault fault = {0};
	struct told *told = &shared->told[self];
	uint64_t at = (uint64_t)self * SLOT;
	told->mapped = true;
	told->end = length > told->end ? length : told->end;
	if (length < at + SLOT || chance(8) == 0)
		return;
	unsigned value = chance(UINT32_MAX) | 1;
	char text[32];
	snprintf(text, sizeof(text), "%u", value);
	struct copy c = {m, (char *)pm_base(m) + at, text};
	int rc = pm_guarded(m, copy, &c, &fault, sizeof(fault));
	note_quota(rc);
	/* A hole that gets no block for a quota: the store is not made, and the byte stays what it was. */
	/* fallocate(2), which is asked for the reason, may have met a failure of this program's own. */
	bool is_want = fault.error == -EDQUOT || fault.error == -ENOSPC || fault.error == -EAGAIN;
	if (fault.error && !(has_quota && is_want)) {
		dprintf(STDOUT_FILENO, "  process %u: %s\n", self, pm_error_detail());
		_exit(1);
	}
	if (!fault.error)
		told->value = rc ? 0 : value; /* 0: unknown from now on, the old or the new */
}

static void limit_files(rlim_t to)
{
	struct rlimit r = {to, RLIM_INFINITY};
	setrlimit(RLIMIT_FSIZE, &r);
}

static void step(const char *path, unsigned self)
{
	struct pm_options o = {.size = sizeof(o), .flags = PM_CREATE, .length = (1 + chance(slots)) * SLOT};
	struct pm_mapping *m;
	unsigned kind = chance(8);
	until_failure = chance(2) ? 1 + chance(25) : 0;
	o.flags |= chance(4) ? 0 : PM_PREPARE;
	o.flags |= chance(4) || o.flags & PM_PREPARE ? 0 : PM_SPARSE;
	o.direct = kind == 0 ? PM_GUARANTEE : PM_HINT;
	limit_files(kind == 1 ? o.length / 2 : RLIM_INFINITY);
	int rc = pm_map(path, &o, &m);
	note_quota(rc);
	if (!rc) {
		store(m, self, o.length);
		if (chance(2)) {
			uint64_t longer = o.length + (1 + chance(slots)) * SLOT;
			limit_files(chance(4) ? RLIM_INFINITY : longer - 1);
			rc = pm_resize(m, longer);
			note_quota(rc);
			if (!rc || shared->told[self].value)
				store(m, self, pm_length(m));
		}
		pm_unmap(m);
	}
	limit_files(RLIM_INFINITY);
}

/* A process that is ready closes its writing end of the one pipe; the start is the close of that of the other. */
struct gate {
	int ready[2], go[2];
};

static void await_close(int pipe[2])
{
	char none;
	close(pipe[1]);
	if (read(pipe[0], &none, 1))
		abort();
	close(pipe[0]);
}

static int live(const char *path, unsigned self, uint32_t own_seed, struct gate *gate)
{
	seed = own_seed;
	stand_between();
	if (pm_guard_install())
		return 1;
	close(gate->ready[0]);
	close(gate->ready[1]);
	await_close(gate->go);
	for (unsigned i = 0; i < 1 + chance(STEPS); i++)
		step(path, self);
	return 0;
}

/* ---- A round ---- */

static unsigned read_slot(int fd, unsigned self)
{
	char text[32] = "";
	ssize_t got = pread(fd, text, sizeof(text) - 1, (off_t)self * SLOT);
	return got > 0 ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static unsigned look(const char *path, unsigned processes, bool existed)
{
	unsigned lost = 0;
	bool any = existed;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int64_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	for (unsigned i = 0; i < processes; i++) {
		const struct told *told = &shared->told[i];
		any |= told->mapped;
		if (told->mapped && size < (int64_t)told->end)
			lost++, printf("  process %u: mapped to %llu, the file ends at %lld\n", i,
			               (unsigned long long)told->end, (long long)size);
		else if (told->value && read_slot(fd, i) != told->value)
			lost++, printf("  process %u: %u was durable, there is %u\n", i, told->value, read_slot(fd, i));
	}
	/* A failure after the name was given, which another process may have met by then, leaves the file. */
	if (fd >= 0 && !any && size == 0)
		lost++, printf("  no process succeeded, and an empty file is left\n");
	if (fd >= 0)
		close(fd);
	return lost;
}

static unsigned refused; /* for a quota */
static unsigned left; /* rounds where no process succeeded and a file was left */

static unsigned play(const char *path, unsigned processes)
{
	pid_t pid[PROCESSES_MOST];
	struct gate gate;
	unsigned lost = 0;
	bool existed = chance(2);
	if (pipe(gate.ready) || pipe(gate.go))
		abort();
	memset(shared, 0, sizeof(*shared));
	unlink(path);
	if (existed)
		close(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
	/* XFS wants more of a quota for a new name than these files are long. */
	if (existed && truncate(path, SLOT)) {
		if (!has_quota)
			abort();
		unlink(path);
		existed = false;
	}
	for (unsigned i = 0; i < processes; i++) {
		uint32_t own = chance(UINT32_MAX) | 1;
		pid[i] = fork();
		if (!pid[i])
			_exit(live(path, i, own, &gate));
	}
	await_close(gate.ready);
	close(gate.go[0]);
	close(gate.go[1]);
	for (unsigned i = 0; i < processes; i++) {
		int status;
		waitpid(pid[i], &status, 0);
		if (!WIFEXITED(status))
			lost++, printf("  process %u: signal %d\n", i, WTERMSIG(status));
		else if (WEXITSTATUS(status))
			lost++, printf("  process %u: status %d\n", i, WEXITSTATUS(status));
	}
	lost += look(path, processes, existed);
	bool any = existed;
	for (unsigned i = 0; i < processes; i++)
		any |= shared->told[i].mapped;
	left += !any && !access(path, F_OK);
	refused += atomic_load(&shared->quota);
	return lost;
}

int main(int argc, char **argv)
{
	char path[PATH_MAX];
	if (argc > 2 && !strcmp(argv[1], "--mutate")) {
		mutation = argv[2];
		argv += 2;
		argc -= 2;
	}
	if (argc > 2 && !strcmp(argv[1], "--quota")) {
		has_quota = true;
		argv++;
		argc--;
	}
	if (argc < 4)
		return 2;
	unsigned processes = (unsigned)atoi(argv[2]), rounds = (unsigned)atoi(argv[3]), lost = 0, played = 0;
	uint32_t from = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 0) : (uint32_t)time(NULL) * 2654435761u;
	seed = from | 1;
	slots = processes + 2;
	const char *directory = strcmp(argv[1], "-") ? argv[1] : getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp";
	if (access(directory, W_OK))
		return printf("%s cannot be written to\n", directory), 77;
	snprintf(path, sizeof(path), "%s/race-%d", directory, (int)getpid());
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setvbuf(stdout, NULL, _IONBF, 0);
	printf("%u processes, seed %u%s%s\n", processes, seed, mutation[0] ? ", mutation: " : "", mutation);
	unsigned most = has_quota ? TRIES * rounds : rounds;
	for (; played < (has_quota && !refused ? most : rounds) && !(mutation[0] && lost); played++)
		lost += play(path, processes);
	unlink(path);
	printf("%u rounds of %u processes: %u lost; %u files left by failures; %u failed for a quota\n", played,
	       processes, lost, left, refused);
	if (has_quota && !refused)
		return printf("the quota was never met\n"), 1;
	return mutation[0] ? !lost : lost != 0;
}
