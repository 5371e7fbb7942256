# SPDX-License-Identifier: BSD-3-Clause
"""Many power cuts in one running guest.

A stopped QEMU has in its image files what a kill -9 would leave there: the images are copied, and the guest goes on.
What the copies hold is looked at in a machine that has the devices of many of them. power.py shows that it is the same:
it kills a machine after the last copy, and compares.
"""

import contextlib
import dataclasses

import lab

TIMEOUT = 120
BOOT_TIMEOUT = 300
DEVICES_MAX = lab.FILLED  # of one machine

# Mounts and checks one copy for each line from the host: the arguments of the function "check".
SCRIPT = r"""
exec 3<>"$LAB_ACK"

nvdimms=$(list_devices | grep pmem)
disks=$(list_devices | grep vd)

mount_device() {
	case $(head -c 4 "$1") in XFSB) fs=xfs ;; *) fs=ext4 ;; esac
	case $1 in /dev/pmem*) where=$fs-dax options=dax=always ;; *) where=$fs-disk options=defaults ;; esac
	mkdir -p /mnt/$where && mount -t $fs -o $options "$1" /mnt/$where || echo "cannot mount $1" >&3
}

# $1: how many of the list $2 to mount; leaves the others in $left.
mount_some() {
	count=$1
	set -- $2
	while [ $count -gt 0 ]; do
		mount_device "$1"
		shift
		count=$((count - 1))
	done
	left=$*
}

while read -r arguments <&3; do
	mount_some $NVDIMMS_EACH "$nvdimms"
	nvdimms=$left
	mount_some $DISKS_EACH "$disks"
	disks=$left
	check $arguments >&3 2>&1
	echo checked >&3
	umount /mnt/*-*
done
"""


def look_at(copies, backing, files, check, arguments, take, kinds=tuple(DEVICES_MAX)):
    """Boots machines with the devices of these kinds of the copies, which were those of the backing.

    There the shell function "check" is run for each copy with its arguments, and take(number of the copy, line) is
    called with each line that it says.
    """
    row = lab.BACKINGS[backing]
    copies = [[path for path, device in zip(paths, row.devices) if device.kind in kinds] for paths in copies]
    row = dataclasses.replace(row, devices=tuple(device for device in row.devices if device.kind in kinds))
    most = min(DEVICES_MAX[kind] // _count(row, kind) for kind in kinds if _count(row, kind))
    for first in range(0, len(copies), most):
        some = copies[first:first + most]
        with _machine(some, row, files, check) as guest:
            try:
                guest.start()
                guest.wait_ready(BOOT_TIMEOUT)
                for number in range(first, first + len(some)):
                    guest.send_line(arguments[number].encode())
                    while (line := read(guest, TIMEOUT)) != "checked":
                        take(number, line)
            except lab.GuestFailure:
                print(guest.console_text(), flush=True)
                raise


def _count(row, kind):
    return sum(device.kind == kind for device in row.devices)


@contextlib.contextmanager
def _machine(copies, row, files, check):
    """A guest with the devices of these copies."""
    nvdimms = _count(row, "nvdimm")
    settings = (f"NVDIMMS_EACH={nvdimms} DISKS_EACH={_count(row, 'disk')}\n"
                f"check() {{\n{check}\n}}\n")
    job = lab.Job(lab.exports([]) + settings + SCRIPT)
    lab.add_files(job, *files)
    given = list(zip(row.devices * len(copies), sum(copies, [])))
    given.sort(key=lambda pair: list(lab.FILLED).index(pair[0].kind))
    row = dataclasses.replace(lab.BACKINGS["power"], devices=tuple(device for device, _ in given), volumes=(), node="")
    machine = lab.prepare(lab.say)
    with lab.Guest(machine, row, job, lab.Images(machine, row, "", [path for _, path in given])) as guest:
        yield guest


def read(guest, timeout):
    """The next line from the guest, whose job never ends by itself."""
    line = guest.read_line(max(timeout, 0.001))
    if line is None:
        raise lab.GuestFailure("the job ended")
    return line.decode(errors="replace")


def listen(guest, seconds, take):
    """Calls take() with each line of the next seconds."""
    guest.listen(seconds)
    take_pending(guest, take)


def take_pending(guest, take):
    for line in guest.pending_lines():
        take(line.decode(errors="replace"))
