"""What the `policy` commands print; what they do is in test_policy.py."""

from __future__ import annotations

import os
import pwd

from proxy.cli.planning import Failed, author, lines_of
from proxy.objects.changes import diff
from proxy.objects.document import Document


def test_the_author_is_who_runs_the_command() -> None:
    assert author() == pwd.getpwuid(os.getuid()).pw_name


def test_changes_in_lines() -> None:
    old = Document().create("accounts", "a", {"capacity_limit": 1, "dids": []}, id="1")
    new = old.create("trunks", "t", {"ha1": "0" * 64}, id="2").patch("accounts", "a", {"name": "b"})
    assert list(lines_of(diff(old, new))) == [
        "~ accounts[b]",
        '    name: "a" -> "b"',
        "+ trunks[t]",
        '    ha1: "********"',
    ]
    assert list(lines_of(diff(old, Document()))) == ["- accounts[a]"]
    assert next(iter(diff(old, new))).to_json()["change"] == "updated"
    assert list(lines_of([one.to_json() for one in diff(old, new)])) == list(lines_of(diff(old, new)))


def test_failures_keep_their_lines_and_their_code() -> None:
    failed = Failed(["a", "b"], 4)
    assert (failed.lines, failed.code, str(failed)) == (["a", "b"], 4, "a\nb")
