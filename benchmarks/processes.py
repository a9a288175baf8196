"""What processes cost: processor time of a whole family, as the kernel accounts it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the name (proc(5)): state is the first.
_PARENT, _UTIME, _STIME, _CUTIME, _CSTIME = 1, 11, 12, 13, 14


@dataclass(frozen=True)
class _Stat:
    parent: int
    own_ticks: int
    reaped_ticks: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Stat(
        int(fields[_PARENT]),
        int(fields[_UTIME]) + int(fields[_STIME]),
        int(fields[_CUTIME]) + int(fields[_CSTIME]),
    )


def family(root: int) -> list[int]:
    """`root` and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            children.setdefault(stat.parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def processor_seconds(root: int) -> float:
    """Processor time, user and system, that `root` and its descendants used so far, ended ones included."""
    ticks = 0
    for pid in family(root):
        stat = _stat(pid)
        if stat is not None:
            ticks += stat.own_ticks + stat.reaped_ticks
    return ticks / _TICKS_PER_SECOND
