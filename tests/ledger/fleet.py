"""Several real servers that belong together: a primary with a replica and Sentinel, or a Cluster."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.ledger.servers import binary


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    # A Cluster's nodes also take the port 10,000 above.
    return port if port < 50_000 else free_port()


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
        eventually(lambda: bool(self.client.ping()), f"a server on port {self.port}")

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class SentinelFleet:
    """A primary, a replica, and three sentinels that agree within a second."""

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
                "sentinel down-after-milliseconds main 500",
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

    def close(self) -> None:
        for node in self.nodes:
            node.kill()


class ClusterFleet:
    """Three primaries with all slots, and a replica of the one that has the ledger's."""

    def __init__(self, name: str, folder: Path, slot: int) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
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
