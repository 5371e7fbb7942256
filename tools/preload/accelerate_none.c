/* SPDX-License-Identifier: BSD-3-Clause */
/* No accelerate mode yet: every call is the kernel's. */
#include "accelerate.h"

void accelerate_begin(void)
{
}

void accelerate_forked(void)
{
}

bool accelerate_map(struct file *file, const struct map_call *call, void **ret_address, void **ret_mark)
{
	(void)file;
	(void)call;
	(void)ret_address;
	(void)ret_mark;
	return false;
}

void accelerate_gone(void *mark, void *address, size_t length, bool is_last)
{
	(void)mark;
	(void)address;
	(void)length;
	(void)is_last;
}

bool accelerate_msync(struct file *file, void *mark, void *address, size_t length, int *ret)
{
	(void)file;
	(void)mark;
	(void)address;
	(void)length;
	(void)ret;
	return false;
}

void accelerate_changed(struct file *file)
{
	(void)file;
}

uint64_t accelerate_changes(const struct file *file)
{
	(void)file;
	return 0;
}

void accelerate_synced(struct file *file, const void *address, size_t length, uint64_t begin, int error)
{
	(void)file;
	(void)address;
	(void)length;
	(void)begin;
	(void)error;
}
