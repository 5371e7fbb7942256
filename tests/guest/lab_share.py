# SPDX-License-Identifier: BSD-3-Clause
"""A directory of the host that a guest mounts by virtiofs: the daemon behind it.

Not every host can have it: the daemon must be root, and the seccomp filter of a container may refuse what it does
first. So it is tried before it is offered.
"""

import ctypes
import os
import signal
import socket
import struct
import subprocess

from lab_cache import find_tool

# Debian 12 has it with QEMU, later releases as a package of its own; both are in no PATH.
_PROGRAMS = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "virtiofsd")
_GET_FEATURES = struct.pack("<III", 1, 1, 0)  # of the vhost-user protocol, version 1, without payload
_TIMEOUT = 60
_PR_SET_PDEATHSIG = 1


def die_with_parent():
    """For a child: not even a kill -9 of us leaves it behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Share:
    """One daemon, for the one connection that it takes."""

    def __init__(self, directory, path):
        """Serves the directory at the socket path."""
        program = next((name for name in map(find_tool, _PROGRAMS) if name), None)
        if not program:
            raise OSError("virtiofsd is not installed")
        self._log = open(path + ".log", "w+b")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen(1)
            self._process = subprocess.Popen(
                [program, f"--fd={listening.fileno()}", "-o", f"source={directory}", "-o", "sandbox=chroot"],
                stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, pass_fds=[listening.fileno()],
                preexec_fn=die_with_parent)

    def close(self):
        """Ends it with the guest: what it was asked for and has not done is lost."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    def answers(self, path):
        """Whether the daemon gets as far as serving; it is of no more use then."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_TIMEOUT)
            try:
                client.connect(path)
                client.sendall(_GET_FEATURES)
                return len(client.recv(64)) > 0
            except OSError:
                return False

    def last_words(self):
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


def why_not(directory, scratch):
    """Why this host cannot share the directory; "" if it can."""
    path = os.path.join(scratch, "trial")
    try:
        share = Share(directory, path)
    except OSError as error:
        return str(error)
    try:
        return "" if share.answers(path) else f"virtiofsd: {share.last_words()}"
    finally:
        share.close()
