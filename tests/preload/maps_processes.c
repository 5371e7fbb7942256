/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations that make processes, or end this one. */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "maps.h"

/* What follows is done by a child alone; its parent passes its status on. */
static void wait_and_end(pid_t child)
{
	int status;
	MUST(child >= 0 && waitpid(child, &status, 0) == child);
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
}

static void do_fork(void)
{
	pid_t child = fork();
	if (child)
		wait_and_end(child);
}

/* Past the C library: no handler of pthread_atfork(3) runs. */
static void do_clone(void)
{
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child)
		wait_and_end(child);
}

/* The rest, by this program begun anew. */
static void do_exec(void)
{
	MUST(execv("/proc/self/exe", state.rest));
	MUST(0);
}

static void do_vfork(void)
{
	pid_t child = vfork();
	if (!child) {
		execv("/proc/self/exe", state.rest);
		_exit(97);
	}
	wait_and_end(child);
}

static void do_spawn(void)
{
	pid_t child;
	MUST(!posix_spawn(&child, "/proc/self/exe", NULL, NULL, state.rest, environ));
	wait_and_end(child);
}

/* Without the environment, so without the companion. */
static void do_bare(void)
{
	char *const none[] = {NULL};
	MUST(execve("/proc/self/exe", state.rest, none));
	MUST(0);
}

static void do_bare_search(void)
{
	char *const none[] = {NULL};
	MUST(execvpe("/proc/self/exe", state.rest, none));
	MUST(0);
}

static void do_exec_fails(void)
{
	MUST(execl("/nowhere", "nowhere", NULL) == -1 && errno == ENOENT);
}

/* The rest in a process that no process waits for. */
static void do_daemon(void)
{
	MUST(!daemon(1, 0));
	usleep(300000);
}

/* The same by a child, while this process waits for the end of the rest. */
static void do_daemon_of_child(void)
{
	int ends[2], status;
	char byte;
	MUST(!pipe(ends));
	pid_t child = fork();
	MUST(child >= 0);
	if (!child) {
		MUST(!daemon(1, 0) && !close(ends[0]));
		return;
	}
	MUST(!close(ends[1]) && waitpid(child, &status, 0) == child && !status && !read(ends[0], &byte, 1));
	exit(0);
}

/* A child that has synced the third page: it has ended, runs, or runs without the companion when this goes on. */
static void leave_child(const char *how)
{
	int ends[2];
	char byte;
	MUST(!pipe2(ends, O_CLOEXEC));
	pid_t child = fork();
	MUST(child >= 0);
	if (!child) {
		char *const arguments[] = {"sleep", "60", NULL}, *none[] = {NULL};
		do_sync_page();
		if (!strcmp(how, "zombie"))
			_exit(0);
		/* Its executable may not be read by another process of this user. */
		MUST(strcmp(how, "secret") || !prctl(PR_SET_DUMPABLE, 0));
		/* What waits for the end of this output does not wait for the child. */
		MUST(!close(STDOUT_FILENO) && !close(STDERR_FILENO));
		if (!strcmp(how, "bare"))
			execve("/bin/sleep", arguments, none);
		MUST(write(ends[1], "", 1) == 1 && !close(ends[1]));
		sleep(60);
		_exit(97);
	}
	MUST(!close(ends[1]));
	(void)!read(ends[0], &byte, 1);
	siginfo_t ended;
	MUST(strcmp(how, "zombie") || !waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT));
}

static void do_leave_zombie(void)
{
	leave_child("zombie");
}

static void do_leave_running(void)
{
	leave_child("running");
}

static void do_leave_secret(void)
{
	leave_child("secret");
}

static void do_leave_bare(void)
{
	leave_child("bare");
}

static void do_quick_end(void)
{
	_exit(5);
}

static void do_kill(void)
{
	raise(SIGKILL);
}

static void do_term(void)
{
	raise(SIGTERM);
}

static void do_status(void)
{
	exit(7);
}

const struct operation process_operations[] = {
	{"fork", do_fork},
	{"clone", do_clone},
	{"exec", do_exec},
	{"vfork", do_vfork},
	{"spawn", do_spawn},
	{"bare", do_bare},
	{"bare-search", do_bare_search},
	{"exec-fails", do_exec_fails},
	{"daemon", do_daemon},
	{"daemon-of-child", do_daemon_of_child},
	{"leave-zombie", do_leave_zombie},
	{"leave-running", do_leave_running},
	{"leave-secret", do_leave_secret},
	{"leave-bare", do_leave_bare},
	{"quick-end", do_quick_end},
	{"kill", do_kill},
	{"term", do_term},
	{"status", do_status},
	{0},
};
