#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Kills servers of a cluster at random and looks for acknowledged entries that are lost.

  kills.py SERVER [--times N] [--seed N] [--load N] [--all-in N] [WORD=VALUE...]

Three servers of the demo elect a leader, which proposes values and says which are acknowledged. SIGKILL ends one of
them, or all three at once, at random moments; each is started again. In the end all three must hold the same list,
with every acknowledged value in it, once. And at each start a server must find what its own storage promised to
libraft before (promises.py): what that lost is the storage's fault, and the rest is libraft's. The exit status is 0 if
nothing is lost.
"""

import argparse
import os
import random
import shutil
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from promises import Storage

SETTLE = 60  # seconds that a cluster may need to agree on a loaded machine
NO_STATE = ["", "0", "0", "0", "0", ""]  # role, term, commit index, leader, last index, granularity


class Server:
    """One process at a time, and what it said."""

    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number
        self.directory = os.path.join(cluster.directory, str(number))
        os.makedirs(self.directory, exist_ok=True)
        self.process = self.reader = None
        self.state = NO_STATE
        self.values = None
        self.storage = Storage()
        self.starts = 0

    def start(self, load):
        words = [*self.cluster.words, f"load={load}"]
        self.state = NO_STATE
        self.values = None
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [self.cluster.program, str(self.number), self.directory, str(self.cluster.port), *words],
            stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, args=(self.process,))
        self.reader.start()
        self.starts += 1

    def read(self, process):
        values = []
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # cut off by the kill
            verb, *words = line.split()
            if self.storage.say(verb, words):
                continue
            if verb == "ack":
                self.cluster.acknowledged.append(words[0])
            elif verb == "state":
                self.state = [*words[:5], " ".join(words[5:])]
            elif verb == "value":
                values.append(words[0])
            elif verb == "list":
                values = []
            elif verb == "end":
                self.values = values

    def end(self, how):
        self.process.send_signal(how)
        status = self.process.wait()
        self.reader.join()
        return status


class Cluster:
    def __init__(self, program, directory, words):
        self.program, self.directory, self.words = os.path.abspath(program), directory, words
        self.port = free_port()
        self.acknowledged = []
        self.servers = [Server(self, number) for number in (1, 2, 3)]

    def start(self, load):
        for server in self.servers:
            server.start(load)

    def check_alive(self):
        for server in self.servers:
            status = server.process.poll()
            if status is not None:
                raise SystemExit(f"server {server.number} ended by itself, {describe(status)}")

    def end(self, how):
        for server in self.servers:
            if server.process and server.process.poll() is None:
                server.end(how)
            elif server.reader:
                server.reader.join()

    def is_settled(self):
        """A leader has committed all it has, and the others know. Lines of a server may be of a moment ago, but in a
        term the leader's last index stays where it is, as nothing is proposed, and no commit index goes back."""
        leaders = [server.state for server in self.servers if server.state[0] == "leader"]
        return len(leaders) == 1 and all(server.state[1:3] == [leaders[0][1], leaders[0][4]] for server in self.servers)

    def wait(self, what, condition):
        end = time.monotonic() + SETTLE
        while not condition():
            self.check_alive()
            if time.monotonic() > end:
                raise SystemExit(f"{what}: not within {SETTLE} s: {[server.state for server in self.servers]}")
            time.sleep(0.01)


def describe(status):
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"


def check_program(path):
    """Says why no server could run, before anything is made."""
    if not os.path.exists(path):
        raise SystemExit(f"{path}: no such program: meson builds raft_server in adapters/raft_log of the build "
                         "directory, if libraft-dev and libuv1-dev are installed")
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise SystemExit(f"{path}: not a program that can be run")
    # Without arguments it says how it is used; or why it does not run, if a library is missing.
    try:
        trial = subprocess.run([os.path.abspath(path)], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SystemExit(f"{path}: it cannot be run: {error}") from None
    if trial.returncode != 2 or not trial.stderr.startswith("usage: server "):
        raise SystemExit(f"{path}: not a server of the demo: {trial.stderr.strip() or describe(trial.returncode)}")


def natural(text):
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is no number")
    return int(text)


def positive(text):
    if not natural(text):
        raise argparse.ArgumentTypeError("at least 1")
    return int(text)


def free_port():
    """Three ports in a row that are free now."""
    while True:
        port = random.randrange(20000, 30000)
        sockets = []
        try:
            for number in (1, 2, 3):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port + number))
            return port
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()


