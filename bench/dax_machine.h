/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PM_BENCH_DAX_MACHINE_H
#define PM_BENCH_DAX_MACHINE_H

/*
 * Presents a file in DRAM to the library as one on persistent memory, so that the cost of the cache-line path can be
 * measured on a machine that has none. What is measured is instructions, not persistence.
 */
void dax_machine_install(void);

#endif
