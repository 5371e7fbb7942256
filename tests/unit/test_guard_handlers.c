/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that handled SIGBUS before must not notice the guard. What a process does without it is the measure: each
 * case runs in two children, one with the guard, and they must come to the same end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guarding.h"

static size_t page;

/* ---- What was there before ---- */

struct outcome {
	int status; /* of the child */
	unsigned calls;
	int code;
	ptrdiff_t address; /* in the mapping */
	bool usr1_blocked, sigbus_blocked, on_stack, context;
	/* The death that the guard asks for; where there is none, nothing is known of it. */
	int death_code;
	ptrdiff_t death_address;
};

static struct outcome *outcome; /* shared with the child */
static char *base;              /* of the memory to be accessed */
static char stack[64 * 1024];

static void see(const siginfo_t *info, void *context)
{
	sigset_t now;
	char here;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	outcome->calls++;
	outcome->usr1_blocked = sigismember(&now, SIGUSR1) == 1;
	outcome->sigbus_blocked = sigismember(&now, SIGBUS) == 1;
	outcome->on_stack = (uintptr_t)&here - (uintptr_t)stack < sizeof(stack);
	outcome->context = context;
	if (info) {
		outcome->code = info->si_code;
		outcome->address = info->si_code > 0 ? (char *)info->si_addr - base : 0;
	}
	/* Makes the access possible, which is tried again. */
	if (truncate(guarding_path, (off_t)(GUARDING_PAGES * page)))
		_exit(99);
}

static void plain(int number)
{
	(void)number;
	see(NULL, NULL);
}

static void informed(int number, siginfo_t *info, void *context)
{
	(void)number;
	see(info, context);
}

static const struct {
	const char *name;
	void (*handler)(int);
	unsigned flags; /* with SA_SIGINFO: informed */
	bool blocks_usr1;
} dispositions[] = {
	{"default", SIG_DFL, 0, false},
	{"default with flags", SIG_DFL, SA_NODEFER | SA_RESTART, true},
	{"ignored", SIG_IGN, 0, false},
	{"plain", plain, 0, false},
	{"plain with a mask", plain, SA_RESTART, true},
	{"informed", NULL, SA_SIGINFO, false},
	{"informed with a mask", NULL, SA_SIGINFO, true},
	{"not deferred", NULL, SA_SIGINFO | SA_NODEFER, false},
	{"on its own stack", NULL, SA_SIGINFO | SA_ONSTACK, false},
	{"once", NULL, SA_SIGINFO | SA_RESETHAND, false},
	{"once, plain, not deferred", plain, SA_RESETHAND | SA_NODEFER, false},
};

static void dispose(int number)
{
	struct sigaction a = {.sa_flags = (int)dispositions[number].flags};
	if (dispositions[number].flags & SA_SIGINFO)
		a.sa_sigaction = informed;
	else
		a.sa_handler = dispositions[number].handler;
	if (dispositions[number].blocks_usr1)
		sigaddset(&a.sa_mask, SIGUSR1);
	ck_assert_int_eq(sigaction(SIGBUS, &a, NULL), 0);
}

/* ---- What happens ---- */

static struct pm_mapping *mapping;
static char *foreign;
static bool has_guard;

static void access_cut_off(char *at)
{
	base = at - 5 * page - 3;
	guarding_cut(page);
	guarding_store(at);
}

static void foreign_fault(void)
{
	access_cut_off(foreign + 5 * page + 3);
}

static void unguarded_fault(void)
{
	access_cut_off((char *)pm_base(mapping) + 5 * page + 3);
}

static int foreign_fault_inside(void *arg)
{
	(void)arg;
	foreign_fault();
	return 0;
}

static void foreign_fault_in_a_guard(void)
{
	if (!has_guard)
		foreign_fault();
	else if (pm_guarded(mapping, foreign_fault_inside, NULL, NULL, 0))
		_exit(98);
}

static void sent(void)
{
	kill(getpid(), SIGBUS);
}

static void sent_often(void)
{
	for (int i = 0; i < 3; i++)
		kill(getpid(), SIGBUS);
}

