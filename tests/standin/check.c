/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

struct entry {
	const struct check_test *test;
	int start, end;
	struct entry *next;
};

struct TCase {
	const char *name;
	struct entry *first, **last;
	void (*setup)(void);
	void (*teardown)(void);
	unsigned seconds;
	TCase *next;
};

struct Suite {
	const char *name;
	TCase *first, **last;
};

struct SRunner {
	Suite *suite;
	int run, failed;
};

static void *zeroed(size_t size)
{
	void *memory = calloc(1, size);
	if (!memory)
		abort();
	return memory;
}

Suite *suite_create(const char *name)
{
	Suite *suite = zeroed(sizeof(*suite));
	suite->name = name;
	suite->last = &suite->first;
	return suite;
}

TCase *tcase_create(const char *name)
{
	TCase *tcase = zeroed(sizeof(*tcase));
	tcase->name = name;
	tcase->last = &tcase->first;
	tcase->seconds = 4;
	return tcase;
}

void suite_add_tcase(Suite *suite, TCase *tcase)
{
	*suite->last = tcase;
	suite->last = &tcase->next;
}

void tcase_add_checked_fixture(TCase *tcase, void (*setup)(void), void (*teardown)(void))
{
	tcase->setup = setup;
	tcase->teardown = teardown;
}

void tcase_set_timeout(TCase *tcase, double seconds)
{
	tcase->seconds = (unsigned)seconds;
}

void tcase_set_tags(TCase *tcase, const char *tags)
{
	(void)tcase;
	(void)tags;
}

void tcase_add_loop_test(TCase *tcase, const struct check_test *test, int start, int end)
{
	struct entry *entry = zeroed(sizeof(*entry));
	*entry = (struct entry){test, start, end, NULL};
	*tcase->last = entry;
	tcase->last = &entry->next;
}

void check_fail(const char *file, int line, const char *format, ...)
{
	va_list args;
	char text[4096];
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	dprintf(STDOUT_FILENO, "%s:%d: %s\n", file, line, text);
	_exit(1);
}

static _Noreturn void run_child(const TCase *tcase, const struct entry *entry, int i)
{
	setpgid(0, 0);
	alarm(tcase->seconds);
	if (tcase->setup)
		tcase->setup();
	entry->test->function(i);
	if (tcase->teardown)
		tcase->teardown();
	exit(0);
}

/* Whether it passed. The parent sets the group as well, so that it is there for kill(2). */
static bool run_one(const TCase *tcase, const struct entry *entry, int i)
{
	int status = -1;
	fflush(NULL);
	pid_t child = fork();
	if (!child)
		run_child(tcase, entry, i);
	if (child < 0)
		return false;
	setpgid(child, child);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	kill(-child, SIGKILL);
	if (WIFSIGNALED(status))
		printf("%s: %s:%d: signal %d\n", tcase->name, entry->test->name, i, WTERMSIG(status));
	else if (status)
		printf("%s: %s:%d failed\n", tcase->name, entry->test->name, i);
	return !status;
}

SRunner *srunner_create(Suite *suite)
{
	SRunner *runner = zeroed(sizeof(*runner));
	runner->suite = suite;
	return runner;
}

void srunner_run_all(SRunner *runner, enum print_output output)
{
	(void)output;
	for (const TCase *tcase = runner->suite->first; tcase; tcase = tcase->next)
		for (const struct entry *entry = tcase->first; entry; entry = entry->next)
			for (int i = entry->start; i < entry->end; i++, runner->run++)
				runner->failed += !run_one(tcase, entry, i);
	printf("%s: %d tests, %d failed\n", runner->suite->name, runner->run, runner->failed);
}

int srunner_ntests_failed(SRunner *runner)
{
	return runner->failed;
}

int srunner_ntests_run(SRunner *runner)
{
	return runner->run;
}

void srunner_free(SRunner *runner)
{
	free(runner);
}
