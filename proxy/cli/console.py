"""The console script: one function a command. Results go to stdout, diagnostics to stderr."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from config.problem import Problem
from proxy.cli.policy import app as policy_app
from proxy.configuration import Compiled, load_own, load_policy

T = TypeVar("T")

OK, FAILED, USAGE, REFUSED, CANNOT_SERVE = 0, 1, 2, 3, 4

app = typer.Typer(
    name="trunkwarden",
    help="SIP call admission: judges every outbound call, then forwards it to its provider or refuses it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
webhooks_app = typer.Typer(
    no_args_is_help=True, help="Who is told of events: try it out, and what was given up."
)
app.add_typer(webhooks_app, name="webhooks")

ConfigFile = Annotated[
    Path, typer.Option("-c", "--config", help="the configuration file", show_default=True, metavar="FILE")
]
_DEFAULT_FILE = Path("trunkwarden.yaml")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"trunkwarden {version('trunkwarden')}")
        raise typer.Exit(OK)


@app.callback()
def _of_all_commands(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="print the version")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    config: ConfigFile = _DEFAULT_FILE,
    workers: Annotated[int, typer.Option(min=1, help="SIP worker processes; this version runs one")] = 1,
    ledger: Annotated[
        str | None, typer.Option(help="ledger URL, in place of the file's", metavar="URL")
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="how long live calls may go on after SIGTERM")
    ] = 30.0,
) -> None:
    """Run the proxy in the foreground. SIGHUP reloads, SIGTERM drains, a second SIGTERM stops at once."""
    from proxy.cli.serve import run

    if workers > 1:
        _complain("--workers: this version runs one SIP worker; start more instances on one ledger instead")
        raise typer.Exit(USAGE)
    raise typer.Exit(run(config, ledger, drain_seconds))


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="place a fixed set of calls, print what became of them, and end")
    ] = False,
) -> None:
    """Run the real proxy on loopback between a simulated PBX and a simulated provider."""
    from proxy.demo.run import run

    raise typer.Exit(run(once))


@app.command()
def check(config: ConfigFile = _DEFAULT_FILE) -> None:
    """Validate a configuration and print all its problems, one a line: FILE:LINE: path: message."""
    compiled = load_policy(config)
    _print_problems(compiled.warnings, "warning: ")
    if compiled.problems:
        for problem in compiled.problems:
            typer.echo(str(problem))
        raise typer.Exit(FAILED)
    typer.echo(f"{config}: ok")


@app.command()
def explain(
    source: Annotated[str, typer.Option(help="the address that the call comes from", metavar="IP")],
    to: Annotated[str, typer.Option(help="what is dialled: a number or a URI", metavar="NUMBER_OR_URI")] = "",
    config: ConfigFile = _DEFAULT_FILE,
    from_uri: Annotated[str | None, typer.Option("--from", help="the caller's URI", metavar="URI")] = None,
    message: Annotated[
        Path | None, typer.Option(help="a file with a whole SIP INVITE, in place of --to", metavar="SIPFILE")
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="the user name that the caller proves where a login is wanted")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    live: Annotated[bool, typer.Option("--live", help="ask the ledger what room is left")] = False,
) -> None:
    """Say what would become of a call, and which rule decides it: the policy that the proxy itself runs."""
    from proxy.admission.inquiry import Unclear
    from proxy.cli.explain import ask, render

    if not to and message is None:
        _complain("explain needs --to, or --message with a SIP message")
        raise typer.Exit(USAGE)
    compiled = _load(config)
    try:
        text = None if message is None else message.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        _complain(f"--message: `{message}` cannot be read: {error.strerror}")
        raise typer.Exit(USAGE) from None
    try:
        fields = asyncio.run(ask(compiled, source, to, from_uri, text, live, user))
    except Unclear as error:
        _complain(str(error))
        raise typer.Exit(USAGE) from None
    except (OSError, ValueError) as error:
        _complain(str(error))
        raise typer.Exit(FAILED) from None
    if as_json:
        typer.echo(json.dumps(fields, indent=2))
    else:
        render(fields)
    raise typer.Exit(OK if fields["decision"] == "admitted" else REFUSED)


@app.command()
def rate(
    number: Annotated[str, typer.Argument(help="an international number, such as +442071838750")],
    deck: Annotated[str, typer.Option(help="the rate deck, by its name in the file", metavar="NAME")],
    config: ConfigFile = _DEFAULT_FILE,
    seconds: Annotated[int, typer.Option(min=0, max=604_800, help="how long the call lasts")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say what calls to a number cost by a rate deck: the row that decides, its increments, and the cost."""
    from proxy.cli.rate import quote, render

    compiled = _load(config)
    try:
        fields = quote(compiled.policy, deck, number, seconds) if compiled.policy is not None else None
    except ValueError as error:
        _complain(str(error))
        raise typer.Exit(USAGE) from None
    if fields is None:
        _complain(f"deck `{deck}` has no rate for {number}")
        raise typer.Exit(FAILED)
    if as_json:
        typer.echo(json.dumps(fields, indent=2))
    else:
        render(fields)


