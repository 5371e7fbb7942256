/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <fcntl.h>

#include "stack.h"

#define DEPTH 64 /* frames that are looked at */

static int (*unwind)(void **frames, int most); /* unw_backtrace(3); NULL: stacks are not wanted, or it is not there */

bool stack_begin(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			return false;
	void *library = dlopen(LIBUNWIND_PATH, RTLD_NOW | RTLD_LOCAL);
	if (library)
		unwind = (int (*)(void **, int))(uintptr_t)dlsym(library, "unw_backtrace");
	return unwind;
}

unsigned stack_take(const void *caller, uint64_t *ret_frames, unsigned most)
{
	void *frames[DEPTH];
	int depth = unwind ? unwind(frames, DEPTH) : 0, first = 0;
	unsigned count = 0;
	while (first < depth && frames[first] != caller)
		first++;
	for (; first < depth && count < most; first++)
		ret_frames[count++] = (uintptr_t)frames[first];
	return count;
}
