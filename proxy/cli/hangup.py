"""The `hangup` command: the panic button."""

from __future__ import annotations

from proxy.configuration import Compiled
from proxy.ledger.ledger import LedgerRefused, LedgerUnavailable
from proxy.ledger.sharded_ledger import connector_of


async def hang_up(compiled: Compiled, trunk: str | None, call: str | None) -> list[str]:
    """End the calls through the running instances; their refs. Raises ValueError when nobody could be
    told."""
    if compiled.config is None or compiled.policy is None:
        raise ValueError("there is no configuration to find the instances by")
    if trunk is not None and trunk not in compiled.policy.trunks:
        raise ValueError(f"no trunk is called `{trunk}`")
    try:
        section = compiled.config.ledger
        ledger = await connector_of(section.shard_by)(section.url, section.data_dir)
        try:
            result = await ledger.hang_up(ref=call, trunk=trunk)
        finally:
            await ledger.close()
    except (LedgerUnavailable, LedgerRefused) as error:
        raise ValueError(f"the instances cannot be told: the ledger is away: {error}") from error
    if result.asked == 0:
        raise ValueError("no instance is running on this ledger")
    if result.instances < result.asked:
        answered = f"{result.instances} of {result.asked} instances answered"
        raise ValueError(f"only {answered}, and ended {len(result.refs)} calls")
    if call is not None and not result.refs:
        raise ValueError(f"no live call has the ref `{call}`")
    return list(result.refs)
