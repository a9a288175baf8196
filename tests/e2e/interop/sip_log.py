"""What a telephone's log says of the SIP messages that it sent and received."""

from __future__ import annotations


def answers(log: str, method: str) -> list[int]:
    """The statuses of the responses to this method, in the order in which they were logged. One that is said
    again, because its request was sent again, counts once."""
    found: dict[tuple[str, str], int] = {}
    status = via = ""
    for line in log.splitlines():
        if line.startswith("SIP/2.0 "):
            status, via = line.split()[1], ""
        elif line.startswith("Via:") and not via:
            via = line
        elif line.startswith("CSeq:") and status:
            if line.split()[-1] == method:
                found.setdefault((status, via), int(status))
            status = ""
    return list(found.values())
