# SPDX-License-Identifier: BSD-3-Clause
"""Guests: disposable QEMU machines with emulated persistent memory.

A kill -9 of QEMU is a power cut: stores into an NVDIMM are in its image at
once, what never left the guest's DRAM is gone. A stopped QEMU has the same in
its images, and may go on once they are copied.
"""

import collections
import contextlib
import glob
import os
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import lab_backings
import lab_machine
from lab_cpio import Archive, LabError
from lab_disk import Disks
from lab_images import Images, copy_sparse, scratch
from lab_share import Share, die_with_parent
from lab_state import state_of

CHANNELS = ("console", "out", "ctl", "ack")
_CHUNK = 1 << 16

# Rarely the emulator's second CPU runs an int3 of the kernel that patches its own code (jump labels) after the patch is
# done and the runner does not expect it any more: an oops, most often in the boot, where most of the patching is. As
# rarely a boot stands still. It takes seconds where the machine is not busy with other things.
_BOOTS = 3
_BOOT_SECONDS = 90  # until the guest says "up", without those in which it waited for a CPU of the host


class GuestFailure(LabError):
    """The guest hung or died: nothing is known about the program in it."""

    def __init__(self, message, hung=False):
        super().__init__(message)
        self.hung = hung


class Job:
    """What one guest is to run, and the files it needs."""

    def __init__(self, script, make_file=False):
        self.script = script
        self.make_file = make_file
        self._archive = Archive()

    @classmethod
    def program(cls, program, arguments, uid=None, env=()):
        """Runs a host program; @D, @F and @DEV in arguments are replaced."""
        make_file = any("@F" in argument for argument in arguments)
        job = cls("", make_file)
        command = [shlex.quote(job.add(program))] + [_expanded(a) for a in arguments]
        prefix = f"as_uid {int(uid)} env" if uid is not None else "exec env"
        settings = [shlex.quote(setting) for setting in env]
        job.script = " ".join([prefix] + settings + command)
        return job

    def add(self, path):
        """Adds a file with all it loads; returns its path in the guest, /t/NAME.

        It is kept under its own absolute path too, because run-time search
        paths are often relative to the program.
        """
        if not os.path.isfile(path):
            raise LabError(f"no such file: {path}")
        real = self._archive.elf(path)
        link = "/t/" + os.path.basename(path)
        self._archive.symlink(link, real)
        return link

    def add_library(self, path):
        """Adds a library that is opened at run time, and all that it needs."""
        self._archive.elf(path)
        self._archive.copy(path)

    def archive(self, backing, no_share):
        """What the guest is given once it is up; no_share: why there is no share."""
        settings = {
            "DEV": backing.node, "D": backing.directory,
            "BEFORE": backing.before, "AFTER": backing.after,
            "BACKING": backing.name, "MAKE_FILE": "1" if self.make_file else "",
            "NO_SHARE": no_share, "FILLED": "1" if backing.filled else "",
            "NVDIMMS_OF_ROW": str(sum(device.kind == "nvdimm" for device in backing.devices)),
            "DISKS_OF_ROW": str(sum(device.kind.endswith("disk") for device in backing.devices)),
        }
        volumes = ["|".join((v.node, v.fs, v.mkfs, v.options, v.where)) + "\n"
                   for v in backing.volumes]
        self._archive.file("/lab/settings", _assignments(settings))
        self._archive.file("/lab/volumes", "".join(volumes).encode())
        self._archive.file("/lab/job", (self.script + "\n").encode())
        return self._archive.bytes()


def _assignments(settings):
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items()).encode()


def _expanded(argument):
    """A shell word in which the placeholders became the guest's variables."""
    quoted = shlex.quote(argument)
    if "@" in argument:
        quoted = "'" + argument.replace("'", "'\"'\"'") + "'"
        for name in ("DEV", "D", "F"):  # DEV first: @D is a prefix of @DEV
            quoted = quoted.replace("@" + name, f"'\"${name}\"'")
    return quoted


