"""The program, as `python -m proxy.cli` runs it, that also tells what it holds: `watched FILE ARGUMENT...`

On SIGUSR1 it collects what is unreachable, counts, and puts the figures into FILE; on SIGUSR2 it first lets
go of what its caches keep, which is bounded, but not by what lives.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import runpy
import signal
import sys
from pathlib import Path


def _tell(file: Path, number: int) -> None:
    unreachable = gc.collect()
    if number == signal.SIGUSR2:
        for name, module in list(sys.modules.items()):
            for one in vars(module).values() if name.partition(".")[0] in ("proxy", "policy") else ():
                if isinstance(one, functools._lru_cache_wrapper):
                    one.cache_clear()
    figures = {
        "tasks": len(asyncio.all_tasks()),
        "blocks": sys.getallocatedblocks(),
        "unreachable": unreachable,
    }
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(figures))
    fresh.rename(file)


if __name__ == "__main__":
    told = Path(sys.argv[1])
    for signal_number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signal_number, lambda number, _: _tell(told, number))
    sys.argv = ["trunkwarden", *sys.argv[2:]]
    runpy.run_module("proxy.cli", run_name="__main__")
