"""What is measured: Trunkwarden, Kamailio with the same checks, and nothing at all (the callee itself)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis
import yaml

from benchmarks.generator import CALLER_HOST

PEER_DIR = "TRUNKWARDEN_PEER_DIR"
_ROOT = Path(__file__).resolve().parents[1]
_KAMAILIO = Path(__file__).resolve().parent / "kamailio"
_MODULES = Path("/usr/lib/x86_64-linux-gnu/kamailio/modules/")
_CHILDREN = 4
_SHARED_MEGABYTES, _PRIVATE_MEGABYTES = "512", "16"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
_DECK = """\
prefix,destination,rate_per_minute,connect_fee,initial_increment,subsequent_increment
1,United States,0.0600,0,60,60
44,United Kingdom,0.0600,0,60,60
"""


@dataclass(frozen=True)
class Target:
    """Where calls can be sent to. `root` is the process whose family does the work; None: nobody does.
    `login`: user name and password that callers need, by a digest of MD5; SIPp knows no other."""

    address: tuple[str, int]
    root: int | None
    login: tuple[str, str] | None = None


class CannotMeasure(Exception):
    """This target cannot be run here; the text says why."""


class NotInstalled(CannotMeasure):
    """A program is missing."""


def _wait(condition, what: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise CannotMeasure(f"{what} does not start: {log.read_text(errors='replace')[-1500:]}")
        time.sleep(_POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def ledger() -> Iterator[Path]:
    """A redis-server on a unix socket, with an append-only file as an operator would have it."""
    if shutil.which("redis-server") is None:
        raise NotInstalled("redis-server is not installed (Debian: redis-server)")
    # A path of its own: that of a unix socket may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tw-bench-") as name:
        folder = Path(name)
        socket, log = folder / "redis.sock", folder / "redis.log"
        log.touch()
        process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "yes",
             "--dir", str(folder), "--logfile", str(log)],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait(lambda: _answers(socket), "redis-server", process, log)
            yield socket
        finally:
            _stop(process)


def _answers(socket: Path) -> bool:
    try:
        return bool(redis.Redis(unix_socket_path=str(socket)).ping())
    except redis.RedisError:
        return False


@contextlib.contextmanager
def direct(_folder: Path, _port: int, callee: tuple[str, int]) -> Iterator[Target]:
    """Caller to callee with nothing between: what the generator itself costs and takes."""
    yield Target(callee, None)


@contextlib.contextmanager
def trunkwarden(
    folder: Path, port: int, callee: tuple[str, int], login: tuple[str, str] | None = None
) -> Iterator[Target]:
    """The whole program, SIP and HTTP, with every check and limit of the ledger, and records written."""
    folder.mkdir(parents=True, exist_ok=True)
    known_by: dict[str, object] = {"allowed_sip_ips": ["127.0.0.0/8"]}
    if login is not None:
        secret = folder / "password"
        secret.write_text(login[1])
        known_by = {"auth": "digest", "username": login[0], "password_file": str(secret)}
    (folder / "rates.csv").write_text(_DECK)
    with ledger() as socket:
        config = {
            "listen": [f"udp:{CALLER_HOST}:{port}"],
            "admin": {"listen": f"{CALLER_HOST}:0"},
            "ledger": {"url": f"unix://{socket}"},
            "records": {"file": str(folder / "records.jsonl")},
            "rate_decks": {"retail": {"file": str(folder / "rates.csv"), "currency": "USD"}},
            "providers": [{"name": "carrier", "hostname": f"{callee[0]}:{callee[1]}"}],
            "trunks": [
                {
                    "name": "desk", "provider": "carrier", **known_by,
                    "destination_whitelist": ["us", "gb"], "dst_prefixes": {"deny": ["+1900", "+4470"]},
                    "capacity_limit": 30000, "cps_limit": 10000, "rate_deck": "retail",
                    "threshold_amount": "1000000.00", "max_destination_rate": "1.00",
                }
            ],
            "emergency": "none",
            "digest": {"algorithms": ["MD5"]},
        }  # fmt: skip
        file, out, log = folder / "trunkwarden.yaml", folder / "stdout", folder / "stderr"
        file.write_text(yaml.safe_dump(config))
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "proxy.cli", "serve", "-c", str(file), "--drain-seconds", "1"],
                cwd=_ROOT, stdout=stdout, stderr=stderr,
            )  # fmt: skip
        try:
            _wait(lambda: "ready " in out.read_text(), "trunkwarden", process, log)
            yield Target((CALLER_HOST, port), process.pid, login)
        finally:
            _stop(process)


def trunkwarden_digest(
    folder: Path, port: int, callee: tuple[str, int]
) -> contextlib.AbstractContextManager[Target]:
    """The same with a trunk that has no addresses: each call is asked for credentials, and logs in."""
    return trunkwarden(folder, port, callee, ("desk", "benchmark"))


@contextlib.contextmanager
def kamailio(folder: Path, port: int, callee: tuple[str, int]) -> Iterator[Target]:
    """Kamailio, configured alike: by our own file, or by that in the folder TRUNKWARDEN_PEER_DIR."""
    if shutil.which("kamailio") is None or not (_MODULES / "ndb_redis.so").exists():
        raise NotInstalled(
            "kamailio is not installed (Debian: kamailio kamailio-redis-modules kamailio-extra-modules)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with ledger() as socket:
        file, log = folder / "kamailio.cfg", folder / "kamailio.log"
        file.write_text(_kamailio_configuration(socket, port, callee))
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["kamailio", "-f", str(file), "-DD", "-E", "-m", _SHARED_MEGABYTES, "-M", _PRIVATE_MEGABYTES,
                 "-Y", str(folder)],
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            _wait(lambda: _bound(port), "kamailio", process, log)
            yield Target((CALLER_HOST, port), process.pid)
        finally:
            _stop(process)


def _bound(port: int) -> bool:
    return f"0100007F:{port:04X}" in Path("/proc/net/udp").read_text()


def _kamailio_configuration(socket: Path, port: int, callee: tuple[str, int]) -> str:
    listen, provider = f"{CALLER_HOST}:{port}", f"{callee[0]}:{callee[1]}"
    client = redis.Redis(unix_socket_path=str(socket), decode_responses=True)
    given = os.environ.get(PEER_DIR)
    if given:
        peer = Path(given)
        admit, release = (
            client.script_load((peer / name).read_text()) for name in ("admit.lua", "release.lua")
        )
        text = (peer / "kamailio.cfg").read_text()
        replaced = {
            "REDIS_SOCKET": str(socket), "ADMIT_SHA": admit, "RELEASE_SHA": release,
            "127.0.0.1:5060": listen, "127.0.0.1:5090": provider,
        }  # fmt: skip
    else:
        reserve, settle = (
            client.script_load((_KAMAILIO / name).read_text()) for name in ("reserve.lua", "settle.lua")
        )
        text = (_KAMAILIO / "kamailio.cfg").read_text()
        replaced = {
            "@CHILDREN@": str(_CHILDREN), "@LISTEN@": listen, "@PROVIDER@": provider,
            "@MODULES@": str(_MODULES),
            "@REDIS_SOCKET@": str(socket), "@RESERVE_SHA@": reserve, "@SETTLE_SHA@": settle,
        }  # fmt: skip
    for name, value in replaced.items():
        text = text.replace(name, value)
    return text


TARGETS = {
    "direct": direct,
    "trunkwarden": trunkwarden,
    "trunkwarden-digest": trunkwarden_digest,
    "kamailio": kamailio,
}
