# SPDX-License-Identifier: BSD-3-Clause
# On a file for which the guarantee is due, a shim between us and the kernel must take it away.
./02_guarantee "$D/without" || exit 1
for shim in ./libignore_all_flags.so ./libignore_map_sync.so; do
	LD_PRELOAD=$shim ./02_guarantee "$D/with"
	[ $? -eq 3 ] && [ ! -e "$D/with" ] || { echo "$shim was not noticed"; exit 1; }
	LD_PRELOAD=$shim ./03_why -c 1048576 "$D/why" >/tmp/why
	grep '^granularity page, .* reason map-sync-ignored' /tmp/why || { cat /tmp/why; exit 1; }
	rm "$D/why"
done
