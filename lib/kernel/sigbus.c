/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When the kernel cannot serve a load or store it sends SIGBUS to the thread at that instruction (force_sig_fault). The
 * guards of a thread form a list through its stack; the thread continues at the innermost guard that covers the
 * address.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "error.h"
#include "kernel/sigbus.h"
#include "pmdirect.h"
#include "sys/sys.h"

struct guard {
	struct guard *outer;
	uintptr_t low;
	size_t length;
	const struct pm_parts *parts; /* of the range: faults elsewhere are not the guard's */
	sigset_t mask; /* of the thread, before */
	sigjmp_buf landing;
	bool has_left; /* the function was left by a jump */
	struct pm_caught caught;
};

/* Reached without a call of the loader, which may allocate: a handler must not. */
static __thread struct guard *volatile innermost __attribute__((tls_model("initial-exec")));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of installing and removing */
static atomic_uint users;
static bool is_linked; /* the handler is installed, perhaps below another handler */
/* The previous disposition. A handler may read one entry while the other is filled. */
static struct sigaction before[2];
static struct sigaction *_Atomic previous = before;
static atomic_bool previous_is_spent; /* it was installed for one signal only (SA_RESETHAND) */

/* ---- The handler ---- */

static struct guard *guard_of(uintptr_t address)
{
	struct guard *g = innermost;
	while (g && (address - g->low >= g->length || !pm_parts_hold(g->parts, address, address + 1)))
		g = g->outer;
	return g;
}

static bool is_disposition(const struct sigaction *a, void (*disposition)(int))
{
	return a->sa_handler == disposition;
}

/* With its own siginfo; it is delivered when the handler returns, at the instruction that faulted. */
static void die_as_without_us(const siginfo_t *info)
{
	const struct sigaction by_default = {.sa_handler = SIG_DFL};
	PM_RETRY(pm_sys->sigaction(SIGBUS, &by_default, NULL));
	pm_sys->rt_tgsigqueueinfo(info);
}

static void pass_on(int number, siginfo_t *info, void *context)
{
	const struct sigaction *p = atomic_load(&previous);
	/*
	 * A fault cannot be ignored: the kernel then kills the process (force_sig_info). A signal that was sent can be
	 * ignored.
	 */
	bool is_forced = info->si_code > 0 && info->si_code != BUS_MCEERR_AO;
	bool is_spent = (unsigned)p->sa_flags & SA_RESETHAND && atomic_exchange(&previous_is_spent, true);
	if (is_spent || is_disposition(p, SIG_DFL) || (is_disposition(p, SIG_IGN) && is_forced))
		die_as_without_us(info);
	else if (is_disposition(p, SIG_IGN))
		return;
	else if (p->sa_flags & SA_SIGINFO)
		p->sa_sigaction(number, info, context);
	else
		p->sa_handler(number);
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	/* Not a signal that a process sent, nor a misaligned access, which is a bug of the program. */
	int code = info->si_code;
	bool is_loss = code == BUS_MCEERR_AO;
	bool is_fault = code == BUS_ADRERR || code == BUS_OBJERR || code == BUS_MCEERR_AR;
	struct guard *g = is_loss || is_fault ? guard_of((uintptr_t)info->si_addr) : NULL;
	if (!g) {
		pass_on(number, info, context);
		return;
	}
	g->caught = (struct pm_caught){.code = code, .address = (uintptr_t)info->si_addr};
	if (code == BUS_MCEERR_AO || code == BUS_MCEERR_AR)
		g->caught.lsb = (unsigned)info->si_addr_lsb;
	/*
	 * A report of a memory error (BUS_MCEERR_AO) may arrive anywhere, even while a lock of the C library is held.
	 */
	if (is_loss)
		return;
	g->has_left = true;
	siglongjmp(g->landing, 1);
}

/* ---- Installing ---- */

/* The kernel gives this handler what the previous one asked for: its mask, its stack, its flags. */
static void keep_previous(const struct sigaction *found, struct sigaction *ours)
{
	struct sigaction *p = atomic_load(&previous) == before ? before + 1 : before;
	*p = *found;
	atomic_store(&previous, p);
	atomic_store(&previous_is_spent, false);
	*ours = *found;
	ours->sa_sigaction = on_sigbus;
	ours->sa_flags = (int)(((unsigned)found->sa_flags & ~SA_RESETHAND) | SA_SIGINFO);
	if (is_disposition(found, SIG_DFL) || is_disposition(found, SIG_IGN)) {
		/* No call must be interrupted that was not interrupted before. */
		ours->sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
		sigemptyset(&ours->sa_mask);
	}
}

static int link_in(const struct sigaction *found)
{
	struct sigaction ours, replaced, unused;
	keep_previous(found, &ours);
	int rc = PM_RETRY(pm_sys->sigaction(SIGBUS, &ours, &replaced));
	if (rc)
		return rc;
	/* Another thread was faster: its handler is the one to pass on to. */
	if (replaced.sa_handler != found->sa_handler)
		keep_previous(&replaced, &unused);
	is_linked = true;
	return 0;
}

