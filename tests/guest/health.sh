# SPDX-License-Identifier: BSD-3-Clause
# Runs test_health on the file that is there and the disk under it.
./test_health "$F" "${DEV##*/}"
