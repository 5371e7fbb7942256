/* SPDX-License-Identifier: BSD-3-Clause */
/* What an ext4 counts of its fast commits, and what makes it count. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake.h"
#include "fake_internal.h"

static const char directory[] = "/proc/fs/ext4/";

bool fake_is_ext4(const char *path)
{
	return !strncmp(path, directory, strlen(directory)) ||
	       (!strncmp(path, "/sys/fs/ext4/", 13) && !strchr(path + 13, '/'));
}

int fake_counters(char *text, size_t size)
{
	bool on = fake.machine.fast_commit == FAKE_COUNTERS_ON;
	snprintf(text, size,
	         "fc stats:\n%u commits\n%u ineligible\n0 numblks\n0us avg_commit_time\nIneligible reasons:\n"
	         "\"Extended attributes changed\":\t0\n\"Falloc range op\":\t%u\n",
	         0, on && fake.machine.counts_commits_only, on && !fake.machine.counts_commits_only);
	if (fake.machine.fast_commit == FAKE_COUNTERS_STRANGE)
		snprintf(text, size, "1 commits\n");
	return fake.machine.fast_commit == FAKE_NO_COUNTERS ? -ENOENT : 0;
}

static void count_from_now(void)
{
	if (fake.machine.fast_commit == FAKE_COUNTERS_IDLE)
		fake.machine.fast_commit = FAKE_COUNTERS_ON;
}

void fake_commits(void)
{
	if (fake.machine.counts_commits_only && (!fake.machine.busy_commits || !--fake.machine.busy_commits))
		count_from_now();
}

/* No file of a test has anything to collapse. */
static int fake_fallocate_collapse(int fd, uint64_t offset, uint64_t length)
{
	(void)fd;
	(void)offset;
	(void)length;
	if (fake.machine.refuses_collapse)
		return -EOPNOTSUPP;
	if (!fake.machine.counts_commits_only)
		count_from_now();
	return 0;
}

const struct pm_sys fake_answers_of_commit = {
	.fallocate_collapse = fake_fallocate_collapse,
};
