/* SPDX-License-Identifier: BSD-3-Clause */
#include "append_log_soak.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "append_log.h"

#define PAYLOAD_MAX 600u
#define RECORDS_MAX 200u         /* in one log */
#define SOAK_STEP (8u << 10)     /* small, so that logs grow often */
#define LABEL_MAX 64u
#define ACK_MAX (LABEL_MAX + 48) /* characters of one acknowledgment */
#define PATH_SIZE (PATH_MAX + 24)

struct kind {
	const char *name;
	unsigned map_flags;
};

static const struct kind kinds[] = {{"prepared", PM_PREPARE}, {"plain", 0}, {"sparse", PM_SPARSE}};

struct soak {
	const char *base;
	const char *label;
	uint64_t seed;
	uint64_t number; /* of the log in use */
	int acks;
	enum pm_granularity granularity;
	struct append_log log;
};

/* ---- What the records contain ------------------------------------------------------------------ */

/* The finalizer of splitmix64. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t number_for(const struct soak *s, uint64_t sequence)
{
	return mix(mix(mix(s->seed) + s->number) + sequence);
}

static uint32_t payload_for(const struct soak *s, uint64_t sequence, uint8_t payload[PAYLOAD_MAX])
{
	uint64_t state = number_for(s, sequence);
	uint32_t length = (uint32_t)(state % (PAYLOAD_MAX + 1));
	for (uint32_t i = 0; i < length; i++) {
		if (i % 8 == 0)
			state = mix(state);
		payload[i] = (uint8_t)(state >> 8 * (i % 8));
	}
	return length;
}

static uint64_t records_wanted(const struct soak *s)
{
	return 1 + number_for(s, 0) % RECORDS_MAX;
}

/* Every eighth record begins a batch of up to APPEND_LOG_SOAK_BATCH. */
static unsigned batch_from(const struct soak *s, uint64_t sequence)
{
	uint64_t chance = mix(number_for(s, sequence));
	uint64_t left = records_wanted(s) - sequence + 1;
	uint64_t batch = chance % 8 ? 1 : 2 + chance / 8 % (APPEND_LOG_SOAK_BATCH - 1);
	return (unsigned)(batch < left ? batch : left);
}

/* ---- Filling ----------------------------------------------------------------------------------- */

static int complain(const struct soak *s, int error)
{
	fprintf(stderr, "%s.%" PRIu64 ": %s\n", s->base, s->number, append_log_error(error));
	return 1;
}