static void news(void)
{
	base = pm_base(mapping);
	guarding_forge(&(struct guarding_forged){BUS_MCEERR_AO, base + 70, 12});
}

static void twice(void)
{
	foreign_fault();
	foreign_fault();
}

static void (*const happenings[])(void) = {
	foreign_fault, unguarded_fault, foreign_fault_in_a_guard, sent, sent_often, news, twice,
};

/* ---- The comparison ---- */

static struct machine spy;

static int spy_on_death(const siginfo_t *info)
{
	outcome->death_code = info->si_code;
	outcome->death_address = info->si_code > 0 ? (char *)info->si_addr - base : 0;
	return pm_sys_linux.rt_tgsigqueueinfo(info);
}

static void child(int disposition, size_t happening)
{
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL);
	mapping = unit_map(guarding_path, NULL);
	int fd = open(guarding_path, O_RDWR | O_CLOEXEC);
	foreign = mmap(NULL, GUARDING_PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	dispose(disposition);
	machine_put(&spy, MACHINE(.rt_tgsigqueueinfo = spy_on_death));
	if (has_guard)
		unit_ok(pm_guard_install());
	happenings[happening]();
	_exit(0);
}

static struct outcome run(int disposition, size_t happening, bool guard)
{
	has_guard = guard;
	memset(outcome, 0, sizeof(*outcome));
	guarding_path = unit_file("file", GUARDING_PAGES * page);
	fflush(stdout);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		child(disposition, happening);
	ck_assert_int_eq(waitpid(pid, &outcome->status, 0), pid);
	return *outcome;
}

static void share_outcome(void)
{
	page = unit_page();
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(outcome, MAP_FAILED);
}

static void print(const struct outcome *o)
{
	printf("status 0x%x, %u calls, code %d, address %td, SIGUSR1 %d, SIGBUS %d, stack %d, context %d\n",
	       (unsigned)o->status, o->calls, o->code, o->address, o->usr1_blocked, o->sigbus_blocked, o->on_stack,
	       o->context);
}

START_TEST(nobody_notices)
{
	share_outcome();
	for (size_t i = 0; i < COUNT(happenings); i++) {
		const struct outcome without = run(_i, i, false), with = run(_i, i, true);
		const char *name = dispositions[_i].name;
		if (memcmp(&with, &without, offsetof(struct outcome, death_code))) {
			print(&without);
			print(&with);
			ck_abort_msg("%s, happening %zu: not the same without and with the guard", name, i);
		}
		ck_assert(WIFSIGNALED(with.status) || with.status == 0);
		if (!WIFSIGNALED(with.status) || happenings[i] == twice)
			continue;
		/* It dies of the very signal. */
		ck_assert_int_eq(WTERMSIG(with.status), SIGBUS);
		bool is_sent = happenings[i] == sent || happenings[i] == sent_often;
		bool is_news = happenings[i] == news;
		ck_assert_int_eq(with.death_code, is_sent ? SI_USER : is_news ? BUS_MCEERR_AO : BUS_ADRERR);
		ck_assert_int_eq(with.death_address, is_sent ? 0 : is_news ? 70 : 5 * (int)page + 3);
	}
}
END_TEST

/* That the comparison above compares something. */
START_TEST(the_measure_is_right)
{
	share_outcome();
	struct outcome o = run(0, 0, false);
	ck_assert(WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGBUS);
	o = run(2, 3, false);
	ck_assert(WIFEXITED(o.status) && WEXITSTATUS(o.status) == 0 && o.calls == 0);
	o = run(8, 0, true);
	ck_assert(WIFEXITED(o.status) && o.calls == 1 && o.on_stack && o.code == BUS_ADRERR && o.context);
	o = run(9, 6, true);
	ck_assert(WIFSIGNALED(o.status) && o.calls == 1);
}
END_TEST

int main(void)
{
	if (!guarding_is_possible())
		return 77;
	TCase *c = unit_case("guard_handlers");
	tcase_add_test(c, the_measure_is_right);
	tcase_add_loop_test(c, nobody_notices, 0, COUNT(dispositions));
	return unit_run();
}
