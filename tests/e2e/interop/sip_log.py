"""What a telephone's log says of the SIP messages that it sent and received."""

from __future__ import annotations


def answers(log: str, method: str) -> list[int]:
    """The statuses of the responses to this method, in the order in which they were logged."""
    found = []
    status = ""
    for line in log.splitlines():
        if line.startswith("SIP/2.0 "):
            status = line.split()[1]
        elif line.startswith("CSeq:") and status:
            if line.split()[-1] == method:
                found.append(int(status))
            status = ""
    return found
