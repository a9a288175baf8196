"""`trunkwarden policy ...`: the commands over the store of the policy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from proxy.objects.changes import Change


T = TypeVar("T")

CHANGES = 3

app = typer.Typer(
    name="policy",
    help="Plan, apply, export, compare and take back the policy's objects, where the configuration says"
    " `policy: {source: store}`.",
    no_args_is_help=True,
    add_completion=False,
)

ConfigFile = Annotated[
    Path,
    typer.Option("-c", "--config", help="the configuration file, which names the ledger", metavar="FILE"),
]
PolicyFile = Annotated[
    Path | None,
    typer.Argument(help="a YAML file with the objects; without it the configuration file", metavar="[FILE]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Comment = Annotated[str, typer.Option("-m", "--comment", help="why, for the history", metavar="TEXT")]
_DEFAULT_FILE = Path("trunkwarden.yaml")


@app.command("plan")
def plan_command(
    file: PolicyFile = None, config: ConfigFile = _DEFAULT_FILE, as_json: AsJson = False
) -> None:
    """Say what `apply` would change, or why it would be refused. Exit code: 0 nothing, 3 something."""
    from proxy.cli.planning import plan

    changes = _done(plan(config, file or config), as_json)
    _print_changes(changes, as_json)
    raise typer.Exit(CHANGES if changes else 0)


@app.command("apply")
def apply_command(
    file: PolicyFile = None,
    config: ConfigFile = _DEFAULT_FILE,
    comment: Comment = "",
    expect: Annotated[
        int | None, typer.Option(help="the version that the store has to be at", metavar="NUMBER")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the objects of a file the policy: what the file does not have is deleted. All or nothing."""
    from proxy.cli.planning import apply

    seen: list[Change] = []

    def show(changes: tuple[Change, ...]) -> None:
        seen.extend(changes)
        if not as_json:
            _print_changes(changes, as_json)

    version = _done(apply(config, file or config, comment, expect, show), as_json)
    if as_json:
        _print_json({"version": version.number, "changes": [change.to_json() for change in seen]})
    elif seen:
        typer.echo(f"version {version.number} is in force")


@app.command("export")
def export_command(
    config: ConfigFile = _DEFAULT_FILE,
    version: Annotated[
        int | None, typer.Option(help="an earlier version, in place of the one in force", metavar="NUMBER")
    ] = None,
    decks: Annotated[
        Path | None,
        typer.Option(
            help="write the rows of rate decks into this folder; without it they are named by their digests",
            metavar="FOLDER",
        ),
    ] = None,
) -> None:
    """Print the objects as YAML that `apply` takes back."""
    from proxy.cli.planning import export

    typer.echo(_done(export(config, version, decks)), nl=False)


@app.command("diff")
def diff_command(
    old: Annotated[int, typer.Argument(help="the earlier version; 0: nothing", metavar="FROM")],
    new: Annotated[
        int | None, typer.Argument(help="the later version; without it the one in force", metavar="[TO]")
    ] = None,
    config: ConfigFile = _DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two versions."""
    from proxy.cli.planning import compare

    _print_changes(_done(compare(config, old, new), as_json), as_json)


@app.command("history")
def history_command(
    config: ConfigFile = _DEFAULT_FILE,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="how many")] = 20,
    before: Annotated[
        int | None, typer.Option(help="only versions below this number", metavar="NUMBER")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the versions, newest first: number, time, author, comment, and what changed."""
    from proxy.cli.planning import history, lines_of
    from proxy.observe.printable import printable

    entries = _done(history(config, before, limit), as_json)
    if as_json:
        _print_json([entry.to_json() for entry in entries])
        return
    for entry in entries:
        when = entry.at.isoformat(timespec="seconds")
        typer.echo(printable(f"{entry.number}  {when}  {entry.author}  {entry.comment}".rstrip()))
        for line in lines_of(entry.changes):
            typer.echo(printable(f"    {line}"))


@app.command("rollback")
def rollback_command(
    number: Annotated[int, typer.Argument(help="the version to go back to")],
    config: ConfigFile = _DEFAULT_FILE,
    comment: Comment = "",
    as_json: AsJson = False,
) -> None:
    """Make the policy what it was at an earlier version, as a new version."""
    from proxy.cli.planning import roll_back

    version = _done(roll_back(config, number, comment), as_json)
    if as_json:
        _print_json(version.entry.to_json())
    else:
        typer.echo(f"version {version.number} is in force")


def _done(work: Coroutine[Any, Any, T], as_json: bool = False) -> T:
    from proxy.cli.planning import Failed

    try:
        return asyncio.run(work)
    except Failed as error:
        if as_json:
            _print_json({"problems": error.lines})
        else:
            for line in error.lines:
                typer.echo(line, err=True)
        raise typer.Exit(error.code) from None


def _print_changes(changes: Sequence[Change], as_json: bool) -> None:
    if as_json:
        _print_json({"changes": [change.to_json() for change in changes]})
        return
    from proxy.cli.planning import lines_of
    from proxy.observe.printable import printable

    for line in lines_of(changes):
        typer.echo(printable(line))
    count = {kind: sum(one.change == kind for one in changes) for kind in ("created", "updated", "deleted")}
    told = ", ".join(f"{number} {kind}" for kind, number in count.items() if number)
    typer.echo(told or "nothing differs", err=True)


def _print_json(tree: Any) -> None:
    typer.echo(json.dumps(tree, indent=2, ensure_ascii=False))
