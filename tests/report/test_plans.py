"""A plan is short, keeps its rows and says why what is left out is left out."""

import pytest

from kit.report.plans import Plan

ROWS = [
    ("base", "0", "training+export", "", "to do", 2.0, ""),
    ("base", "0", "classify", "test", "done", 0.0, ""),
    ("base", "0", "classify", "amazon", "to do", 0.5, "7 of 9 texts are cut at 128 tokens"),
    ("base", "1", "classify", "test", "to do", 0.5, ""),
    ("base bf16", "0", "classify", "test", "cannot", 0.0, "bf16 is slow here"),
    ("base <b>", "", "", "", "left out", 0.0, "simulated: on eager alone"),
]


@pytest.fixture(params=[1, 40])
def plan(registries, request) -> Plan:
    names = ("variant", "seed", "what", "split", "status", "minutes", "reason")
    return Plan([dict(zip(names, row, strict=True)) for row in ROWS * request.param])


def test_a_plan_is_a_frame_of_its_rows(plan):
    assert list(plan["status"]) == list(plan.status) == [row[4] for row in ROWS] * (len(plan) // 6)
    assert type(plan[plan.status == "done"]) is type(plan.rows) and "seed" in repr(plan.rows)


def test_a_plan_shows_a_line_a_variant_in_80_columns(plan):
    times = len(plan) // 6
    text = repr(plan)
    lines = [line.split() for line in text.splitlines()]
    assert ["variant", "to", "build", "classify", "minutes"] in lines
    cells = ["training,", "export", f"{times}/{3 * times}", f"{3 * times:.1f}"]
    assert ["base", "(2", "seeds)", *cells] in lines
    assert ["base", "bf16", "cannot", "0.0"] in lines
    assert lines[-1] == ["All", str(len(plan)), "rows:", ".rows"]
    assert "Note: base: 7 of 9 texts are cut at 128 tokens" in text
    assert "Cannot work: base bf16: bf16 is slow here" in text
    assert max(map(len, text.splitlines())) <= 80 and len(lines) < 12


def test_a_plan_in_a_notebook_is_escaped_and_holds_the_rows(plan):
    page = plan._repr_html_()
    assert "<details><summary>all" in page and page.count("<tr>") == len(plan) + 1 + 4
    assert "base &lt;b&gt;" in page and "<b>Left out</b>" in page
