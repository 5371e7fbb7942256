# SPDX-License-Identifier: BSD-3-Clause
# Stores on ext4 with fast_commit, and what a cut leaves of them.
before() { ./fast_commit store "$D" >&3; }
after() { ./fast_commit found "$D" >&3; }
$1
