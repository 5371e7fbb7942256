/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file system goes away under a mapping: made read-only, shut down, or its device fails.
 *
 *   went_away store VERB NAME FILE  stores without pause into a few pages, until /tmp/gone appears; then persists
 *                                   them and, if that is said to have worked, tells VERB (promise or control). If it
 *                                   has not, waits for /tmp/back, clears the error and persists again. What could
 *                                   not be made durable to the end is a control
 *   went_away late VERB NAME FILE   the same, but stores only when /tmp/gone has appeared
 *   went_away found NAME FILE       tells what the file holds
 *   went_away shutdown DIRECTORY    shuts the file system down as after an error, without writing its log
 */
#include <errno.h>
#include <pmdirect.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/ioctl.h>

#include "../guest/check.h"
#include "digest.h"

#define PAGE ((size_t)4096)
#define QUIET (16 * PAGE) /* not stored to after the first persist */
#define HOT (8 * PAGE)    /* stored to without pause */
#define SHUTDOWN _IOR('X', 125, uint32_t)
#define WITHOUT_LOG 2u

static atomic_bool stop;
static sigjmp_buf gone;

static void on_bus_error(int signal)
{
	(void)signal;
	siglongjmp(gone, 1);
}

/*
 * A page that was cleaned is made dirty again at once: what is stored between the last write-back and the moment the
 * file system becomes read-only stays dirty, and its pages stay writable.
 */
static void *store_on(void *base)
{
	volatile uint64_t *hot = (volatile uint64_t *)((char *)base + QUIET);
	if (sigsetjmp(gone, 1))
		return NULL;
	uint64_t count = 0;
	do {
		for (size_t at = 0; at < HOT; at += PAGE)
			hot[at / sizeof(*hot)] = ++count;
		/* Others need the CPU to make the file system go away. */
		if (count % 100000 == 0)
			usleep(100);
	} while (!atomic_load(&stop));
	return NULL;
}

static void await(const char *path)
{
	while (access(path, F_OK))
		usleep(10000);
}

static int persist_hot(struct pm_mapping *m, const char *verb, const char *name)
{
	char *hot = (char *)pm_base(m) + QUIET, full[128];
	int rc = pm_persist(m, hot, HOT);
	snprintf(full, sizeof(full), "%s/hot", name);
	if (!rc)
		tell(verb, full, hot, HOT);
	else
		dprintf(STDOUT_FILENO, "note %s: refused: %s\n", name, pm_error_detail());
	return rc;
}

/* Refused for a reason: it must not be there after the cut. */
static void tell_refused(const char *base, const char *name)
{
	char full[128];
	dprintf(STDOUT_FILENO, "note %s: still: %s\n", name, pm_error_detail());
	snprintf(full, sizeof(full), "%s/hot", name);
	tell("control", full, base + QUIET, HOT);
}

static int store_meanwhile(char *base, bool late)
{
	pthread_t thread;
	signal(SIGBUS, on_bus_error);
	if (!late && pthread_create(&thread, NULL, store_on, base))
		return 1;
	await("/tmp/gone");
	atomic_store(&stop, true);
	if (late)
		store_on(base);
	else
		pthread_join(thread, NULL);
	return 0;
}

static int store(bool late, const char *verb, const char *name, const char *path)
{
	struct pm_options options = {.size = sizeof(options), .flags = PM_CREATE | PM_PREPARE, .length = QUIET + HOT};
	struct pm_mapping *m;
	char full[128];
	if (pm_map(path, &options, &m))
		return complain(name, "pm_map");
	char *base = pm_base(m);
	memset(base, 'q', QUIET);
	if (pm_persist(m, base, QUIET + HOT))
		return complain(name, "pm_persist");
	snprintf(full, sizeof(full), "%s/quiet", name);
	tell("promise", full, base, QUIET);
	dprintf(STDERR_FILENO, "ready %s: %s\n", name, pm_granularity_name(pm_granularity_of(m)));
	if (store_meanwhile(base, late))
		return complain(name, "no thread");
	int rc = persist_hot(m, verb, name);
	dprintf(STDERR_FILENO, "asked %s\n", name);
	if (rc) {
		await("/tmp/back");
		rc = pm_clear_error(m);
		if (rc)
			tell_refused(base, name);
		else if (persist_hot(m, "promise", name))
			return complain(name, "pm_persist after pm_clear_error");
	}
	dprintf(STDERR_FILENO, "done %s\n", name);
	pause();
	return 0;
}

static int found(const char *name, const char *path)
{
	char full[128];
	snprintf(full, sizeof(full), "%s/quiet", name);
	tell_found(full, path, 0, QUIET);
	snprintf(full, sizeof(full), "%s/hot", name);
	tell_found(full, path, QUIET, HOT);
	return 0;
}

static int shut_down(const char *directory)
{
	uint32_t how = WITHOUT_LOG;
	int fd = open(directory, O_RDONLY | O_DIRECTORY);
	if (fd >= 0 && !ioctl(fd, SHUTDOWN, &how))
		return 0;
	dprintf(STDOUT_FILENO, "%s cannot be shut down: %s\n", directory, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	bool late = !strcmp(argv[argc > 1], "late");
	if (argc == 5 && (late || !strcmp(argv[1], "store")))
		return store(late, argv[2], argv[3], argv[4]);
	if (argc == 4 && !strcmp(argv[1], "found"))
		return found(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "shutdown"))
		return shut_down(argv[2]);
	return 2;
}
