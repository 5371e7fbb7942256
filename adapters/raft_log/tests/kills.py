#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Kills servers of a cluster at random and looks for acknowledged entries that are lost.

  kills.py SERVER [--times N] [--seed N] [--load N] [--all-in N] [WORD=VALUE...]

Three servers of the demo elect a leader, which proposes values and says which are acknowledged. SIGKILL ends one of
them, or all three at once, at random moments; each is started again. In the end all three must hold the same list,
with every acknowledged value in it, once. The exit status is 0 if nothing is lost.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SETTLE = 60  # seconds that a cluster may need to agree on a loaded machine


class Server:
    """One process at a time, and what it said."""

    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number
        self.directory = os.path.join(cluster.directory, str(number))
        os.makedirs(self.directory, exist_ok=True)
        self.process = self.reader = None
        self.state = ["", "0", "0", "0", ""]
        self.values = None
        self.starts = 0

    def start(self, load):
        words = [*self.cluster.words, f"load={load}"]
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [self.cluster.program, str(self.number), self.directory, str(self.cluster.port), *words],
            stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, args=(self.process,))
        self.reader.start()
        self.starts += 1
        self.state = ["", "0", "0", "0", ""]

    def read(self, process):
        values = []
        for line in process.stdout:
            verb, *words = line.split()
            if not line.endswith("\n"):
                break  # cut off by the kill
            if verb == "ack":
                self.cluster.acknowledged.append(words[0])
            elif verb == "state":
                self.state = [*words[:4], " ".join(words[4:])]
            elif verb == "value":
                values.append(words[0])
            elif verb == "end":
                self.values = values

    def end(self, how):
        self.process.send_signal(how)
        status = self.process.wait()
        self.reader.join()
        return status


class Cluster:
    def __init__(self, program, directory, words):
        self.program, self.directory, self.words = program, directory, words
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
                raise SystemExit(f"server {server.number} ended by itself, with {status}")

    def wait(self, what, condition):
        end = time.monotonic() + SETTLE
        while not condition():
            self.check_alive()
            if time.monotonic() > end:
                raise SystemExit(f"{what}: not within {SETTLE} s: {[server.state for server in self.servers]}")
            time.sleep(0.01)


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


def judge(cluster):
    """All are killed once more, and start without proposing."""
    for server in cluster.servers:
        server.end(signal.SIGKILL)
    cluster.start(0)
    cluster.wait("no agreement", lambda: len({(s.state[1], s.state[2]) for s in cluster.servers}) == 1 and
                 "leader" in [s.state[0] for s in cluster.servers])
    for server in cluster.servers:
        server.process.send_signal(signal.SIGUSR1)
    cluster.wait("no list", lambda: all(server.values is not None for server in cluster.servers))
    lists = [server.values for server in cluster.servers]
    for server in cluster.servers:
        if server.end(signal.SIGTERM):
            raise SystemExit("a server did not end as it should")
    if not lists[0] == lists[1] == lists[2]:
        raise SystemExit(f"the servers hold different lists, of {[len(one) for one in lists]} values")
    held = set(lists[0])
    if len(held) != len(lists[0]):
        raise SystemExit("a value is there twice")
    lost = [value for value in cluster.acknowledged if value not in held]
    print(f"{len(cluster.acknowledged)} acknowledged, {len(held)} held, {len(lost)} lost, "
          f"{sum(server.starts for server in cluster.servers)} starts, {cluster.servers[0].state[4]} granularity")
    return 1 if lost or not cluster.acknowledged else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("--times", type=int, default=12, help="kills")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--load", type=int, default=8, help="proposals at a time")
    parser.add_argument("--all-in", type=int, default=10, help="one kill in so many is one of all servers")
    parser.add_argument("words", nargs="*")
    options = parser.parse_intermixed_args()
    print(f"seed {options.seed}", flush=True)
    random.seed(options.seed)
    # In the working directory: the file system for temporary files is often tmpfs.
    directory = tempfile.mkdtemp(prefix="raft-kills-", dir=".")
    cluster = Cluster(options.server, directory, options.words)
    try:
        cluster.start(options.load)
        kill(cluster, options.times, options.load, options.all_in)
        status = judge(cluster)
    finally:
        for server in cluster.servers:
            if server.process and server.process.poll() is None:
                server.end(signal.SIGKILL)
    if not status:
        shutil.rmtree(directory)
    return status


if __name__ == "__main__":
    sys.exit(main())
