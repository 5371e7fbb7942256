/* SPDX-License-Identifier: BSD-3-Clause */
/* pmdirect run: a program, with the companion loaded into it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "run.h"
#include "text.h"

static const char help[] =
	"usage: pmdirect run [OPTIONS] [--] PROGRAM [ARGUMENTS]\n"
	"\n"
	"Runs a program as it is, and reports at its end each file that it, or a process that it made, mapped shared:\n"
	"what the mapping is worth, and what the program did to make it durable. Exit status: that of the program; 2:\n"
	"a mistake in the arguments, or a program that cannot be covered; 126, 127: it cannot be run, is not there.\n"
	"The report is on stderr. SIGUSR1 to pmdirect itself: a report now. What is covered: pmdirect-run(1).\n"
	"\n"
	"  -a, --accelerate   serve msync(2) by cache lines where that is as durable: pmdirect-run(1)\n"
	"  -s, --stacks       call sites with their callers, by libunwind, which keeps a pipe open in the program\n"
	"  -o, --output=FILE  the report is written there; each report takes the place of the one before\n"
	"  --json             JSON instead of a table\n"
	"  --columns=LIST     columns, by commas; +LIST: after the standard ones; all\n"
	"  -n, --no-headings  no line of headings\n"
	"  -h, --help         this text\n";

struct request {
	struct run_form form;
	bool accelerate, stacks;
	const char *output;
	char **program;
};

static int parse(int argc, char **argv, struct request *request)
{
	static const struct option options[] = {
		{"accelerate", no_argument, NULL, 'a'},    {"stacks", no_argument, NULL, 's'},
		{"output", required_argument, NULL, 'o'},  {"json", no_argument, NULL, 'j'},
		{"columns", required_argument, NULL, 'c'}, {"no-headings", no_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'},          {0}};
	for (int option; (option = option_next(argc, argv, "+aso:nh", options)) != -1;) {
		switch (option) {
		case 'a':
			request->accelerate = true;
			break;
		case 's':
			request->stacks = true;
			break;
		case 'o':
			request->output = optarg;
			request->form.is_in_file = true;
			break;
		case 'c':
			request->form.form.columns = optarg;
			break;
		case 'h':
			printf("%s", help);
			report_list_columns();
			exit(0);
		default:
			if (!form_take(&request->form.form, option))
				return -1;
		}
	}
	request->program = argv + optind;
	return optind < argc ? 0 : (say("no program was given"), -1);
}

/* ---- The companion's file ---- */

static char *preload_in(const char *directory, const char *below)
{
	char *path = text_format("%s%s/libpmdirect-preload.so", directory, below), *whole = realpath(path, NULL);
	free(path);
	return whole;
}

