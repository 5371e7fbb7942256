#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks that every backing is what its name says, as the guest's kernel sees it.

  selftest.py [BACKING...]
"""

import sys
import time

import lab

# Prints one "key=value" line per fact. xfs_io's mmap -S is MAP_SYNC with
# MAP_SHARED_VALIDATE; 0x200000 is STATX_ATTR_DAX.
PROBE = r"""
echo fs=$(awk -v where=/mnt/test '$2 == where { print $3 }' /proc/mounts)
for region in /sys/bus/nd/devices/region*; do
	[ -e $region ] || continue
	echo domain=$(cat $region/persistence_domain 2>/dev/null || echo none)
	echo provider=$(cat $region/../provider)
done
attributes=$(xfs_io -c 'statx -r' $F | awk '/attributes =/ { print $3 }')
echo dax=$(((attributes & 0x200000) != 0))
xfs_io -c 'mmap -S 0 2m' $F 2>&1 | grep -q 'not supported'
echo sync=$?
[ -z "$DEV" ] || [ -e $DEV ] && echo device=1
"""

NFIT = {"provider": "ACPI.NFIT"}
STATED = {"domain": "memory_controller", **NFIT}
EADR = {"domain": "cpu_cache", **NFIT}
UNSTATED = {"domain": "none", **NFIT}
EXT4 = {"fs": "ext4", "dax": "1", "sync": "1"}
XFS = {"fs": "xfs", "dax": "1", "sync": "1"}
TMPFS = {"fs": "tmpfs", "dax": "0", "sync": "0"}
CACHED = {"dax": "0", "sync": "0"}

EXPECTED = {
    "ext4-dax": {**EXT4, **UNSTATED},
    "ext4-dax-memctrl": {**EXT4, **STATED},
    "ext4-dax-eadr": {**EXT4, **EADR},
    "xfs-dax": {**XFS, **STATED},
    "xfs-dax-nodomain": {**XFS, **UNSTATED},
    "xfs-dax-eadr": {**XFS, **EADR},
    "xfs-dax-reflink": {**XFS, **STATED},
    "xfs-inode-flag": {**XFS, **STATED},
    "xfs-inode-noflag": {**XFS, **STATED, **CACHED},
    "ext4-nodax": {**EXT4, **STATED, **CACHED},
    "xfs-nodax": {**XFS, **STATED, **CACHED},
    "ext4-disk": {**EXT4, **CACHED},
    "xfs-disk": {**XFS, **CACHED},
    "ext4-disk-dm": {**EXT4, **CACHED},
    "e820-ext4": {**EXT4, "domain": "none", "provider": "e820"},
    "virtio-pmem-ext4": {**EXT4, "sync": "0", "domain": "none", "provider": "virtio-pmem"},
    "devdax": {**TMPFS, **STATED},
    "devdax-nodomain": {**TMPFS, **UNSTATED},
    "tmpfs": TMPFS,
    "blockdev": TMPFS,
}


def facts(backing):
    """What the guest's kernel says about a backing."""
    output = bytearray()
    with lab.Guest(lab.prepare(lab.say), lab.BACKINGS[backing],
                   lab.Job(PROBE, make_file=True), output=output.extend) as guest:
        guest.start()
        guest.wait(120)
    return dict(line.split("=", 1) for line in output.decode().splitlines())


def check(backing):
    begin = time.monotonic()
    found = facts(backing)
    wanted = {**EXPECTED[backing], "device": "1"}
    wrong = [f"{key} is {found.get(key)}, not {value}"
             for key, value in wanted.items() if found.get(key) != value]
    wrong += [f"unexpected {key}={found[key]}" for key in found if key not in wanted]
    verdict = "; ".join(wrong) or "ok"
    print(f"{backing:18} {time.monotonic() - begin:5.1f} s  {verdict}", flush=True)
    return not wrong


def main(names):
    try:
        results = [check(name) for name in names or EXPECTED]
    except lab.Missing as error:
        return lab.missing_part(error)
    except lab.LabError as error:
        lab.say(f"guest lab: {error}")
        return 1
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
