"""Texts and names with HTML, Markdown, mathtext: shown as they are, never taken for markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from attacks import NAMES, SCRIPT, attempt, cases, names
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kit.report import plot, publish, style
from kit.report.summary import summary
from kit.spec.checking import tidy
from kit.store import results

pytestmark = pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
MARKUP = [
    *(SCRIPT, "<img src=x onerror=alert(1)>", "[a](javascript:alert(1))", "![a](http://x/y.png)"),
    *("a|b", "`code`", "``", "**b**", "_i_", "~~s~~", "# head", "> quote", "- item", "1. item"),
    *("&lt;b&gt;", "&amp;", "\\", "a\\|b", "$\\frac{", "$x$", "$$", "http://x.y", "<http://x.y>"),
    *("<!-- x -->", "--> x", "[x]: http://y", "| --- |", "---", "\\[x\\]", "a<b", "<", "{{x}}"),
    *("--", "===", "```x", "www.x.y", "a@b.c", "[^1]", "- [ ] x", ":smile:", "\\<b>", "a\\"),
]
texts = st.one_of(
    st.sampled_from(MARKUP),
    names,
    st.lists(st.sampled_from([*MARKUP, *"<>[]()|`*_~\\$&!#"]), min_size=1, max_size=4).map(
        " ".join
    ),
)
PLAIN = {
    "h1",
    "h2",
    "p",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "ul",
    "li",
    "code",
    "a",
    "img",
}


class Page(HTMLParser):
    """Reads a page as a browser would: its tags, links and the text of its cells."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.cells: list[str] = []
        self._open = False
        self.feed(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [str(value) for key, value in attrs if key in ("href", "src")]
        if tag in ("td", "th"):
            self._open = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[-1] += data


class Study:
    """One row, with a name in every place."""

    def __init__(self, name: str, task: str, split: str, note: str) -> None:
        self.name = tidy("s" + name)
        known = {"study": self.name, "variant": "v" + name, "task": task, "split": split, "seed": 0}
        self._rows = [
            results.row(**known, metric="accuracy", value=0.5, unit="share", note=note),
            results.row(**known, metric="ece", status="undefined", note="n" + note),
        ]

    def table(self) -> pd.DataFrame:
        return results.to_frame(self._rows)

    def machines(self) -> pd.DataFrame:
        index = pd.Index([0], name="machine")
        return pd.DataFrame({"cpu": [self._rows[0]["variant"]], "cores": [2]}, index=index)

    def record(self) -> dict[str, Any]:
        return {}


@cases(15, 150)
@given(texts, texts, texts, texts)
def test_a_page_shows_what_was_said(name: str, task: str, split: str, verdict: str) -> None:
    study = Study(name, task, split, verdict)
    known = verdict.replace("{{", "(")  # placeholders are another's
    path = attempt(lambda: publish.publish("90_hostile", study, verdict=known))
    markdown = Path(path).read_text(encoding="utf-8")
    page = Page(markdown)
    assert page.tags <= PLAIN, page.tags - PLAIN
    assert all(re.match(r"(?:figures/)?90_hostile[\w.]*\Z", link) for link in page.links), (
        page.links
    )
    assert study._rows[0]["variant"] in [cell.strip() for cell in page.cells]


@pytest.mark.parametrize("text", [text for text in (*MARKUP, *NAMES) if len(text) < 999])
def test_a_cell_holds_one_text(text: str) -> None:
    clean = tidy(text)
    frame = pd.DataFrame({"a": [clean, "2"], "b": ["1", clean]}, index=["x", clean or "y"])
    page = Page(publish._markdown(frame))
    assert page.tags <= PLAIN
    assert [cell.strip() for cell in page.cells][:7] == [
        "",
        "a",
        "b",
        "x",
        clean,
        "1",
        clean or "y",
    ]


@pytest.mark.parametrize("name", [SCRIPT, "$\\frac{$", "x" * 200, "日本"])
def test_any_name_in_a_figure(name: str) -> None:
    def row(variant: str, metric: str, value: float, **more: Any) -> dict[str, Any]:
        known = {"study": name, "variant": variant, "architecture": "a", "task": name, "seed": 0}
        bar = {"ci_low": value - 0.1, "ci_high": value + 0.1, "interval": "items"}
        return results.row(
            **{**known, "schemes": name, "metric": metric, "value": value, **bar, **more}
        )

    both = ("v" + name, "w")
    rows = [row(v, "accuracy", 0.5, split=s, unit="share") for v in both for s in ("test", name)]
    timing = {"condition": "batch_size=1", "baseline": "w", "unit": "ratio"}
    rows += [row(v, "speedup", 1.5, **timing) for v in both]
    rows += [row(v, "weight_bytes", n, unit="bytes") for v, n in zip(both, (1e6, 2e6), strict=True)]
    rows += [row(both[0], "accuracy_change", -0.01, split=s, baseline="w") for s in ("test", name)]
    rows += [
        results.row(
            study="s",
            variant="u",
            seed=0,
            metric="accuracy",
            status="error",
            note=name,
            split="test",
        )
    ]
    table = results.to_frame(rows)
    curves = pd.DataFrame({"variant": both, "seed": 0, "seconds": 1.0, "validation_loss": 2.0})
    for draw in (plot.quality, plot.changes, plot.tradeoff, plot.bits):
        figure = attempt(lambda draw=draw: draw(table))
        assert len(attempt(lambda figure=figure: figure._repr_png_())) > 1_000
    assert attempt(lambda: plot.curves(curves)) is not None
    svg = style.render(attempt(lambda: plot.quality(table, title=name)), "svg").decode()
    assert "<script" not in svg
    assert attempt(lambda: summary(table)) is not None
