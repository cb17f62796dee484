"""Plain text where it is piped, colour and frames in a terminal, escaped HTML."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from kit.report import display


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "sys", SimpleNamespace(stdout=Terminal()))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")


def test_what_is_piped_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    text = display.as_text(
        display.table(["variant", "runs"], [["base", "1/2"], ["all", "1/2"]], total=True),
        display.panel("Pick w8", "Pick w8: " + "it is fast. " * 20),
    )
    lines = text.splitlines()
    assert [line.split() for line in lines[:2]] == [["variant", "runs"], ["base", "1/2"]]
    assert lines[-1].startswith("Pick w8: it is fast.") and len(lines[-1]) > 200
    assert text.isascii()


def test_a_terminal_gets_a_frame_and_colour(terminal: None) -> None:
    text = display.as_text(display.panel("Pick w8", "Pick w8: it is [bold]fast[/bold]. " * 20))
    assert "\u256d\u2500" in text and "\x1b[" in text
    assert "[bold]" in text, "what is shown is no markup"


def test_html_is_escaped() -> None:
    page = display.html_table(["<b>"], [["a\n&"]])
    assert "&lt;b&gt;" in page and "a<br>&amp;" in page and "<b>" not in page


def test_a_notebooks_text_has_no_colour_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    text = display.as_text(display.table(["a", "b"], [["1", "2"]], total=True))
    assert "1" in text and "\x1b" not in text
