#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs programs on real MAP_SYNC storage, in disposable emulated machines.

  lab.py prepare                            assemble what guests need, once
  lab.py backings                           list the kinds of storage
  lab.py run [OPTIONS] BACKING -- PROG ...  run a host program in a fresh guest
  lab.py script [OPTIONS] BACKING SCRIPT [FILES...]
                                            run a shell script in a fresh guest

In PROG's arguments @D is a writable directory on the backing, @F a fully
written 16 MiB file in it, @DEV its block or dax device; a script has $D, $F
and $DEV, and the functions of guest-init.sh. PROG and files come along with
the libraries they load, and are in /t, the current directory; scripts should
say ./NAME, since the guest's shell prefers its own applets to PATH.

The exit status is that of the program; 124 when the guest hung, 125 when it
died or could not be set up; 77 when this machine lacks a part of the lab (1 if
PMDIRECT_GUEST_REQUIRED=1, unless it is the newest kernel that cannot be had).

A guest of a machine that was saved in its boot (lab_state.py) goes on from
there; with PMDIRECT_LAB_BOOT=1 each boots.
"""

import argparse
import dataclasses
import os
import random
import signal
import sys
import tempfile

from lab_backings import BACKINGS, FILLED
from lab_cache import Lab, prepare
from lab_cpio import LabError, Missing
from lab_guest import Guest, GuestFailure, Job
from lab_images import Images, is_same, scratch

__all__ = ["BACKINGS", "FILLED", "Guest", "GuestFailure", "Images", "Job", "Lab", "LabError",
           "Missing", "is_same", "scratch", "prepare", "add_seed_option", "run_test", "run_on_images", "say",
           "write_output", "exports", "add_files", "main"]

EXIT_HUNG = 124
EXIT_DIED = 125
EXIT_SKIP = 77


def say(text):
    print(text, file=sys.stderr, flush=True)


def write_output(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def missing_part(error):
    """The exit status for a lab that cannot work here: a skip, unless required."""
    say(f"guest lab: {error}")
    # No archive has to have backports.
    may_lack = os.environ.get("PMDIRECT_GUEST_KERNEL") == "newest"
    return 1 if os.environ.get("PMDIRECT_GUEST_REQUIRED") == "1" and not may_lack else EXIT_SKIP


def add_kernel_option(parser):
    parser.add_argument("--kernel", metavar="default|newest|PACKAGE",
                        help="default: the release's own; newest: that of its backports")


def add_seed_option(parser):
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))


def run_test(parser, act):
    """What the tests have in common; returns the status of act(options), 1 if the lab fails."""
    add_kernel_option(parser)
    parser.add_argument("--lib", action="append", default=[], metavar="FILE",
                        help="a library opened at run time, with what it needs")
    options = parser.parse_args()
    if "seed" in options:
        print(f"seed {options.seed}", flush=True)
    return run_with_options(options, act, 1)


def run_with_options(options, act, failed):
    """The status of act(options); failed if the lab does."""
    if options.kernel:
        # For this process and all that it prepares.
        os.environ["PMDIRECT_GUEST_KERNEL"] = options.kernel
    # Turned into an exception, so that guests and temporary files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return act(options)
    except Missing as error:
        return missing_part(error)
    except LabError as error:
        say(f"guest lab: {error}")
        return failed
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def run_on_images(backing, job, act, output=None, cpus=0):
    """The status of act(guest), where the images outlive its power cuts; 1 if the guest fails. cpus: not the row's."""
    machine, row = prepare(say), BACKINGS[backing]
    row = dataclasses.replace(row, cpus=cpus or row.cpus)
    print(f"kernel {machine.release}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pmdirect-power-", dir=scratch(row)) as directory:
        images = Images(machine, row, directory)
        with Guest(machine, row, job, images, output=output) as guest:
            try:
                return act(guest)
            except GuestFailure as failure:
                print(f"{failure}\n{guest.console_text()}", flush=True)
                return 1


def run_job(backing, job, timeout):
    """Boots a fresh guest for the job; returns the status to exit with."""
    lab = prepare(say)
    with Guest(lab, BACKINGS[backing], job, output=write_output) as guest:
        try:
            guest.start()
            status = guest.wait(timeout)
        except GuestFailure as failure:
            say(f"guest lab: {backing}: {failure}")
            status = EXIT_HUNG if failure.hung else EXIT_DIED
        if status:
            for line in guest.console_text().splitlines():
                say("[kernel] " + line)
        return status


def command_prepare(_):
    print(prepare(say).path)
    return 0


def command_backings(_):
    for row in BACKINGS.values():
        print(f"{row.name:18} {row.summary}")
    return 0


def command_run(options):
    for setting in options.env:
        if "=" not in setting:
            raise LabError(f"--env {setting}: not NAME=VALUE")
    job = Job.program(options.program, options.arguments, options.uid, options.env + library_path())
    add_files(job, options.extra, options.lib)
    return run_job(options.backing, job, options.timeout)


def command_script(options):
    with open(options.script, encoding="utf-8") as stream:
        text = stream.read()
    job = Job(exports(options.env) + text, make_file=True)
    add_files(job, options.files, options.lib)
    return run_job(options.backing, job, options.timeout)


def library_path():
    """The closures were found with it, so the guest's loader needs it as well."""
    return [f"{name}={os.environ[name]}" for name in ("LD_LIBRARY_PATH",) if name in os.environ]


def exports(settings):
    """The beginning of a script, from NAME=VALUE."""
    return "".join(f"export {quote_setting(setting)}\n" for setting in settings + library_path())


def quote_setting(setting):
    name, separator, value = setting.partition("=")
    if not separator or not name.isidentifier():
        raise LabError(f"--env {setting}: not NAME=VALUE")
    return name + "='" + value.replace("'", "'\"'\"'") + "'"


def add_files(job, files, libraries):
    for path in files:
        job.add(path)
    for path in libraries:
        job.add_library(path)


def parser():
    top = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    kernel = argparse.ArgumentParser(add_help=False)
    add_kernel_option(kernel)
    commands.add_parser("prepare", parents=[kernel]).set_defaults(act=command_prepare)
    commands.add_parser("backings").set_defaults(act=command_backings, kernel=None)
    common = argparse.ArgumentParser(add_help=False, parents=[kernel])
    common.add_argument("--timeout", type=float, default=120, metavar="SECONDS")
    common.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    common.add_argument("--lib", action="append", default=[], metavar="FILE",
                        help="a library opened at run time, with what it needs")
    common.add_argument("backing", choices=BACKINGS, metavar="BACKING")
    run = commands.add_parser("run", parents=[common])
    run.add_argument("--with", action="append", default=[], dest="extra", metavar="FILE")
    run.add_argument("--uid", type=int, help="run the program as this user")
    run.add_argument("program", metavar="PROG")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS")
    run.set_defaults(act=command_run)
    script = commands.add_parser("script", parents=[common])
    script.add_argument("script", metavar="SCRIPT")
    script.add_argument("files", nargs="*", metavar="FILES")
    script.set_defaults(act=command_script)
    return top


def main(arguments=None):
    options = parser().parse_args(arguments)
    return run_with_options(options, options.act, EXIT_DIED)


if __name__ == "__main__":
    sys.exit(main())