def kill(cluster, times, load, all_in):
    """Most kills fall where acknowledgements are made, some where the cluster has no leader."""
    done = 0
    while done < times:
        before = len(cluster.acknowledged)
        if random.random() < 0.8:
            cluster.wait("no acknowledgement", lambda: len(cluster.acknowledged) > before + random.randrange(50))
        time.sleep(random.random() * 0.05)
        cluster.check_alive()
        victims = cluster.servers if random.randrange(all_in) == 0 else [random.choice(cluster.servers)]
        for server in victims:
            server.process.kill()
        for server in victims:
            server.end(signal.SIGKILL)
            server.start(load)
            done += 1


def lists_of(cluster):
    """The three lists, once all servers have told theirs."""
    for server in cluster.servers:
        server.values = None
        server.process.send_signal(signal.SIGUSR1)
    cluster.wait("no list", lambda: all(server.values is not None for server in cluster.servers))
    return [server.values for server in cluster.servers]


def faults_of(cluster, lists):
    """A sentence for each thing that is wrong, and for whose fault it is."""
    faults = [f"the storage of server {server.number} broke a promise: {fault}"
              for server in cluster.servers for fault in server.storage.faults]
    whose = "the storage lost it" if faults else "each storage kept its promises, so libraft lost it"
    if not lists[0] == lists[1] == lists[2]:
        faults.append(f"the servers hold different lists, of {[len(one) for one in lists]} values: {whose}")
    if any(len(set(one)) != len(one) for one in lists):
        faults.append(f"a value is there twice: {whose}")
    lost = set(cluster.acknowledged) - set(lists[0])
    if lost:
        faults.append(f"{len(lost)} acknowledged values are lost: {whose}")
    if not cluster.acknowledged:
        faults.append("nothing was acknowledged")
    return faults


def judge(cluster):
    """All are killed once more, and start without proposing."""
    cluster.end(signal.SIGKILL)
    cluster.start(0)
    cluster.wait("no agreement", cluster.is_settled)
    lists = lists_of(cluster)
    for server in cluster.servers:
        status = server.end(signal.SIGTERM)
        if status:
            raise SystemExit(f"server {server.number} did not end as it should, but {describe(status)}")
    faults = faults_of(cluster, lists)
    storages = [server.storage for server in cluster.servers]
    print(f"{len(cluster.acknowledged)} acknowledged, {len(lists[0])} held, "
          f"{len(set(cluster.acknowledged) - set(lists[0]))} lost; "
          f"{sum(one.checked for one in storages)} promises of the storages, "
          f"{sum(len(one.faults) for one in storages)} broken; {sum(one.starts for one in storages)} loads, "
          f"{cluster.servers[0].state[5]} granularity")
    for fault in faults[:20]:
        print(fault)
    return 1 if faults else 0


def arguments():
    parser = argparse.ArgumentParser(description="Kills servers of a cluster, and looks for what is lost.")
    parser.add_argument("server", help="the program raft_server of the build directory")
    parser.add_argument("--times", type=positive, default=12, help="kills")
    parser.add_argument("--seed", type=natural, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--load", type=positive, default=8, help="proposals at a time")
    parser.add_argument("--all-in", type=positive, default=10, help="one kill in so many is one of all servers")
    parser.add_argument("words", nargs="*", metavar="WORD=VALUE", help="of the servers")
    return parser.parse_intermixed_args()


def run(options):
    # In the working directory: the file system for temporary files is often tmpfs.
    directory = tempfile.mkdtemp(prefix="raft-kills-", dir=".")
    cluster = Cluster(options.server, directory, [*options.words, "promises=1"])
    status = 1
    try:
        cluster.start(options.load)
        kill(cluster, options.times, options.load, options.all_in)
        status = judge(cluster)
    finally:
        cluster.end(signal.SIGKILL)
        if status and cluster.acknowledged:
            print(f"the servers' directories are kept: {shlex.quote(directory)}")
        else:
            shutil.rmtree(directory)
    return status


def guard(function):
    """An error is a sentence, and a signal ends the servers too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return function()
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        raise SystemExit(str(error)) from None


def main():
    options = arguments()
    check_program(options.server)
    print(f"seed {options.seed}", flush=True)
    random.seed(options.seed)
    return run(options)


if __name__ == "__main__":
    sys.exit(guard(main))
