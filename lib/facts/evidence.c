/* SPDX-License-Identifier: BSD-3-Clause */
/* Functions that every gatherer of evidence needs. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "facts/evidence.h"
#include "sys/sys.h"
#include "kernel/sysfs.h"

void pm_evidence_set(struct pm_evidence *row, enum pm_state state, int error, const char *source, const char *text)
{
	*row = (struct pm_evidence){.state = state, .error = error, .source = source};
	if (text)
		memcpy(row->text, text, strnlen(text, sizeof(row->text) - 1));
}

void pm_evidence_clear(pm_evidence_table e)
{
	for (int i = 0; i < PM_EVIDENCE_ROWS; i++)
		pm_evidence_set(&e[i], PM_UNKNOWN, 0, "not asked", NULL);
}

int pm_read_text(const char *path, char *text, size_t size)
{
	int fd = pm_sysfs_open(path, O_RDONLY);
	if (fd < 0)
		return fd;
	ssize_t got = PM_RETRY(pm_sys->read(fd, text, size - 1));
	pm_sys->close(fd);
	if (got < 0)
		return (int)got;
	while (got > 0 && text[got - 1] == '\n')
		got--;
	text[got] = 0;
	return (int)got;
}
