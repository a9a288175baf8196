from __future__ import annotations

import pytest

from proxy.demo.screen import Screen

FIELDS = (
    "09:41:07",
    "office-pbx",
    "00442079460120",
    "GB",
    "refused",
    "COUNTRY_UNKNOWN",
    "403",
    "12.3 s",
    "0.012",
)


def test_a_line_fits_80_columns_and_is_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.heading()
    screen.decision(FIELDS)
    heading, line = capsys.readouterr().out.splitlines()
    assert len(line) <= 80
    assert line.split() == " ".join(FIELDS).split()
    for name, value in (("dialled", "00442079460120"), ("reason", "COUNTRY_UNKNOWN"), ("cost", "0.012")):
        assert heading.index(name) == line.index(value)


def test_long_text_is_one_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().say("word " * 100)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_table_shows_every_cell_whole(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = "NO: admitted, wanted refused; -, wanted CAPACITY; 200, wanted 403"
    Screen().table("Title", ("call", "dialled", "ok"), [["over capacity", "+12125550123", verdict]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "Title"
    assert any(line.split() == f"over capacity +12125550123 {verdict}".split() for line in lines)


def test_no_colour_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().decision(FIELDS)
    assert "\x1b" not in capsys.readouterr().out


def test_colour_on_a_terminal_unless_it_is_unwanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Screen().decision(FIELDS)
    assert "\x1b[31m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    Screen().decision(FIELDS)
    assert "\x1b[31m" not in capsys.readouterr().out