/* In one write, so that lines of several writers to one stream stay whole. */
static int acknowledge(const struct soak *s, uint64_t from, uint64_t to)
{
	char text[APPEND_LOG_SOAK_BATCH * ACK_MAX];
	size_t size = 0;
	for (uint64_t i = from; i <= to; i++)
		size += (size_t)snprintf(text + size, ACK_MAX, "%s.%" PRIu64 " %" PRIu64 "\n", s->label, s->number, i);
	for (size_t done = 0; done < size;) {
		ssize_t put = write(s->acks, text + done, size - done);
		if (put < 0 && errno != EINTR) {
			perror("acknowledgments");
			return 1;
		}
		done += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

static void announce(struct soak *s, const char *how)
{
	s->granularity = pm_granularity_of(s->log.mapping);
	dprintf(STDOUT_FILENO, "%s.%" PRIu64 " %s %s\n", s->label, s->number, how, pm_granularity_name(s->granularity));
}

static int append_batch(struct soak *s)
{
	uint8_t payload[PAYLOAD_MAX];
	uint64_t first = s->log.last + 1;
	unsigned batch = batch_from(s, first);
	int rc = 0;
	if (batch == 1)
		rc = append_log_append(&s->log, payload, payload_for(s, first, payload));
	for (unsigned i = 0; batch > 1 && i < batch && !rc; i++)
		rc = append_log_stage(&s->log, payload, payload_for(s, first + i, payload));
	if (batch > 1 && !rc)
		rc = append_log_commit(&s->log);
	if (rc)
		return complain(s, rc);
	if (pm_granularity_of(s->log.mapping) != s->granularity)
		announce(s, "now");
	return acknowledge(s, first, s->log.last);
}

/* What does not fit is too long for pm_map() as well. */
static void path_of(const struct soak *s, uint64_t number, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s.%" PRIu64, s->base, number);
}

static bool exists(const struct soak *s, uint64_t number)
{
	char path[PATH_SIZE];
	path_of(s, number, path);
	return !access(path, F_OK);
}

static int open_log(struct soak *s, unsigned map_flags)
{
	struct append_log_options options = {.map_flags = map_flags, .step = SOAK_STEP};
	char path[PATH_SIZE];
	path_of(s, s->number, path);
	int rc = append_log_open(path, &options, &s->log);
	return rc ? complain(s, rc) : 0;
}

static int fill_log(struct soak *s)
{
	const struct kind *kind = &kinds[s->number % (sizeof(kinds) / sizeof(kinds[0]))];
	char how[40];
	if (open_log(s, kind->map_flags))
		return 1;
	snprintf(how, sizeof(how), "is %s %s:", kind->name, s->log.made ? "new" : "resumed");
	announce(s, how);
	int failed = acknowledge(s, s->log.last, s->log.last);
	while (!failed && s->log.last < records_wanted(s))
		failed = append_batch(s);
	int rc = append_log_close(&s->log);
	return rc ? complain(s, rc) : failed;
}

static int open_acks(const char *path)
{
	if (!strcmp(path, "-"))
		return STDOUT_FILENO;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0666);
	if (fd < 0)
		perror(path);
	return fd;
}

static int fill(struct soak *s, uint64_t count)
{
	while (exists(s, s->number + 1))
		s->number++;
	for (uint64_t full = 0; !count || full < count; full++) {
		if (fill_log(s))
			return 1;
		s->number++;
	}
	return 0;
}

/* ---- Checking ---------------------------------------------------------------------------------- */

static int check_log(struct soak *s)
{
	struct append_log_record record;
	uint8_t payload[PAYLOAD_MAX];
	uint64_t position = 0;
	if (open_log(s, 0))
		return 1;
	int wrong = 0;
	while (append_log_next(&s->log, &position, &record)) {
		uint32_t length = payload_for(s, record.sequence, payload);
		if (length == record.length && !memcmp(payload, record.payload, length))
			continue;
		printf("%s.%" PRIu64 " wrong %" PRIu64 "\n", s->label, s->number, record.sequence);
		wrong = 1;
	}
	printf("%s.%" PRIu64 " recovered %" PRIu64 " %s %" PRIu64 "\n", s->label, s->number, s->log.last,
	       s->log.made ? "made" : "found", s->log.discarded);
	int rc = append_log_close(&s->log);
	return rc ? complain(s, rc) : wrong;
}

static int check(struct soak *s)
{
	int failed = 0;
	for (; exists(s, s->number); s->number++)
		failed |= check_log(s);
	return failed;
}

static uint64_t number_in(int argc, char **argv, int index)
{
	return index < argc ? strtoull(argv[index], NULL, 0) : 0;
}

int append_log_soak(int argc, char **argv)
{
	if (argc >= 5 && strlen(argv[3]) > LABEL_MAX) {
		fprintf(stderr, "%s: the label is too long\n", argv[3]);
		return 2;
	}
	if (argc >= 5 && !strcmp(argv[2], "soaked")) {
		struct soak s = {.base = argv[1], .label = argv[3], .seed = number_in(argc, argv, 4),
		                 .number = number_in(argc, argv, 5)};
		return check(&s);
	}
	if (argc >= 6 && !strcmp(argv[2], "soak")) {
		struct soak s = {.base = argv[1], .label = argv[3], .seed = number_in(argc, argv, 4),
		                 .acks = open_acks(argv[5]), .number = number_in(argc, argv, 6)};
		return s.acks < 0 ? 1 : fill(&s, number_in(argc, argv, 7));
	}
	fprintf(stderr, "usage: %s FILE soak LABEL SEED ACKS [FIRST [COUNT]] | soaked LABEL SEED [FIRST]\n", argv[0]);
	return 2;
}
