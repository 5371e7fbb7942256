/* SPDX-License-Identifier: BSD-3-Clause */
/* A target for libFuzzer, and for replay.c. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs one input; a fault ends the process. 0, or -1: the input is none. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* The last input's text was asked for: a corpus of others shows nothing. */
extern bool fuzz_text_was_read;
/* Removes what the target left on the file system. */
void fuzz_end(void);

#endif
