"""The stage: the real proxy, and its simulated neighbours, each on a loopback address of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any, Final

from proxy.app import Application
from proxy.configuration import load_policy
from proxy.demo.pbx import Pbx
from proxy.demo.provider import Provider
from proxy.demo.user_agent import UserAgent
from proxy.observe.tasks import TaskKeeper

OFFICE: Final = "127.0.0.2"
PROVIDER: Final = "127.0.0.3"
SHOP: Final = "127.0.0.4"
STRANGER: Final = "127.0.0.9"

Record = dict[str, Any]


class CannotStage(Exception):
    """The machine lacks what the demo needs; the message says what to do about it."""


class Stage:
    """Everything that runs. `office` and `shop` are trunks of the policy, `stranger` is none.

    `on_record(record)` is told of each record that the proxy writes: of every decision, and of every admitted
    call when it is over.
    """

    def __init__(
        self, app: Application, office: Pbx, shop: Pbx, stranger: Pbx, provider: Provider, keeper: TaskKeeper
    ) -> None:
        self.app = app
        self.office = office
        self.shop = shop
        self.stranger = stranger
        self.provider = provider
        self.keeper = keeper
        self.on_record: Callable[[Record], None] = lambda record: None
        app.log.sinks.append(self._records)

    def _records(self, _: str, lines: list[bytes]) -> None:
        for line in lines:
            self.on_record(json.loads(line))

    async def hang_up_all(self) -> None:
        """Every caller ends his calls."""
        for pbx in (self.office, self.shop, self.stranger):
            await pbx.hang_up_all()


@asynccontextmanager
async def staged(ring_seconds: Callable[[], float]) -> AsyncIterator[Stage]:
    """Set the stage and clear it away again, ledger and files included.

    `ring_seconds` tells how long the provider lets a call ring. Raises CannotStage, and what
    `Application.start` raises.
    """
    keeper = TaskKeeper()
    async with AsyncExitStack() as stack:
        agents = [_agent(host, stack) for host in (PROVIDER, OFFICE, SHOP, STRANGER)]
        provider = Provider(agents[0], keeper, ring_seconds)
        stack.push_async_callback(keeper.stop)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="trunkwarden-demo-")))
        app = _application(folder, provider.agent.address[1])
        await app.start()
        stack.push_async_callback(app.stop)
        _, proxy = next(iter(app.server.endpoints))
        office, shop, stranger = (Pbx(agent, proxy) for agent in agents[1:])
        yield Stage(app, office, shop, stranger, provider, keeper)


def _agent(host: str, stack: AsyncExitStack) -> UserAgent:
    try:
        agent = UserAgent(host)
    except OSError as error:
        hint = f": run `sudo ifconfig lo0 alias {host} up` first" if sys.platform == "darwin" else ""
        raise CannotStage(
            f"its peers speak from {', '.join((OFFICE, PROVIDER, SHOP, STRANGER))}, and {host} cannot be"
            f" bound ({error.strerror}){hint}"
        ) from error
    stack.callback(agent.close)
    return agent


def _application(folder: Path, provider_port: int) -> Application:
    """The proxy on the demo's own policy, written to `folder`, where a reload finds it again."""
    source = files("proxy.demo")
    policy = Template(source.joinpath("demo.yaml").read_text("utf-8"))
    path = folder / "demo.yaml"
    path.write_text(policy.substitute(provider_port=provider_port), "utf-8")
    (folder / "rates.csv").write_text(source.joinpath("rates.csv").read_text("utf-8"), "utf-8")
    compiled = load_policy(path)
    if compiled.config is None or compiled.policy is None:
        raise CannotStage("\n".join(str(problem) for problem in compiled.problems))
    return Application(path, compiled.config, compiled.policy)
