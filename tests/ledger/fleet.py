"""Several real servers that belong together: a primary with a replica and Sentinel, or a Cluster."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.ledger.servers import binary

# Below those that the kernel gives to whoever asks for any, as is the port 10,000 above, which a Cluster's
# nodes take, too: what is free stays so until it is bound. Each process begins elsewhere.
_PORTS = range(20_000, 22_700)
_NEXT = itertools.count(os.getpid() * 101)


def free_port() -> int:
    for number in itertools.islice(_NEXT, len(_PORTS)):
        port = _PORTS[number % len(_PORTS)]
        with socket.socket() as probe, socket.socket() as bus, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            return port
    raise AssertionError("no port is free")


def eventually(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if condition():
                return
        except RedisError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds:g} s")


class Node:
    """One server on a port of loopback."""

    def __init__(self, name: str, folder: Path, *options: str, sentinel: bool = False) -> None:
        for _ in range(20):
            if self._start(name, folder, options, sentinel):
                return
        raise AssertionError("whatever port was free, another was quicker to take it")

    def _start(self, name: str, folder: Path, options: tuple[str, ...], sentinel: bool) -> bool:
        """Whether it runs; not when somebody else has its port by now."""
        self.port = free_port()
        self.folder = folder / str(self.port)
        self.folder.mkdir()
        self.client = Redis(port=self.port, retry=None, protocol=2)
        command = [binary(name)]
        if sentinel:
            config = self.folder / "sentinel.conf"
            config.write_text("".join(line + "\n" for line in options))
            command += [str(config), "--sentinel"]
        else:
            command += ["--appendonly", "yes", "--save", "", *options]
        command += [
            "--port",
            str(self.port),
            "--dir",
            str(self.folder),
            "--logfile",
            str(self.folder / "log"),
        ]
        self.process = subprocess.Popen([*command, "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
        eventually(lambda: self._ended() or self._answers(), f"a server on port {self.port}")
        if not self._ended():
            return True
        log = (self.folder / "log").read_text()
        assert "Address already in use" in log, log
        return False

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def _answers(self) -> bool:
        return self.client.info("server")["process_id"] == self.process.pid  # type: ignore[index,no-any-return]

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class SentinelFleet:
    """A primary, a replica, and three sentinels that agree within a second once the primary is killed. One
    that merely stands still for a while keeps its place."""

    def __init__(self, name: str, folder: Path) -> None:
        self.server = name
        self.primary = Node(name, folder)
        self.replica = Node(name, folder, "--replicaof", f"127.0.0.1 {self.primary.port}")
        self.nodes = [self.primary, self.replica]
        eventually(lambda: self.replica.client.info()["master_link_status"] == "up", "replication")
        self.sentinels = [
            Node(
                name,
                folder,
                f"sentinel monitor main 127.0.0.1 {self.primary.port} 2",
                "sentinel down-after-milliseconds main 20000",
                "sentinel failover-timeout main 1000",
                sentinel=True,
            )
            for _ in range(3)
        ]
        self.nodes += self.sentinels
        for sentinel in self.sentinels:
            eventually(lambda one=sentinel: self._complete(one), "sentinels that know each other")
        places = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        self.url = f"redis+sentinel://{places}/main/0"

    @staticmethod
    def _complete(sentinel: Node) -> bool:
        known = sentinel.client.execute_command("SENTINEL", "MASTER", "main")
        fields = dict(zip(known[::2], known[1::2], strict=True)) if isinstance(known, list) else known
        return all(
            int(fields.get(key, fields.get(key.encode(), 0))) >= least
            for key, least in (("num-slaves", 1), ("num-other-sentinels", 2))
        )

    def kill_primary(self) -> None:
        for sentinel in self.sentinels:
            sentinel.client.execute_command("SENTINEL", "SET", "main", "down-after-milliseconds", "500")
        self.primary.kill()

    def close(self) -> None:
        for node in self.nodes:
            node.kill()


class ClusterFleet:
    """Three primaries with all slots, and a replica of the one that has the ledger's. A node that merely
    stands still for a while keeps its place."""

    def __init__(self, name: str, folder: Path, slot: int) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "20000")
        self.nodes = [Node(name, folder, *options) for _ in range(4)]
        *primaries, self.replica = self.nodes
        bounds = (0, 5461, 10923, 16384)
        for n, node in enumerate(primaries):
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[n], bounds[n + 1] - 1)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in self.nodes[1:]:
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        self.primary = next(node for n, node in enumerate(primaries) if slot < bounds[n + 1])
        self.others = [node for node in primaries if node is not self.primary]
        name_of_primary = self.id_of(self.primary)
        eventually(lambda: self._follow(name_of_primary), "a replica")
        for node in self.nodes:
            eventually(lambda one=node: self._whole(one), "a whole Cluster")
        eventually(lambda: self.replica.client.info()["master_link_status"] == "up", "replication")
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.others)

    def kill_primary(self) -> None:
        """The other nodes are told to notice it within a second."""
        for node in self.nodes:
            node.client.config_set("cluster-node-timeout", 1000)
        self.primary.kill()

    @staticmethod
    def id_of(node: Node) -> str:
        found = node.client.execute_command("CLUSTER", "MYID")
        return found.decode() if isinstance(found, bytes) else str(found)

    def _follow(self, primary: str) -> bool:
        self.replica.client.execute_command("CLUSTER", "REPLICATE", primary)
        return True

    @staticmethod
    def _whole(node: Node) -> bool:
        return "ok" in str(node.client.execute_command("CLUSTER", "INFO")).split("cluster_state")[1][:10]

    def close(self) -> None:
        for node in self.nodes:
            node.kill()
