/* SPDX-License-Identifier: BSD-3-Clause */
/* A library that does nothing, so that both programs of cost.py have one more to load than libc. */
int cost_load_a_library(void);

int cost_load_a_library(void)
{
	return 0;
}