class Guest:
    """One machine; start() may be called again after kill9(), on the same images.

    Use as a context manager, so that QEMU and temporary files go away.
    """

    def __init__(self, lab, backing, job, images=None, output=None):
        self.backing = backing
        self.images = images
        self.ready = None          # guest uptime in seconds once it is set up
        self.restored = False      # it went on from a saved machine
        self._lab = lab
        self._job = job
        self._output = output      # called with each chunk of the job's output
        self._throw_away = images is None
        self._argument = ""
        self._boots = 0
        self._up_by = None         # when the boot must have come to our script; None once it has
        self._still = False        # it did not
        self._going = False        # it came to what is not the same in all guests of the machine
        self._state = None         # the saved machine, or the one to save
        self._monitor = None       # for that
        self._useless = False      # it did not go on, and is not ours to remove
        self._powered = 0          # how often, with the boots that did not succeed
        self._directory = None
        self._process = None
        self._share = None
        self.seed = 0              # of what cached disks lose
        self.last_words = []       # of the disks that lost their power, since the start
        self._disks = None         # those that can lose something
        self._sockets = {}         # of these, by the number of the device
        self._selector = None
        self._channels = {}
        self._reset()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()

    # --- Life ---

    def start(self, argument=""):
        """Boots; argument (one word) is $LAB_ARGUMENT to the job."""
        self._boots = 1
        self.last_words = []
        self._boot(argument)

    def _boot(self, argument):
        if self._process:
            raise LabError("the guest runs already")
        self._argument = argument
        self._reset()
        self._stage()
        self._start_share()
        self._start_disks()
        self._state = None if self._useless else state_of(self._lab, self.backing)
        self.restored = self._state is not None and not self._state.descriptors()
        command = self._command()
        theirs = {}
        for name in CHANNELS + (("monitor",) if self._state else ()):
            channel, theirs[name] = socket.socketpair()
            if name == "monitor":
                self._monitor = channel
                continue
            channel.setblocking(False)
            self._selector.register(channel, selectors.EVENT_READ, name)
            self._channels[name] = channel
        for name, end in theirs.items():
            command += lab_machine.channel(name, end.fileno())
        self._up_by = time.monotonic() + _BOOT_SECONDS
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                pass_fds=[end.fileno() for end in theirs.values()] +
                         [theirs.fileno() for theirs in self._sockets.values()] +
                         (self._state.descriptors() if self._state else []),
                preexec_fn=die_with_parent)
        finally:
            for end in theirs.values():
                end.close()
        if self.restored:
            self._state.load(self._monitor)
            self._give_orders()

    def kill9(self):
        """A power cut."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._errors = self._process.stderr.read().decode(errors="replace")
            self._process.stderr.close()
            self._process = None
        if self._share:
            self._share.close()
            self._share = None
        if self._state:
            self._state.close()
        if self._monitor:
            self._monitor.close()
            self._monitor = None
        if self._disks:
            self.last_words += [f"disk {number}: {words}" for number, words in
                                zip(self._sockets, self._disks.lose_power())]
            self._disks, self._sockets = None, {}
        for name in list(self._channels):
            if name != "ctl":  # what became of the boot matters no more
                self._drain(name)
            self._forget(name)

    def stop(self):
        """Halts the machine where it is: its images hold what kill9() would leave, what it said until now is here."""
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._drain("ack")

    def go_on(self):
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self):
        self.kill9()
        self._selector.close()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    # --- What comes out of it ---

    def wait(self, timeout):
        """The job's exit status; the machine is gone afterwards."""
        self._until(lambda: self._status is not None, timeout)
        # The guest wrote its output before its status: it is all here by now.
        self._drain("out")
        self.kill9()
        return self._status

    def wait_ready(self, timeout):
        self._until(lambda: self.ready is not None, timeout)

    def read_line(self, timeout):
        """The next line (bytes) of the ack port; None when the job has ended."""
        self._until(lambda: self._acks or self._status is not None, timeout)
        if not self._acks:
            self._drain("ack")
        return self._acks.popleft() if self._acks else None

    def listen(self, seconds):
        """Takes in what the guest says meanwhile."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._receive_within(left)

    def pending_lines(self):
        """Complete ack lines received so far, also after kill9()."""
        lines = list(self._acks)
        self._acks.clear()
        return lines

    def send_line(self, line):
        """Sends a line (bytes) to the program that reads the ack port in the guest."""
        channel = self._channels["ack"]
        channel.setblocking(True)
        channel.sendall(line + b"\n")
        channel.setblocking(False)

    def console_text(self):
        """Kernel messages; those of the boot only if it did not succeed."""
        text = bytes(self._console[self._booted:]).replace(b"\r", b"").decode(errors="replace")
        # The firmware clears the screen even where there is none.
        return text.replace("\x1bc", "").replace("\x1b[?7l", "").replace("\x1b[2J", "")

    # --- Inside ---

    def _reset(self):
        if self._selector:
            self._selector.close()
        self._selector = selectors.DefaultSelector()
        self._console = bytearray()
        self._booted = 0           # length of the console when the guest was ready
        self._partial = {"ctl": b"", "ack": b""}
        self._acks = collections.deque()
        self._status = None
        self._errors = ""
        self._up_by, self._still, self._going = None, False, False
        self.ready = None

    def _stage(self):
        """Makes the directory, and the images if no other guest keeps them."""
        if self._directory:
            return
        self._directory = tempfile.mkdtemp(prefix="pmdirect-guest-", dir=scratch(self.backing))
        if self._throw_away:
            self.images = Images(self._lab, self.backing, self._directory)
        with open(os.path.join(self._directory, "job"), "wb") as stream:
            stream.write(self._job.archive(self.backing, self.images.no_share))
            if stream.tell() > lab_machine.JOB_DISK:
                raise LabError(f"the job's files do not fit into {lab_machine.JOB_DISK >> 20} MiB")
            stream.truncate(lab_machine.JOB_DISK)

    def _initrd(self):
        """Its path; what is in it is the same for all guests of the machine."""
        settings = {"INSMOD": " ".join(self._lab.insmod_order(self.backing.all_modules())),
                    "NODES": str(self.backing.memory_nodes())}
        archive = Archive()
        archive.file("/lab/machine", _assignments(settings))
        path = os.path.join(self._directory, "initrd")
        with open(path, "wb") as stream, open(self._lab.base, "rb") as base:
            shutil.copyfileobj(base, stream, 1 << 20)
            stream.write(archive.bytes())
        return path

    def _start_share(self):
        if self.images.share:
            path = os.path.join(self._directory, "share.socket")
            if os.path.exists(path):
                os.unlink(path)  # of the boot before
            self._share = Share(self.images.share, path)

    def _start_disks(self):
        numbers = [number for number, device in enumerate(self.backing.devices) if device.kind == "cached-disk"]
        if numbers:
            self._disks = Disks([(self.images.paths[number], f"{self.seed}/{number}/{self._powered}")
                                 for number in numbers])
            self._sockets = dict(zip(numbers, self._disks.theirs))
        self._powered += 1

    def _command(self):
        share = os.path.join(self._directory, "share.socket") if self._share else ""
        words = lab_machine.command(self._lab, self.backing, "" if self.restored else self._initrd(),
                                    self._state.memory() if self._state else "", share)
        for position, (device, number) in enumerate(self.backing.machine()):
            if number in self._sockets:
                words += lab_machine.cached_disk(position, self._sockets[number].fileno())
            elif number is not None:
                words += lab_machine.device(device.kind, position, self.images.paths[number])
            elif device.kind == "disk":
                words += lab_machine.blank_disk(position, lab_backings.DEVICE_SIZE)
            else:
                words += lab_machine.device(device.kind, position, self._blank_nvdimm())
        return words + lab_machine.job_disk(os.path.join(self._directory, "job"))

    def _blank_nvdimm(self):
        """The image of all NVDIMMs that nothing looks at."""
        path = os.path.join(self._directory, "blank-nvdimm")
        if not os.path.exists(path):
            copy_sparse(self._lab.image(lab_backings.BLANK["nvdimm"].image), path)
        return path

    def _give_orders(self):
        """What take_orders of the init reads."""
        words = ["1" if self.images.fresh else "0", self._argument or "-"]
        if self._state:
            words += [f"{time.time():.0f}", os.urandom(32).hex()]
        # A machine that has ended, since its state cannot be loaded, is noticed where its channels are read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._channels["ctl"].sendall(" ".join(words).encode() + b"\n")

    def _until(self, condition, timeout):
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                self.kill9()
                state = "before it was set up" if self.ready is None else f"set up after {self.ready:g} s"
                raise GuestFailure(f"the guest did not finish within {timeout:g} s, {state}",
                                   hung=True)
            self._receive_within(left)

    def _receive_within(self, seconds):
        if self._up_by and self._process:
            self._still = self._up_by + self._waited() <= time.monotonic()
            if self._still:
                self.kill9()
            seconds = min(seconds, 1)
        if not self._channels and not self._boot_again():
            raise GuestFailure(f"the guest {'stood still in its boot' if self._still else 'died'}. "
                               + self._errors.strip())
        for key, _ in self._selector.select(seconds):
            self._receive(key.data)
        if len(self._channels) < len(CHANNELS):
            # QEMU closes all of them at once, when it ends.
            self.kill9()

    def _waited(self):
        """Seconds in which a thread of the machine was ready to run and did not."""
        longest = 0
        for path in glob.glob(f"/proc/{self._process.pid}/task/*/schedstat"):
            with contextlib.suppress(OSError), open(path, encoding="ascii") as stream:
                longest = max(longest, int(stream.read().split()[1]))
        return longest / 1e9

    def _boot_again(self):
        """After an oops in the boot, or a boot that stands still, before anything of ours ran in the guest."""
        oops = re.search(r"Oops: int3.*", self.console_text())
        not_begun = self.restored and not self._going
        if self.ready is not None or not (oops or self._still or not_begun) or self._boots == _BOOTS:
            return False
        why = f"the boot stood still for {_BOOT_SECONDS} s"
        if not_begun:
            self._state.remove()
            self._useless = self._state.is_there()
            why = f"a saved machine did not go on: {self._errors.strip()}"
        elif oops:
            why = f"the guest's kernel died: {oops[0].strip()}"
        print(f"{why}; booted again", file=sys.stderr)
        self._boots += 1
        self._boot(self._argument)
        return True

    def _drain(self, name):
        while name in self._channels and self._receive(name):
            pass

    def _receive(self, name):
        """Takes what a channel has; False when that is nothing."""
        try:
            data = self._channels[name].recv(_CHUNK)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            self._forget(name)
            return False
        if name == "console":
            self._console += data
        elif name == "out":
            if self._output:
                self._output(data)
        else:
            *lines, self._partial[name] = (self._partial[name] + data).split(b"\n")
            if name == "ack":
                self._acks.extend(lines)
            else:
                for line in lines:
                    self._control(line.decode())
        return True

    def _control(self, line):
        verb, _, rest = line.partition(" ")
        if verb == "up":
            self._up_by = None
            if self._state:
                self._state.save(self._monitor)
            self._give_orders()
        elif verb == "going":
            self._up_by = None
            self._going = True
        elif verb == "ready":
            self.ready = float(rest)
            self.images.fresh = False
            self._booted = len(self._console)
            if self._throw_away and not self.images.has_directory:
                # QEMU has it all open; now not even a kill -9 of us leaves litter.
                shutil.rmtree(self._directory, ignore_errors=True)
        elif verb == "exit":
            self._status = int(rest)
        else:
            self.kill9()
            raise GuestFailure(f"the guest could not be set up: {rest}")

    def _forget(self, name):
        channel = self._channels.pop(name, None)
        if channel:
            self._selector.unregister(channel)
            channel.close()