@app.command()
def hangup(
    config: ConfigFile = _DEFAULT_FILE,
    trunk: Annotated[
        str | None, typer.Option(help="end all live calls of this trunk", metavar="NAME")
    ] = None,
    call: Annotated[str | None, typer.Option(help="end this live call", metavar="REF")] = None,
) -> None:
    """The panic button: end live calls now, through the running instances."""
    from proxy.cli.hangup import hang_up

    if (trunk is None) == (call is None):
        _complain("hangup needs either --trunk NAME or --call REF")
        raise typer.Exit(USAGE)
    compiled = _load(config)
    try:
        ended = asyncio.run(hang_up(compiled, trunk, call))
    except (OSError, ValueError) as error:
        _complain(str(error))
        raise typer.Exit(FAILED) from None
    for ref in ended:
        typer.echo(ref)
    typer.echo(f"{len(ended)} calls ended" if len(ended) != 1 else "1 call ended", err=True)


app.add_typer(policy_app)

tokens = typer.Typer(
    help="Tokens of the HTTP API: create, list, revoke.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(tokens, name="tokens")


@tokens.command("create")
def tokens_create(
    name: Annotated[str, typer.Argument(help="what the audit calls who uses it")],
    scope: Annotated[
        list[str], typer.Option(help="read, write, calls or admin; may be repeated", metavar="SCOPE")
    ],
    account: Annotated[
        str | None, typer.Option(help="the only account that it is for", metavar="NAME")
    ] = None,
    config: ConfigFile = _DEFAULT_FILE,
) -> None:
    """Create a token and print it. It cannot be shown again."""
    from proxy.cli.tokens import create

    if account is not None:
        _load(config)  # a policy with problems has no accounts to speak of
    typer.echo(_result(create(_load_own(config), config, name, tuple(dict.fromkeys(scope)), account)))


@tokens.command("list")
def tokens_list(
    config: ConfigFile = _DEFAULT_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the tokens that were created and not revoked."""
    from dataclasses import asdict

    from proxy.cli.tokens import listed

    found = _result(listed(_load_own(config)))
    if as_json:
        kept = [{name: value for name, value in asdict(one).items() if name != "digest"} for one in found]
        typer.echo(json.dumps(kept, indent=2))
        return
    for one in found:
        owner = "-" if one.account is None else one.account
        typer.echo(
            f"{one.id}  {one.name}  {','.join(one.scopes)}  {owner}  {one.created_at}  {one.created_by}"
        )


@tokens.command("revoke")
def tokens_revoke(
    token: Annotated[str, typer.Argument(help="its id or name", metavar="ID_OR_NAME")],
    config: ConfigFile = _DEFAULT_FILE,
) -> None:
    """Revoke a token: every instance refuses it from now on."""
    from proxy.cli.tokens import revoke

    ended = _result(revoke(_load_own(config), token))
    _complain(f"revoked {ended.id} ({ended.name})")


@app.command()
def audit(
    config: ConfigFile = _DEFAULT_FILE,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="how many entries")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a line")] = False,
) -> None:
    """Say what was changed and what was refused, newest first."""
    from proxy.cli.tokens import audit
    from proxy.observe.printable import printable

    for one in _result(audit(_load_own(config), limit)):
        if as_json:
            typer.echo(json.dumps(one))
            continue
        more = "".join(
            f" {key}={one[key]}" for key in ("status", "source", "account", "token", "more") if key in one
        )
        typer.echo(printable(f"{one.get('at')} {one.get('who') or '(unknown)'}: {one.get('action')}{more}"))


def _result(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; a ValueError of it ends the command."""
    try:
        return asyncio.run(work)
    except (OSError, ValueError) as error:
        _complain(str(error))
        raise typer.Exit(FAILED) from None


@webhooks_app.command("test")
def webhooks_test(
    config: ConfigFile = _DEFAULT_FILE,
    endpoint: Annotated[
        str | None,
        typer.Option(help="only this one; `trunk:NAME` is the callback of a trunk", metavar="NAME"),
    ] = None,
) -> None:
    """Tell the endpoints of an event that did not happen, from here and now, and say what they answer."""
    from proxy.cli.webhooks import try_out

    outcomes = _result(try_out(_load(config), config, endpoint))
    for name, outcome in outcomes:
        typer.echo(f"{name}: {'ok' if outcome.ok else 'failed'}: {outcome.detail}")
    raise typer.Exit(OK if all(outcome.ok for _, outcome in outcomes) else FAILED)


@webhooks_app.command("secret")
def webhooks_secret(
    config: ConfigFile = _DEFAULT_FILE,
    account: Annotated[str | None, typer.Option(help="whose trunks they are", metavar="NAME")] = None,
    trunk: Annotated[str | None, typer.Option(help="that tells it", metavar="NAME")] = None,
) -> None:
    """Show what signs the callbacks of one customer, for that customer."""
    from proxy.cli.webhooks import secret_of

    if (account is None) == (trunk is None):
        _complain("either --account or --trunk says whose callbacks")
        raise typer.Exit(USAGE)
    typer.echo(_result(secret_of(_load(config), config, account, trunk)))


@webhooks_app.command("dead")
def webhooks_dead(
    config: ConfigFile = _DEFAULT_FILE,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="how many")] = 100,
) -> None:
    """List what could not be told and was given up, newest first."""
    from proxy.cli.webhooks import dead_letters

    letters = _result(dead_letters(_load(config), limit))
    for letter in letters:
        typer.echo(letter)


