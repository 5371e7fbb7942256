/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long a commit of 100 bytes takes while another thread makes 64 MiB of the same mapping durable, again and again:
 * its median and its 90th percentile. Each commit begins while that thread's call runs.
 * Usage: commit_beside [DIRECTORY]
 */
#include <pmdirect.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define PAGE ((size_t)4096)
#define LARGE ((size_t)64 << 20)
#define RECORD ((size_t)100)
#define MOST 20000u
#define SECONDS 6.0

static struct pm_mapping *mapping;
static char *base;
static atomic_bool by_msync, stops, is_running;
static atomic_uint drains;

struct latencies {
	unsigned count;
	double ns[MOST], drain_ns;
	unsigned drains;
};

static struct latencies latencies[2]; /* ours, msync */

static void check(bool is_good)
{
	if (!is_good) {
		perror("commit_beside");
		abort();
	}
}

static void *drain_again_and_again(void *arg)
{
	for (unsigned round = 1; !atomic_load(&stops); round++) {
		bool msyncs = atomic_load(&by_msync);
		for (size_t at = 0; at < LARGE; at += PAGE)
			memcpy(base + at, &round, sizeof(round));
		double began = bench_now();
		atomic_store(&is_running, true);
		check(msyncs ? !msync(base, LARGE, MS_SYNC) : !pm_flush(mapping, base, LARGE) && !pm_drain(mapping));
		atomic_store(&is_running, false);
		latencies[msyncs].drain_ns += bench_now() - began;
		latencies[msyncs].drains++;
		atomic_fetch_add(&drains, 1);
	}
	return arg;
}

static void commit_once(struct latencies *l, bool msyncs)
{
	char *record = base + LARGE + 64 * PAGE;
	while (!atomic_load(&is_running))
		usleep(100);
	memset(record, (int)l->count, RECORD);
	double began = bench_now();
	check(msyncs ? !msync(record, PAGE, MS_SYNC) : !pm_commit(mapping, &(struct pm_range){record, RECORD}, 1));
	if (l->count < MOST)
		l->ns[l->count++] = bench_now() - began;
	usleep(1000);
}

/* One way after the other, for a few drains each. */
static void measure(double seconds)
{
	pthread_t thread;
	check(!pthread_create(&thread, NULL, drain_again_and_again, NULL));
	for (double end = bench_now() + seconds * 1e9; bench_now() < end;) {
		for (int way = 0; way < 2; way++) {
			atomic_store(&by_msync, way);
			/* The call under way is of the other. */
			for (unsigned before = atomic_load(&drains); atomic_load(&drains) < before + 1;)
				usleep(100);
			for (unsigned before = atomic_load(&drains); atomic_load(&drains) < before + 4;)
				commit_once(&latencies[way], way);
		}
	}
	atomic_store(&stops, true);
	pthread_join(thread, NULL);
}

static void tell(const char *what, double ours, double peer)
{
	bench_figures(what, (struct bench_figure[]){{"pm_commit", ours}, {"an msync each", peer}}, 2);
}

int main(int argc, char **argv)
{
	bench_options(&argc, argv, "How long does a small commit wait for a large drain?");
	const char *directory = argc > 1 ? argv[1] : ".";
	char path[4096];
	struct pm_options options = {.size = sizeof(options),
	                             .length = LARGE + 128 * PAGE,
	                             .mode = 0600,
	                             .flags = PM_CREATE | PM_EXCLUSIVE | PM_PREPARE};
	snprintf(path, sizeof(path), "%s/beside.%d", directory, (int)getpid());
	if (pm_map(path, &options, &mapping) || unlink(path))
		return fprintf(stderr, "%s\n", pm_error_detail()), 1;
	base = pm_base(mapping);
	bench_machine(directory);
	measure(bench_quick() ? 1.0 : SECONDS);
	for (int i = 0; i < 2; i++)
		qsort(latencies[i].ns, latencies[i].count, sizeof(double), bench_order);
	struct latencies *ours = &latencies[0], *peer = &latencies[1];
	check(ours->count && peer->count);
	tell("a commit beside drains of 64 MiB, median", ours->ns[ours->count / 2], peer->ns[peer->count / 2]);
	tell("a commit beside drains of 64 MiB, 90th percentile", ours->ns[ours->count * 9 / 10],
	     peer->ns[peer->count * 9 / 10]);
	tell("the drain", ours->drain_ns / ours->drains, peer->drain_ns / peer->drains);
	return pm_unmap(mapping) ? 1 : 0;
}
