"""Application: the composition root. Wires one instance together, reloads it, drains it, stops it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from config.listeners import by_socket
from config.model import Config
from config.problem import Problem
from policy.compiled import Policy
from policy.reasons import ReasonCode
from proxy.admin.settings import AdminSettings
from proxy.admin.spawn import AdminProcess
from proxy.admission.accounting import Accounting
from proxy.admission.adoption import Adoption
from proxy.admission.decision_log import DecisionLog
from proxy.admission.pipeline import AdmissionPipeline
from proxy.admission.policy_store import PolicyStore
from proxy.call.authenticator import Authenticator
from proxy.call.core import CallSettings, ProxyCore
from proxy.call.elsewhere import Elsewhere
from proxy.call.nonce import Nonces
from proxy.call.registration import Registrations
from proxy.call.session import CallSession
from proxy.call.tokens import tokens_of
from proxy.configuration import Compiled, load_policy
from proxy.control import Control
from proxy.housekeeping import Housekeeping
from proxy.ledger.redis_ledger import RedisLedger
from proxy.ledger.sharded_ledger import ShardedLedger, opener_of
from proxy.listening import CannotBind, Listening, host_port
from proxy.objects.following import Followed
from proxy.observe.clock import now_ms
from proxy.observe.metrics import Metrics
from proxy.observe.records import RecordWriter
from proxy.observe.tasks import TaskKeeper
from proxy.observe.turns import small_turns
from proxy.routing.names import NAMESERVERS_VARIABLE, Names
from proxy.routing.resolver import Resolver
from proxy.server import SipServer
from proxy.sip.counters import SipCounters
from proxy.sip.stack import SipStack
from proxy.sip.timers import Timers
from proxy.transport.connection import CAUSES
from proxy.transport.contexts import CertificateError, TlsContexts, files_by_bind
from proxy.transport.tcp import TcpEndpoint
from proxy.transport.tls import TlsEndpoint
from proxy.transport.udp import UdpEndpoint

_log = logging.getLogger(__name__)

_DRAIN_LOOK_SECONDS = 0.05
_LOOKUP_SECONDS = 0.3  # that a change of the store waits for names that are new
_START_ONLY = ("listen", "advertise", "unknown_source", "admin", "ledger", "timers", "records", "policy")


class Application:
    """One instance: SIP sockets, ledger, HTTP process. `start` brings it up whole or raises; `stop` takes it
    down.

    Raises CannotBind, LedgerUnavailable or LedgerRefused from `start`; nothing is left running then.
    """

    def __init__(
        self,
        path: Path,
        config: Config,
        policy: Policy,
        *,
        ledger_url: str | None = None,
        followed: Followed | None = None,
    ) -> None:
        """`path` is where `config` was read from; `ledger_url` stands in place of the configured one.
        `followed`: where the policy's objects come from, if not from that file; it is closed with the
        instance."""
        self.path = path
        self.followed = followed
        self._in_force_number = 0 if followed is None else followed.version.number
        self._file = config
        if ledger_url is not None:
            section = config.ledger.model_copy(update={"url": ledger_url})
            config = config.model_copy(update={"ledger": section})
        self.config = config
        self.in_force = config
        self.store = PolicyStore(policy)
        self.metrics = Metrics()
        self.log = DecisionLog(policy.currency)
        self.keeper = TaskKeeper()
        self.problems: tuple[Problem, ...] = ()
        self.instance = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._server: SipServer | None = None
        self._closers: list[Callable[[], object]] = []
        self._reloading = asyncio.Lock()
        self._tls: dict[str, TlsEndpoint] = {}
        self._renew_admin: Callable[[], None] = lambda: None
        self._records: RecordWriter | None = None

    # --- start ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the ledger, bind the sockets, start the HTTP process; ready when this returns."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        if self.followed is not None:
            self._closers.append(self.followed.close)
        key = await self._open_ledger()
        counters = SipCounters()
        self.metrics.attach(counters)
        listening = self._bind(counters)
        stack = self._make_core(key, listening, counters)
        self._make_accounting()
        self._make_server(stack, listening)
        adoption = self._make_adoption(key)
        self._open_records()
        self._in_force(self.store.policy)
        await self.resolver.refresh(self.store.policy.providers.values())
        self.housekeeping = Housekeeping(
            self.store,
            self.ledger,
            self.accounting,
            adoption.adopt_lapsed,
            self.log,
            self.metrics,
            self.resolver,
        )
        self.ledger.on_hangup(lambda request: self.hang_up(request.ref, request.trunk))
        await self._start_admin()
        for endpoint in listening.endpoints:
            endpoint.start()
        # Not before: calls that are adopted are probed, and who hears no answers takes them for dead.
        self.housekeeping.start(self.keeper)
        self._register()
        if self.followed is not None:
            self.keeper.start(self.followed.follow(self._store_moved), name="policy store")

    async def _open_ledger(self) -> bytes:
        """Connect; the key that signs tokens and nonces."""
        section = self.config.ledger
        self.ledger: RedisLedger | ShardedLedger = await opener_of(section.shard_by)(
            section.url,
            section.data_dir,
            lease_seconds=section.lease_seconds,
            owner=self.instance,
            observer=self.metrics,
        )
        self._closers.append(self.ledger.close)
        secret = section.secret
        return secret.get_secret_value().encode() if secret is not None else await self.ledger.secret()

    def _bind(self, counters: SipCounters) -> Listening:
        listening = Listening(
            self.config,
            counters,
            receiver=lambda: self.server,
            known=self._knows,
            in_use=lambda flow: self.core.counts_on(flow),
            silent=self.config.unknown_source == "drop" and not self.store.policy.roaming,
        )
        try:
            listening.bind()
        finally:
            for endpoint in listening.endpoints:
                self._closers.append(endpoint.close)
                if isinstance(endpoint, TcpEndpoint):
                    self.metrics.attach_stream(endpoint, CAUSES)
        self._tls = listening.tls
        return listening

    def _make_core(self, key: bytes, listening: Listening, counters: SipCounters) -> SipStack:
        config = self.config
        t1 = config.timers.t1_ms / 1000
        stack = SipStack(Timers(t1=t1, t2=max(4.0, t1)), counters)
        try:
            resolver = Resolver(listening.identities, listening.names.number, Names.of_environment())
        except ValueError as error:
            raise CannotBind(f"{NAMESERVERS_VARIABLE} in the environment: {error}") from error
        self.resolver = resolver
        settings = CallSettings(
            config.timers.provider_response_seconds,
            config.timers.no_answer_seconds,
            stack.timers.timeout,
            config.unknown_source == "drop",
            config.timers.session_expires_seconds,
        )
        if settings.drop_strangers:
            stack.answers = self._knows
        self.core = ProxyCore(
            stack,
            self.store,
            resolver.hops,
            resolver.leads_to,
            _minter(key),
            listening.identities,
            settings,
            Authenticator(Nonces(key, now_ms)),
        )
        self.metrics.authentications = self.core.authenticator.counts
        self.registrations = Registrations(self.core)
        clock = asyncio.get_running_loop().time
        self.metrics.registrations = lambda: self.registrations.seconds_left(clock())
        return stack

    def _make_accounting(self) -> None:
        self.accounting = Accounting(
            self.store,
            self.ledger,
            self.config.ledger.lease_seconds,
            lambda call, why: self.server.hang_up(call, why),
            self._fenced,
        )
        self.accounting.short = self.metrics.happenings.short

    def _make_server(self, stack: SipStack, listening: Listening) -> None:
        clock = asyncio.get_running_loop().time
        pipeline = AdmissionPipeline(
            self.store, self.ledger, self.accounting, self.log, self.metrics, now_ms, clock
        )
        self.server = self._server = SipServer(
            stack,
            self.core,
            pipeline,
            self.accounting,
            self.log,
            self.metrics,
            self.ledger,
            now_ms,
            self._knows,
        )
        for endpoint in listening.endpoints:
            if isinstance(endpoint, UdpEndpoint):
                self.server.add_endpoint(endpoint)
            else:
                self.server.add_stream(endpoint)

    def _make_adoption(self, key: bytes) -> Adoption:
        def tokens(ref: str) -> tuple[bytes, bytes]:
            return tokens_of(ref, key)

        adoption = Adoption(
            self.core,
            self.store,
            self.ledger,
            self.accounting,
            self.metrics,
            tokens,
            self.config.ledger.lease_seconds,
            asyncio.get_running_loop().time,
            self.server.pump,
        )
        self.core.elsewhere = Elsewhere(self.core, tokens)
        self.server.fetch = lambda ref: self.keeper.start(adoption.fetch(ref), name="a call from elsewhere")
        return adoption

    def _knows(self, host: str) -> bool:
        return self.store.knows(host) or self.resolver.provider_at(host)

    def _open_records(self) -> None:
        path = self.config.records.file
        if path is not None:
            try:
                writer = RecordWriter(path)
            except OSError as error:
                raise CannotBind(f"cannot write records to {path}: {error.strerror}") from error
            self._records = writer
            self.metrics.records_dropped = lambda: writer.dropped
            self._closers.append(writer.close)

            def to_file(_: str, lines: list[bytes]) -> None:
                for line in lines:
                    writer.write(line)

            self.log.sinks.append(to_file)
        self.log.sinks.append(self.ledger.append_records)

    async def _start_admin(self) -> None:
        config = self.config
        token = config.admin.token
        self.admin = AdminProcess(
            AdminSettings(
                host=config.admin.host,
                port=config.admin.port,
                token=None if token is None else token.get_secret_value(),
                ledger_url=config.ledger.url,
                data_dir=config.ledger.data_dir,
                lease_seconds=config.ledger.lease_seconds,
                shard_by=config.ledger.shard_by,
                metrics_need_token=config.admin.metrics_need_token,
                certificate=config.admin.certificate_file,
                key=config.admin.key_file,
                client_ca=config.admin.client_ca_file,
                log_level=logging.getLevelName(logging.getLogger().getEffectiveLevel()).lower(),
                config_file=self.path,
                policy_source=config.policy.source,
            ),
            Control(self),
        )
        self._closers.append(self.admin.stop)
        self._renew_admin = self.admin.reload
        try:
            self.admin_url = self.admin.bind()
        except OSError as error:
            raise CannotBind(f"cannot bind {config.admin.listen} for HTTP: {error.strerror}") from error
        try:
            await self.admin.start()
        except OSError as error:  # TimeoutError is one
            raise CannotBind(f"the HTTP process cannot be started: {error}") from error

    def ready_line(self) -> str:
        """What `serve` prints when every socket is bound."""
        sip = ",".join(f"{transport}:{host_port(*local)}" for transport, local in self.core.identities)
        ledger = self.config.ledger.url
        kind = "embedded" if ledger == "embedded" else ledger.partition("://")[0]
        return f"ready sip={sip} admin={self.admin_url} ledger={kind} policy={self.store.policy.version}"

    # --- while it runs --------------------------------------------------------------------------------------

    async def reload(self, *, of_store: bool = False) -> Compiled:
        """Read the file again, and the certificates, with the objects that the store has where they are
        there. A bad one is counted and reported, and leaves all that is in force as it is. `of_store`: it is
        the store that has changed: names are not waited for, so that the change is in force at once."""
        if not of_store:  # a disk that hangs holds up no reload
            self.keeper.start(self._reopen_records(), name="records")
        async with self._reloading:
            number = 0 if self.followed is None else self.followed.version.number
            with small_turns():
                compiled, contexts = await asyncio.to_thread(self._read_again)
            policy = compiled.policy
            self.metrics.policy_reloaded(policy is not None)
            self.problems = compiled.problems
            if policy is None:
                for problem in compiled.problems:
                    _log.error("reload refused: %s", problem)
                return compiled
            if of_store:
                before = self.store.policy.providers
                changed = [one for name, one in policy.providers.items() if one != before.get(name)]
                await self.resolver.renew(changed, _LOOKUP_SECONDS)
            else:
                await self.resolver.refresh(policy.providers.values())
            self.store.replace(policy)
            self.resolver.keep_only(policy.providers.values())
            self.log.currency = policy.currency
            for bind, read in contexts.items():
                self._tls[bind].contexts = read
            self._renew_admin()
            self.server.forget_peers()
            self._register()
            self._in_force_number = number
            self._in_force(policy)
            self.housekeeping.show_providers()
            origin = f" (version {number} of the store)" if number else ""
            _log.info("policy %s%s is in force", policy.version, origin)
            if compiled.config is not None:
                self.in_force = compiled.config
                self._tell_what_waits(compiled.config)
            return compiled

    async def _reopen_records(self) -> None:
        """Whoever rotates the file has moved it away, and says so by SIGHUP."""
        if self._records is not None:
            try:
                await self._records.reopen()
            except OSError as error:
                file = self.config.records.file
                _log.error("records go on to the old file: %s cannot be opened: %s", file, error.strerror)

    async def _store_moved(self) -> None:
        await self.reload(of_store=True)

    @property
    def store_version(self) -> int | None:
        """The version of the store that is in force; None where the policy is in the file."""
        return None if self.followed is None else self._in_force_number

    def _read_again(self) -> tuple[Compiled, dict[str, TlsContexts]]:
        """The file, and the certificates of the TLS listeners that we have: all of it is good, or there is no
        policy."""
        compiled = load_policy(self.path) if self.followed is None else self.followed.compile()
        if compiled.config is None:
            return compiled, {}
        try:
            found = files_by_bind(compiled.config).items()
            return compiled, {bind: TlsContexts(files) for bind, files in found if bind in self._tls}
        except CertificateError as error:
            problem = Problem(str(self.path), 0, "listen", str(error))
            return Compiled(None, None, (problem,), compiled.warnings), {}

    def _tell_what_waits(self, config: Config) -> None:
        """Name the sections that changed in the file but are read at the start only."""
        for section in _START_ONLY:
            if _read_at_start(config, section) != _read_at_start(self._file, section):
                _log.warning("`%s` has changed: it takes effect when the program is started again", section)

    def _fenced(self, session: CallSession) -> None:
        """Another instance has the call, or ended it: it is no call of this one any more."""
        session.fenced()
        trunk = session.verdict.trunk
        self.metrics.call_ended(trunk.name if trunk is not None else "")

    def _register(self) -> None:
        now = asyncio.get_running_loop().time()
        self.registrations.keep(self.store.policy.providers.values(), now)
        self.server.pump(now)

    def _in_force(self, policy: Policy) -> None:
        thresholds = {name: trunk.scope.threshold for name, trunk in policy.trunks.items()}
        self.metrics.policy_loaded(policy.version, thresholds, policy.providers, self.store_version)

    def hang_up(self, ref: str | None, trunk: str | None) -> list[str]:
        """End live calls of this instance: one, or all of a trunk but its emergency calls. Their refs."""
        calls = []
        for account in self.accounting.live.values():
            session = account.session
            verdict = session.verdict
            of_trunk = verdict.trunk is not None and verdict.trunk.name == trunk and not verdict.emergency
            if session.ref == ref or of_trunk:
                calls.append(session)
        self.server.hang_up_calls(calls)
        return [session.ref for session in calls]

    async def drain(self, seconds: float) -> None:
        """Take no new calls; wait until the live ones have ended, at most `seconds`."""
        self.core.gate = ReasonCode.DRAINING
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.core.sessions:
                    await self.accounting.idle()
                    await asyncio.sleep(_DRAIN_LOOK_SECONDS)  # those that are being judged do not live yet

    async def stop(self) -> None:
        """Close everything, in the reverse order of its making. Live calls are left as they are."""
        if self._server is not None:
            self._server.close()
        await self.keeper.stop()
        self.log.flush()
        while self._closers:
            outcome = self._closers.pop()()
            if asyncio.iscoroutine(outcome):
                await outcome


def _read_at_start(config: Config, section: str) -> object:
    """What of a section a reload does not change: of listeners all but the certificates."""
    if section != "listen":
        return getattr(config, section)
    return [(group[0].bind, group[0].advertise) for group in by_socket(config.listen)]


def _minter(key: bytes) -> Callable[[], tuple[str, bytes, bytes]]:
    """Draws a ref, 128 random bits, with its two tokens."""

    def mint() -> tuple[str, bytes, bytes]:
        ref = secrets.token_urlsafe(16)
        return ref, *tokens_of(ref, key)

    return mint