@webhooks_app.command("replay")
def webhooks_replay(
    config: ConfigFile = _DEFAULT_FILE,
    event: Annotated[str | None, typer.Option("--id", help="only this event; else all", metavar="ID")] = None,
) -> None:
    """Have what was given up told again, through the running instances."""
    from proxy.cli.webhooks import replay

    count = _result(replay(_load(config), event))
    typer.echo(f"{count} deliveries are due again" if count != 1 else "1 delivery is due again")


def _load(config: Path) -> Compiled:
    from proxy.objects.following import load_in_force

    compiled = _result(load_in_force(config))
    _print_problems(compiled.problems)
    if compiled.policy is None:
        raise typer.Exit(FAILED)
    return compiled


def _load_own(config: Path) -> Compiled:
    """The instance's own sections: a token can be revoked whatever is wrong with the policy."""
    compiled = load_own(config)
    if compiled.config is None:
        _print_problems(compiled.problems)
        raise typer.Exit(FAILED)
    return compiled


def _print_problems(problems: tuple[Problem, ...], lead: str = "") -> None:
    for problem in problems:
        _complain(f"{lead}{problem}")


def _complain(text: str) -> None:
    typer.echo(text, err=True)


def main() -> None:
    """Entry point of the console script."""
    if not sys.stdout:  # closed by whoever started us: what we open must not take its place
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        app()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _complain(f"cannot write: {error.strerror}")
        raise SystemExit(FAILED) from None
