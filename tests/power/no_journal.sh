# SPDX-License-Identifier: BSD-3-Clause
# Stores on ext4 without a journal, and what a cut leaves of them.
before() { ./no_journal store "$D" "$RAW" >&3; }
after() { ./no_journal found "$D" >&3; }
$1