/* Beside the command, or where both are installed: the tree may have been moved as a whole. */
static char *find_preload(void)
{
	static const char *const places[] = {"", "/../preload", "/../" LIBDIR "/pmdirect"};
	char directory[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", directory, sizeof(directory) - 1);
	if (n <= 0)
		return NULL;
	directory[n] = 0;
	*strrchr(directory, '/') = 0;
	char *path = NULL;
	for (size_t i = 0; !path && i < sizeof(places) / sizeof(places[0]); i++)
		path = preload_in(directory, places[i]);
	return path ? path : preload_in(PREFIX "/" LIBDIR "/pmdirect", "");
}

static int set_environment(const char *ledger)
{
	char *preload = find_preload();
	if (!preload)
		return say("libpmdirect-preload.so is neither beside the command nor where it is installed"), -1;
	if (strpbrk(preload, " :\t\n")) {
		say("the dynamic loader cannot load %s: LD_PRELOAD has no way to write a space or a colon", preload);
		free(preload);
		return -1;
	}
	const char *others = getenv("LD_PRELOAD");
	char *list = text_format("%s%s%s", preload, others && *others ? ":" : "", others ? others : "");
	int rc = setenv("LD_PRELOAD", list, 1) || setenv(LEDGER_ENV, ledger, 1);
	free(preload);
	free(list);
	return rc ? (say("no memory"), -1) : 0;
}

/* ---- The child ---- */

/* Its place in the ledger: if the companion does not begin, that is seen there. */
static void expect(struct ledger *ledger, const char *program)
{
	struct ledger_process *p = &ledger->process[0];
	p->pid = (int32_t)getpid();
	p->parent = (int32_t)getppid();
	snprintf(p->program, sizeof(p->program), "%s", program);
	atomic_store(&ledger->processes, 1);
	atomic_store(&p->state, PROCESS_EXPECTED);
}

/* The pid, or a negative errno of execvp(3). */
static pid_t start(struct answers *answers, char **program, const sigset_t *mask, const struct sigaction *on_child)
{
	int failed[2], error = 0;
	if (pipe2(failed, O_CLOEXEC))
		return -errno;
	pid_t child = fork();
	if (child < 0)
		return -errno;
	if (!child) {
		expect(answers->ledger, *program);
		sigaction(SIGCHLD, on_child, NULL);
		sigprocmask(SIG_SETMASK, mask, NULL);
		execvp(*program, program);
		error = errno;
		if (write(failed[1], &error, sizeof(error)) < 0)
			_exit(126);
		_exit(127);
	}
	close(failed[1]);
	ssize_t n = read(failed[0], &error, sizeof(error));
	close(failed[0]);
	if (n != sizeof(error))
		return child;
	waitpid(child, NULL, 0);
	return -error;
}

/* What a person types goes to the program too; what a process sends, to pmdirect alone. */
static void pass_on(pid_t child, const siginfo_t *signal)
{
	bool is_typed = (signal->si_signo == SIGINT || signal->si_signo == SIGQUIT) && signal->si_code > 0;
	if (!is_typed)
		kill(child, signal->si_signo);
}

static void write_report(struct answers *answers, struct request *request)
{
	if (request->output) {
		if (ftruncate(STDOUT_FILENO, 0) && errno != EINVAL)
			say("%s: %s", request->output, strerror(errno));
		lseek(STDOUT_FILENO, 0, SEEK_SET);
	}
	report(answers, &request->form);
	/* Whatever became of the report, the status is that of the program. */
	if (fflush(stdout) || ferror(stdout))
		say("the report cannot be written: %s", strerror(errno));
	clearerr(stdout);
}

/* Until the child has ended, which is not reaped: what it wrote is still to be read then. */
static void attend(pid_t child, const sigset_t *signals, struct answers *answers, struct request *request)
{
	siginfo_t signal, ended;
	for (;;) {
		ended.si_pid = 0;
		if (waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT | WNOHANG) || ended.si_pid)
			return;
		if (sigwaitinfo(signals, &signal) < 0 || signal.si_signo == SIGCHLD)
			continue;
		if (signal.si_signo == SIGUSR1)
			write_report(answers, request);
		else
			pass_on(child, &signal);
	}
}

/* As the program ended. */
static enum status end_as(int status)
{
	if (WIFEXITED(status))
		return (enum status)WEXITSTATUS(status);
	const struct rlimit none = {0};
	sigset_t all;
	setrlimit(RLIMIT_CORE, &none);
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	sigemptyset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	return (enum status)(128 + WTERMSIG(status));
}

static enum status cannot_run(const char *program, int error)
{
	say("%s cannot be run: %s", text_path(program), strerror(error));
	return (enum status)(error == ENOENT ? 127 : 126);
}

/* Where the report goes; the program has stdout. */
static int open_output(const char *path)
{
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		say("%s: %s", path ? text_path(path) : "stderr", strerror(errno));
	return fd;
}

static enum status run(struct request *request, struct answers *answers, int output)
{
	static const int taken[] = {SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1};
	sigset_t signals, mask;
	struct sigaction on_child, by_default = {.sa_handler = SIG_DFL};
	int status;
	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		sigaddset(&signals, taken[i]);
	sigaction(SIGCHLD, &by_default, &on_child);
	sigprocmask(SIG_BLOCK, &signals, &mask);
	pid_t child = start(answers, request->program, &mask, &on_child);
	if (child < 0)
		return cannot_run(*request->program, -child);
	dup2(output, STDOUT_FILENO);
	request->form.child = (int32_t)child;
	attend(child, &signals, answers, request);
	request->form.child_written = process_written((int32_t)child);
	request->form.has_ended = true;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	write_report(answers, request);
	return end_as(status);
}

/* 0: it may be covered. */
static enum status check(const char *program)
{
	char *note = NULL, *path = find_program(program);
	if (!path)
		return cannot_run(program, errno);
	char *obstacle = check_coverable(path, &note);
	if (obstacle)
		say("%s cannot be covered: %s", program, obstacle);
	else if (note)
		say("%s: %s", program, note);
	enum status status = obstacle ? STATUS_UNKNOWN : STATUS_MET;
	free(obstacle);
	free(note);
	free(path);
	return status;
}

enum status command_run(int argc, char **argv)
{
	static struct answers answers;
	struct request request = {.accelerate = false};
	if (parse(argc, argv, &request))
		return usage("run");
	enum status status = check(*request.program);
	if (status)
		return status;
	if (report_check(&request.form))
		return usage("run");
	int output = open_output(request.output);
	if (output < 0 || answers_begin(&answers, request.accelerate, request.stacks) ||
	    set_environment(answers.path))
		return STATUS_UNKNOWN;
	return run(&request, &answers, output);
}
