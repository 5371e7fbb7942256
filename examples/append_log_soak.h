/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * append_log_soak.h - fills logs until the power fails, and tells afterwards what is there
 *
 *   append_log FILE soak LABEL SEED ACKS [FIRST [COUNT]]
 *
 * Appends records of 0 to 600 bytes to FILE.FIRST and, after up to 200 of them, to the next FILE.N, until COUNT
 * logs are full; without COUNT, for ever. Logs from FIRST on that exist already are skipped, except the last
 * of them, which is continued. Each log grows in small steps. One log in three is prepared, one is not, one
 * is sparse. What the records contain follows from SEED, N and their sequence numbers.
 *
 * ACKS is a file or device, or - for standard output. It gets "LABEL.N SEQUENCE" when everything up to this
 * record is durable, beginning with the number that opening found: 0 for a log that was created. Standard
 * output gets "LABEL.N is KIND new|resumed: GRANULARITY" for each log, and "LABEL.N now GRANULARITY" if
 * that changes.
 *
 *   append_log FILE soaked LABEL SEED [FIRST]
 *
 * Recovers FILE.FIRST and those after it and prints "LABEL.N recovered RECORDS found|made BYTES", with the number
 * of bytes discarded after the last record, or "LABEL.N wrong SEQUENCE" for a record that was never appended.
 */
#ifndef APPEND_LOG_SOAK_H
#define APPEND_LOG_SOAK_H

#define APPEND_LOG_SOAK_BATCH 8 /* records that may become durable together, before the first is acknowledged */

/* argv as above; returns an exit code. */
int append_log_soak(int argc, char **argv);

#endif
