#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A boot that stands still is tried again, and one that never ends is told of."""

import argparse
import contextlib
import io
import os
import sys

import lab
import lab_guest


def boot(machine, stop):
    """What the guest said, and what was said of it; stop(guest) is called after each power-on."""
    said = []

    class Watched(lab.Guest):
        def _boot(self, argument):
            super()._boot(argument)
            stop(self)

    with contextlib.redirect_stderr(io.StringIO()) as errors:
        with Watched(machine, lab.BACKINGS["tmpfs"], lab.Job("echo here"), output=said.append) as guest:
            guest.start()
            try:
                said.append(str(guest.wait(300)))
            except lab.GuestFailure as failure:
                said.append(str(failure))
    return said, errors.getvalue()


def test(_):
    machine = lab.prepare(lab.say)
    patience = lab_guest._BOOT_SECONDS  # pylint: disable=protected-access

    def stop_first(guest):
        if not boots:
            guest.stop()
        boots.append(lab_guest._BOOT_SECONDS)  # pylint: disable=protected-access
        lab_guest._BOOT_SECONDS = patience

    # One that boots, and one that was saved.
    boot(machine, lambda guest: None)
    for setting in "1", "":
        os.environ["PMDIRECT_LAB_BOOT"] = setting
        boots = []
        lab_guest._BOOT_SECONDS = 1
        said, errors = boot(machine, stop_first)
        assert said == [b"here\n", "0"] and len(boots) == 2 and "booted again" in errors, (said, boots, errors)

    boots = []
    lab_guest._BOOT_SECONDS = 1

    def stop_all(guest):
        guest.stop()
        boots.append(1)

    said, errors = boot(machine, stop_all)
    assert len(said) == 1 and "stood still" in said[0] and len(boots) == 3, (said, boots, errors)
    return 0


if __name__ == "__main__":
    sys.exit(lab.run_test(argparse.ArgumentParser(description=__doc__), test))