static int install_locked(void)
{
	struct sigaction found;
	int rc = PM_RETRY(pm_sys->sigaction(SIGBUS, NULL, &found));
	if (rc)
		return pm_fail(rc, "pm_guard_install", NULL, "sigaction failed: %s", pm_strerror(rc));
	bool is_ours = found.sa_sigaction == on_sigbus;
	bool is_handler = !is_disposition(&found, SIG_DFL) && !is_disposition(&found, SIG_IGN);
	/* If the library's handler lay above one that passes on to it, a fault would circle for ever. */
	if (is_linked && !is_ours && is_handler && !atomic_load(&users))
		return pm_fail(-EBUSY, "pm_guard_install", NULL,
		               "another SIGBUS handler was installed over the library's, which it may not call");
	if (!is_linked || (!is_ours && !is_handler))
		rc = link_in(&found);
	if (rc)
		return pm_fail(rc, "pm_guard_install", NULL, "sigaction failed: %s", pm_strerror(rc));
	atomic_fetch_add(&users, 1);
	return 0;
}

int pm_sigbus_install(void)
{
	pthread_mutex_lock(&lock);
	int rc = install_locked();
	pthread_mutex_unlock(&lock);
	return rc;
}

/* 0, or -EBUSY if another handler is in force. */
static int unlink_ours(void)
{
	struct sigaction now, replaced, back = *atomic_load(&previous);
	if (atomic_load(&previous_is_spent))
		back = (struct sigaction){.sa_handler = SIG_DFL};
	int rc = PM_RETRY(pm_sys->sigaction(SIGBUS, NULL, &now));
	if (rc || now.sa_sigaction != on_sigbus)
		return rc ? rc : -EBUSY;
	rc = PM_RETRY(pm_sys->sigaction(SIGBUS, &back, &replaced));
	if (rc)
		return rc;
	if (replaced.sa_sigaction != on_sigbus) {
		/* Another handler was installed between the two calls. */
		rc = PM_RETRY(pm_sys->sigaction(SIGBUS, &replaced, NULL));
		is_linked = !rc;
		return rc ? rc : -EBUSY;
	}
	is_linked = false;
	return 0;
}

/* A handler that cannot be removed stays in force, and its user count with it: the call can be repeated. */
static int unlink_last(void)
{
	int rc = unlink_ours();
	if (rc == -EBUSY)
		pm_fail(rc, "pm_guard_remove", NULL,
		        "another SIGBUS handler was installed since: the library's stays installed below it");
	else if (rc)
		pm_fail(rc, "pm_guard_remove", NULL, "sigaction failed: %s", pm_strerror(rc));
	if (rc && rc != -EBUSY && is_linked)
		return rc;
	atomic_store(&users, 0);
	return rc;
}

int pm_sigbus_remove(void)
{
	int rc = 0;
	pthread_mutex_lock(&lock);
	if (!atomic_load(&users))
		rc = pm_fail(-EINVAL, "pm_guard_remove", NULL, "pm_guard_install() was not called");
	else if (atomic_load(&users) == 1)
		rc = unlink_last();
	else
		atomic_fetch_sub(&users, 1);
	pthread_mutex_unlock(&lock);
	return rc;
}

bool pm_sigbus_installed(void)
{
	return atomic_load_explicit(&users, memory_order_relaxed);
}

/* ---- Guarding ---- */

static int call(struct guard *g, int (*function)(void *), void *arg, int value)
{
	if (sigsetjmp(g->landing, 0))
		return value;
	innermost = g;
	return function(arg);
}

int pm_sigbus_run(const void *low, size_t length, const struct pm_parts *parts, int (*function)(void *), void *arg,
                  int *value, struct pm_caught *c)
{
	struct guard g = {.outer = innermost, .low = (uintptr_t)low, .length = length, .parts = parts};
	sigset_t sigbus;
	sigemptyset(&sigbus);
	sigaddset(&sigbus, SIGBUS);
	/* The kernel kills the process if a fault meets a blocked signal. */
	int rc = PM_RETRY(pm_sys->pthread_sigmask(SIG_UNBLOCK, &sigbus, &g.mask));
	if (rc)
		return rc;
	*value = call(&g, function, arg, *value);
	innermost = g.outer;
	atomic_signal_fence(memory_order_seq_cst);
	if (g.has_left)
		PM_RETRY(pm_sys->pthread_sigmask(SIG_SETMASK, &g.mask, NULL));
	else if (sigismember(&g.mask, SIGBUS) == 1)
		PM_RETRY(pm_sys->pthread_sigmask(SIG_BLOCK, &sigbus, NULL));
	*c = g.caught;
	return 0;
}
